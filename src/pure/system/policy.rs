//! The policy rules: what forge refuses to build although it could.
//!
//! Each may be switched off for one subject by an `[[allow]]` of the host, with a reason. An allowance that hides nothing is
//! itself reported, since it would hide the next, unknown violation.

use std::collections::{BTreeMap, BTreeSet};

use super::PinnedImage;
use super::facts::{Fact, Facts};
use super::service::{Protocol, Service};
use crate::pure::config::host::Allow;
use crate::pure::config::image::Image;
use crate::pure::config::project::Project;
use crate::pure::config::units::parse_size;
use crate::pure::config::value::Value;
use crate::pure::name::{ImageName, ServiceName};
use crate::pure::secrets::Recipient;
use crate::pure::text::{Code, Diagnostic, Diagnostics, codes};

/// Something that breaks a rule, and what would have to be named to allow it.
struct Violation {
    subject: String,
    diagnostic: Diagnostic,
}

/// Log files of one service may take this much of the disk.
const MOST_LOGS: u64 = 1 << 30;

/// Tags that are meant to move.
const MUTABLE: [&str; 12] = [
    "latest", "stable", "edge", "main", "master", "nightly", "dev", "develop", "beta", "rc", "lts",
    "mainline",
];

/// Ports of databases and of administration, which nobody opens to the whole internet on purpose.
const ADMINISTRATION: [(u16, &str); 12] = [
    (2019, "Caddy's admin endpoint"),
    (2375, "the Docker API"),
    (2376, "the Docker API"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (9090, "Prometheus"),
    (9100, "node metrics"),
    (9200, "Elasticsearch"),
    (11211, "memcached"),
    (27017, "MongoDB"),
    (5672, "AMQP"),
];

pub(super) fn check(
    facts: &Facts,
    services: &BTreeMap<ServiceName, Service>,
    images: &BTreeMap<ImageName, PinnedImage>,
    modules: &BTreeMap<String, Value>,
    allows: &[Allow],
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    let mut violations = Vec::new();
    for fact in facts.of("service") {
        if let Some(service) = services.get(fact.name.as_str()) {
            check_service(fact, service, facts, &mut violations);
        }
    }
    check_images(images, project, &mut violations);
    let mut reasons = Diagnostics::default();
    check_volumes(facts, modules, project, &mut violations, &mut reasons);
    check_firewall(facts, &mut violations);
    check_users(facts, diagnostics);
    if diagnostics.has_errors() {
        // A backup, a hole in the firewall or an image that failed is not missing.
        violations.retain(|violation| {
            violation.diagnostic.code != codes::NOT_BACKED_UP
                && violation.diagnostic.code != codes::PUBLIC_PORT
        });
    }
    apply(violations, facts, allows, diagnostics);
    diagnostics.extend(reasons);
}

/// Reports the violations that no allowance covers, and the allowances that cover none.
fn apply(
    violations: Vec<Violation>,
    facts: &Facts,
    allows: &[Allow],
    diagnostics: &mut Diagnostics,
) {
    // What an allowance names may have failed.
    let complete = !diagnostics.has_errors();
    let mut used: BTreeSet<usize> = BTreeSet::new();
    for Violation {
        subject,
        diagnostic,
    } in violations
    {
        let covering = allows.iter().position(|allow| {
            allow.rule.text == diagnostic.code.as_str() && allow.subject.text == subject
        });
        match covering {
            Some(index) => {
                used.insert(index);
            }
            None => {
                let rule = diagnostic.code;
                diagnostics.push(diagnostic.help(format!(
                    "or allow it: `[[allow]]` with rule = \"{rule}\", subject = \"{subject}\" and a reason"
                )));
            }
        }
    }
    for (index, allow) in allows.iter().enumerate() {
        if !used.contains(&index) && complete {
            diagnostics.push(useless(allow, &allows[..index], facts));
        }
    }
}

/// Why an allowance has no effect.
fn useless(allow: &Allow, before: &[Allow], facts: &Facts) -> Diagnostic {
    let (rule, subject) = (&allow.rule.text, &allow.subject.text);
    let warning = |message: String| {
        Diagnostic::warning(codes::BAD_ALLOW, message).help("remove the `[[allow]]`")
    };
    let same = before
        .iter()
        .find(|other| other.rule.text == *rule && other.subject.text == *subject);
    if let Some(first) = same {
        return warning(format!("{rule} is allowed twice for `{subject}`"))
            .at(allow.subject.at, "again here")
            .also(first.subject.at, "first here");
    }
    let mut known: Vec<String> = facts.iter().map(Fact::subject).collect();
    known.extend(
        facts
            .of("service")
            .filter_map(|fact| Some(format!("image.{}", fact.value.str("image")?))),
    );
    if known.contains(subject) {
        let title = Code::find(rule).map_or("", Code::title);
        return warning(format!("`{subject}` does not break {rule} ({title})"))
            .at(allow.subject.at, "nothing to allow here");
    }
    let near = crate::pure::text::did_you_mean(subject, known.iter().map(String::as_str));
    let diagnostic = warning(format!("there is no `{subject}` that could break {rule}"))
        .at(allow.subject.at, "KIND.NAME is wanted");
    match near {
        Some(near) => diagnostic.help(format!("or did you mean `{near}`?")),
        None => diagnostic,
    }
}

fn check_service(fact: &Fact, service: &Service, facts: &Facts, violations: &mut Vec<Violation>) {
    let subject = fact.subject();
    let mut add = |diagnostic: Diagnostic| {
        violations.push(Violation {
            subject: subject.clone(),
            diagnostic,
        });
    };
    if service.healthcheck.is_none() {
        add(Diagnostic::error(
            codes::NO_HEALTHCHECK,
            format!("{subject} has no healthcheck"),
        )
        .at(fact.at, "")
        .help("add `healthcheck = { exec = [\"…\"] }`"));
    }
    if service.limits.memory.is_none() || service.limits.cpus.is_none() {
        add(Diagnostic::error(
            codes::NO_LIMITS,
            format!("{subject} has no memory and cpu limits"),
        )
        .at(fact.at, "")
        .help("add `limits = { memory = \"512MiB\", cpus = \"1\" }`"));
    }
    let logs = parse_size(&service.log.max_size)
        .unwrap_or(u64::MAX)
        .saturating_mul(u64::from(service.log.max_files));
    if logs > MOST_LOGS {
        let at = fact.value.get("log").map_or(fact.at, |log| log.at);
        add(Diagnostic::error(
            codes::NO_LOG_ROTATION,
            format!("logs of {subject} may grow to {} MiB", logs >> 20),
        )
        .at(at, "1 GiB at most")
        .help("lower `log.max_size` or `log.max_files`"));
    }
    check_privileges(fact, service, &mut add);
    match service
        .user
        .as_deref()
        .map(|user| user.split(':').next().unwrap_or_default())
    {
        Some(uid) if uid.parse::<u32>() != Ok(0) => {}
        _ => {
            let at = fact.value.get("user").map_or(fact.at, |user| user.at);
            add(Diagnostic::error(
                codes::RUNS_AS_ROOT,
                format!("{subject} runs as root, or as whom the image likes"),
            )
            .at(at, "")
            .help("set `user = \"uid:gid\"` to the one that the image is made for"));
        }
    }
    for port in fact.value.list("ports") {
        if !port.flag("public") {
            continue;
        }
        let number = port.get("host").and_then(Value::as_int);
        let protocol = port.str("protocol");
        let opened = facts.of("firewall").any(|hole| {
            hole.value.get("port").and_then(Value::as_int) == number
                && hole.value.str("protocol") == protocol
        });
        if !opened {
            let number = number.unwrap_or_default();
            let protocol = protocol.unwrap_or(Protocol::Tcp.as_str());
            add(Diagnostic::error(
                codes::PUBLIC_PORT,
                format!("{subject} publishes {number}/{protocol}, which the firewall does not open"),
            )
            .at(port.at, "")
            .help(format!("add `[[firewall]]` with port = {number} and protocol = \"{protocol}\", or take `public = true` away")));
        }
    }
    if let Some(env) = fact.value.get("env").and_then(Value::as_map) {
        for (name, value) in env {
            if value.as_str().is_some_and(|text| is_credential(name, text)) {
                add(Diagnostic::error(
                    codes::DEFAULT_CREDENTIAL,
                    format!("{subject} has a credential in `{name}`"),
                )
                .at(value.at, "written in clear")
                .veil()
                .help("declare a `[[secret]]` and use `env_secret`"));
            }
        }
    }
}

fn check_privileges(fact: &Fact, service: &Service, add: &mut impl FnMut(Diagnostic)) {
    let subject = fact.subject();
    let mut reasons = Vec::new();
    if service.privileged {
        reasons.push("it is privileged".to_owned());
    }
    if service.pid_host {
        reasons.push("it sees all processes of the host".to_owned());
    }
    for mount in &service.mounts {
        match mount.host.as_deref() {
            Some(path) if path.ends_with("/docker.sock") || path.ends_with("/containerd.sock") => {
                reasons.push(format!("it uses the socket {path}"));
            }
            Some(
                path @ ("/" | "/var/run" | "/run" | "/etc" | "/root" | "/var/lib/docker"
                | "/var/lib/forge"),
            ) => {
                reasons.push(format!("it mounts {path} of the host"));
            }
            _ => {}
        }
    }
    for capability in &service.cap_add {
        if matches!(
            capability.as_str(),
            "ALL" | "SYS_ADMIN" | "SYS_PTRACE" | "SYS_MODULE"
        ) {
            reasons.push(format!("it has the capability {capability}"));
        }
    }
    if !reasons.is_empty() {
        let mut diagnostic = Diagnostic::error(
            codes::PRIVILEGED,
            format!("{subject} is as good as root on the host"),
        )
        .at(fact.at, "");
        for reason in reasons {
            diagnostic = diagnostic.note(reason);
        }
        add(diagnostic);
    }
}

/// Whether a variable holds a credential: by its name, or a URL with a password.
fn is_credential(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let by_name = [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
        "ENCRYPTION_KEY",
    ]
    .iter()
    .any(|word| name.ends_with(word));
    let password_in_url = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty());
    (by_name && !value.is_empty()) || password_in_url
}

