use super::*;
use crate::pure::bundle::{Part, PartKind};
use crate::pure::generation::{Hole, Mode, Owner, TargetFile, User};
use crate::pure::name::BlobDigest;

const A: &str = "ssh-ed25519 AAAAanna anna@laptop";
const B: &str = "ssh-ed25519 AAAAbert bert@desk";
const BOTH: &str = "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u .ssh/authorized_keys\n";
const DECLARED: &str = "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n";

fn put(target: &mut Target, name: &str, path: &str, text: &str) {
    target.files.insert(
        name.to_owned(),
        TargetFile {
            place: Place::Managed {
                path: path.to_owned(),
            },
            owner: Owner::default(),
            mode: Mode(0o644),
            digest: BlobDigest::of(text),
            secrets: BTreeSet::new(),
        },
    );
    let title = format!("files/{name}");
    let part = Part::new(
        PartKind::File,
        title.parse().unwrap(),
        text.as_bytes().to_vec(),
    );
    target.parts.insert(title, part);
}

fn target(sshd: &str) -> Target {
    let mut target = Target::nothing();
    put(
        &mut target,
        "ssh/sshd",
        "/etc/ssh/sshd_config.d/10-forge.conf",
        sshd,
    );
    target
}

fn with_keys(sshd: &str, user: &str, keys: &str) -> Target {
    let mut target = target(sshd);
    let path = format!("/etc/ssh/authorized_keys.d/{user}");
    put(&mut target, "users/keys", &path, keys);
    target
}

fn user(sudo: &str) -> User {
    User {
        uid: None,
        shell: String::new(),
        comment: String::new(),
        groups: Vec::new(),
        system: false,
        keys: Vec::new(),
        sudo: sudo.to_owned(),
    }
}

fn hole(port: u16, from: &[&str]) -> Hole {
    Hole {
        port,
        protocol: "tcp".to_owned(),
        from: from.iter().map(|net| (*net).to_owned()).collect(),
    }
}

fn deployer(name: &str) -> Deployer {
    Deployer {
        user: name.to_owned(),
        ..Deployer::default()
    }
}

fn home(keys: &str) -> Access {
    Access {
        home_keys: keys.to_owned(),
        ..Access::default()
    }
}

/// The one refusal, or nothing.
fn refusal(want: &Target, deployer: &Deployer, access: &Access) -> String {
    let mut all = refusals(want, &[], deployer, access);
    assert!(all.len() <= 1, "{all:?}");
    all.pop().unwrap_or_default()
}

#[test]
fn the_key_at_home_counts_while_sshd_reads_it() {
    let root = deployer("root");
    assert_eq!(refusal(&target(BOTH), &root, &home(A)), "");
    assert_eq!(refusal(&target("Port 22\n"), &root, &home(A)), "");
    let said = refusal(&target(DECLARED), &root, &home(A));
    assert!(
        said.contains("root_keys") && said.contains("home_keys"),
        "{said}"
    );
    // The first value counts.
    assert!(!refusal(&target(&format!("{DECLARED}{BOTH}")), &root, &home(A)).is_empty());
    // Of sshd's configuration nothing is known, and nothing changes.
    assert_eq!(refusal(&Target::nothing(), &root, &home(A)), "");
}

#[test]
fn one_of_the_keys_must_stay() {
    let root = deployer("root");
    let options = "restrict,command=\"a b\" ssh-ed25519 AAAAanna other";
    assert_eq!(
        refusal(&with_keys(DECLARED, "root", options), &root, &home(A)),
        ""
    );
    assert!(!refusal(&with_keys(DECLARED, "root", B), &root, &home(A)).is_empty());
    assert!(!refusal(&with_keys(DECLARED, "anna", A), &root, &home(A)).is_empty());
    let commented = format!("# {A}\n");
    assert!(!refusal(&with_keys(DECLARED, "root", &commented), &root, &home(A)).is_empty());
    // Both could log in; the one that did is known.
    let mut known = root.clone();
    known.key = Some(B.to_owned());
    let both = home(&format!("{A}\n{B}\n"));
    assert_eq!(refusal(&with_keys(DECLARED, "root", A), &root, &both), "");
    assert!(!refusal(&with_keys(DECLARED, "root", A), &known, &both).is_empty());
}

