//! A deploy that nobody confirms.

use crate::host::Project;
use crate::{changed, current, kill, lab, status_until, until};

#[test]
fn what_nobody_confirms_goes_back_by_itself() {
    let vm = lab("deadline");
    let project = Project::new();
    let before = vm.containers();
    project.edit("hosts/lab.toml", "retention = \"7d\"", "retention = \"8d\"");
    let mut child = project.spawn_at(vm.port(22), &["deploy", "--yes", "--deadline", "60s"]);
    until(&mut child, "↻ service prometheus");
    kill(child);
    let ran = project.forge(&vm, &["status"]).ends(1);
    assert!(ran.out.contains("unfinished"), "{}", ran.out);
    assert_eq!(current(&vm), "generations/1");

    status_until(&project, &vm, |status| status["journal"].is_null());
    assert_eq!(current(&vm), "generations/1");
    project.forge(&vm, &["status"]).ends(0);
    let after = vm.containers();
    assert_eq!(changed(&before, &after), ["prometheus"]);
    assert!(
        vm.ssh("docker inspect forge-prometheus-1 --format '{{.Config.Cmd}}'")
            .contains("604800s"),
        "the service of the generation before runs"
    );
    let history = project.forge(&vm, &["history"]).ends(0).out;
    let failed = history
        .lines()
        .find(|line| line.trim_start().trim_start_matches('(').starts_with('2'))
        .unwrap_or_else(|| panic!("{history}"));
    assert!(
        failed.contains("failed") && failed.contains("deadline"),
        "{history}"
    );
    // Nobody attaches to what was taken back.
    let told = project.forge(&vm, &["attach", "--json"]).ends(4).json();
    assert_eq!(told["outcome"], "rolled_back", "{told}");

    // It did not fail by itself, but it did fail: once more, by hand, it counts.
    let ran = project.forge(&vm, &["deploy", "--yes"]).ends(1);
    assert!(ran.err.contains("--retry"), "{}", ran.err);
    project.forge(&vm, &["deploy", "--yes", "--retry"]).ends(0);
    assert_eq!(current(&vm), "generations/3");
}
