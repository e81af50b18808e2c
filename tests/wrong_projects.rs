//! Wrong projects, each a folder of `tests/cases` with the exact report of `forge check` in `expected.txt`.
//!
//! `SNAPSHOTS=overwrite cargo test --test wrong_projects` writes what is reported now into the folders: read the difference
//! before you commit it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge::pure::text::{Code, codes};
use serde_json::Value as Json;
use similar::TextDiff;

const EXPECTED: &str = "expected.txt";

/// Codes that no case can show, each with the reason.
const NOT_MET: &[(Code, &str)] = &[(
    codes::SECRET_FORMAT,
    "only who can decrypt a value sees its form: `forge secret`, not `forge check`",
)];

/// Codes of mistakes that are somewhere else than in a text, so that there is no place to show.
const NOWHERE: &[(Code, &str)] = &[
    (codes::MISSING_FILE, "a file that is not there has no text"),
    (codes::UNSAFE_PATH, "a symbolic link is not read"),
    (
        codes::NOT_UTF8,
        "a secrets file is not quoted: a value may stand there in clear",
    ),
];

/// Codes whose diagnostics may stand without a help line, each with the reason.
const NO_HELP: &[(Code, &str)] = &[
    (
        codes::SYNTAX,
        "the parser's message and place are all that is known",
    ),
    (codes::WRONG_TYPE, "the label says what is wanted"),
    (
        codes::BAD_DEFAULT,
        "it may be of a wrong type, whose label says what is wanted",
    ),
    (codes::ONE_OF, "the label lists what one of is needed"),
    (
        codes::CONTROL_CHARACTER,
        "the message says what to take away",
    ),
    (
        codes::TEMPLATE_UNDEFINED,
        "a helper's message says what it wants",
    ),
    (
        codes::UNKNOWN_REFERENCE,
        "nothing of the kind may exist, so nothing can be proposed",
    ),
];

struct Case {
    name: String,
    expected: PathBuf,
    report: String,
    diagnostics: Vec<Json>,
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let mut folders: Vec<PathBuf> = fs::read_dir(root)
            .expect("the folder of cases")
            .map(|entry| entry.expect("a case").path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        let next = AtomicUsize::new(0);
        let mut done: Vec<Case> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Vec::new();
                        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                            mine.push(run(folder));
                        }
                        mine
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("a worker"))
                .collect()
        });
        done.sort_by(|a, b| a.name.cmp(&b.name));
        done
    })
}

/// Runs the program over a copy of a case, so that nothing around it can be seen and nothing in it is changed.
fn run(folder: &Path) -> Case {
    let name = folder
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let place = tempfile::tempdir().expect("a folder for the copy");
    copy(folder, place.path());
    let text = check(place.path(), &["check"]);
    assert!(text.stdout.is_empty(), "{name}: a report is no result");
    let exit = text
        .status
        .code()
        .unwrap_or_else(|| panic!("{name}: {:?}", text.status));
    let report = String::from_utf8(text.stderr).expect("a report in UTF-8");
    let json = check(place.path(), &["check", "--json"]);
    assert_eq!(
        json.status.code(),
        Some(exit),
        "{name}: --json ends otherwise"
    );
    let diagnostics = serde_json::from_slice(&json.stdout).unwrap_or_else(|error| {
        panic!("{name}: {error}: {}", String::from_utf8_lossy(&json.stderr))
    });
    Case {
        name,
        expected: folder.join(EXPECTED),
        report: format!("{report}[exit {exit}]\n"),
        diagnostics,
    }
}

