//! The real `ufw`, `iptables` and kernel agree with what forge renders. Everything runs in private namespaces and private
//! copies: the firewall of this machine is not touched.

// A test meets the world itself, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use forge::pure::files::firewall::{Family, Firewall};
use forge::pure::system::service::{FirewallEntry, Service};
use serde_json::json;

/// Runs a script in network and mount namespaces of its own, as their root. A missing program fails the test: without these
/// programs it could not say anything.
fn run(script: &str, folder: &Path) -> String {
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
        .args(["bash", "-c", script, "bash"])
        .arg(folder)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("unshare runs");
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        fs::read_to_string(folder.join("output")).unwrap_or_default(),
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn entry(name: &str, port: u16, protocol: &str, from: &[&str], limit: bool) -> serde_json::Value {
    json!({ "name": name, "module": "m", "port": port, "protocol": protocol, "from": from, "limit": limit })
}

fn firewall(entries: &[serde_json::Value], public: &[u16]) -> Firewall {
    let entries: Vec<FirewallEntry> = entries
        .iter()
        .map(|entry| serde_json::from_value(entry.clone()).expect("an entry"))
        .collect();
    let ports: Vec<_> = public
        .iter()
        .map(|port| json!({ "host": port, "container": 80, "protocol": "tcp", "public": true }))
        .collect();
    let service: Service = serde_json::from_value(json!({
        "name": "a", "module": "m", "image": "web", "env": {}, "env_secret": {}, "mounts": [], "ports": ports,
        "networks": ["net"], "depends_on": [], "restart": "no", "read_only": false, "cap_add": [], "cap_drop": [],
        "no_new_privileges": true, "privileged": false, "devices": [], "pid_host": false, "network_host": false,
        "init": false, "stop_grace_period": "10s", "extra_hosts": {}, "sysctls": {}, "labels": {}, "limits": { "pids": 1 },
        "reservations": { "gpus": 0 }, "log": { "max_size": "1MiB", "max_files": 1 },
    }))
    .expect("a service");
    Firewall::new(&entries, &[service]).expect("it is good")
}

const COMMANDS: &str = include_str!("render_firewall/commands.sh");

/// A root for ufw in which its own commands have been given.
fn ufw(firewall: &Firewall) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let commands: String = firewall
        .ufw_commands()
        .iter()
        .map(|command| {
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            format!("{}\n", shlex::try_join(words).expect("no NUL"))
        })
        .collect();
    fs::write(root.path().join("commands"), commands).expect("written");
    run(include_str!("render_firewall/root.sh"), root.path());
    run(COMMANDS, root.path());
    root
}

fn many() -> Vec<serde_json::Value> {
    vec![
        entry("ssh", 22, "tcp", &[], true),
        entry("http", 80, "tcp", &[], false),
        entry("https", 443, "tcp", &[], false),
        entry("http3", 443, "udp", &[], false),
        entry(
            "dns",
            53,
            "udp",
            &[
                "10.1.2.3/8",
                "2001:DB8::1/32",
                "192.0.2.7",
                "192.0.2.8/32",
                "2001:db8::53/128",
            ],
            false,
        ),
        entry("four", 54, "tcp", &["0.0.0.0/0"], false),
        entry("six", 55, "tcp", &["::/0"], true),
        entry("narrow", 22, "tcp", &["198.51.100.0/24", "::1"], false),
        entry(
            "narrow-limit",
            56,
            "udp",
            &["198.51.100.1", "fe80::/10"],
            true,
        ),
    ]
}

#[test]
fn ufw_writes_the_same_files() {
    for entries in [vec![entry("ssh", 22, "tcp", &[], false)], many()] {
        let firewall = firewall(&entries, &[]);
        let root = ufw(&firewall);
        for (family, name) in [(Family::V4, "user.rules"), (Family::V6, "user6.rules")] {
            let theirs = fs::read_to_string(root.path().join("etc/ufw").join(name)).expect("read");
            assert_eq!(firewall.user_rules(family), theirs, "{name}");
        }
    }
}

/// ufw reads what forge wrote, and has nothing to change in it.
#[test]
fn ufw_takes_our_files_for_its_own() {
    let firewall = firewall(&many(), &[]);
    let root = ufw(&firewall);
    let folder = root.path().join("etc/ufw");
    for (family, name) in [(Family::V4, "user.rules"), (Family::V6, "user6.rules")] {
        fs::write(folder.join(name), firewall.user_rules(family)).expect("written");
    }
    fs::write(root.path().join("output"), "").expect("written");
    run(COMMANDS, root.path());
    let output = fs::read_to_string(root.path().join("output")).expect("read");
    assert!(output.contains("Skipping adding existing rule"), "{output}");
    assert!(!output.contains("Rules updated"), "{output}");
}

