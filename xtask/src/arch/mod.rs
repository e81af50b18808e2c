//! `cargo xtask arch`: checks that the code in `src/` keeps to the architecture: who uses whom ([`table`]), where the world may
//! be met, how long a file is, and that each value is made in one place.
//!
//! Test code within a room is held to the same table: what a room's tests need, the room depends on.

mod scan;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use self::scan::Scan;
use self::table::Room;
use crate::workspace;

pub(crate) fn run() -> Result<()> {
    let root = workspace::root()?;
    let sources = read(&root)?;
    let report = check(&sources)?;
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for violation in &report.violations {
        println!("error: {violation}");
    }
    if !report.violations.is_empty() {
        bail!(
            "{} violations of the architecture (the table: xtask/src/arch/table.rs)",
            report.violations.len()
        );
    }
    println!("{} files keep to the architecture", sources.len());
    Ok(())
}

#[derive(Debug)]
struct Source {
    /// From the workspace's root.
    path: PathBuf,
    text: String,
}

#[derive(Debug, Default)]
struct Report {
    warnings: Vec<String>,
    violations: Vec<String>,
}

fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in WalkDir::new(root.join("src")).sort_by_file_name() {
        let entry = entry.context("walking src")?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            let text = fs::read_to_string(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            sources.push(Source {
                path: entry
                    .path()
                    .strip_prefix(root)
                    .unwrap_or(entry.path())
                    .to_owned(),
                text,
            });
        }
    }
    Ok(sources)
}

fn check(sources: &[Source]) -> Result<Report> {
    let mut report = Report::default();
    let mut scans = Vec::new();
    for source in sources {
        let module = module_of(&source.path);
        let scan = scan::scan(&source.text, &module)
            .with_context(|| format!("{}", source.path.display()))?;
        scans.push((source.path.as_path(), module, scan));
    }
    let tests: BTreeSet<&[String]> = scans
        .iter()
        .flat_map(|(_, _, scan)| scan.test_modules.iter().map(Vec::as_slice))
        .collect();
    for (path, module, scan) in &scans {
        let Some(room) = room_of_file(path, module) else {
            let place = path.display();
            report.violations.push(format!(
                "{place}:1:1: nobody entered this room: add it to xtask/src/arch/table.rs"
            ));
            continue;
        };
        edges(&mut report, path, room, scan);
        let is_test = (0..=module.len()).any(|end| tests.contains(&module[..end]));
        if !is_test {
            bans(&mut report, path, room, scan);
            length(&mut report, path, scan.lines);
        }
    }
    made_from(&mut report, sources);
    Ok(report)
}

/// `src/pure/text/mod.rs` and `src/pure/text.rs` are the module `pure::text`.
fn module_of(path: &Path) -> Vec<String> {
    let inner = path.strip_prefix("src").unwrap_or(path).with_extension("");
    let mut module: Vec<String> = inner
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod")
        || ["lib", "main"].iter().any(|root| module == [*root])
    {
        module.pop();
    }
    module
}

fn room_of_file(path: &Path, module: &[String]) -> Option<&'static Room> {
    match path.strip_prefix("src").ok()?.to_str()? {
        "main.rs" => table::named(table::MAIN),
        "lib.rs" => table::named(table::LIB),
        _ => table::room_of(module),
    }
}

fn edges(report: &mut Report, path: &Path, from: &Room, scan: &Scan) {
    for named in &scan.paths {
        let what = named.segments.join("::");
        let place = format!(
            "{}:{}:{}",
            path.display(),
            named.at.line,
            named.at.column + 1
        );
        let Some(to) = (if named.segments.len() < 2 && from.path == table::MAIN {
            table::named(table::LIB)
        } else {
            table::room_of(&named.segments)
        }) else {
            report.violations.push(format!(
                "{place}: {} → crate::{what}: no room of xtask/src/arch/table.rs holds it: name what is meant by the path of its room",
                from.path
            ));
            continue;
        };
        if !from.may_use(to.path) {
            report.violations.push(format!(
                "{place}: {} → {} (crate::{what}): {}",
                from.path, to.path, from.why
            ));
        }
    }
}

fn bans(report: &mut Report, path: &Path, room: &Room, scan: &Scan) {
    if table::MAY_LIFT_BANS.contains(&room.path) {
        return;
    }
    for at in &scan.lifted_bans {
        report.violations.push(format!(
            "{}:{}:{}: {} lifts a ban of clippy.toml: only {} meet the world",
            path.display(),
            at.line,
            at.column + 1,
            room.path,
            table::MAY_LIFT_BANS.join(", ")
        ));
    }
}

fn length(report: &mut Report, path: &Path, lines: usize) {
    let line = format!(
        "{}:1:1: {lines} lines without tests: split it by what it does",
        path.display()
    );
    if lines > table::TOO_LONG {
        report
            .violations
            .push(format!("{line} (at most {})", table::TOO_LONG));
    } else if lines > table::LONG {
        report
            .warnings
            .push(format!("{line} (better at most {})", table::LONG));
    }
}

