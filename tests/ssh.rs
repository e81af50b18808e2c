//! SSH to the real `sshd`, with forge's own and with the system's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod ssh_support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forge::edge::ssh::{
    AgentProgram, Agents, Destination, Native, NoAsk, OpenSsh, Remote, RemoteCommand, ScriptedAsk,
    Settings, SshError, Sudo,
};
use forge::edge::terminal::ScriptedPrompt;
use forge::flow::operator::connect::{BecomeRoot, ConnectError, Connection, Opening};
use forge::pure::name::BlobDigest;
use forge::pure::protocol::frame;
use forge::pure::protocol::{Event, Operator, Purpose, Reply, Request, VERSION, Welcome};

use ssh_support::{SshAgent, Sshd, succeed, until, write_program};

fn native(destination: &Destination, settings: Settings) -> Native {
    Native::new(destination, settings, NoAsk, ScriptedPrompt::default()).unwrap()
}

fn nothing() -> RemoteCommand {
    RemoteCommand::nothing(Sudo::Never)
}

/// Logs in and runs what does nothing.
fn works(remote: &dyn Remote) -> Result<(), SshError> {
    let exit = remote.start(&nothing())?.finish()?;
    assert_eq!((exit.code, exit.stderr.as_str()), (0, ""));
    Ok(())
}

#[test]
fn keys_of_every_kind_log_in() {
    let sshd = Sshd::start();
    sshd.know();
    works(&native(&sshd.destination(), sshd.settings())).unwrap();
    for (kind, bits) in [("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "521")] {
        let key = sshd.at(&format!("{kind}{bits}"));
        let name = key.display().to_string();
        succeed(
            "ssh-keygen",
            &["-q", "-t", kind, "-b", bits, "-N", "", "-f", &name],
        );
        fs::copy(format!("{name}.pub"), sshd.at("authorized_keys")).unwrap();
        let settings = Settings {
            identity: vec![key],
            ..sshd.settings()
        };
        works(&native(&sshd.destination(), settings)).unwrap();
    }
    // RSA with SHA-1 is taken by nobody any more.
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
}

#[test]
fn a_key_that_is_not_allowed_is_told_with_all_that_was_tried() {
    let sshd = Sshd::start();
    sshd.know();
    sshd.configure("IdentityAgent none\n");
    fs::write(sshd.at("authorized_keys"), "").unwrap();
    let error = works(&native(&sshd.destination(), sshd.settings())).unwrap_err();
    let SshError::Auth { tried, methods, .. } = &error else {
        panic!("{error}")
    };
    assert!(tried.contains(&sshd.text("id")), "{tried:?}");
    assert_eq!(methods, &["publickey"]);
    assert!(error.hint().unwrap().contains("authorized_keys"));
}

#[test]
fn a_passphrase_is_asked_for_only_if_the_host_takes_the_key() {
    let sshd = Sshd::start();
    sshd.know();
    let key = sshd.text("locked");
    succeed(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "open sesame", "-f", &key],
    );
    sshd.configure(&format!("IdentityAgent none\nIdentityFile {key}\n"));
    let settings = || Settings {
        identity: Vec::new(),
        ..sshd.settings()
    };
    let remote = Native::new(
        &sshd.destination(),
        settings(),
        NoAsk,
        ScriptedPrompt::default(),
    )
    .unwrap();
    let error = works(&remote).unwrap_err().to_string();
    assert!(!error.contains("locked:"), "{error}");

    fs::copy(format!("{key}.pub"), sshd.at("authorized_keys")).unwrap();
    let answers = ScriptedPrompt::new(["wrong", "open sesame"]);
    let remote = Native::new(&sshd.destination(), settings(), NoAsk, answers).unwrap();
    works(&remote).unwrap();

    let answers = ScriptedPrompt::new(["wrong", "wrong", "wrong", "open sesame"]);
    let remote = Native::new(&sshd.destination(), settings(), NoAsk, answers).unwrap();
    let error = works(&remote).unwrap_err().to_string();
    assert!(error.contains("wrong passphrase"), "{error}");
}

