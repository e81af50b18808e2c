//! What a deploy restarts, and what it leaves alone.

use std::process::Command;

use crate::host::{Project, Vm};
use crate::{changed, lab};

#[test]
fn restarts_what_changed_and_nothing_else() {
    let vm = lab("changes");
    let project = Project::new();

    // Nothing has changed: nothing is done, and no generation is made.
    let before = vm.containers();
    let told = project
        .forge(&vm, &["deploy", "--yes", "--json"])
        .ends(0)
        .json();
    assert_eq!(told["outcome"], "nothing_to_do", "{told}");
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    assert_eq!(
        vm.ssh("ls /var/lib/forge/generations | sort -n | tail -1"),
        "1"
    );

    // A plan changes nothing, and says what would be.
    project.edit("hosts/lab.toml", "retention = \"7d\"", "retention = \"8d\"");
    let plan = project.forge(&vm, &["deploy", "--plan"]).ends(0);
    assert!(plan.out.contains("prometheus"), "{}", plan.out);
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());

    // One service's configuration: exactly it.
    project.forge(&vm, &["deploy", "--yes"]).ends(0);
    let after = vm.containers();
    assert_eq!(changed(&before, &after), ["prometheus"]);
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/2");

    // A file that caddy alone reads: exactly its reader.
    let before = after;
    project.edit(
        "hosts/lab.toml",
        "<h1>{{host.name}}</h1>",
        "<h1>another {{host.name}}</h1>",
    );
    let told = project
        .forge(&vm, &["deploy", "--yes", "--json"])
        .ends(0)
        .json();
    let sent = told["total_bytes"].as_u64().unwrap();
    assert!(sent < 64 << 10, "{sent} bytes for one line");
    let after = vm.containers();
    assert_eq!(changed(&before, &after), ["caddy"]);
    assert!(page(&vm).contains("another lab"));

    // A module less: its services are gone, its data is there.
    let before = after;
    project.edit(
        "hosts/lab.toml",
        "[modules.alertmanager]\nimage",
        "[modules.alertmanager]\nenable = false\nimage",
    );
    project.edit(
        "hosts/lab.toml",
        "[override.service.alertmanager.healthcheck]\ninterval = \"30s\"\ntimeout = \"30s\"\n",
        "",
    );
    project.forge(&vm, &["deploy", "--yes"]).ends(0);
    let after = vm.containers();
    let names = changed(&before, &after);
    assert!(names.contains(&"alertmanager".to_owned()), "{names:?}");
    assert!(!names.contains(&"postgres".to_owned()), "{names:?}");
    assert!(!after.contains("alertmanager"), "{after}");
    vm.ssh("test -d /var/lib/forge/volumes/alertmanager");

    // Back over three generations, and forward again.
    let latest = vm.ssh("readlink /var/lib/forge/current");
    assert_eq!(latest, "generations/4");
    project
        .forge(&vm, &["rollback", "--to", "1", "--yes"])
        .ends(0);
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    assert!(vm.containers().contains("alertmanager"));
    assert!(!page(&vm).contains("another lab"));
    project
        .forge(&vm, &["rollback", "--to", "4", "--yes"])
        .ends(0);
    assert!(!vm.containers().contains("alertmanager"));

    // On the host itself, without a network, after somebody has thrown Docker's images away.
    vm.ssh("docker system prune --all --force >/dev/null");
    vm.ssh("ip route del default; /var/lib/forge/current/agent/forge rollback --to 1 --yes");
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    assert!(vm.containers().contains("alertmanager"));
    assert!(
        vm.ssh("/var/lib/forge/current/agent/forge history")
            .contains('4')
    );
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