/// A room that is only begun (nothing but its `mod.rs`) makes no value yet.
fn made_from(report: &mut Report, sources: &[Source]) {
    for room in table::MADE_FROM {
        let folder = Path::new("src").join(room);
        let names = sources
            .iter()
            .filter_map(|source| source.path.strip_prefix(&folder).ok()?.to_str());
        let names: Vec<&str> = names.filter(|name| *name != "mod.rs").collect();
        if !names.is_empty() && !names.iter().any(|name| name.starts_with("from_")) {
            let folder = folder.display();
            report.violations.push(format!(
                "{folder}: no file from_<what it is made of>.rs: where is its value made?"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source {
            path: path.into(),
            text: (*text).to_owned(),
        };
        check(&files.iter().map(source).collect::<Vec<_>>())
            .unwrap()
            .violations
    }

    fn only(path: &str, text: &str) -> String {
        let found = violations(&[(path, text)]);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    #[test]
    fn the_allowed_edges_pass() {
        let files = [
            (
                "src/main.rs",
                "fn main() { forge::run(std::env::args_os()); }",
            ),
            (
                "src/lib.rs",
                "pub mod cli; mod flow; mod edge; mod pure; pub use crate::cli::run;",
            ),
            (
                "src/cli/mod.rs",
                "use crate::flow::operator::build; use crate::pure::text::Span; use crate::edge::disk;",
            ),
            (
                "src/flow/operator/build.rs",
                "use crate::edge::disk; use crate::pure::bundle::Bundle; use super::plan;",
            ),
            (
                "src/flow/host/stage.rs",
                "use crate::edge::disk; use crate::pure::bundle::Bundle;",
            ),
            ("src/edge/disk.rs", "use crate::pure::name::Digest;"),
            ("src/pure/oci/tar.rs", "use crate::pure::name::Digest;"),
            (
                "src/pure/text/span.rs",
                "use super::Sources; mod tests { use super::*; }",
            ),
        ];
        assert_eq!(violations(&files), Vec::<String>::new());
    }

    #[test]
    fn a_violation_names_place_edge_and_reason() {
        let found = only("src/pure/text/span.rs", "\nuse crate::edge::disk;");
        assert!(
            found.starts_with(
                "src/pure/text/span.rs:2:18: pure/text → edge (crate::edge::disk): pure is"
            ),
            "{found}"
        );
    }

    #[test]
    fn no_floor_looks_up() {
        only("src/pure/oci/a.rs", "fn f() { crate::flow::x() }");
        only("src/edge/a.rs", "use crate::flow::operator::x;");
        only("src/flow/operator/a.rs", "use crate::cli::report;");
        only("src/edge/a.rs", "use super::super::cli;");
    }

    #[test]
    fn operator_and_host_never_meet() {
        only("src/flow/operator/a.rs", "use super::super::host::gc;");
        only("src/flow/host/a.rs", "use crate::flow::operator::push;");
        only("src/flow/shared.rs", "use crate::flow::host::gc;");
    }

    #[test]
    fn the_host_reaches_no_evaluator() {
        for room in ["text", "config", "system", "pins", "files", "secrets"] {
            only(
                "src/flow/host/a.rs",
                &format!("fn f() {{ let x = crate::pure::{room}::y(); }}"),
            );
        }
    }

    #[test]
    fn rooms_of_pure_use_only_earlier_ones() {
        only("src/pure/text/a.rs", "use crate::pure::name::Digest;");
        only("src/pure/pins/a.rs", "use crate::pure::secrets::X;");
        only("src/pure/oci/a.rs", "use crate::pure::text::X;");
        only(
            "src/pure/system/from_config.rs",
            "use crate::pure::{config::Host, files::File};",
        );
    }

    #[test]
    fn a_whole_floor_or_an_unknown_room_is_no_way_around() {
        only(
            "src/pure/text/a.rs",
            "use crate::pure; fn f() { pure::bundle::x() }",
        );
        only("src/pure/text/a.rs", "use crate::pure::*;");
        only("src/pure/text/a.rs", "use crate as c;");
        only("src/pure/text/a.rs", "use crate::Digest;");
        only("src/cli/a.rs", "use crate::util::x;");
        only("src/pure/text/a.rs", "use crate::pure::Digest;");
        for path in ["src/util/a.rs", "src/pure/new/a.rs"] {
            assert!(only(path, "").contains("add it to xtask/src/arch/table.rs"));
        }
        only("src/main.rs", "fn main() { forge::cli::run(); }");
    }

    #[test]
    fn bans_are_lifted_only_where_the_world_is_met() {
        let lift = "#![allow(clippy::disallowed_methods)]";
        only("src/pure/text/a.rs", lift);
        only("src/flow/operator/a.rs", lift);
        assert!(
            violations(&[
                ("src/edge/mod.rs", lift),
                ("src/cli/mod.rs", lift),
                ("src/main.rs", lift)
            ])
            .is_empty()
        );
    }

    #[test]
    fn long_files_are_told_and_longer_ones_refused() {
        let of = |lines: usize| {
            vec![Source {
                path: "src/edge/a.rs".into(),
                text: "fn f() {}\n".repeat(lines),
            }]
        };
        let report = check(&of(500)).unwrap();
        assert_eq!((report.warnings.len(), report.violations.len()), (0, 0));
        let report = check(&of(600)).unwrap();
        assert_eq!((report.warnings.len(), report.violations.len()), (1, 0));
        let report = check(&of(601)).unwrap();
        assert_eq!((report.warnings.len(), report.violations.len()), (0, 1));
    }

    #[test]
    fn a_file_of_tests_may_be_long() {
        let long = "fn f() {}\n".repeat(700);
        let parent = ("src/edge/disk/mod.rs", "#[cfg(test)]\nmod tests;");
        assert!(violations(&[parent, ("src/edge/disk/tests.rs", &long)]).is_empty());
        assert_eq!(
            violations(&[parent, ("src/edge/disk/other.rs", &long)]).len(),
            1
        );
    }

    #[test]
    fn a_value_is_made_in_a_file_that_says_from_what() {
        only("src/pure/system/merge.rs", "");
        assert!(
            violations(&[
                ("src/pure/system/merge.rs", ""),
                ("src/pure/system/from_config.rs", "")
            ])
            .is_empty()
        );
        assert!(violations(&[("src/pure/system/mod.rs", "")]).is_empty());
        assert!(violations(&[("src/pure/text/a.rs", "")]).is_empty());
    }
}