#[test]
fn the_agent_signs_and_the_named_keys_come_first() {
    let sshd = Sshd::with(&["MaxAuthTries 2"]);
    sshd.know();
    let agent = SshAgent::start(sshd.folder.path());
    for index in 0..4 {
        let name = sshd.text(&format!("other{index}"));
        succeed(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", &name],
        );
        agent.add(Path::new(&name));
    }
    let settings = || Settings {
        identity: Vec::new(),
        ..sshd.settings()
    };
    agent.add(&sshd.at("id"));
    // Only the public half is there: the key is the agent's.
    fs::rename(sshd.at("id"), sshd.at("away")).unwrap();
    fs::copy(sshd.at("id.pub"), sshd.at("id")).unwrap();
    let socket = agent.socket.display();
    sshd.configure(&format!(
        "IdentityAgent {socket}\nIdentityFile {}\n",
        sshd.text("id")
    ));
    works(&native(&sshd.destination(), settings())).unwrap();
    // The others come first: the host has had enough before ours.
    sshd.configure(&format!("IdentityAgent {socket}\nIdentityFile none\n"));
    let error = works(&native(&sshd.destination(), settings())).unwrap_err();
    assert!(matches!(error, SshError::Auth { .. }), "{error}");
    // RSA by an agent.
    let rsa = sshd.text("rsa");
    succeed(
        "ssh-keygen",
        &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &rsa],
    );
    fs::copy(format!("{rsa}.pub"), sshd.at("authorized_keys")).unwrap();
    agent.add(Path::new(&rsa));
    fs::copy(format!("{rsa}.pub"), &rsa).unwrap();
    sshd.configure(&format!(
        "IdentityAgent {socket}\nIdentitiesOnly yes\nIdentityFile {rsa}\n"
    ));
    works(&native(&sshd.destination(), settings())).unwrap();
}

#[test]
fn a_certificate_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca").display().to_string();
    succeed(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &authority],
    );
    let sshd = Sshd::with(&[&format!("TrustedUserCAKeys {authority}.pub")]);
    sshd.know();
    sshd.configure("IdentityAgent none\n");
    fs::write(sshd.at("authorized_keys"), "").unwrap();
    works(&native(&sshd.destination(), sshd.settings())).unwrap_err();
    let public = sshd.text("id.pub");
    succeed(
        "ssh-keygen",
        &[
            "-q",
            "-s",
            &authority,
            "-I",
            "test",
            "-n",
            &ssh_support::user(),
            "-V",
            "+1h",
            &public,
        ],
    );
    works(&native(&sshd.destination(), sshd.settings())).unwrap();
}

#[test]
fn hosts_behind_others_are_reached() {
    let first = Sshd::start();
    let last = Sshd::start();
    let user = ssh_support::user();
    fs::copy(first.at("id.pub"), last.at("authorized_keys")).unwrap();
    let known = format!(
        "[127.0.0.1]:{} {}[127.0.0.1]:{} {}",
        first.port,
        first.host_key(),
        last.port,
        last.host_key()
    );
    fs::write(first.at("known_hosts"), known).unwrap();
    first.configure(&format!(
        "IdentityAgent none\nHost inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump outer,{user}@127.0.0.1:{}\nHost outer\n  HostName 127.0.0.1\n  Port {}\n",
        last.port, first.port, first.port
    ));
    let destination = Destination {
        address: "inner".to_owned(),
        port: None,
        ..last.destination()
    };
    let remote = native(&destination, first.settings());
    assert_eq!(remote.describe(), format!("{user}@127.0.0.1:{}", last.port));
    works(&remote).unwrap();
    let jumps = first.log().matches("Accepted publickey").count();
    assert_eq!(jumps, 2, "{}", first.log());
    assert_eq!(last.log().matches("Accepted publickey").count(), 1);
    // The jump host cannot reach it.
    let nowhere = Destination {
        port: Some(1),
        ..destination
    };
    let error = works(&native(&nowhere, first.settings())).unwrap_err();
    assert!(error.to_string().contains("jump host"), "{error}");
}

