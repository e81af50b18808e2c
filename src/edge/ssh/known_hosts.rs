//! The files of known hosts, as sshd(8) describes them; read and appended to, never rewritten.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

#[derive(Clone, Debug)]
struct Line {
    place: Place,
    marker: Marker,
    hosts: String,
    key: PublicKey,
}

/// What is known of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

/// What is known of a key that a host shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// The host has other keys: the first of them.
    Changed {
        known: String,
        place: Place,
    },
    Revoked(Place),
    /// No key, but an authority is known for the host.
    Authority(Place),
    Unknown,
}

/// A host as the files name it.
pub(super) fn name_of(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

/// As OpenSSH shows keys: `SHA256:…`.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

impl KnownHosts {
    /// Reads files; one that is not there is empty, a line that is not understood is passed over, as OpenSSH does.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let mut known = Self::default();
        for file in files {
            match fs::read(file) {
                Ok(bytes) => known.add(file, &String::from_utf8_lossy(&bytes)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err((file.clone(), error)),
            }
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let place = Place {
                file: file.to_path_buf(),
                line: index + 1,
            };
            self.lines.extend(parse(place, line));
        }
    }

    fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(move |line| names(&line.hosts, name))
    }

    /// Is this the key of the host?
    pub(super) fn verdict(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let name = name_of(host, port);
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        // A revoked key is revoked whoever shows it under a name that matches.
        if let Some(line) = self
            .about(&name)
            .filter(|line| line.marker == Marker::Revoked)
            .find(same)
        {
            return Verdict::Revoked(line.place.clone());
        }
        let mut plain = self
            .about(&name)
            .filter(|line| line.marker == Marker::None)
            .peekable();
        let other = plain.peek().copied();
        if plain.any(|line| same(&line)) {
            return Verdict::Known;
        }
        if let Some(line) = other {
            return Verdict::Changed {
                known: format!("{} {}", line.key.algorithm(), fingerprint(&line.key)),
                place: line.place.clone(),
            };
        }
        if let Some(line) = self
            .about(&name)
            .find(|line| line.marker == Marker::Authority)
        {
            return Verdict::Authority(line.place.clone());
        }
        // As OpenSSH: a key that is known for the host without a port is good for its other ports; it never speaks against one.
        if port != 22 && self.verdict(host, 22, key) == Verdict::Known {
            return Verdict::Known;
        }
        Verdict::Unknown
    }

    /// The algorithms of the keys that are known of a host: it is asked for these first.
    pub(super) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let of = |name: String| {
            self.lines
                .iter()
                .filter(|line| line.marker == Marker::None && names(&line.hosts, &name))
                .map(|line| line.key.algorithm())
                .collect::<Vec<_>>()
        };
        let known = of(name_of(host, port));
        if known.is_empty() && port != 22 {
            of(name_of(host, 22))
        } else {
            known
        }
    }
}

fn parse(place: Place, line: &str) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().filter(|word| !word.starts_with('#'))?;
    let (marker, hosts) = match first {
        "@revoked" => (Marker::Revoked, words.next()?),
        "@cert-authority" => (Marker::Authority, words.next()?),
        word if word.starts_with('@') => return None,
        word => (Marker::None, word),
    };
    let (kind, data) = (words.next()?, words.next()?);
    let key = PublicKey::from_openssh(&format!("{kind} {data}")).ok()?;
    Some(Line {
        place,
        marker,
        hosts: hosts.to_owned(),
        key,
    })
}

/// Does the first word of a line name the host?
fn names(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut matched = false;
    for pattern in hosts.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if matches(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            matched = true;
        }
    }
    matched
}

fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = Base64::decode_vec(salt).ok()?;
    let hash = Base64::decode_vec(hash).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// `*` and `?`; nothing else is special, brackets neither.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Appends a host's key to a file, which is made if it is not there.
