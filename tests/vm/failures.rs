//! Deploys that fail, and leave the host as it was.

use crate::host::Project;
use crate::{changed, lab};

#[test]
fn a_bad_deploy_undoes_itself() {
    let vm = lab("failures");
    let project = Project::new();
    let before = vm.containers();

    // What the service's own checker refuses: the host is untouched.
    project.edit(
        "modules/postgres/postgresql.conf.hbs",
        "max_connections",
        "no_such_setting = 1\nmax_connections",
    );
    let ran = project.forge(&vm, &["deploy", "--yes"]).ends(1);
    assert!(ran.err.contains("no_such_setting"), "{}", ran.err);
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    project.edit(
        "modules/postgres/postgresql.conf.hbs",
        "no_such_setting = 1\n",
        "",
    );

    // A service that never gets healthy: the old one runs again, the others were not restarted.
    project.append(
        "hosts/lab.toml",
        "[override.service.redis]\ncommand = [\"sh\", \"-c\", \"echo it cannot work >&2; exit 7\"]\n",
    );
    let ran = project.forge(&vm, &["deploy", "--yes"]).ends(4);
    assert!(ran.err.contains("redis"), "{}", ran.err);
    assert!(
        ran.err.contains("it cannot work") || ran.out.contains("it cannot work"),
        "{}\n{}",
        ran.out,
        ran.err
    );
    let after = vm.containers();
    assert_eq!(changed(&before, &after), ["redis"]);
    assert_eq!(vm.ssh("readlink /var/lib/forge/current"), "generations/1");
    project.forge(&vm, &["status"]).ends(0);

    // It is remembered, and not tried again by mistake.
    let ran = project.forge(&vm, &["deploy", "--yes"]).ends(1);
    assert!(ran.err.contains("--retry"), "{}", ran.err);
}