fn check_images(
    images: &BTreeMap<ImageName, PinnedImage>,
    project: &Project,
    violations: &mut Vec<Violation>,
) {
    for name in images.keys() {
        let Some(image) = project.images.get(name).and_then(Image::registry) else {
            continue;
        };
        let moving = MUTABLE.iter().any(|tag| {
            image.tag == *tag
                || image
                    .tag
                    .strip_prefix(tag)
                    .is_some_and(|rest| rest.starts_with('-'))
        });
        if moving {
            violations.push(Violation {
                subject: format!("image.{name}"),
                diagnostic: Diagnostic::error(
                    codes::MUTABLE_TAG,
                    format!("image `{name}` has the tag `{}`, which moves", image.tag),
                )
                .at(image.tag_at, "")
                .help("name a version"),
            });
        }
    }
}

fn check_volumes(
    facts: &Facts,
    modules: &BTreeMap<String, Value>,
    project: &Project,
    violations: &mut Vec<Violation>,
    diagnostics: &mut Diagnostics,
) {
    // A backup that nobody runs is none: some enabled module must provide it.
    let provided = modules
        .keys()
        .filter_map(|name| project.modules.get(name.as_str()))
        .any(|module| module.provides.iter().any(|kind| kind.text == "backup"));
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    for backup in facts.of("backup") {
        covered.extend(backup.value.str("volume"));
        covered.extend(backup.value.list("covers").iter().filter_map(Value::as_str));
    }
    for volume in facts.of("volume") {
        let subject = volume.subject();
        match volume.value.get("no_backup") {
            None if !provided || !covered.contains(volume.name.as_str()) => {
                let mut diagnostic =
                    Diagnostic::error(codes::NOT_BACKED_UP, format!("nobody backs up {subject}"))
                        .at(volume.at, "");
                if !covered.contains(volume.name.as_str()) {
                    diagnostic = diagnostic.help(format!(
                        "add `[[backup]]` with volume = \"{}\", or say `no_backup = \"why\"`",
                        volume.name
                    ));
                } else {
                    diagnostic = diagnostic
                        .note("there is a `[[backup]]` of it, but no enabled module runs backups")
                        .help("enable a module that does, such as `[modules.backup]`");
                }
                violations.push(Violation {
                    subject,
                    diagnostic,
                });
            }
            Some(reason) if reason.as_str().unwrap_or_default().trim().chars().count() < 10 => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::NO_REASON,
                        format!("`no_backup` of {subject} needs a reason"),
                    )
                    .at(reason.at, "")
                    .help(
                        "write at least ten characters, for the person who reads it in two years",
                    ),
                );
            }
            _ => {}
        }
    }
}