///
/// # Errors
/// If it cannot be written.
pub(super) fn append(file: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    if let Some(folder) = file.parent()
        && !folder.exists()
    {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut out = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    // A last line without its end must not swallow ours.
    let mut before = String::new();
    if out.seek(SeekFrom::End(0))? > 0 {
        out.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        out.read_exact(&mut last)?;
        if last != *b"\n" {
            before.push('\n');
        }
    }
    let mut bare = key.clone();
    bare.set_comment("");
    let key = bare.to_openssh().map_err(io::Error::other)?;
    // One write: two processes that append at once do not mix their lines.
    out.write_all(format!("{before}{} {}\n", name_of(host, port), key.trim()).as_bytes())?;
    // What is no file, as /dev/null, cannot be synced, and what is lost is asked for again.
    let _ = out.sync_all();
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2JlKpggT+wCRxpSvtqqpVrQrKN1/A22";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), text);
        known
    }

    fn place(line: usize) -> Place {
        Place {
            file: "known_hosts".into(),
            line,
        }
    }

    fn verdict(text: &str, host: &str, port: u16) -> Verdict {
        known(text).verdict(host, port, &key(ONE))
    }

    #[test]
    fn names_with_wildcards_negation_ports_tabs_and_capitals() {
        for (hosts, host, port, expected) in [
            ("example.org", "example.org", 22, true),
            ("Example.ORG", "eXample.org", 22, true),
            ("example.org", "www.example.org", 22, false),
            ("*.example.org", "www.example.org", 22, true),
            ("*.example.org", "example.org", 22, false),
            ("10.0.0.?", "10.0.0.7", 22, true),
            ("10.0.0.?", "10.0.0.17", 22, false),
            ("*,!db.example.org", "db.example.org", 22, false),
            ("!db.example.org,*", "db.example.org", 22, false),
            ("*,!db.example.org", "www.example.org", 22, true),
            ("[example.org]:2222", "example.org", 2222, true),
            ("[example.org]:2222", "example.org", 2223, false),
            ("[example.org]:2222", "example.org", 22, false),
            ("[*.example.org]:2222", "a.example.org", 2222, true),
            // Without a port: good for the others.
            ("example.org", "example.org", 2222, true),
            ("a,b,c", "b", 22, true),
        ] {
            for space in [" ", "\t", "  \t "] {
                let line = format!("{hosts}{space}{} comment", ONE.replace(' ', space));
                let expected = if expected {
                    Verdict::Known
                } else {
                    Verdict::Unknown
                };
                assert_eq!(
                    verdict(&line, host, port),
                    expected,
                    "{line:?} {host}:{port}"
                );
            }
        }
    }

    #[test]
    fn hashed_names() {
        // ssh-keygen -H of `example.org` and of `[example.org]:2222`, computed here with a fixed salt.
        let hash = |name: &str| {
            let mut mac = Hmac::<Sha1>::new_from_slice(&[7; 20]).unwrap();
            mac.update(name.as_bytes());
            format!(
                "|1|{}|{}",
                Base64::encode_string(&[7; 20]),
                Base64::encode_string(&mac.finalize().into_bytes())
            )
        };
        let line = format!("{} {ONE}", hash("example.org"));
        assert_eq!(verdict(&line, "Example.org", 22), Verdict::Known);
        assert_eq!(verdict(&line, "example.com", 22), Verdict::Unknown);
        let line = format!("{} {ONE}", hash("[example.org]:2222"));
        assert_eq!(verdict(&line, "example.org", 2222), Verdict::Known);
        assert_eq!(verdict(&line, "example.org", 22), Verdict::Unknown);
        assert_eq!(verdict("|1|rubbish x y", "rubbish", 22), Verdict::Unknown);
    }

    #[test]
    fn another_key_is_told_with_its_place_unless_a_line_has_this_one() {
        let text = format!("# comment\n\nhost {TWO}\n");
        let Verdict::Changed { known, place: at } = verdict(&text, "host", 22) else {
            unreachable!()
        };
        assert!(known.starts_with("ssh-ed25519 SHA256:"), "{known}");
        assert_eq!(at, place(3));
        assert_eq!(
            verdict(&format!("host {TWO}\nhost {ONE}"), "host", 22),
            Verdict::Known
        );
        // A key of another port or of the plain name does not speak against this one.
        assert_eq!(
            verdict(&format!("host {TWO}\n[host]:1 {TWO}"), "host", 2222),
            Verdict::Unknown
        );
    }

    #[test]
    fn revoked_keys_and_authorities() {
        assert_eq!(
            verdict(&format!("host {ONE}\n@revoked * {ONE}"), "host", 22),
            Verdict::Revoked(place(2))
        );
        assert_eq!(
            verdict(&format!("@revoked * {TWO}"), "host", 22),
            Verdict::Unknown
        );
        let authority = format!("@cert-authority *.example.org {ONE}");
        assert_eq!(
            verdict(&authority, "a.example.org", 22),
            Verdict::Authority(place(1))
        );
        assert_eq!(verdict(&authority, "b", 22), Verdict::Unknown);
        assert_eq!(
            verdict(&format!("{authority}\n* {ONE}"), "a.example.org", 22),
            Verdict::Known
        );
        assert_eq!(
            verdict(&format!("@new host {ONE}"), "host", 22),
            Verdict::Unknown
        );
    }

    #[test]
    fn appends_and_never_rewrites() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".ssh/known_hosts");
        append(&file, "Host", 2222, &key(&format!("{ONE} a comment"))).unwrap();
        fs::write(
            &file,
            format!("{}# no end", fs::read_to_string(&file).unwrap()),
        )
        .unwrap();
        append(&file, "other", 22, &key(TWO)).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            format!("[host]:2222 {ONE}\n# no end\nother {TWO}\n")
        );
        let known = KnownHosts::read(&[file, folder.path().join("none")]).unwrap();
        assert_eq!(known.verdict("host", 2222, &key(ONE)), Verdict::Known);
        assert_eq!(known.algorithms("host", 2222), [Algorithm::Ed25519]);
    }
}