#[test]
fn a_host_is_known_by_hashed_names_and_asked_for_the_key_that_is_known() {
    let sshd = Sshd::start();
    sshd.know();
    succeed("ssh-keygen", &["-q", "-H", "-f", &sshd.text("known_hosts")]);
    assert!(
        fs::read_to_string(sshd.at("known_hosts"))
            .unwrap()
            .starts_with("|1|")
    );
    works(&native(&sshd.destination(), sshd.settings())).unwrap();
    // It has an Ed25519 key too, which would come first.
    let rsa = fs::read_to_string(sshd.at("host_rsa.pub")).unwrap();
    fs::write(
        sshd.at("known_hosts"),
        format!("[127.0.0.1]:{} {rsa}", sshd.port),
    )
    .unwrap();
    works(&native(&sshd.destination(), sshd.settings())).unwrap();
}

#[test]
fn an_unknown_host_is_asked_about_and_kept() {
    let sshd = Sshd::start();
    let before = "# mine, without an end";
    fs::write(sshd.at("known_hosts"), before).unwrap();
    let error = works(&native(&sshd.destination(), sshd.settings())).unwrap_err();
    let SshError::Unknown {
        fingerprint,
        asked: false,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(error.hint().unwrap().contains("--accept-new-host-key"));
    assert!(error.hint().unwrap().contains("host_key"));
    let listed = succeed("ssh-keygen", &["-lf", &sshd.text("host_ed25519.pub")]);
    assert!(
        listed.contains(fingerprint.as_str()),
        "{listed} {fingerprint}"
    );

    let asking = |answer| {
        let ask = Arc::new(ScriptedAsk::new(answer));
        let remote = Native::new(
            &sshd.destination(),
            sshd.settings(),
            ask.clone(),
            ScriptedPrompt::default(),
        )
        .unwrap();
        (works(&remote), ask.asked())
    };
    let (refused, asked) = asking(false);
    assert!(matches!(
        refused,
        Err(SshError::Unknown { asked: true, .. })
    ));
    assert_eq!(asked, [format!("[127.0.0.1]:{} {fingerprint}", sshd.port)]);
    assert_eq!(fs::read_to_string(sshd.at("known_hosts")).unwrap(), before);

    let (taken, asked) = asking(true);
    taken.unwrap();
    assert_eq!(asked.len(), 1);
    let kept = fs::read_to_string(sshd.at("known_hosts")).unwrap();
    assert!(
        kept.starts_with(&format!("{before}\n[127.0.0.1]:{} ssh-ed25519 ", sshd.port)),
        "{kept}"
    );
    // OpenSSH reads what we wrote.
    let found = succeed(
        "ssh-keygen",
        &[
            "-F",
            &format!("[127.0.0.1]:{}", sshd.port),
            "-f",
            &sshd.text("known_hosts"),
        ],
    );
    assert!(found.contains("ssh-ed25519"), "{found}");
    let (known, asked) = asking(false);
    known.unwrap();
    assert!(asked.is_empty());

    // Nowhere to keep it: asked each time, and taken.
    let ask = Arc::new(ScriptedAsk::new(true));
    let settings = Settings {
        known_hosts: Some("/dev/null".into()),
        ..sshd.settings()
    };
    let prompt = ScriptedPrompt::default();
    let remote = Native::new(&sshd.destination(), settings, ask.clone(), prompt).unwrap();
    works(&remote).unwrap();
    remote.hang_up();
    works(&remote).unwrap();
    assert_eq!(ask.asked().len(), 2);

    fs::remove_file(sshd.at("known_hosts")).unwrap();
    let settings = Settings {
        accept_new_host_key: true,
        ..sshd.settings()
    };
    works(&native(&sshd.destination(), settings)).unwrap();
}

#[test]
fn another_key_than_before_is_refused() {
    let sshd = Sshd::start();
    let other = fs::read_to_string(sshd.at("id.pub")).unwrap();
    fs::write(
        sshd.at("known_hosts"),
        format!("# first\n[127.0.0.1]:{} {other}", sshd.port),
    )
    .unwrap();
    // Not even if new hosts are welcome.
    let settings = Settings {
        accept_new_host_key: true,
        ..sshd.settings()
    };
    let error = works(&native(&sshd.destination(), settings.clone())).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SshError::Changed { line: 2, .. }), "{text}");
    assert_eq!(text.matches("SHA256:").count(), 2, "{text}");
    assert!(text.contains("known_hosts:2"), "{text}");
    assert!(error.hint().unwrap().contains("ssh-keygen -R"));
    // The mend mends.
    let name = format!("[127.0.0.1]:{}", sshd.port);
    assert!(error.hint().unwrap().contains(&name));
    succeed(
        "ssh-keygen",
        &["-R", &name, "-f", &sshd.text("known_hosts")],
    );
    works(&native(&sshd.destination(), settings)).unwrap();
}

