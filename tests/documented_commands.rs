//! Every command that the documents show is run, as it stands there.
//!
//! In a ```` ```console ```` block of `README.md` and of `docs/**/*.md`, a line that begins with `$ ` is a command; after one that ends in
//! a backslash, lines that begin with `> ` belong to it; all else is output, and not compared. The commands of one document run one
//! after the other in a folder of their own, and files and the current folder persist. Each must exit with 0, unless its line ends
//! in a comment such as `# fails: F0306`: then it must fail, and its standard error must hold that text.
//!
//! A block of any other kind whose first line is a comment with nothing but a path, `# hosts/web.toml`, is written to that path.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod warm;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// A command that cannot run here as it stands.
struct Substitute {
    document: &'static str,
    command: &'static str,
    /// What runs in its place. `REPOSITORY` is a variable there.
    instead: Option<&'static str>,
    reason: &'static str,
}

/// Why a command that needs a host is not run here.
const ON_A_VIRTUAL_MACHINE: &str = "tests/vm runs it on a virtual machine";

const SUBSTITUTES: &[Substitute] = &[
    Substitute {
        document: "README.md",
        command: "cargo run --release -- build mainframe",
        instead: Some("forge -C \"$REPOSITORY\" build mainframe"),
        reason: "the program is built already; the store must not be the user's",
    },
    Substitute {
        document: "README.md",
        command: "cargo xtask test",
        instead: None,
        reason: "this test is a part of it",
    },
    Substitute {
        document: "README.md",
        command: "cargo install --path .",
        instead: None,
        reason: "the program that was built is in PATH",
    },
    Substitute {
        document: "README.md",
        command: "cd ..",
        instead: Some(
            "mkdir clone && cd clone && for name in forge.toml forge.lock hosts modules images; do cp -a \"$REPOSITORY/$name\" . || exit; done",
        ),
        reason: "the clone is not to be changed: a copy is",
    },
    Substitute {
        document: "README.md",
        command: "eval \"$(ssh-agent)\" && ssh-add hosts/example-insecure-key",
        instead: None,
        reason: "an agent would outlive the test",
    },
    Substitute {
        document: "README.md",
        command: "forge deploy --host lab",
        instead: None,
        reason: ON_A_VIRTUAL_MACHINE,
    },
    Substitute {
        document: "README.md",
        command: "forge status --host lab",
        instead: None,
        reason: ON_A_VIRTUAL_MACHINE,
    },
    Substitute {
        document: "README.md",
        command: "forge deploy lab --yes",
        instead: None,
        reason: ON_A_VIRTUAL_MACHINE,
    },
    Substitute {
        document: "README.md",
        command: "forge rollback --host lab --yes",
        instead: None,
        reason: ON_A_VIRTUAL_MACHINE,
    },
    Substitute {
        document: "README.md",
        command: "forge history --host lab",
        instead: None,
        reason: ON_A_VIRTUAL_MACHINE,
    },
    Substitute {
        document: "README.md",
        command: "cd my-servers",
        instead: Some("cd .. && rm -r clone"),
        reason: "it is above the copy of the clone",
    },
];

/// Something in a document that has an effect.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A file to be written.
    File { path: String, text: String },
    /// A command to be run.
    Run(Shown),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    line: usize,
    /// As the shell gets it, its comment included.
    text: String,
}

impl Shown {
    /// Without its comment: as the table of substitutes has it.
    fn command(&self) -> &str {
        self.text
            .split_once(" #")
            .map_or(self.text.as_str(), |(command, _)| command)
            .trim()
    }

    /// What its standard error must hold, if it must fail.
    fn failure(&self) -> Option<&str> {
        let (_, text) = self.text.rsplit_once("# fails:")?;
        Some(text.trim())
    }
}

/// A command that did not do what its document says.
#[derive(Debug)]
struct Broken {
    document: String,
    line: usize,
    command: String,
    why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            document,
            line,
            command,
            why,
        } = self;
        write!(f, "{document}:{line}: `{command}` {why}")
    }
}

