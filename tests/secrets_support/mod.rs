//! What the tests of secrets share: keys, a project in a folder, the command run as a person would.
#![allow(
    dead_code,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser as _;
use forge::cli::cmd::secret::{Args, CommandError, World, run};
use forge::edge::editor::{Editor, TmpfsEditor};
use forge::edge::random::SeededRandomness;
use forge::edge::terminal::ScriptedPrompt;
use forge::flow::operator::secret::{DeclaresError, HostSecrets};
use forge::pure::config::decode::decode_fields;
use forge::pure::config::field::Fields;
use forge::pure::config::node::parse;
use forge::pure::config::value::{Data, Value};
use forge::pure::name::HostName;
use forge::pure::secrets::{Recipient, WantedBy};
use forge::pure::text::{Diagnostics, Sources, Span};

/// Runs a program; the test fails, and says why, if it is not installed.
pub(crate) fn program(name: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new(name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "this test needs the program `{name}` ({error}): apt-get install age openssh-client"
            )
        });
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Makes an SSH key pair; returns the private key's path (the public one has `.pub` behind it).
pub(crate) fn ssh_key(folder: &Path, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    let mut args = vec![
        "-q",
        "-N",
        passphrase,
        "-C",
        name,
        "-f",
        path.to_str().unwrap(),
        "-t",
    ];
    args.extend(kind);
    program("ssh-keygen", &args, b"");
    path
}

pub(crate) fn age_key(folder: &Path, name: &str) -> (PathBuf, Recipient) {
    let path = folder.join(name);
    std::fs::write(&path, program("age-keygen", &[], b"")).unwrap();
    let public = program("age-keygen", &["-y", path.to_str().unwrap()], b"");
    (path, String::from_utf8(public).unwrap().parse().unwrap())
}

pub(crate) fn public(private: &Path) -> Recipient {
    std::fs::read_to_string(format!("{}.pub", private.display()))
        .unwrap()
        .parse()
        .unwrap()
}

/// The secrets of a host as the evaluator would hand them over, from TOML: `name = { generate = …, format = … }`.
pub(crate) fn wants(toml: &str) -> HostSecrets {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let kinds = sources.add(
        "kinds.toml",
        include_str!("../../src/pure/config/kinds.toml"),
    );
    let table = parse(&sources, kinds, &mut diagnostics).unwrap();
    let fields = ["contribution", "secret", "fields"]
        .iter()
        .fold(table, |table, key| {
            table.get(key).unwrap().value.as_table().unwrap().clone()
        });
    let fields = Fields::parse(&fields, &mut diagnostics);
    let given = sources.add("module.toml", toml);
    let table = parse(&sources, given, &mut diagnostics).unwrap();
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    for (name, entry) in table.iter() {
        let map = decode_fields(
            entry.value.as_table().unwrap(),
            &fields,
            entry.key,
            name,
            &mut diagnostics,
        );
        let at: Span = entry.key;
        let map = map.unwrap_or_else(|| panic!("{diagnostics:?}"));
        values.insert(name.to_owned(), Value::new(at, Data::Map(map)));
    }
    let postgres = WantedBy::Module("postgres".parse().unwrap());
    let contributions = values
        .iter()
        .map(|(name, value)| (name.as_str(), postgres.clone(), value));
    let wants = HostSecrets::from_contributions(contributions, Vec::new(), None, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    wants
}

/// A project with the host `web` in a folder of its own, and a person with a key.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) wants: HostSecrets,
    /// Everything that was printed so far.
    pub(crate) printed: Vec<u8>,
    pub(crate) answers: Vec<String>,
    pub(crate) editor: String,
    pub(crate) stdin_is_terminal: bool,
    seed: u64,
}

impl Bench {
    pub(crate) fn new(secrets: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["project/hosts", "home/.ssh", "tmp"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("project/hosts/web.toml"), "").unwrap();
        ssh_key(
            &folder.path().join("home/.ssh"),
            "id_ed25519",
            &["ed25519"],
            "",
        );
        Self {
            folder,
            wants: wants(secrets),
            printed: Vec::new(),
            answers: Vec::new(),
            editor: "true".to_owned(),
            stdin_is_terminal: false,
            seed: 0,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn secrets_file(&self) -> PathBuf {
        self.path("project/hosts/web.secrets.toml")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.secrets_file()).unwrap()
    }

    /// `forge secret ARGS…` with this standard input; what it printed to standard output.
    pub(crate) fn run(&mut self, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, CommandError> {
        let editor = self.editor.clone();
        let mut editor = TmpfsEditor::new(editor, [PathBuf::from("/dev/shm")]);
        self.run_with(args, stdin, &mut editor)
    }

    pub(crate) fn run_with(
        &mut self,
        args: &[&str],
        stdin: &[u8],
        editor: &mut dyn Editor,
    ) -> Result<Vec<u8>, CommandError> {
        let args = Args::try_parse_from(std::iter::once(&"secret").chain(args))
            .unwrap_or_else(|error| panic!("{error}"));
        self.seed += 1;
        let (mut stdout, mut stderr, mut stdin) = (Vec::new(), Vec::new(), stdin);
        let answers = std::mem::take(&mut self.answers);
        let wants = self.wants.clone();
        let declares =
            move |_: &HostName| -> Result<HostSecrets, DeclaresError> { Ok(wants.clone()) };
        let result = run(
            &args,
            &self.path("project"),
            &declares,
            &mut World {
                stdin: &mut stdin,
                stdin_is_terminal: self.stdin_is_terminal,
                stdout: &mut stdout,
                stdout_is_terminal: false,
                stderr: &mut stderr,
                prompt: &mut ScriptedPrompt::new(answers.iter().map(String::as_str)),
                editor,
                randomness: &mut SeededRandomness::new(self.seed),
                home: Some(self.path("home")),
            },
        );
        self.printed.extend(&stdout);
        self.printed.extend(&stderr);
        if let Err(error) = &result {
            self.printed
                .extend(format!("{error}\n{error:?}\n{:?}\n", error.hints()).bytes());
        }
        result.map(|()| stdout)
    }

    /// The same, where it must go well.
    pub(crate) fn ok(&mut self, args: &[&str], stdin: &[u8]) -> String {
        let printed = self
            .run(args, stdin)
            .unwrap_or_else(|error| panic!("{args:?}: {error}"));
        String::from_utf8(printed).unwrap()
    }

    /// The same, where it must fail: what it says.
    pub(crate) fn fails(&mut self, args: &[&str], stdin: &[u8]) -> String {
        let error = match self.run(args, stdin) {
            Ok(_) => panic!("{args:?} went well"),
            Err(error) => error,
        };
        let mut said = error.to_string();
        for hint in error.hints() {
            said.push('\n');
            said.push_str(&hint);
        }
        said
    }
}

/// The values of a secrets file as they stand there, by name.
pub(crate) fn literals(text: &str) -> BTreeMap<String, String> {
    let secrets = text.split("[secrets]").nth(1).unwrap();
    let mut found = BTreeMap::new();
    for part in secrets.split("-----END AGE ENCRYPTED FILE-----\n\"\"\"") {
        if let Some((before, value)) = part.split_once(" = \"\"\"") {
            let name = before.lines().last().unwrap();
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}