#[test]
fn a_pinned_key_is_the_only_one() {
    let sshd = Sshd::start();
    // What is known does not count.
    let other = fs::read_to_string(sshd.at("id.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {other}", sshd.port);
    fs::write(sshd.at("known_hosts"), &known).unwrap();
    let pinned = |key: String| Destination {
        host_key: Some(key),
        ..sshd.destination()
    };
    let rsa = fs::read_to_string(sshd.at("host_rsa.pub")).unwrap();
    for key in [sshd.host_key(), rsa] {
        works(&native(&pinned(key.clone()), sshd.settings())).unwrap();
        works(&OpenSsh::new(pinned(key), sshd.settings())).unwrap();
    }
    let error = works(&native(&pinned(other.clone()), sshd.settings())).unwrap_err();
    assert!(matches!(error, SshError::NotPinned { .. }), "{error}");
    let error = works(&OpenSsh::new(pinned(other), sshd.settings())).unwrap_err();
    assert!(matches!(error, SshError::OpenSsh { .. }), "{error}");
    assert_eq!(fs::read_to_string(sshd.at("known_hosts")).unwrap(), known);
    let rubbish = Native::new(
        &pinned("rubbish".to_owned()),
        sshd.settings(),
        NoAsk,
        ScriptedPrompt::default(),
    );
    assert!(matches!(rubbish, Err(SshError::Pin { .. })));
}

#[test]
fn the_systems_ssh_does_the_same() {
    let sshd = Sshd::start();
    let remote = || {
        OpenSsh::new(
            sshd.destination(),
            Settings {
                identity: vec![sshd.at("id")],
                ..sshd.settings()
            },
        )
    };
    sshd.configure("BatchMode yes\nIdentityAgent none\n");
    let error = works(&remote()).unwrap_err();
    assert!(
        matches!(&error, SshError::OpenSsh { text, .. } if text.contains("Host key verification failed")),
        "{error}"
    );
    sshd.know();
    works(&remote()).unwrap();
    fs::write(sshd.at("authorized_keys"), "").unwrap();
    let error = works(&remote()).unwrap_err();
    assert!(
        matches!(&error, SshError::OpenSsh { text, .. } if text.contains("Permission denied")),
        "{error}"
    );
}

#[test]
fn a_host_that_says_nothing_or_is_not_there_is_told() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let settings = Settings {
        step_timeout: Duration::from_millis(200),
        ..sshd.settings()
    };
    let destination = Destination {
        port: Some(port),
        ..sshd.destination()
    };
    let error = works(&native(&destination, settings.clone())).unwrap_err();
    assert!(
        matches!(
            error,
            SshError::TooLong {
                step: "the key exchange",
                ..
            }
        ),
        "{error}"
    );
    drop(silent);
    let error = works(&native(&destination, settings.clone())).unwrap_err();
    assert!(matches!(error, SshError::Refused { .. }), "{error}");
    let destination = Destination {
        address: "no-such-host.invalid".to_owned(),
        ..destination
    };
    let error = works(&native(
        &destination,
        Settings {
            connect_timeout: Duration::from_secs(60),
            ..settings
        },
    ))
    .unwrap_err();
    assert!(matches!(error, SshError::Resolve { .. }), "{error}");
}