/// The steps of a document, in order.
fn steps(document: &str, text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((opened, line)) = lines.next() {
        let Some(kind) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut block = Vec::new();
        loop {
            let Some((number, line)) = lines.next() else {
                panic!("{document}:{}: this block is not closed again", opened + 1);
            };
            if line.trim() == "```" {
                break;
            }
            // A block in a list is indented as the list is.
            block.push((number + 1, line.get(indent..).unwrap_or_default()));
        }
        if kind.trim() == "console" {
            steps.extend(commands(&block).into_iter().map(Step::Run));
        } else if let Some(path) = block.first().and_then(|(_, first)| path_of(first)) {
            let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
            steps.push(Step::File {
                path: path.to_owned(),
                text,
            });
        }
    }
    steps
}

/// The path of the file that a block is, if its first line says so.
fn path_of(first: &str) -> Option<&str> {
    let path = first.strip_prefix("# ")?;
    let endings = [".toml", ".hbs", ".lock"];
    let named = !path.contains(' ') && endings.iter().any(|ending| path.ends_with(ending));
    named.then_some(path)
}

fn commands(block: &[(usize, &str)]) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut continued = false;
    for (line, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            commands.push(Shown {
                line: *line,
                text: command.to_owned(),
            });
        } else if let (true, Some(more), Some(command)) =
            (continued, text.strip_prefix("> "), commands.last_mut())
        {
            command.text.push('\n');
            command.text.push_str(more);
        } else {
            continue;
        }
        continued = text.ends_with('\\');
    }
    commands
}

/// A machine with the program, an SSH key, the packages of the shipped hosts' recipes and nothing else; removed when it is dropped.
struct Machine {
    temp: tempfile::TempDir,
    here: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        for folder in ["bin", "home/.ssh", "work"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_forge"), root.join("bin/forge")).unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "me@laptop", "-f"])
            .arg(root.join("home/.ssh/id_ed25519"))
            .status()
            .unwrap();
        assert!(made.success(), "ssh-keygen makes a key");
        warm::copy("mainframe", &root.join("store"));
        Self {
            here: root.join("work"),
            temp,
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.here.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs a command line; its exit code and standard error.
    fn run(&mut self, line: &str) -> (Option<i32>, String) {
        let root = self.temp.path();
        let here = root.join("here");
        // A shell for each command, so that each has an exit code; the folder goes from one to the next.
        let script = "eval \"$1\"\ncode=$?\npwd -P > \"$2\"\nexit $code";
        let output = Command::new("timeout")
            .args(["120", "/bin/sh", "-c", script, "sh", line])
            .arg(&here)
            .current_dir(&self.here)
            .env_clear()
            .env("HOME", root.join("home"))
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", root.join("bin").display()),
            )
            .env("FORGE_STORE", root.join("store"))
            .env("XDG_CACHE_HOME", root.join("cache"))
            .env("REPOSITORY", REPOSITORY)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if let Ok(folder) = fs::read_to_string(&here) {
            self.here = PathBuf::from(folder.trim_end_matches('\n'));
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    }
}

/// `cargo xtask TASK --help`, in the repository: a task that a document names exists.
fn task_exists(command: &str) -> (Option<i32>, String) {
    let words = command.split(' ').skip(1).take(2);
    let output = Command::new(env!("CARGO"))
        .args(words)
        .arg("--help")
        .current_dir(REPOSITORY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), errors)
}

/// Runs a document. Gives what is broken, and adds the substitutes that it used, by their places in the table.
fn run(document: &str, text: &str, used: &mut BTreeSet<usize>) -> Vec<Broken> {
    let steps = steps(document, text);
    let mut broken = Vec::new();
    if steps.is_empty() {
        return broken;
    }
    let mut machine = Machine::new();
    for step in &steps {
        let shown = match step {
            Step::File { path, text } => {
                machine.write(path, text);
                continue;
            }
            Step::Run(shown) => shown,
        };
        let substitute = SUBSTITUTES.iter().position(|substitute| {
            substitute.document == document && substitute.command == shown.command()
        });
        let (code, errors) = match substitute {
            Some(index) => {
                used.insert(index);
                match SUBSTITUTES[index].instead {
                    Some(instead) => machine.run(instead),
                    None => continue,
                }
            }
            None if shown.text.starts_with("cargo xtask ") => task_exists(shown.command()),
            None => machine.run(&shown.text),
        };
        if let Some(why) = disagreement(shown.failure(), code, &errors) {
            broken.push(Broken {
                document: document.to_owned(),
                line: shown.line,
                command: shown.text.clone(),
                why,
            });
        }
    }
    broken
}

/// How the end of a command differs from what was said.
fn disagreement(failure: Option<&str>, code: Option<i32>, errors: &str) -> Option<String> {
    let ended = match code {
        None => "was killed".to_owned(),
        Some(124) => "took too long".to_owned(),
        Some(code) => format!("ended with {code}"),
    };
    match (failure, code) {
        (None, Some(0)) => None,
        (None, _) => Some(format!("{ended}:\n{errors}")),
        (Some(_), Some(0)) => Some("succeeded, and should fail".to_owned()),
        (Some(text), _) if errors.contains(text) => None,
        (Some(text), _) => Some(format!("{ended}, and not for {text}:\n{errors}")),
    }
}

/// `README.md` and every Markdown file in `docs`, by their paths in the repository.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(REPOSITORY);
    let mut paths = vec![root.join("README.md")];
    for entry in walkdir::WalkDir::new(root.join("docs")).sort_by_file_name() {
        let entry = entry.unwrap();
        if entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "md")
        {
            paths.push(entry.into_path());
        }
    }
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

