//! Wheels and their indexes, and apt's sources.

use crate::pure::images::debian::sources_list;
use crate::pure::images::python::{self, Target, WheelName, from_wheel, record, requirements};
use crate::pure::name::Arch;
use std::io::Cursor;

/// The bytes are a recipe's requirements.
pub fn requirements(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let target = Target::new("3.11", Arch::Amd64, "2.36").map_err(|error| error.to_string())?;
    match requirements::read(&text, &target) {
        Ok(found) => Ok(format!("{found:?}")),
        Err(mistakes) => {
            let astray = |it: &&requirements::Mistake| text.get(it.at.clone()).is_none();
            match mistakes.iter().find(astray) {
                Some(mistake) => Err(format!("{mistake:?}")),
                None => Ok(mistakes.iter().map(|it| format!("{it}\n")).collect()),
            }
        }
    }
}

/// The bytes are the `RECORD` of a wheel.
pub fn wheel_record(bytes: &[u8]) -> Result<String, String> {
    Ok(format!(
        "{:?}",
        record::read(&String::from_utf8_lossy(bytes))
    ))
}

/// The bytes are a wheel.
pub fn wheel(bytes: &[u8]) -> Result<String, String> {
    let name = "a-1.0-py3-none-any.whl".parse::<WheelName>();
    let name = name.map_err(|error| error.to_string())?;
    let mut spool = Cursor::new(Vec::new());
    let tree = from_wheel(Cursor::new(bytes), &name, "3.11", &mut spool);
    Ok(format!("{:?}", tree.map(|tree| tree.entries.len())))
}

/// The bytes are a page of a Python index.
pub fn simple_index(bytes: &[u8]) -> Result<String, String> {
    let base = "https://index.example.com/simple/a/".parse();
    let base = base.map_err(|error| format!("{error}"))?;
    Ok(format!("{:?}", python::simple_index::read(bytes, &base)))
}

/// The bytes are sources of apt in both formats, a list of mirrors, and logins.
pub fn apt_sources(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut said = String::new();
    for entries in [
        sources_list::read_list("x.list", &text),
        sources_list::read_sources("x.sources", &text),
    ] {
        let entries = entries.as_deref().unwrap_or_default();
        for uri in entries.iter().flat_map(|entry| &entry.uris) {
            said.push_str(&format!("{:?}", sources_list::place(uri)));
        }
    }
    said.push_str(&format!("{:?}", sources_list::read_mirror_list(&text)));
    said.push_str(&format!("{:?}", sources_list::read_auth(&text)));
    Ok(said)
}