// Agents.

/// The program that is sent: as large as the real one, since it is.
fn agents() -> (Agents, AgentProgram) {
    let agents = Agents::beside(env!("CARGO_BIN_EXE_forge").into());
    let program = agents.find(None).unwrap();
    (agents, program)
}

fn open(
    remote: &dyn Remote,
    agents: &Agents,
    root: &BecomeRoot,
) -> Result<Connection, ConnectError> {
    let operator = Operator {
        name: "anna@laptop".to_owned(),
        revision: None,
    };
    Connection::open(
        remote,
        &Opening {
            agents,
            arch: None,
            operator: &operator,
            purpose: Purpose::Ask,
            root,
            ahead: None,
        },
    )
}

fn nobody() -> BecomeRoot {
    BecomeRoot::new(ScriptedPrompt::default())
}

/// An agent that says welcome and whatever it is told, and then listens until it is left.
fn pretend(sshd: &Sshd, digest: BlobDigest, protocol: u32, replies: &[Reply], then: &str) {
    let welcome = Welcome {
        protocol,
        forge: "0.0.0".to_owned(),
        agent: digest,
        hostname: "web".to_owned(),
        arch: None,
        system: "debian-13".to_owned(),
        time: 0,
        current: None,
        journal: None,
        lease: None,
    };
    let mut bytes = Vec::new();
    frame::send(&mut bytes, &welcome).unwrap();
    for reply in replies {
        frame::send(&mut bytes, reply).unwrap();
    }
    fs::write(sshd.at("script"), bytes).unwrap();
    let text = format!(
        "#!/bin/sh\ntest \"$*\" = \"agent serve\" || exit 9\ncat {}\n{then}\n",
        sshd.text("script")
    );
    write_program(&sshd.at("bin").join(digest.hex()).join("forge"), &text);
}

#[test]
fn a_conversation() {
    let sshd = Sshd::start();
    sshd.know();
    let (agents, program) = agents();
    let event = Event::Say {
        text: "hello".to_owned(),
    };
    let replies = [
        Reply::Event {
            event: event.clone(),
        },
        Reply::Done,
    ];
    pretend(
        &sshd,
        program.digest,
        VERSION,
        &replies,
        "exec cat > /dev/null",
    );
    let over_both: [Box<dyn Remote>; 2] = [
        Box::new(native(&sshd.destination(), sshd.settings())),
        Box::new(OpenSsh::new(sshd.destination(), sshd.settings())),
    ];
    for remote in over_both {
        let mut connection = open(&*remote, &agents, &nobody()).unwrap();
        assert_eq!(connection.welcome().hostname, "web");
        assert!(!connection.installed());
        let mut events = Vec::new();
        let reply = connection
            .ask(&Request::Status, &mut |event| events.push(event))
            .unwrap();
        assert_eq!((reply, events), (Reply::Done, vec![event.clone()]));
        // Larger than every window and buffer.
        for _ in 0..10 {
            connection.send_data(&vec![7; 1 << 20]).unwrap();
        }
        connection.flush().unwrap();
        assert!(connection.bytes_sent() > 10 << 20);
        assert!(connection.bytes_received() > 100);
        connection.close().unwrap();
    }
}

#[test]
fn each_conversation_has_a_connection_of_its_own() {
    let sshd = Sshd::start();
    sshd.know();
    let (agents, program) = agents();
    pretend(
        &sshd,
        program.digest,
        VERSION,
        &[Reply::Done],
        "exec cat > /dev/null",
    );
    let remote = native(&sshd.destination(), sshd.settings());
    let mut first = open(&remote, &agents, &nobody()).unwrap();
    let second = open(&remote, &agents, &nobody()).unwrap();
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2);
    // The older one goes on.
    assert_eq!(
        first.ask(&Request::Status, &mut |_| ()).unwrap(),
        Reply::Done
    );
    second.close().unwrap();
    first.close().unwrap();
}

