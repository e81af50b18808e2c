//! The firewall of a running kernel becomes what a host declares: with the real `ufw` and `iptables`, in network namespaces of their own and
//! with copies of UFW's files. The firewall of this machine is not touched.

// A test meets the world itself, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use forge::edge::host::paths::Paths;
use forge::edge::store::{DiskStore, Options};
use forge::flow::host::files::Files;
use forge::flow::host::firewall::Firewall;
use forge::flow::host::resource::{Resource, Way};
use forge::flow::host::tell::{Kept, Silent};
use forge::flow::host::{Host, HostError};
use forge::pure::bundle::{Part, PartKind};
use forge::pure::files::firewall::{Family, Firewall as Rendered};
use forge::pure::generation::{Action, Change, Mode, Owner, Place, Target, TargetFile};
use forge::pure::name::BlobDigest;
use forge::pure::system::service::{FirewallEntry, Service};
use serde_json::json;

/// True in namespaces of its own, where the test goes on; elsewhere this very test is run in them.
fn inside(test: &str) -> bool {
    if std::env::var_os("FORGE_TEST_INSIDE").is_some() {
        return true;
    }
    for program in ["/usr/sbin/ufw", "/usr/sbin/iptables", "/usr/bin/unshare"] {
        assert!(
            Path::new(program).exists(),
            "no {program}: `apt-get install --no-install-recommends ufw iptables iproute2 util-linux`"
        );
    }
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if id.stdout != b"0\n" {
        command.arg("--map-root-user");
    }
    let output = command
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env("FORGE_TEST_INSIDE", "1")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// All that runs, of both families.
fn kernel() -> String {
    run("iptables", "-S") + &run("ip6tables", "-S")
}

fn count(of: &str, in_chain: &str) -> usize {
    let printed = run("iptables", "-S");
    let lines = printed.lines().filter(|line| line.starts_with(in_chain));
    lines.filter(|line| line.contains(of)).count()
}

fn jumps() -> usize {
    count("-j forge-docker", "-A DOCKER-USER")
}

const DEFAULTS: &str = "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\n\
    MANAGE_BUILTINS=no\nIPT_SYSCTL=\nIPT_MODULES=\"\"\n";

fn put(target: &mut Target, name: &str, place: Place, text: &str) {
    target.files.insert(
        name.to_owned(),
        TargetFile {
            place,
            owner: Owner { uid: 0, gid: 0 },
            mode: Mode(0o644),
            digest: BlobDigest::of(text),
            secrets: BTreeSet::new(),
        },
    );
    let title = format!("files/{name}");
    let part = Part::new(
        PartKind::File,
        title.parse().expect("a title"),
        text.as_bytes().to_vec(),
    );
    target.parts.insert(title, part);
}

/// A host that opens these ports, as a bundle would say it.
fn target(ports: &[u16], defaults: &str) -> Target {
    let entries: Vec<FirewallEntry> = ports
        .iter()
        .map(|port| {
            let (name, limit) = (format!("p{port}"), *port == 22);
            let entry = json!({ "name": name, "module": "m", "port": port, "protocol": "tcp", "from": [], "limit": limit });
            serde_json::from_value(entry).expect("an entry")
        })
        .collect();
    let service: Service = serde_json::from_value(json!({
        "name": "a", "module": "m", "image": "web", "env": {}, "env_secret": {}, "mounts": [],
        "ports": [{ "host": 8080, "container": 80, "protocol": "tcp", "public": true }],
        "networks": ["net"], "depends_on": [], "restart": "no", "read_only": false, "cap_add": [], "cap_drop": [],
        "no_new_privileges": true, "privileged": false, "devices": [], "pid_host": false, "network_host": false,
        "init": false, "stop_grace_period": "10s", "extra_hosts": {}, "sysctls": {}, "labels": {}, "limits": { "pids": 1 },
        "reservations": { "gpus": 0 }, "log": { "max_size": "1MiB", "max_files": 1 },
    }))
    .expect("a service");
    let rendered = Rendered::new(&entries, &[service]).expect("it is good");
    let mut target = Target::nothing();
    let managed = |path: &str| Place::Managed {
        path: path.to_owned(),
    };
    put(
        &mut target,
        "ufw/defaults",
        managed("/etc/default/ufw"),
        defaults,
    );
    let config = "ENABLED=yes\nLOGLEVEL=low\n";
    put(
        &mut target,
        "ufw/ufw.conf",
        managed("/etc/ufw/ufw.conf"),
        config,
    );
    for (family, six) in [(Family::V4, ""), (Family::V6, "6")] {
        let user = rendered.user_rules(family);
        let path = format!("/etc/ufw/user{six}.rules");
        put(
            &mut target,
            &format!("forge/user{six}.rules"),
            managed(&path),
            &user,
        );
        let after = rendered.after_block(family);
        let path = format!("/etc/ufw/after{six}.rules");
        put(
            &mut target,
            &format!("forge/after{six}.rules"),
            Place::Block { path },
            &after,
        );
        let live = rendered.live_chain(family);
        let path = format!("/var/lib/forge/files/{six}x/live");
        put(
            &mut target,
            &format!("forge/live-after{six}.rules"),
            Place::Content { path },
            &live,
        );
    }
    target
}

struct World {
    root: tempfile::TempDir,
    host: Host,
}

fn fine(_: &str, _: &[u8]) -> Result<(), String> {
    Ok(())
}

impl World {
    /// UFW as if just installed.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let script = include_str!("render_firewall/root.sh");
        let output = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(root.path())
            .output()
            .expect("bash runs");
        assert!(output.status.success(), "{output:?}");
        let paths = Paths::below(root.path());
        let store = DiskStore::open(&paths.store(), Options::default()).expect("a store");
        Self {
            host: Host { paths, store },
            root,
        }
    }

    fn plan(&self, want: &Target, before: &[&Target]) -> Vec<Change> {
        let way = Way { want, before };
        Firewall.plan(&self.host, way).expect("a plan")
    }

    fn apply_firewall(&self, want: &Target, before: &[&Target]) -> Result<usize, HostError> {
        let (way, told) = (Way { want, before }, Kept::default());
        Firewall.apply(&self.host, way, &told)?;
        Ok(told.events().len())
    }

    /// Files first, as a deployment does.
    fn apply(&self, want: &Target, before: &[&Target]) {
        let way = Way { want, before };
        Files::new(&fine)
            .apply(&self.host, way, &Silent)
            .expect("files");
        self.apply_firewall(want, before).expect("applied");
        assert_eq!(
            self.plan(want, &[want]),
            [],
            "what was applied is no drift\n{}",
            kernel()
        );
        let before = kernel();
        assert_eq!(self.apply_firewall(want, &[want]).expect("applied"), 0);
        assert_eq!(kernel(), before, "twice is once");
    }

    fn ufw_init(&self, verb: &str) {
        let root = self.root.path().display();
        run(
            &format!("{root}/lib/ufw/ufw-init"),
            &format!("--rootdir {root} --datadir {root} {verb}"),
        );
    }
}

