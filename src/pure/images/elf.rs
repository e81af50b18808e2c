//! The gate: every library that an ELF file of the image names is in the image, where the dynamic linker looks for it.
//!
//! What is cut from packages and of dependencies is cut by rules that know nothing of a particular program. This finds out what
//! they must not cut. It sees what is linked, not what a program loads by itself (`dlopen`).

use std::collections::{BTreeMap, BTreeSet};

use super::layer::{Elf, Facts, ImagePath};
use crate::pure::name::Arch;

/// A chain of links that is longer is a circle (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A library that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("`/{file}` needs the library `{library}`{}", .elsewhere.as_ref().map_or_else(
    || ", which is not in the image".to_owned(),
    |path| format!(", which the dynamic linker will not find at `/{path}`"),
))]
pub struct Missing {
    pub file: ImagePath,
    pub library: String,
    /// Where a file of this name is, although nobody looks there.
    pub elsewhere: Option<ImagePath>,
}

/// What is in an image, as far as the dynamic linker sees it.
#[derive(Debug, Default)]
struct View<'a> {
    elves: BTreeMap<&'a str, &'a Elf>,
    links: BTreeMap<&'a str, &'a str>,
}

/// The libraries that are missing in an image whose layers are these, the lowest first.
///
/// Folders are looked in as ld.so(8) says: those of the file's `DT_RUNPATH`, those of `LD_LIBRARY_PATH`, the default ones of Debian's
/// libc. There is no `ld.so.cache`: what lies only in a folder of `/etc/ld.so.conf.d` is reported.
pub fn missing(layers: &[&Facts], arch: Arch, library_path: Option<&str>) -> Vec<Missing> {
    let mut view = View::default();
    for facts in layers {
        // What a later layer puts in the place of something is seen instead of it.
        for (path, target) in &facts.links {
            view.elves.remove(path.as_str());
            view.links.insert(path.as_str(), target);
        }
        for elf in &facts.elves {
            view.links.remove(elf.path.as_str());
            view.elves.insert(elf.path.as_str(), elf);
        }
    }
    let multiarch = arch.multiarch();
    let mut folders: Vec<String> = library_path
        .unwrap_or_default()
        .split([':', ';'])
        .filter(|folder| !folder.is_empty())
        .map(str::to_owned)
        .collect();
    folders.extend([
        format!("/lib/{multiarch}"),
        format!("/usr/lib/{multiarch}"),
        "/lib".to_owned(),
        "/usr/lib".to_owned(),
    ]);
    if arch == Arch::Amd64 {
        folders.push("/lib64".to_owned());
    }
    let mut missing = BTreeSet::new();
    let mut found = BTreeSet::new();
    for elf in view.elves.values() {
        let origin = elf.path.parent();
        let origin = origin.as_ref().map_or("", ImagePath::as_str);
        let own: Vec<String> = elf
            .runpath
            .iter()
            .map(|folder| expand(folder, origin, arch))
            .collect();
        for library in &elf.needed {
            let by_default = !library.contains('/') && own.is_empty();
            if by_default && found.contains(library) {
                continue;
            }
            let there = match library.contains('/') {
                true => view.is_there(library),
                false => own
                    .iter()
                    .chain(&folders)
                    .any(|folder| view.is_there(&format!("{folder}/{library}"))),
            };
            if there {
                if by_default {
                    found.insert(library.clone());
                }
                continue;
            }
            let named = |path: &&str| path.rsplit('/').next() == Some(library.as_str());
            let elsewhere = view.elves.keys().find(|path| named(path));
            missing.insert(Missing {
                file: elf.path.clone(),
                library: library.clone(),
                elsewhere: elsewhere.and_then(|path| path.parse().ok()),
            });
        }
    }
    missing.into_iter().collect()
}

/// ld.so(8), "Dynamic string tokens".
fn expand(folder: &str, origin: &str, arch: Arch) -> String {
    let origin = format!("/{origin}");
    let (lib, platform) = match arch {
        Arch::Amd64 => (format!("lib/{}", arch.multiarch()), "x86_64"),
        Arch::Arm64 => (format!("lib/{}", arch.multiarch()), "aarch64"),
    };
    [
        ("ORIGIN", origin.as_str()),
        ("LIB", lib.as_str()),
        ("PLATFORM", platform),
    ]
    .into_iter()
    .fold(folder.to_owned(), |text, (token, value)| {
        text.replace(&format!("${{{token}}}"), value)
            .replace(&format!("${token}"), value)
    })
}

