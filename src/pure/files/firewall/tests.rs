use serde_json::json;

use super::*;

fn entry(name: &str, port: u16, protocol: &str, from: &[&str], limit: bool) -> FirewallEntry {
    serde_json::from_value(json!({
        "name": name, "module": "m", "port": port, "protocol": protocol, "from": from, "limit": limit,
    }))
    .expect("an entry")
}

fn service(network_host: bool, ports: serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "name": "a", "module": "m", "image": "web", "env": {}, "env_secret": {}, "mounts": [], "ports": ports,
        "networks": ["net"], "depends_on": [], "restart": "no", "read_only": false, "cap_add": [], "cap_drop": [],
        "no_new_privileges": true, "privileged": false, "devices": [], "pid_host": false, "network_host": network_host,
        "init": false, "stop_grace_period": "10s", "extra_hosts": {}, "sysctls": {}, "labels": {}, "limits": { "pids": 1 },
        "reservations": { "gpus": 0 }, "log": { "max_size": "1MiB", "max_files": 1 },
    }))
    .expect("a service")
}

fn commands(entries: &[FirewallEntry]) -> Vec<String> {
    let firewall = Firewall::new(entries, &[]).expect("it is good");
    firewall
        .ufw_commands()
        .iter()
        .map(|command| command.join(" "))
        .collect()
}

#[test]
fn one_command_for_both_families() {
    assert_eq!(
        commands(&[
            entry("b", 443, "udp", &[], false),
            entry("a", 22, "tcp", &[], true)
        ]),
        [
            "ufw limit proto tcp from any to any port 22 comment m/a",
            "ufw allow proto udp from any to any port 443 comment m/b",
        ]
    );
}

#[test]
fn narrow_sources_come_first_and_are_normal() {
    assert_eq!(
        commands(&[
            entry("a", 22, "tcp", &[], true),
            entry(
                "b",
                22,
                "tcp",
                &["10.1.2.3/8", "2001:DB8::1/32", "10.0.0.1", "10.0.0.2/32"],
                false
            ),
        ]),
        [
            "ufw allow proto tcp from 10.0.0.1 to any port 22 comment m/b",
            "ufw allow proto tcp from 10.0.0.2 to any port 22 comment m/b",
            "ufw allow proto tcp from 10.0.0.0/8 to any port 22 comment m/b",
            "ufw allow proto tcp from 2001:db8::/32 to any port 22 comment m/b",
            "ufw limit proto tcp from any to any port 22 comment m/a",
        ]
    );
}

#[test]
fn the_same_hole_twice_is_one_with_the_stricter_terms() {
    assert_eq!(
        commands(&[
            entry("b", 22, "tcp", &[], true),
            entry("a", 22, "tcp", &[], false),
            entry("c", 23, "tcp", &["0.0.0.0/0"], false),
        ]),
        [
            "ufw limit proto tcp from any to any port 22 comment m/a",
            "ufw allow proto tcp from 0.0.0.0/0 to any port 23 comment m/c",
        ]
    );
}

#[test]
fn the_order_of_what_comes_does_not_matter() {
    let mut entries = vec![
        entry("a", 22, "tcp", &["10.0.0.1", "::1"], true),
        entry("b", 80, "tcp", &[], false),
        entry("c", 22, "tcp", &["10.0.0.1"], false),
    ];
    let forth = Firewall::new(&entries, &[]).expect("it is good");
    entries.reverse();
    let back = Firewall::new(&entries, &[]).expect("it is good");
    for family in Family::BOTH {
        assert_eq!(forth.user_rules(family), back.user_rules(family));
        assert_eq!(forth.after_block(family), back.after_block(family));
    }
}

#[test]
fn only_what_is_published_to_everybody_gets_a_hole_to_containers() {
    let entries = [
        entry("host", 22, "tcp", &[], false),
        entry("public", 443, "tcp", &[], false),
        entry("some", 8080, "tcp", &["192.0.2.0/24"], false),
        entry("loopback", 5432, "tcp", &[], false),
        entry("on-host", 9100, "tcp", &[], false),
        entry("often", 2222, "tcp", &["2001:db8::1"], true),
    ];
    let port = |host: u16, public: bool| json!({ "host": host, "container": 1, "protocol": "tcp", "public": public });
    let services = [
        service(
            false,
            json!([
                port(443, true),
                port(8080, true),
                port(5432, false),
                port(2222, true),
                port(7, true)
            ]),
        ),
        service(true, json!([port(9100, true)])),
    ];
    let firewall = Firewall::new(&entries, &services).expect("it is good");
    assert_eq!(
        firewall.after_block(Family::V4),
        "*filter
:forge-docker - [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -j forge-docker
-A forge-docker -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A forge-docker -i lo -j RETURN
-A forge-docker -i docker0 -j RETURN
-A forge-docker -i fg-+ -j RETURN
-A forge-docker -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 443 -j RETURN
-A forge-docker -s 192.0.2.0/24 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 8080 -j RETURN
-A forge-docker -m conntrack --ctstate DNAT -j DROP
COMMIT
"
    );
    assert_eq!(
        firewall.live_chain(Family::V6),
        "*filter
:forge-docker - [0:0]
-A forge-docker -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A forge-docker -i lo -j RETURN
-A forge-docker -i docker0 -j RETURN
-A forge-docker -i fg-+ -j RETURN
-A forge-docker -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 443 -j RETURN
-A forge-docker -s 2001:db8::1 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 2222 -m recent --name forge-tcp-2222 --set
-A forge-docker -s 2001:db8::1 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 2222 -m recent --name forge-tcp-2222 --update --seconds 30 --hitcount 6 -j DROP
-A forge-docker -s 2001:db8::1 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 2222 -j RETURN
-A forge-docker -m conntrack --ctstate DNAT -j DROP
COMMIT
"
    );
}

#[test]
fn nothing_can_break_out_of_its_line() {
    let bad = entry("a'\nb ä\"", 1, "tcp", &[], false);
    assert_eq!(
        commands(&[bad]),
        ["ufw allow proto tcp from any to any port 1 comment m/a--b---"]
    );
    let error = Firewall::new(&[entry("a", 1, "tcp", &["10.0.0.1 -j ACCEPT"], false)], &[])
        .expect_err("no address");
    assert_eq!(
        error.to_string(),
        "firewall entry `m/a`: `10.0.0.1 -j ACCEPT` is neither an address nor a network"
    );
}