#[test]
fn what_runs_becomes_what_is_declared_and_drift_is_seen() {
    if !inside("what_runs_becomes_what_is_declared_and_drift_is_seen") {
        return;
    }
    let (world, nothing) = (World::new(), Target::nothing());
    let one = target(&[22, 8080], DEFAULTS);
    assert_eq!(world.plan(&nothing, &[]), []);
    let plan = world.plan(&one, &[&nothing]);
    assert_eq!(
        (plan.len(), plan[0].name.as_str(), plan[0].action),
        (1, "ufw", Action::Start)
    );
    world.apply(&one, &[&nothing]);
    assert!(kernel().contains("-P INPUT DROP\n"));
    assert_eq!((count("--dport 22", "-A ufw-user-input"), jumps()), (3, 1));

    // By hand.
    run(
        "iptables",
        "-A ufw-user-input -p tcp --dport 9999 -j ACCEPT",
    );
    run("ip6tables", "-P INPUT ACCEPT");
    run("iptables", "-D DOCKER-USER -j forge-docker");
    run("iptables", "-A DOCKER-USER -s 192.0.2.9 -j DROP");
    let plan = world.plan(&one, &[&one]);
    let names: Vec<_> = plan.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["iptables", "iptables DOCKER-USER", "ip6tables"]);
    assert_eq!(plan[0].why, "changed by hand since");
    let diff = |change: &Change| change.diff.clone().expect("a difference");
    assert!(diff(&plan[0]).contains("\n--A ufw-user-input -p tcp -m tcp --dport 9999 -j ACCEPT\n"));
    assert!(diff(&plan[2]).contains("\n--P INPUT ACCEPT\n+-P INPUT DROP\n"));
    world.apply(&one, &[&one]);
    assert_eq!((count("9999", "-A"), jumps()), (0, 1));
    for _ in 0..2 {
        run("iptables", "-A DOCKER-USER -j forge-docker");
    }
    world.apply(&one, &[&one]);
    assert_eq!(jumps(), 1);
    assert_eq!(
        count("192.0.2.9", "-A DOCKER-USER"),
        1,
        "others' rules stay"
    );

    // Another generation; nobody has touched anything.
    let two = target(
        &[22, 443],
        &DEFAULTS.replace("INPUT_POLICY=\"DROP\"", "INPUT_POLICY=\"REJECT\""),
    );
    let plan = world.plan(&two, &[&one]);
    assert!(
        plan.iter().all(|change| change.why == "other rules"),
        "{plan:?}"
    );
    world.apply(&two, &[&one]);
    assert_eq!(
        (
            count("--dport 443", "-A ufw-user-input"),
            count("REJECT", "-A ufw-reject-input")
        ),
        (1, 1)
    );
    assert_eq!(
        (count("8080", "-A"), count("192.0.2.9", "-A DOCKER-USER")),
        (0, 1)
    );

    // A bad line leaves the old rules, of both families.
    let before = kernel();
    let mut bad = target(&[80], DEFAULTS);
    let text = "*filter\n:ufw6-user-input - [0:0]\n-A ufw6-user-input -j NOPE\nCOMMIT\n";
    let place = Place::Managed {
        path: "/etc/ufw/user6.rules".to_owned(),
    };
    put(&mut bad, "forge/user6.rules", place, text);
    let error = world
        .apply_firewall(&bad, &[&two])
        .expect_err("it is refused");
    assert!(error.to_string().contains("ip6tables"), "{error}");
    let after = kernel();
    assert!(after == before, "{after}");

    // As it was found: UFW was off.
    world.apply(&nothing, &[&two, &bad]);
    let found = kernel();
    assert!(
        found.contains("-P INPUT ACCEPT\n") && !found.contains("-P INPUT DROP"),
        "{found}"
    );
    assert!(!found.contains("forge-docker"), "{found}");
    assert_eq!(count("192.0.2.9", "-A DOCKER-USER"), 1);
}