#[test]
fn who_came_without_a_key_may_declare_one() {
    let root = deployer("root");
    assert_eq!(
        refusal(&with_keys(DECLARED, "root", A), &root, &home("")),
        ""
    );
    assert!(!refusal(&target(DECLARED), &root, &home("")).is_empty());
}

#[test]
fn root_and_users_that_sshd_would_refuse() {
    let no = format!("{BOTH}PermitRootLogin no\n");
    let said = refusal(&target(&no), &deployer("root"), &home(A));
    assert!(said.contains("permit_root_login"), "{said}");
    let mut want = target(&no);
    want.users.insert("anna".to_owned(), user("nopasswd"));
    assert_eq!(refusal(&want, &deployer("anna"), &home(A)), "");
    let only = format!("{BOTH}AllowUsers ad*n bert@10.0.0.0/8\n");
    assert!(!refusal(&target(&only), &deployer("anna"), &home(A)).is_empty());
    assert_eq!(refusal(&target(&only), &deployer("admin"), &home(A)), "");
    assert_eq!(refusal(&target(&only), &deployer("bert"), &home(A)), "");
}

#[test]
fn only_a_right_that_forge_gave_can_be_lost() {
    let anna = deployer("anna");
    let mut before = Target::nothing();
    before.users.insert("anna".to_owned(), user("nopasswd"));
    let mut want = Target::nothing();
    want.users.insert("anna".to_owned(), user("none"));
    let refused =
        |before: &[&Target], access: &Access| !refusals(&want, before, &anna, access).is_empty();
    assert!(refused(&[&before], &Access::default()));
    assert!(!refused(&[], &Access::default()));
    let elsewhere = Access {
        sudo_elsewhere: true,
        ..Access::default()
    };
    assert!(!refused(&[&before], &elsewhere));
    assert!(refusals(&before, &[&before], &anna, &Access::default()).is_empty());
}

#[test]
fn an_account_of_forge_that_deploys_stays_declared() {
    let access = Access {
        made_by_forge: true,
        sudo_elsewhere: true,
        ..Access::default()
    };
    let said = refusal(&Target::nothing(), &deployer("anna"), &access);
    assert!(said.contains("locked"), "{said}");
    assert_eq!(
        refusal(&Target::nothing(), &deployer("anna"), &Access::default()),
        ""
    );
}

#[test]
fn the_port_stays_open_or_moves_with_the_host() {
    let mut root = deployer("root");
    root.port = Some(22);
    let text = |port: u16| format!("Port {port}\n{BOTH}");
    let with = |port: u16, open: u16, host: Option<u16>| {
        let mut want = target(&text(port));
        want.holes.insert("ssh".to_owned(), hole(open, &[]));
        want.ssh_port = host;
        refusal(&want, &root, &home(A))
    };
    assert_eq!(with(22, 22, Some(22)), "");
    assert!(with(22, 443, Some(22)).contains("close port 22"));
    assert!(with(2222, 2222, Some(22)).contains("no longer on 22"));
    assert_eq!(with(2222, 2222, Some(2222)), "");
    assert!(with(2222, 22, Some(2222)).contains("close port 2222"));
    let mut udp = target(&text(22));
    let mut closed = hole(22, &[]);
    closed.protocol = "udp".to_owned();
    udp.holes.insert("ssh".to_owned(), closed);
    assert!(!refusal(&udp, &root, &home(A)).is_empty());
    // Without a hole the firewall is not forge's.
    assert_eq!(refusal(&target(&text(22)), &root, &home(A)), "");
}

#[test]
fn the_firewall_must_let_in_from_where_he_came() {
    let mut root = deployer("root");
    root.port = Some(22);
    let mut want = target(BOTH);
    want.holes
        .insert("ssh".to_owned(), hole(22, &["10.0.0.0/8", "2001:db8::1"]));
    let mut from = |address: &str| {
        root.from = Some(address.parse().unwrap());
        refusal(&want, &root, &home(A))
    };
    assert_eq!(from("10.1.2.3"), "");
    assert_eq!(from("2001:db8::1"), "");
    assert!(from("192.0.2.1").contains("192.0.2.1"));
}