#[test]
fn an_agent_that_is_not_there_is_installed_whole() {
    let sshd = Sshd::start();
    sshd.know();
    let (agents, program) = agents();
    let remote = native(&sshd.destination(), sshd.settings());
    // Whether it can serve is another's business.
    match open(&remote, &agents, &nobody()) {
        Ok(connection) => assert!(connection.installed()),
        Err(error) => assert!(matches!(error, ConnectError::Crashed { .. }), "{error}"),
    }
    let folder = sshd.at("bin").join(program.digest.hex());
    let file = folder.join("forge");
    assert_eq!(BlobDigest::of(fs::read(&file).unwrap()), program.digest);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    // Both over one connection, and the installation once.
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[test]
fn an_agent_that_arrives_damaged_is_not_installed() {
    let sshd = Sshd::start();
    sshd.know();
    let remote = native(&sshd.destination(), sshd.settings());
    let digest = BlobDigest::of("what was meant");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"what came").unwrap();
    let packed = packed.finish().unwrap();
    for bytes in [&packed[..], &packed[..packed.len() - 6], b""] {
        let mut channel = remote
            .start(&RemoteCommand::install(digest, Sudo::Never))
            .unwrap();
        channel.writer.write_all(bytes).unwrap();
        let exit = channel.finish().unwrap();
        assert_eq!(exit.code, 65, "{}", exit.stderr);
        let folder = sshd.at("bin").join(digest.hex());
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }
}

#[test]
fn a_connection_that_is_lost_is_told_apart_from_an_agent_that_fails() {
    let sshd = Sshd::start();
    sshd.know();
    let (agents, program) = agents();
    type Make = fn(&Sshd) -> Box<dyn Remote>;
    let remotes: [Make; 2] = [
        |sshd| Box::new(native(&sshd.destination(), sshd.settings())),
        |sshd| Box::new(OpenSsh::new(sshd.destination(), sshd.settings())),
    ];
    for remote in remotes {
        pretend(&sshd, program.digest, VERSION, &[], "exec sleep 600");
        let remote = remote(&sshd);
        let mut connection = open(&*remote, &agents, &nobody()).unwrap();
        sshd.cut();
        let error = connection.ask(&Request::Status, &mut |_| ()).unwrap_err();
        assert!(matches!(error, ConnectError::Lost { .. }), "{error}");

        // The next one is made anew.
        pretend(
            &sshd,
            program.digest,
            VERSION,
            &[],
            "echo it went wrong >&2; exit 3",
        );
        let mut connection = open(&*remote, &agents, &nobody()).unwrap();
        let error = connection.ask(&Request::Status, &mut |_| ()).unwrap_err();
        assert!(
            matches!(&error, ConnectError::Crashed { code: 3, said, .. } if said.contains("it went wrong")),
            "{error}"
        );
        pretend(&sshd, program.digest, VERSION + 1, &[], "cat > /dev/null");
        let error = open(&*remote, &agents, &nobody()).unwrap_err();
        assert!(matches!(error, ConnectError::Version { .. }), "{error}");
    }
    // More than fits into the window, to nobody.
    pretend(&sshd, program.digest, VERSION, &[], "exec sleep 600");
    let remote = native(&sshd.destination(), sshd.settings());
    let mut connection = open(&remote, &agents, &nobody()).unwrap();
    let error = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            loop {
                if let Err(error) = connection.send_data(&vec![0; 1 << 20]) {
                    return error;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        sshd.cut();
        sending.join().unwrap()
    });
    assert!(matches!(error, ConnectError::Lost { .. }), "{error}");
}