/// UFW runs already, with rules of its owner; Docker comes later.
#[test]
fn a_host_with_a_firewall_gets_it_back() {
    if !inside("a_host_with_a_firewall_gets_it_back") {
        return;
    }
    let (world, nothing) = (World::new(), Target::nothing());
    let etc = world.root.path().join("etc/ufw");
    fs::write(etc.join("ufw.conf"), "ENABLED=yes\nLOGLEVEL=low\n").expect("written");
    let theirs = target(&[2222], DEFAULTS);
    let rules = theirs.file_bytes("forge/user.rules").expect("there");
    fs::write(etc.join("user.rules"), rules).expect("written");
    world.ufw_init("start");
    let found = kernel();
    let one = target(&[22], DEFAULTS);
    world.apply(&one, &[&nothing]);
    assert_eq!((count("2222", "-A"), count("DOCKER-USER", "-")), (0, 0));
    // Docker starts.
    run("iptables", "-N DOCKER-USER");
    run("iptables", "-I FORWARD -j DOCKER-USER");
    assert_eq!(world.plan(&one, &[&one]).len(), 1);
    world.apply(&one, &[&one]);
    assert_eq!(jumps(), 1);
    run("iptables", "-D FORWARD -j DOCKER-USER");
    world.apply(&nothing, &[&one]);
    assert_eq!(count("2222", "-A ufw-user-input"), 1);
    run("iptables", "-X DOCKER-USER");
    let now = kernel();
    let lines = |of: &str, other: &str| -> Vec<String> {
        let other: BTreeSet<&str> = other.lines().collect();
        let lines = of.lines().filter(|line| !other.contains(line));
        lines.map(ToOwned::to_owned).collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        (lines(&now, &found), lines(&found, &now)),
        (none.clone(), none)
    );
}

