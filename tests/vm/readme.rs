//! The path that the README promises, command by command as it stands there.

use std::process::Command;

use crate::host::{Project, root, said};
use crate::lab;

/// What makes a machine and throws it away: the harness does, in its own way.
const NOT_HERE: &[&str] = &["cd ", "cargo xtask ", "eval "];

/// The commands of a section, each with what the README says of it.
fn commands(section: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = text
        .split_once(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("the README has no section {section:?}"));
    let section = rest.split("\n## ").next().unwrap();
    let split = |line: &str| match line.split_once(" # ") {
        Some((command, about)) => (command.trim().to_owned(), about.trim().to_owned()),
        None => (line.trim().to_owned(), String::new()),
    };
    let lines = section.lines();
    lines
        .filter_map(|l| l.strip_prefix("$ "))
        .map(split)
        .collect()
}

#[test]
#[ignore = "not seen to pass on a host yet"]
fn the_readme_s_way_to_a_real_host_is_one() {
    let vm = lab("readme");
    let project = Project::new();
    let mut told = String::new();
    for (command, about) in commands("On a real host") {
        if NOT_HERE.iter().any(|start| command.starts_with(start)) {
            continue;
        }
        let Some(words) = command.strip_prefix("forge ") else {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-ec", &command]);
            said(shell.current_dir(project.folder.path()));
            continue;
        };
        // The harness names the host itself, and nobody can be asked here.
        let words = words.replace("--host lab", "");
        let mut words: Vec<&str> = words.split_whitespace().filter(|w| *w != "lab").collect();
        if ["deploy", "rollback"].contains(&words[0]) && !words.contains(&"--yes") {
            words.push("--yes");
        }
        let fails = about.starts_with("fails");
        let ran = project.forge(&vm, &words).ends(if fails { 4 } else { 0 });
        told.push_str(&format!("$ {command}\n{}{}\n", ran.out, ran.err));
        if fails {
            assert!(ran.err.contains("it cannot work"), "{}", ran.err);
            assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/2");
        }
    }
    // Deployed, changed, a bad deploy that undid itself, and back.
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    let history = told.rsplit("$ forge history").next().unwrap();
    for wanted in ["failed", "confirmed"] {
        assert!(history.contains(wanted), "{told}");
    }
    assert!(told.contains("prometheus"), "{told}");
}