#[test]
fn an_agent_that_never_answers_is_not_waited_for() {
    let sshd = Sshd::start();
    sshd.know();
    let (agents, program) = agents();
    write_program(
        &sshd.at("bin").join(program.digest.hex()).join("forge"),
        "#!/bin/sh\nexec sleep 30\n",
    );
    let remote = native(&sshd.destination(), sshd.settings());
    works(&remote).unwrap();
    let remote = native(
        &sshd.destination(),
        Settings {
            step_timeout: Duration::from_secs(8),
            ..sshd.settings()
        },
    );
    let error = open(&remote, &agents, &nobody()).unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    // A shell that greets everybody.
    write_program(
        &sshd.at("bin").join(program.digest.hex()).join("forge"),
        "#!/bin/sh\necho Welcome to web\n",
    );
    let error = open(
        &native(&sshd.destination(), sshd.settings()),
        &agents,
        &nobody(),
    )
    .unwrap_err();
    assert!(matches!(error, ConnectError::Frame { .. }), "{error}");
}

/// Says that who logs in is nobody special, and that sudo wants `sesame`.
fn sudo_wants_sesame(sshd: &Sshd) {
    write_program(&sshd.at("path/id"), "#!/bin/sh\necho 1000\n");
    write_program(
        &sshd.at("path/sudo"),
        "#!/bin/sh\ncase \" $* \" in *' -n '*) echo 'sudo: a password is required' >&2; exit 1;; esac\n\
         IFS= read -r password\nwhile test \"$1\" != --; do shift; done; shift\n\
         test \"$password\" = sesame && exec \"$@\"\necho 'sudo: 1 incorrect password attempt' >&2; exit 1\n",
    );
}

#[test]
fn the_password_of_sudo_is_asked_for_once() {
    let sshd = Sshd::start();
    sshd.know();
    sudo_wants_sesame(&sshd);
    let (agents, program) = agents();
    pretend(
        &sshd,
        program.digest,
        VERSION,
        &[Reply::Done],
        "exec cat > /dev/null",
    );
    let remote = native(&sshd.destination(), sshd.settings());
    let root = BecomeRoot::new(ScriptedPrompt::new(["wrong", "sesame"]));
    for _ in 0..2 {
        let mut connection = open(&remote, &agents, &root).unwrap();
        assert_eq!(
            connection.ask(&Request::Status, &mut |_| ()).unwrap(),
            Reply::Done
        );
        connection.close().unwrap();
    }
    let error = open(&remote, &agents, &nobody()).unwrap_err();
    assert!(
        matches!(error, ConnectError::SudoPassword { .. }),
        "{error}"
    );
    let root = BecomeRoot::new(ScriptedPrompt::new(["a", "b", "c"]));
    let error = open(&remote, &agents, &root).unwrap_err();
    assert!(matches!(error, ConnectError::SudoWrong { .. }), "{error}");
    // With the system's ssh, and an agent to install.
    fs::remove_dir_all(sshd.at("bin").join(program.digest.hex())).unwrap();
    let root = BecomeRoot::new(ScriptedPrompt::new(["sesame"]));
    match open(
        &OpenSsh::new(sshd.destination(), sshd.settings()),
        &agents,
        &root,
    ) {
        Ok(connection) => assert!(connection.installed()),
        Err(error) => assert!(matches!(error, ConnectError::Crashed { .. }), "{error}"),
    }
    assert!(
        sshd.at("bin")
            .join(program.digest.hex())
            .join("forge")
            .exists()
    );

    write_program(
        &sshd.at("path/sudo"),
        "#!/bin/sh\necho 'anna is not in the sudoers file.' >&2; exit 1\n",
    );
    let error = open(&remote, &agents, &nobody()).unwrap_err();
    assert!(matches!(error, ConnectError::SudoRefuses { .. }), "{error}");
}

#[test]
fn the_real_sudo_runs_the_agent() {
    let sudo = Path::new("/usr/bin/sudo");
    assert!(sudo.exists(), "`cargo xtask tools` installs sudo");
    let sshd = Sshd::start();
    sshd.know();
    write_program(&sshd.at("path/id"), "#!/bin/sh\necho 1000\n");
    let (agents, program) = agents();
    let then = "test -n \"$SUDO_COMMAND\" || exit 4\nexec cat > /dev/null";
    pretend(&sshd, program.digest, VERSION, &[Reply::Done], then);
    let remote = native(&sshd.destination(), sshd.settings());
    let connection = open(&remote, &agents, &nobody()).unwrap();
    connection.close().unwrap();
}

