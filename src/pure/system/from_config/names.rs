//! What the names of each kind of contribution may consist of: they become names of files, users, packages and the like.

use crate::pure::name::{NameError, NetworkName, SecretName, ServiceName, VolumeName};

/// The suffixes of the units that forge manages (systemd.unit(5)).
const SUFFIXES: [&str; 6] = [
    ".service", ".timer", ".socket", ".path", ".mount", ".target",
];

/// What is wrong with a name of this kind, and what would be right.
pub(super) fn problem(kind: &str, name: &str) -> Option<(String, String)> {
    let word = |error: NameError| (error.message(), error.rule().to_owned());
    let plain = |fine: bool, what: &str, rule: &str| {
        (!fine).then(|| {
            (
                format!("`{name}` is not the name of a {what}"),
                rule.to_owned(),
            )
        })
    };
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match kind {
        "service" => name.parse::<ServiceName>().err().map(word),
        "volume" => name.parse::<VolumeName>().err().map(word),
        "secret" => name.parse::<SecretName>().err().map(word),
        "network" => name.parse::<NetworkName>().err().map(word),
        "file" => plain(
            !name.contains('/'),
            "file",
            "it has no folder: the place on the host is its `path`",
        ),
        "unit" => plain(
            !name.contains('/') && SUFFIXES.iter().any(|suffix| name.ends_with(suffix)),
            "unit",
            "it ends with .service, .timer, .socket, .path, .mount or .target and has no folder",
        ),
        // Debian Policy, section 5.6.1.
        "package" => plain(
            name.len() >= 2 && name.chars().all(|c| lower(c) || "+-.".contains(c)),
            "package",
            "use a-z, 0-9, `+`, `-` and `.`, two characters at least",
        ),
        // useradd(8), groupadd(8).
        "user" | "group" => plain(
            name.len() <= 32
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| lower(c) || "_-".contains(c)),
            kind,
            "use a-z, 0-9, `_` and `-`, a letter first, at most 32 characters",
        ),
        _ => None,
    }
}
