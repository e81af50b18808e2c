//! Makes packages, also such as no tool would make.

use std::io::Write as _;

use crate::pure::name::BlobDigest;
use crate::pure::pins::PackagePin;

/// An entry of a data archive, written as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: tar::EntryType,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) content: Vec<u8>,
    pub(crate) pax: Vec<(String, Vec<u8>)>,
}

fn item(kind: tar::EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Item {
    Item {
        kind,
        path: path.into(),
        link: link.into(),
        mode,
        owner: (0, 0),
        content: content.to_vec(),
        pax: Vec::new(),
    }
}

pub(crate) fn file(path: &str, content: &[u8]) -> Item {
    item(tar::EntryType::Regular, path, "", 0o644, content)
}

pub(crate) fn folder(path: &str) -> Item {
    item(tar::EntryType::Directory, path, "", 0o755, b"")
}

pub(crate) fn symlink(path: &str, target: &str) -> Item {
    item(tar::EntryType::Symlink, path, target, 0o777, b"")
}

pub(crate) fn hardlink(path: &str, target: &str) -> Item {
    item(tar::EntryType::Link, path, target, 0o644, b"")
}

pub(crate) fn other(kind: tar::EntryType, path: &str) -> Item {
    item(kind, path, "", 0o644, b"")
}

impl Item {
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.to_owned(), value.to_vec()));
        self
    }
}

/// GNU format, with the long names of that.
pub(crate) fn tar(items: &[Item]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let pax = item.pax.iter();
        let pax = pax.map(|(key, value)| (key.as_str(), value.as_slice()));
        builder.append_pax_extensions(pax).unwrap();
        let mut header = tar::Header::new_gnu();
        for (kind, text) in [(b'L', &item.path), (b'K', &item.link)] {
            let field = match kind {
                b'L' => &mut header.as_old_mut().name,
                _ => &mut header.as_old_mut().linkname,
            };
            let short = text.len().min(field.len());
            field[..short].copy_from_slice(&text[..short]);
            if short < text.len() {
                let mut long = tar::Header::new_gnu();
                long.set_entry_type(tar::EntryType::new(kind));
                long.set_size(text.len() as u64 + 1);
                long.set_cksum();
                builder
                    .append(&long, [text, &b"\0"[..]].concat().as_slice())
                    .unwrap();
            }
        }
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_uid(item.owner.0);
        header.set_gid(item.owner.1);
        // What forge must not keep.
        header.set_mtime(1_700_000_000);
        header.set_username("somebody").unwrap();
        header.set_size(item.content.len() as u64);
        header.set_cksum();
        builder.append(&header, item.content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn pack(ending: &str, bytes: &[u8]) -> Vec<u8> {
    match ending {
        ".gz" => {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(bytes).unwrap();
            gz.finish().unwrap()
        }
        ".xz" => {
            let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
            xz.write_all(bytes).unwrap();
            xz.finish().unwrap()
        }
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            0, 0, 0, "100644"
        );
        all.extend_from_slice(header.as_bytes());
        all.extend_from_slice(content);
        if size % 2 == 1 {
            all.push(b'\n');
        }
    }
    all
}

pub(crate) const CONTROL: &str = "Package: demo\nVersion: 1:2.0-3\nArchitecture: amd64\n\
    Installed-Size: 10\nDescription: a package\n that shows : something\n";

pub(crate) fn deb_of(ending: &str, control: &str, data: &[u8]) -> Vec<u8> {
    let control = tar(&[folder("./"), file("./control", control.as_bytes())]);
    ar(&[
        ("debian-binary", b"2.0\n"),
        (&format!("control.tar{ending}"), &pack(ending, &control)),
        (&format!("data.tar{ending}"), &pack(ending, data)),
    ])
}

/// The package `demo` with these entries.
pub(crate) fn deb(items: &[Item]) -> Vec<u8> {
    deb_of(".xz", CONTROL, &tar(items))
}

pub(crate) fn pin(name: &str, deb: &[u8]) -> PackagePin {
    PackagePin {
        name: name.to_owned(),
        version: "1:2.0-3".to_owned(),
        arch: "amd64".to_owned(),
        suite: "suite".to_owned(),
        path: format!("pool/{name}.deb"),
        size: deb.len() as u64,
        digest: BlobDigest::of(deb),
    }
}