#[test]
fn the_architecture_is_learnt_from_the_host() {
    let sshd = Sshd::start();
    sshd.know();
    let (_, program) = agents();
    let other = if program.arch.as_str() == "amd64" {
        ("aarch64", "arm64")
    } else {
        ("x86_64", "amd64")
    };
    let agents = Agents::beside(program.path.clone());
    write_program(
        &sshd.at("path/uname"),
        &format!("#!/bin/sh\necho {}\n", other.0),
    );
    let remote = native(&sshd.destination(), sshd.settings());
    let error = open(&remote, &agents, &nobody()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("no forge for {} hosts", other.1)),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("--agent"));
    write_program(&sshd.at("path/uname"), "#!/bin/sh\necho riscv64\n");
    let error = open(&remote, &agents, &nobody()).unwrap_err();
    assert!(
        matches!(&error, ConnectError::Machine { machine, .. } if machine == "riscv64"),
        "{error}"
    );
    assert_eq!(fs::read_dir(sshd.at("bin")).unwrap().count(), 0);
}

#[test]
fn what_a_command_writes_arrives_whole_and_is_not_lost_by_one_who_reads_late() {
    let sshd = Sshd::start();
    sshd.know();
    let digest = BlobDigest::of("a program");
    // 8 MiB, more than the window.
    write_program(
        &sshd.at("bin").join(digest.hex()).join("forge"),
        "#!/bin/sh\nhead -c 8388608 /dev/zero; echo done >&2; exit 7\n",
    );
    let remote = native(&sshd.destination(), sshd.settings());
    let channel = remote
        .start(&RemoteCommand::serve(digest, Sudo::Quiet))
        .unwrap();
    until("the first answer", || sshd.log().contains("Accepted"));
    let (mut reader, writer, ending) = channel.into_parts();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(
        bytes.len() == 8 << 20 && bytes.iter().all(|byte| *byte == 0),
        "{}",
        bytes.len()
    );
    drop(writer);
    let exit = ending.wait().unwrap();
    assert_eq!((exit.code, exit.stderr.as_str()), (7, "done\n"));
}

/// A measurement, and no test: `cargo test --test ssh round_trips -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn round_trips() {
    let sshd = Sshd::start();
    let (agents, program) = agents();
    // Answers when it has been asked.
    let text = format!(
        "#!/bin/sh\nhead -c 5 > /dev/null\ncat {}\nexec cat > /dev/null\n",
        sshd.text("script")
    );
    pretend(&sshd, program.digest, VERSION, &[Reply::Done], "");
    write_program(
        &sshd.at("bin").join(program.digest.hex()).join("forge"),
        &text,
    );
    let traffic = ssh_support::Traffic::default();
    let there_and_back = Duration::from_millis(200);
    let port = ssh_support::far_away(sshd.port, there_and_back / 2, &traffic);
    let destination = Destination {
        port: Some(port),
        host_key: Some(sshd.host_key()),
        ..sshd.destination()
    };
    sshd.configure("IdentityAgent none\n");
    let own = native(&destination, sshd.settings());
    let system = OpenSsh::new(destination, sshd.settings());
    let remotes: [(&str, &dyn Remote); 2] = [("native", &own), ("openssh", &system)];
    for (name, remote) in remotes {
        let started = std::time::Instant::now();
        let mut connection = open(remote, &agents, &nobody()).unwrap();
        connection.answer(&mut |_| ()).unwrap();
        let trips = started.elapsed().as_secs_f64() / there_and_back.as_secs_f64();
        for (when, there, count) in traffic.lock().unwrap().drain(..) {
            let after = when.duration_since(started).as_millis();
            println!("{after:>6} ms {} {count}", if there { "->" } else { "<-" });
        }
        println!("{name}: {trips:.2} round trips after TCP's own");
    }
}
