//! What a deploy restarts and what it leaves alone, whatever becomes of the laptop meanwhile; and the way back over all of it.

use std::process::Command;
use std::time::Duration;

use crate::host::{Project, Vm};
use crate::link::Link;
use crate::{Json, changed, current, kill, lab, until};

#[test]
fn exactly_what_changed_is_restarted_and_all_of_it_goes_back() {
    let vm = lab("changes");
    let project = Project::new();
    an_image_by_sudo_and_the_system_s_ssh(&vm, &project);
    a_file_over_a_link_that_is_cut(&vm, &project);
    a_module_less_and_nobody_to_confirm_it(&vm, &project);

    // On the host itself, without a network, after somebody has thrown Docker's images away: three generations back.
    vm.ssh("docker system prune --all --force >/dev/null");
    vm.ssh("ip route del default; /var/lib/forge/current/agent/forge rollback --to 1 --yes");
    assert_eq!(current(&vm), "generations/1");
    assert!(vm.containers().contains("alertmanager"));
    assert!(!page(&vm).contains("another lab"));
    let history = vm.ssh("/var/lib/forge/current/agent/forge history");
    assert!(history.contains('4'), "{history}");

    // And forward again.
    let words = ["rollback", "--to", "4", "--yes"];
    project.forge(&vm, &words).ends(0);
    assert_eq!(current(&vm), "generations/4");
    assert!(!vm.containers().contains("alertmanager"));
    assert!(page(&vm).contains("another lab"));
    project.forge(&vm, &["status"]).ends(0);
}

/// One image: exactly its users.
fn an_image_by_sudo_and_the_system_s_ssh(vm: &Vm, project: &Project) {
    let before = vm.containers();
    project.edit(
        "images/node-exporter-bookworm/image.toml",
        "description\" = \"Node exporter",
        "description\" = \"Another exporter",
    );
    project.local(&["lock"]);
    let words = ["deploy", "--plan", "--user", "admin"];
    let plan = project.forge(vm, &words).ends(0);
    assert!(plan.out.contains("node-exporter"), "{}", plan.out);
    project.forge(vm, &["status", "--ssh", "openssh"]).ends(0);
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());

    // All the way, by both: what confirms is another login of the same kind.
    let words = ["deploy", "--yes", "--user", "admin", "--ssh", "openssh"];
    project.forge(vm, &words).ends(0);
    assert_eq!(changed(&before, &vm.containers()), ["node-exporter"]);
    assert_eq!(current(vm), "generations/2");

    // Who may not become root gets nowhere, and is told why.
    vm.ssh("mv /etc/sudoers.d/90-forge /root/");
    let ran = project.forge(vm, &["status", "--user", "admin"]).ends(3);
    assert!(ran.err.contains("sudo"), "{}", ran.err);
    vm.ssh("mv /root/90-forge /etc/sudoers.d/");
}

/// One line of a file: exactly its reader. The connection is cut meanwhile, and comes back: the program finds the activation again, and
/// confirms it.
fn a_file_over_a_link_that_is_cut(vm: &Vm, project: &Project) {
    let before = vm.containers();
    project.edit(
        "hosts/lab.toml",
        "<h1>{{host.name}}</h1>",
        "<h1>another {{host.name}}</h1>",
    );
    let link = Link::to(vm);
    let mut child = project.spawn_at(link.port, &["deploy", "--yes", "--json"]);
    let said = until(&mut child, "↻ service caddy");
    link.cut();
    std::thread::sleep(Duration::from_secs(3));
    link.mend();
    let output = child.wait_with_output().unwrap();
    let said = said.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["outcome"], "done", "{told}\n{said}");
    assert_eq!(told["generation"], 3, "{told}");
    // Its events came from the first again, and were told once.
    assert_eq!(said.matches("↻ service caddy").count(), 1, "{said}");
    let sent = told["total_bytes"].as_u64().unwrap();
    assert!(sent < 64 << 10, "{sent} bytes for one line");
    assert_eq!(changed(&before, &vm.containers()), ["caddy"]);
    assert_eq!(current(vm), "generations/3");
    assert!(page(vm).contains("another lab"));
}

/// A module less: its services are gone, its data is there. The program is killed in mid-activation, and another one attaches: the
/// activation was not stopped, and counts as confirmed.
fn a_module_less_and_nobody_to_confirm_it(vm: &Vm, project: &Project) {
    let before = vm.containers();
    project.edit(
        "hosts/lab.toml",
        "[modules.alertmanager]\nimage",
        "[modules.alertmanager]\nenable = false\nimage",
    );
    project.edit(
        "hosts/lab.toml",
        "[override.service.alertmanager.healthcheck]\ninterval = \"2m\"\ntimeout = \"30s\"\nstart_period = \"2m\"\nstart_interval = \"3s\"\n",
        "",
    );
    let mut child = project.spawn_at(vm.port(22), &["deploy", "--yes"]);
    until(&mut child, "↻ service prometheus");
    kill(child);
    let told = project.forge(vm, &["attach", "--json"]).ends(0).json();
    assert_eq!(told["outcome"], "done", "{told}");
    assert_eq!(told["generation"], 4, "{told}");
    assert_eq!(current(vm), "generations/4");
    let after = vm.containers();
    // Caddy no longer leads to it, and Prometheus no longer tells it.
    assert_eq!(
        changed(&before, &after),
        ["alertmanager", "prometheus"],
        "{before}\n{after}"
    );
    assert!(!after.contains("alertmanager"), "{after}");
    vm.ssh("test -d /var/lib/forge/volumes/alertmanager");

    // How it ended is told to whoever asks later, too.
    let told = project.forge(vm, &["attach", "--json"]).ends(0).json();
    assert_eq!(told["generation"], 4, "{told}");
}

/// What somebody outside sees at the door.
fn page(vm: &Vm) -> String {
    let port = vm.port(443);
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "30"])
        .args(["--resolve", &format!("lab.example.com:{port}:127.0.0.1")])
        .arg(format!("https://lab.example.com:{port}/"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
