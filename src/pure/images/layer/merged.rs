//! Where a path of a package lies in an image whose `/usr` is merged (file-hierarchy(7); on Debian the work of `usrmerge`).

use super::ImagePath;

/// Folders of the root that are links in an image, and where they lead.
const MERGED: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib32", "usr/lib32"),
    ("lib64", "usr/lib64"),
    ("libx32", "usr/libx32"),
    ("var/run", "run"),
    ("var/lock", "run/lock"),
];

/// Where something lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    /// One of the links itself, which leads there.
    Merged(&'static str),
    At(ImagePath),
}

/// Where a path of an archive lies; nothing if it is absolute, leaves the root, or is none.
pub(super) fn place(path: &[u8]) -> Option<Place> {
    let path = str::from_utf8(path).ok()?;
    if matches!(path, "." | "./") {
        return Some(Place::Root);
    }
    if path.starts_with('/') {
        return None;
    }
    let path: ImagePath = path.parse().ok()?;
    for (link, to) in MERGED {
        match path.as_str().strip_prefix(link) {
            Some("") => return Some(Place::Merged(to)),
            Some(rest) if rest.starts_with('/') => {
                return Some(Place::At(format!("{to}{rest}").parse().ok()?));
            }
            _ => {}
        }
    }
    Some(Place::At(path))
}

/// Whether a symbolic link that a package ships is the one that the image has: `bin` to `usr/bin`, `var/run` to `/run`.
pub(super) fn leads_to(target: &str, to: &str) -> bool {
    let target = target.trim_start_matches("../").trim_start_matches('/');
    target.trim_end_matches('/') == to
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_are_merged_and_nothing_that_looks_like_them() {
        for (path, expected) in [
            ("./bin/sh", "usr/bin/sh"),
            (
                "./lib/x86_64-linux-gnu/libc.so.6",
                "usr/lib/x86_64-linux-gnu/libc.so.6",
            ),
            ("lib64/ld.so", "usr/lib64/ld.so"),
            ("./libexec/x", "libexec/x"),
            ("./binary", "binary"),
            ("./usr/bin/env", "usr/bin/env"),
            ("./opt/bin/x", "opt/bin/x"),
            ("./var/run/x/", "run/x"),
            ("./var/lock/x", "run/lock/x"),
            ("./var/running", "var/running"),
        ] {
            let place = place(path.as_bytes()).unwrap();
            assert_eq!(place, Place::At(expected.parse().unwrap()), "{path}");
        }
        assert_eq!(place(b"./lib/"), Some(Place::Merged("usr/lib")));
        assert_eq!(place(b"./"), Some(Place::Root));
        for bad in [
            b"/etc/passwd".as_slice(),
            b"../x",
            b"./../x",
            b"a/../../x",
            b".//etc",
            b"",
            b"a//b",
            b"\xff",
            b"bin/../../etc",
        ] {
            assert_eq!(place(bad), None, "{}", bad.escape_ascii());
        }
        assert!(leads_to("/run", "run") && leads_to("../run", "run"));
        assert!(!leads_to("/tmp", "run"));
    }
}
