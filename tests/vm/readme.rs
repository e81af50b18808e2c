//! The path that the README promises, command by command as it stands there.

use std::process::Command;

use crate::host::{Project, Vm, root, said};
use crate::{changed, current, lab};

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

/// The way of the README: deployed, changed, a bad deploy that undoes itself, and back.
#[test]
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
        let before = vm.containers();
        let fails = about.starts_with("fails");
        let ran = project.forge(&vm, &words).ends(if fails { 4 } else { 0 });
        let restarted = changed(&before, &vm.containers());
        let generation = current(&vm);
        if fails {
            // The old one runs again, and the others were not restarted.
            assert!(ran.err.contains("it cannot work"), "{}", ran.err);
            assert_eq!(restarted, ["redis"]);
            assert_eq!(generation, "generations/2");
        } else if about.contains("Prometheus, and nothing else") || words[0] == "rollback" {
            assert_eq!(restarted, ["prometheus"], "{command}");
        } else {
            // The first deploy was made for all tests: here, nothing is left to be done.
            assert_eq!(restarted, Vec::<String>::new(), "{command}");
        }
        told.push_str(&format!("$ {command}\n{}{}\n", ran.out, ran.err));
    }
    assert_eq!(current(&vm), "generations/1");
    let history = told.rsplit("$ forge history").next().unwrap();
    for wanted in ["failed", "confirmed"] {
        assert!(history.contains(wanted), "{told}");
    }
    what_has_failed_is_not_tried_by_mistake(&vm, &project);
}

fn what_has_failed_is_not_tried_by_mistake(vm: &Vm, project: &Project) {
    let before = vm.containers();
    let ran = project.forge(vm, &["deploy", "--yes"]).ends(1);
    assert!(ran.err.contains("--retry"), "{}", ran.err);

    // What a service's own checker refuses: the host is untouched.
    project.edit(
        "hosts/lab.toml",
        "\n[override.service.redis]\ncommand = [\"sh\", \"-c\", \"echo it cannot work >&2; exit 7\"]\n",
        "",
    );
    let settings = "modules/postgres/postgresql.conf.hbs";
    project.edit(
        settings,
        "max_connections",
        "no_such_setting = 1\nmax_connections",
    );
    let ran = project.forge(vm, &["deploy", "--yes"]).ends(1);
    assert!(ran.err.contains("no_such_setting"), "{}", ran.err);
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());
    assert_eq!(current(vm), "generations/1");

    // And the next good one works.
    project.edit(settings, "no_such_setting = 1\n", "");
    project.forge(vm, &["deploy", "--yes"]).ends(0);
    assert_eq!(changed(&before, &vm.containers()), ["prometheus"]);
}