/// The example key opens the host to whoever has read forge's repository. No allowance helps: it is a warning until it is gone.
fn check_users(facts: &Facts, diagnostics: &mut Diagnostics) {
    for user in facts.of("user") {
        for key in user.value.list("keys") {
            let example = key
                .as_str()
                .and_then(|text| text.parse::<Recipient>().ok())
                .is_some_and(|key| key.is_example());
            if example {
                diagnostics.push(
                    Diagnostic::warning(
                        codes::EXAMPLE_KEY,
                        format!("everybody can log in as `{}`", user.name),
                    )
                    .at(
                        key.at,
                        "the example key that comes with forge: its private half is public",
                    )
                    .help("put your own key here: the line in ~/.ssh/id_ed25519.pub"),
                );
            }
        }
    }
}

fn check_firewall(facts: &Facts, violations: &mut Vec<Violation>) {
    for hole in facts.of("firewall") {
        let port = hole
            .value
            .get("port")
            .and_then(Value::as_int)
            .unwrap_or_default();
        let open = hole.value.list("from").is_empty();
        let known = ADMINISTRATION
            .iter()
            .find(|(number, _)| i64::from(*number) == port);
        if let (true, Some((_, what))) = (open, known) {
            violations.push(Violation {
                subject: hole.subject(),
                diagnostic: Diagnostic::error(
                    codes::OPEN_TO_ALL,
                    format!("{} opens {what} to everybody", hole.subject()),
                )
                .at(hole.at, "")
                .help("name who may: `from = [\"192.0.2.0/24\"]`"),
            });
        }
    }
}
