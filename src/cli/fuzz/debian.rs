//! Debian's formats.

use crate::pure::images::debian::{self, BinaryControl, Index, Keyring, Release, Request};
use crate::pure::name::Arch;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The bytes are the `control` file of a .deb.
pub fn deb_control(bytes: &[u8]) -> Result<String, String> {
    let _ = debian::control::parse(bytes);
    Ok(match BinaryControl::parse(bytes) {
        Ok(control) => format!("{control:?}"),
        Err(error) => error.to_string(),
    })
}

/// The bytes are a `Packages` file; the closure of each package in it is made.
pub fn deb_index(bytes: &[u8]) -> Result<String, String> {
    let index = match Index::parse("fuzz", bytes.to_vec()) {
        Ok(index) => index,
        Err(error) => return Ok(error.to_string()),
    };
    let mut said = String::new();
    for name in index.names().take(50) {
        let request = Request {
            arch: Arch::Amd64,
            packages: vec![name.to_owned()],
            exclude: BTreeSet::new(),
            dropped: &|name| name.ends_with("common"),
        };
        match debian::resolve(&index, &request) {
            Ok(closure) => {
                for pin in &closure.packages {
                    if pin.path.starts_with('/') || pin.path.split('/').any(|part| part == "..") {
                        return Err(format!("{} leads out of the mirror", pin.path));
                    }
                    said.push_str(&format!("{:?}\n", closure.chain(&pin.name)));
                }
            }
            Err(error) => said.push_str(&format!("{error}\n")),
        }
    }
    Ok(said)
}

/// The bytes are an `InRelease`, or a keyring.
pub fn deb_release(bytes: &[u8]) -> Result<String, String> {
    static KEYRING: OnceLock<Option<Keyring>> = OnceLock::new();
    let _ = Keyring::parse(bytes);
    let Some(keyring) = KEYRING.get_or_init(|| Keyring::parse(FUZZ_KEYS).ok()) else {
        return Err("the keyring cannot be read".to_owned());
    };
    Ok(match Release::verify(bytes, keyring) {
        Ok(release) => format!("{release:?}"),
        Err(error) => error.to_string(),
    })
}

const FUZZ_KEYS: &[u8] = include_bytes!("../../pure/images/debian/tests/keyring.gpg");