fn list(broken: &[Broken]) -> String {
    let lines: Vec<String> = broken.iter().map(Broken::to_string).collect();
    lines.join("\n")
}

#[test]
fn what_the_documents_show_works() {
    let mut used = BTreeSet::new();
    let mut broken = Vec::new();
    let mut run_in = BTreeSet::new();
    for (document, text) in documents() {
        let found = run(&document, &text, &mut used);
        broken.extend(found);
        if text.contains("```console") {
            run_in.insert(document);
        }
    }
    assert!(broken.is_empty(), "{}", list(&broken));
    assert!(run_in.contains("README.md"), "{run_in:?}");
    for (index, substitute) in SUBSTITUTES.iter().enumerate() {
        assert!(
            used.contains(&index),
            "{} does not show `{}` any more: take its substitute away ({})",
            substitute.document,
            substitute.command,
            substitute.reason
        );
    }
}

#[test]
fn planted_mistakes_are_found() {
    let text = include_str!("documented_commands/planted.md");
    let broken = run("planted.md", text, &mut BTreeSet::new());
    let found: Vec<(&str, bool)> = broken
        .iter()
        .map(|broken| {
            let why = match broken.command.as_str() {
                "forge chek" => "ended with 2",
                "true # fails: F0306" => "succeeded, and should fail",
                "cargo xtask nonsense" => "ended with 2",
                _ => "ended with 1, and not for F9999",
            };
            (broken.command.as_str(), broken.why.starts_with(why))
        })
        .collect();
    assert_eq!(
        found,
        [
            ("forge chek", true),
            ("true # fails: F0306", true),
            ("forge check elsewhere # fails: F9999", true),
            ("cargo xtask nonsense", true),
        ],
        "{}",
        list(&broken)
    );
}

#[test]
fn blocks_are_taken_apart() {
    let found = steps("planted.md", include_str!("documented_commands/planted.md"));
    let commands: Vec<&str> = found
        .iter()
        .filter_map(|step| match step {
            Step::Run(shown) => Some(shown.text.as_str()),
            Step::File { .. } => None,
        })
        .collect();
    assert_eq!(
        commands,
        [
            "cd folder                     # stays there",
            "grep planted forge.toml",
            "forge check elsewhere         # fails: F0007",
            "printf 'one\\n' > file && \\\ncat file",
            "forge chek",
            "true # fails: F0306",
            "forge check elsewhere # fails: F9999",
            "cargo xtask nonsense",
        ]
    );
    let Some(Step::File { path, text }) = found.first() else {
        panic!("the file comes first: {found:?}");
    };
    assert_eq!(path, "folder/forge.toml");
    assert_eq!(text, "# folder/forge.toml\n[project]\nname = \"planted\"\n");
}