impl View<'_> {
    /// Whether a path leads to an ELF file, through whatever links.
    fn is_there(&self, path: &str) -> bool {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = match at.is_empty() {
                true => part,
                false => format!("{at}/{part}"),
            };
            let Some(target) = self.links.get(next.as_str()) else {
                at = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return false;
            }
            if target.starts_with('/') {
                at.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
        }
        self.elves.contains_key(at.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn elf(path: &str, needed: &[&str], runpath: &[&str]) -> Elf {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Elf {
            path: path.parse().unwrap(),
            needed: owned(needed),
            soname: None,
            runpath: owned(runpath),
        }
    }

    fn facts(elves: Vec<Elf>, links: &[(&str, &str)]) -> Facts {
        let links = links.iter();
        Facts {
            elves,
            links: links
                .map(|(path, target)| (path.parse().unwrap(), (*target).to_owned()))
                .collect(),
        }
    }

    fn check(layers: &[&Facts]) -> Vec<String> {
        let missing = missing(layers, Arch::Amd64, None);
        missing.iter().map(ToString::to_string).collect()
    }

    const LIBC: &str = "usr/lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn finds_libraries_in_default_folders_and_through_links() {
        let base = facts(vec![elf(LIBC, &[], &[])], &[("lib", "usr/lib")]);
        let real = "usr/lib/x86_64-linux-gnu/libz.so.1.2.13";
        let zlib = facts(
            vec![elf(real, &["libc.so.6"], &[])],
            &[("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.2.13")],
        );
        let app = facts(
            vec![elf("usr/bin/app", &["libz.so.1", "libc.so.6"], &[])],
            &[],
        );
        assert_eq!(check(&[&base, &zlib, &app]), [""; 0]);
        assert_eq!(
            check(&[&base, &app]),
            ["`/usr/bin/app` needs the library `libz.so.1`, which is not in the image"]
        );
        // A link to nothing, and one to itself, are no libraries.
        for target in ["gone", "libz.so.1", "/../../libz.so.1"] {
            let broken = facts(vec![], &[("usr/lib/x86_64-linux-gnu/libz.so.1", target)]);
            assert_eq!(check(&[&base, &broken, &app]).len(), 1, "{target}");
        }
    }

    #[test]
    fn follows_runpath_with_its_tokens_and_ld_library_path() {
        let base = facts(vec![elf(LIBC, &[], &[])], &[]);
        let private = facts(vec![elf("opt/app/lib/libx.so", &["libc.so.6"], &[])], &[]);
        for runpath in ["$ORIGIN/../lib", "${ORIGIN}/../lib", "/opt/app/lib"] {
            let app = facts(vec![elf("opt/app/bin/app", &["libx.so"], &[runpath])], &[]);
            assert_eq!(check(&[&base, &private, &app]), [""; 0], "{runpath}");
        }
        let app = facts(vec![elf("opt/app/bin/app", &["libx.so"], &["/wrong"])], &[]);
        assert_eq!(
            check(&[&base, &private, &app]),
            [
                "`/opt/app/bin/app` needs the library `libx.so`, which the dynamic linker will not find at `/opt/app/lib/libx.so`"
            ]
        );
        let layers = [&base, &private, &app];
        assert_eq!(missing(&layers, Arch::Amd64, Some("/opt/app/lib")), []);
        // Found for one file by its own folders is not found for all.
        let other = facts(vec![elf("usr/bin/other", &["libx.so"], &[])], &[]);
        let first = facts(
            vec![elf("opt/app/bin/app", &["libx.so"], &["/opt/app/lib"])],
            &[],
        );
        assert_eq!(check(&[&base, &private, &first, &other]).len(), 1);
    }

    #[test]
    fn a_later_layer_hides_an_earlier_one() {
        let base = facts(vec![elf(LIBC, &[], &[])], &[]);
        let app = facts(vec![elf("usr/bin/app", &["libc.so.6"], &[])], &[]);
        let hidden = facts(vec![], &[(LIBC, "gone")]);
        assert_eq!(check(&[&base, &app, &hidden]).len(), 1);
        assert_eq!(check(&[&hidden, &base, &app]), [""; 0]);
    }

    #[test]
    fn another_architecture_has_other_folders() {
        let base = facts(vec![elf(LIBC, &[], &[])], &[]);
        let app = facts(vec![elf("usr/bin/app", &["libc.so.6"], &[])], &[]);
        assert_eq!(missing(&[&base, &app], Arch::Arm64, None).len(), 1);
    }
}