fn check(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forge"))
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .output()
        .expect("forge runs")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a type");
        if kind.is_symlink() {
            let link = fs::read_link(&path).expect("a link");
            std::os::unix::fs::symlink(link, target).expect("a link");
        } else if kind.is_dir() {
            fs::create_dir(&target).expect("a folder");
            copy(&path, &target);
        } else if entry.file_name() != EXPECTED {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

fn code(diagnostic: &Json) -> Code {
    let code = diagnostic["code"].as_str().expect("a code");
    Code::find(code).expect("a known code")
}

/// What a diagnostic is, for the message of a test that fails.
fn shown(case: &Case, diagnostic: &Json) -> String {
    format!(
        "{}: {} {}",
        case.name,
        code(diagnostic),
        diagnostic["message"]
    )
}

fn listed(list: &[(Code, &str)], code: Code) -> bool {
    list.iter().any(|(listed, _)| *listed == code)
}

#[test]
fn each_report_is_as_expected() {
    let overwrite = std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite");
    let mut differing = Vec::new();
    for case in cases() {
        let expected = fs::read_to_string(&case.expected).unwrap_or_default();
        if expected == case.report {
            continue;
        }
        if overwrite {
            fs::write(&case.expected, &case.report).expect("the expectation is written");
            continue;
        }
        let diff = TextDiff::from_lines(&expected, &case.report);
        differing.push(format!(
            "tests/cases/{}\n{}",
            case.name,
            diff.unified_diff()
                .context_radius(3)
                .header("expected", "reported")
        ));
    }
    assert!(
        differing.is_empty(),
        "{} of {} reports differ (SNAPSHOTS=overwrite accepts them):\n\n{}",
        differing.len(),
        cases().len(),
        differing.join("\n")
    );
}

#[test]
fn there_are_many_cases_and_each_has_something_to_say() {
    assert!(cases().len() >= 60, "{} cases", cases().len());
    for case in cases() {
        assert!(
            !case.diagnostics.is_empty() || case.name == "no-hosts",
            "{} is a project without mistakes",
            case.name
        );
    }
}

#[test]
fn each_code_is_met() {
    let met: BTreeSet<&str> = cases()
        .iter()
        .flat_map(|case| &case.diagnostics)
        .map(|diagnostic| code(diagnostic).as_str())
        .collect();
    let missing: Vec<&Code> = codes::ALL
        .iter()
        .filter(|code| !met.contains(code.as_str()) && !listed(NOT_MET, **code))
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
    for (code, reason) in NOT_MET {
        assert!(
            !met.contains(code.as_str()),
            "{code} is met, though {reason}"
        );
    }
}

#[test]
fn each_mistake_has_a_place() {
    for case in cases() {
        for diagnostic in &case.diagnostics {
            let place = &diagnostic["place"];
            if place.is_null() {
                assert!(
                    listed(NOWHERE, code(diagnostic)),
                    "{}",
                    shown(case, diagnostic)
                );
            } else {
                let file = place["file"].as_str().expect("a file");
                assert!(
                    !file.starts_with('<') || file.starts_with("<rendered>/"),
                    "{} is in {file}",
                    shown(case, diagnostic)
                );
            }
        }
    }
}

#[test]
fn each_mistake_has_a_mend() {
    let mut without = Vec::new();
    for case in cases() {
        for diagnostic in &case.diagnostics {
            let helped = diagnostic["help"]
                .as_array()
                .is_some_and(|help| !help.is_empty());
            let said = diagnostic["place"]["label"]
                .as_str()
                .is_some_and(|label| !label.is_empty());
            let code = code(diagnostic);
            let excused = listed(NO_HELP, code) && (said || code == codes::UNKNOWN_REFERENCE);
            if !helped && !excused {
                without.push(shown(case, diagnostic));
            }
        }
    }
    assert!(without.is_empty(), "without help:\n{}", without.join("\n"));
}

#[test]
fn mistakes_stand_in_reading_order_and_once() {
    for case in cases() {
        let mut before = None;
        for diagnostic in &case.diagnostics {
            let place = &diagnostic["place"];
            let here = (
                place["file"].as_str(),
                place["line"].as_u64(),
                place["column"].as_u64(),
            );
            assert!(before <= Some(here), "{}", shown(case, diagnostic));
            before = Some(here);
            let same = |other: &&Json| {
                other["message"] == diagnostic["message"] && other["place"] == diagnostic["place"]
            };
            let times = case.diagnostics.iter().filter(same).count();
            assert_eq!(times, 1, "{}", shown(case, diagnostic));
        }
    }
}
