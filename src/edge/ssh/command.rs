//! The few commands that are ever run over SSH. No data is in them but a digest's hexadecimal digits.

use std::fmt;

use secrecy::SecretString;

use crate::pure::name::BlobDigest;

/// How a command becomes root.
#[derive(Clone)]
pub enum Sudo {
    /// Not at all: it runs as who logs in.
    Never,
    /// If who logs in is not root: `sudo`, which must not ask for a password.
    Quiet,
    /// `sudo`, with this password as the first line of the standard input.
    Password(SecretString),
}

impl fmt::Debug for Sudo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::Quiet => "Quiet",
            Self::Password(_) => "Password(secret)",
        })
    }
}

/// A command for a host: a constant script with a digest as its only argument.
#[derive(Clone, Debug)]
pub struct RemoteCommand {
    script: &'static str,
    digest: Option<BlobDigest>,
    sudo: Sudo,
    what: &'static str,
    answers_at_once: bool,
}

/// What a host says that has no agent of this digest; the machine's architecture (`uname -m`) follows.
pub const NO_AGENT: &str = "forge: no agent on ";

// The scripts stand between double quotes within single quotes: neither may be in them, `$` is escaped once for the outer shell,
// and no `!` for the sake of csh.

const SERVE: &str = "p=/var/lib/forge/bin/\\$1/forge; test -x \\$p && exec \\$p agent serve; \
    echo forge: no agent on \\$(uname -m) >&2; exit 127";

// Beside its place, so that the rename cannot cross file systems. The agent's name holds its digest: what is there already is the same.
const INSTALL: &str = "umask 077; d=/var/lib/forge/bin/\\$1; mkdir -p \\$d || exit 73; t=\\$(mktemp \\$d/.forge.XXXXXX) || exit 73; \
    if gzip -dc > \\$t && have=\\$(sha256sum < \\$t) && test \\${have%% *} = \\$1; then :; \
    else rm -f \\$t; echo forge: the agent arrived damaged >&2; exit 65; fi; \
    chmod 0755 \\$t && sync \\$t && mv -f \\$t \\$d/forge && sync \\$d && exit 0; rm -f \\$t; exit 74";

const NOTHING: &str = ":";

impl RemoteCommand {
    /// Starts the agent of this digest.
    pub fn serve(agent: BlobDigest, sudo: Sudo) -> Self {
        Self {
            script: SERVE,
            digest: Some(agent),
            sudo,
            what: "start the agent",
            answers_at_once: true,
        }
    }

    /// Installs an agent, that comes through the standard input with gzip, if it has this digest. It is there whole, or not at all.
    pub fn install(agent: BlobDigest, sudo: Sudo) -> Self {
        Self {
            script: INSTALL,
            digest: Some(agent),
            sudo,
            what: "install the agent",
            answers_at_once: false,
        }
    }

    /// Does nothing: whether it can be root is the question.
    pub fn nothing(sudo: Sudo) -> Self {
        Self {
            script: NOTHING,
            digest: None,
            sudo,
            what: "become root",
            answers_at_once: false,
        }
    }

    /// As it goes over the wire, for the login shell of who logs in.
    pub fn text(&self) -> String {
        let become_root = match self.sudo {
            Sudo::Never => "",
            Sudo::Quiet => "test $(id -u) = 0 || exec sudo -n -- /bin/sh -c \"$s\" forge \"$@\"; ",
            Sudo::Password(_) => "exec sudo -k -S -p \"\" -- /bin/sh -c \"$s\" forge \"$@\"; ",
        };
        let digest = self.digest.map(|digest| digest.hex()).unwrap_or_default();
        // What sudo says is read: it must not be translated.
        format!(
            "/bin/sh -c 'LC_ALL=C; export LC_ALL; s=\"{}\"; {become_root}exec /bin/sh -c \"$s\" forge \"$@\"' forge {digest}",
            self.script
        )
    }

    /// What has to be written before anything else.
    pub(crate) fn first_line(&self) -> Option<&SecretString> {
        match &self.sudo {
            Sudo::Password(password) => Some(password),
            Sudo::Never | Sudo::Quiet => None,
        }
    }

    pub(crate) fn answers_at_once(&self) -> bool {
        self.answers_at_once
    }

    /// What it does, as in `start the agent`.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_one_line_for_any_login_shell() {
        let digest = BlobDigest::of("agent");
        for sudo in [
            Sudo::Never,
            Sudo::Quiet,
            Sudo::Password(SecretString::from("hunter2")),
        ] {
            for command in [
                RemoteCommand::serve(digest, sudo.clone()),
                RemoteCommand::install(digest, sudo.clone()),
                RemoteCommand::nothing(sudo.clone()),
            ] {
                let text = command.text();
                assert!(!text.contains(['\n', '!']), "{text}");
                assert_eq!(text.matches('\'').count(), 2, "{text}");
                assert!(!text.contains("hunter2"), "{text}");
                assert!(!format!("{command:?}").contains("hunter2"));
                let words = shlex::split(&text).unwrap();
                assert_eq!(words[..2], ["/bin/sh", "-c"]);
                let parsed = std::process::Command::new("sh")
                    .args(["-n", "-c", &words[2]])
                    .status()
                    .unwrap();
                assert!(parsed.success(), "{text}");
            }
        }
    }
}