#[test]
fn ufw_boots_and_reloads_with_our_block() {
    let firewall = firewall(&many(), &[80, 443]);
    let root = ufw(&firewall);
    let folder = root.path().join("etc/ufw");
    for (family, name) in [(Family::V4, "after.rules"), (Family::V6, "after6.rules")] {
        let whole = fs::read_to_string(folder.join(name)).expect("read");
        let whole = format!("{whole}\n# BEGIN\n{}# END\n", firewall.after_block(family));
        fs::write(folder.join(name), whole).expect("written");
    }
    let seen = run(include_str!("render_firewall/boot.sh"), root.path());
    let rules = |family| {
        let count =
            |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let (chain, user) = (firewall.live_chain(family), firewall.user_rules(family));
        (
            count(&chain, "-A"),
            count(&user, "-A ufw-user-input") + count(&user, "-A ufw6-user-input"),
        )
    };
    let expected: String = ["boot", "reload", "again", "replaced"]
        .into_iter()
        .flat_map(|when| Family::BOTH.map(|family| (when, family)))
        .map(|(when, family)| {
            let (chain, user) = rules(family);
            format!(
                "{when} {}: 1 jump, {chain} rules, {user} for the host\n",
                family.program()
            )
        })
        .collect();
    assert_eq!(seen, expected);
}

/// Real packets between namespaces: before the chain, with it, and after it was replaced while running.
#[test]
fn packets_come_through_where_they_should() {
    let public = [8080, 8081, 8082, 8083, 8084];
    let before = firewall(
        &[
            entry("all", 8080, "tcp", &[], false),
            entry("udp-only", 8081, "udp", &[], false),
            entry("in-container", 81, "tcp", &[], false),
            entry("us", 8082, "tcp", &["192.0.2.2", "2001:db8:1::/64"], false),
            entry(
                "others",
                8083,
                "tcp",
                &["198.51.100.0/24", "2001:db8:2::/64"],
                false,
            ),
            entry("often", 8084, "tcp", &[], true),
        ],
        &public,
    );
    let after = firewall(&[entry("other", 8081, "tcp", &[], false)], &public);
    let folder = tempfile::tempdir().expect("a folder");
    for family in Family::BOTH {
        let name = family.program();
        fs::write(
            folder.path().join(format!("{name}.after")),
            before.after_block(family),
        )
        .expect("written");
        fs::write(
            folder.path().join(format!("{name}.live")),
            after.live_chain(family),
        )
        .expect("written");
    }
    let seen = run(include_str!("render_firewall/packets.sh"), folder.path());
    let matrix = |when: &str, verdicts: [&str; 4]| {
        let mut lines = String::new();
        for to in ["192.0.2.1", "2001:db8:1::1"] {
            for (port, verdict) in (8080..).zip(verdicts) {
                lines.push_str(&format!("{when}: out -> {to} {port} {verdict}\n"));
            }
            // From a container by the address of the host: that is inside.
            lines.push_str(&format!("{when}: two -> {to} 8081 open\n"));
        }
        for to in ["192.0.2.2", "2001:db8:1::2"] {
            lines.push_str(&format!("{when}: ctr -> {to} 9000 open\n"));
        }
        lines
    };
    let rules = |family| {
        before
            .live_chain(family)
            .lines()
            .filter(|line| line.starts_with("-A"))
            .count()
            + 1
    };
    let mut expected = matrix("unguarded", ["open"; 4]);
    expected.push_str("iptables jumps: 1\nip6tables jumps: 1\n");
    expected.push_str(&matrix("guarded", ["open", "closed", "open", "closed"]));
    for verdict in ["open", "open", "open", "open", "open", "closed", "closed"] {
        expected.push_str(&format!("limited: out -> 192.0.2.1 8084 {verdict}\n"));
    }
    for family in Family::BOTH {
        let name = family.program();
        expected.push_str(&format!(
            "{name} after a bad line: {} rules\n{name} others: 1, jumps: 1\n",
            rules(family)
        ));
    }
    expected.push_str(&matrix("swapped", ["closed", "open", "closed", "closed"]));
    assert_eq!(seen, expected);
}