/// What is set live is what a start of UFW would set, for every policy and with IPv6 shut.
#[test]
fn a_live_change_is_what_a_start_would_make() {
    if !inside("a_live_change_is_what_a_start_would_make") {
        return;
    }
    let shut = DEFAULTS.replace("IPV6=yes", "IPV6=no");
    let open = DEFAULTS.replace("INPUT_POLICY=\"DROP\"", "INPUT_POLICY=\"ACCEPT\"");
    let reject = DEFAULTS
        .replace("OUTPUT_POLICY=\"ACCEPT\"", "OUTPUT_POLICY=\"REJECT\"")
        .replace("FORWARD_POLICY=\"DROP\"", "FORWARD_POLICY=\"ACCEPT\"");
    let world = World::new();
    let first = target(&[22], DEFAULTS);
    world.apply(&first, &[]);
    let mut before = first;
    for defaults in [reject, open, shut.clone(), DEFAULTS.to_owned(), shut] {
        let next = target(&[22], &defaults);
        assert_ne!(world.plan(&next, &[&before]), []);
        world.apply(&next, &[&before]);
        let live = run("ip6tables", "-S");
        // UFW itself, from the files.
        world.ufw_init("force-stop");
        assert_eq!(world.plan(&next, &[&next])[0].action, Action::Start);
        world.ufw_init("start");
        assert_eq!(world.plan(&next, &[&next]), [], "{defaults}\n{}", kernel());
        let live: BTreeSet<&str> = live.lines().collect();
        let started = run("ip6tables", "-S");
        let missing: Vec<_> = started
            .lines()
            // DOCKER-USER is Docker's to make; the way from it is there once it is.
            .filter(|line| {
                !live.contains(line) && !line.starts_with("-N ") && !line.contains("DOCKER-USER")
            })
            .collect();
        assert_eq!(missing, Vec::<&str>::new(), "{defaults}");
        before = next;
    }
}

#[test]
fn docker_with_nftables_is_refused() {
    if !inside("docker_with_nftables_is_refused") {
        return;
    }
    let world = World::new();
    let daemon = world.root.path().join("etc/docker");
    fs::create_dir_all(&daemon).expect("made");
    fs::write(
        daemon.join("daemon.json"),
        "{\"firewall-backend\": \"nftables\"}",
    )
    .expect("written");
    let before = kernel();
    let want = target(&[22], DEFAULTS);
    let error = world.apply_firewall(&want, &[]).expect_err("refused");
    assert!(error.to_string().contains("nftables"), "{error}");
    // It is told before anything is changed, too.
    let told = forge::flow::host::firewall::refusal(&world.host, &want).expect("asked");
    assert!(told.is_some_and(|why| why.contains("\"iptables\"")));
    assert_eq!(kernel(), before);
}
