use std::io::Cursor;

use super::{DebError, DebFault, Found, Options, Unpacked, from_deb, pruned};
use crate::pure::images::layer::testing::{
    CONTROL, Item, deb, deb_of, file, folder, hardlink, other, pack, pin, symlink, tar,
};
use crate::pure::images::layer::{Content, ImagePath, Meta, Node};
use crate::pure::images::rules::Prune;

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn unpack_with(
    deb: &[u8],
    allowed: &[&str],
    spool: &mut Cursor<Vec<u8>>,
) -> Result<Unpacked, DebError> {
    let (prune, allowed) = (
        Prune::default(),
        allowed.iter().map(|at| path(at)).collect(),
    );
    let options = Options {
        prune: &prune,
        allowed_special: &allowed,
        memory: 32 << 20,
    };
    from_deb(deb, &pin("demo", deb), options, spool)
}

fn unpack(items: &[Item]) -> Result<Unpacked, DebError> {
    unpack_with(&deb(items), &[], &mut Cursor::default())
}

/// Every entry as a line.
fn shown(unpacked: &Unpacked, spool: &Cursor<Vec<u8>>) -> Vec<String> {
    let entries = unpacked.tree.entries.iter();
    entries
        .map(|(at, (node, meta))| {
            let what = match node {
                Node::Directory => "/".to_owned(),
                Node::Symlink(target) => format!(" -> {target}"),
                Node::Hardlink(target) => format!(" = {target}"),
                Node::File(Content::Spooled { at, size }) => {
                    let from = usize::try_from(*at).unwrap();
                    let to = from + usize::try_from(*size).unwrap();
                    format!(": {}", String::from_utf8_lossy(&spool.get_ref()[from..to]))
                }
                Node::File(Content::Bytes(_)) => panic!("not in the spool"),
            };
            format!("{:o} {}:{} {at}{what}", meta.mode, meta.uid, meta.gid)
        })
        .collect()
}

#[test]
fn paths_are_those_of_a_merged_usr() {
    let long = format!("./usr/share/{}/{}", "d".repeat(120), "f".repeat(120));
    let deb = deb(&[
        folder("./"),
        folder("./bin/"),
        file("./bin/tool", b"tool").mode(0o755),
        hardlink("./bin/other", "./bin/tool"),
        hardlink("./usr/bin/third", "bin/other"),
        folder("./lib64/"),
        symlink("./lib64/ld.so", "/lib/ld.so"),
        folder("./usr/"),
        folder("./usr/bin/"),
        folder("./var/run/demo/").owner(33, 34).mode(0o2775),
        file(&long, b"long"),
        symlink("./sbin", "usr/sbin"),
        symlink("./var/lock", "/run/lock"),
    ]);
    let mut spool = Cursor::new(b"what was there".to_vec());
    let unpacked = unpack_with(&deb, &[], &mut spool).unwrap();
    assert_eq!(
        shown(&unpacked, &spool),
        [
            "2775 33:34 run/demo/".to_owned(),
            "755 0:0 usr/".to_owned(),
            "755 0:0 usr/bin/".to_owned(),
            "644 0:0 usr/bin/other = usr/bin/tool".to_owned(),
            "644 0:0 usr/bin/third = usr/bin/tool".to_owned(),
            "755 0:0 usr/bin/tool: tool".to_owned(),
            "777 0:0 usr/lib64/ld.so -> /lib/ld.so".to_owned(),
            format!("644 0:0 {}: long", &long[2..]),
        ]
    );
    assert!(spool.get_ref().starts_with(b"what was there"));
    assert_eq!(unpacked.notes, Vec::<String>::new());
    // The first name in order carries the content.
    let mut bytes = Vec::new();
    unpacked.tree.write(&mut spool, &mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let line = [&entry.path_bytes()[..], b"=", &link].concat();
        String::from_utf8(line).unwrap()
    });
    let links: Vec<_> = entries
        .filter(|line| line.contains("bin/o") || line.contains("bin/t"))
        .collect();
    assert_eq!(
        links,
        [
            "usr/bin/other=",
            "usr/bin/third=usr/bin/other",
            "usr/bin/tool=usr/bin/other"
        ]
    );
}

#[test]
fn what_would_leave_the_image_or_is_no_file_is_refused_by_name() {
    let cases: &[(Vec<Item>, &str)] = &[
        (
            vec![file("./../etc/passwd", b"")],
            "`./../etc/passwd` is no path",
        ),
        (vec![file("/etc/passwd", b"")], "`/etc/passwd` is no path"),
        (vec![file("./a/../../b", b"")], "is no path"),
        (
            vec![file("./a\0b", b"").pax("path", b"./a\0b")],
            "is no path",
        ),
        (
            vec![file("./a", b"").pax("path", b"../x")],
            "`../x` is no path",
        ),
        (vec![file("./x", b"").pax("path", b"\xff")], "is no path"),
        (
            vec![other(tar::EntryType::Char, "./dev/null")],
            "`./dev/null` is a device",
        ),
        (
            vec![other(tar::EntryType::Block, "./dev/sda")],
            "`./dev/sda` is a device",
        ),
        (
            vec![other(tar::EntryType::Fifo, "./run/pipe")],
            "`./run/pipe` is a pipe",
        ),
        (
            vec![other(tar::EntryType::new(b'S'), "./sparse")],
            "type `S`",
        ),
        (
            vec![other(tar::EntryType::new(b'V'), "./label")],
            "type `V`",
        ),
        (
            vec![file("./a", b"").pax("GNU.sparse.major", b"1")],
            "is of a sparse file",
        ),
        (
            vec![symlink("./etc/x", "/tmp"), file("./etc/x/y", b"")],
            "`./etc/x/y` lies below `./etc/x`, which is no folder",
        ),
        (
            vec![symlink("./lib/x", "/tmp"), file("./usr/lib/x/y/z", b"")],
            "`./usr/lib/x/y/z` lies below `./lib/x`",
        ),
        (
            vec![
                file("./a/b/c", b""),
                file("./a-1", b""),
                symlink("./a", "/tmp"),
            ],
            "`./a` is no folder, but `./a/b/c` lies below it",
        ),
        (
            vec![file("./a", b""), file("./a/b", b"")],
            "lies below `./a`",
        ),
        (
            vec![hardlink("./a", "./missing")],
            "`./a` is a hard link to `./missing`, which is no file that came before it",
        ),
        (
            vec![hardlink("./a", "../../etc/shadow")],
            "hard link to `../../etc/shadow`",
        ),
        (
            vec![hardlink("./a", "/etc/shadow")],
            "hard link to `/etc/shadow`",
        ),
        (vec![hardlink("./a", "./a")], "hard link to `./a`"),
        (
            vec![hardlink("./a", "./b"), file("./b", b"")],
            "hard link to `./b`",
        ),
        (
            vec![folder("./d/"), hardlink("./a", "./d")],
            "hard link to `./d`",
        ),
        (
            vec![symlink("./s", "x"), hardlink("./a", "./s")],
            "hard link to `./s`",
        ),
        (vec![symlink("./s", "")], "`./s` is a link whose target"),
        (
            vec![symlink("./s", &"x".repeat(5000))],
            "`./s` is a link whose target",
        ),
        (
            vec![file("./a", b"").owner(65_536, 0)],
            "`./a` belongs to 65536:0",
        ),
        (
            vec![file("./a", b"").pax("gid", b"4294967295")],
            "`./a` belongs to 0:4294967295",
        ),
        (
            vec![file("./lib/x", b"one"), file("./usr/lib/x", b"two")],
            "`./usr/lib/x` is the same path as `./lib/x`, and they differ",
        ),
        (
            vec![file("./x", b"one"), file("./x", b"one").mode(0o755)],
            "`./x` is the same path as `./x`",
        ),
        (
            vec![folder("./x"), symlink("./x", "y")],
            "`./x` is the same path",
        ),
        (vec![symlink("./bin", "/tmp")], "`./bin` must be a folder"),
        (vec![file("./lib", b"")], "`./lib` must be a folder"),
        (vec![symlink("./", "/tmp")], "must be a folder"),
    ];
    for (items, expected) in cases {
        let error = unpack(items).unwrap_err().to_string();
        assert!(
            error.starts_with("the package `demo` cannot be unpacked: ")
                && error.contains(expected),
            "{error} lacks {expected}"
        );
    }
}

#[test]
fn the_same_file_under_both_names_is_one() {
    let same = [
        file("./lib/x", b"same"),
        folder("./usr/lib/d"),
        folder("./lib/d"),
        file("./usr/lib/x", b"same"),
        symlink("./usr/lib/l", "x"),
        symlink("./lib/l", "x"),
        file("./usr/after", b"after"),
    ];
    let mut spool = Cursor::default();
    let unpacked = unpack_with(&deb(&same), &[], &mut spool).unwrap();
    assert_eq!(
        shown(&unpacked, &spool),
        [
            "644 0:0 usr/after: after",
            "755 0:0 usr/lib/d/",
            "777 0:0 usr/lib/l -> x",
            "644 0:0 usr/lib/x: same"
        ]
    );
}

#[test]
fn rights_of_other_users_are_taken_and_told() {
    let capability = b"\x01\0\0\x02\0\x20\0\0";
    let items = [
        file("./bin/su", b"").mode(0o4755),
        file("./usr/bin/wall", b"").mode(0o2755),
        file("./usr/bin/ping", b"")
            .mode(0o755)
            .pax("SCHILY.xattr.security.capability", capability)
            .pax("SCHILY.xattr.user.note", b"kept"),
        folder("./var/mail").mode(0o2775),
        folder("./tmp/x").mode(0o1777),
    ];
    let unpacked = unpack(&items).unwrap();
    let mode = |unpacked: &Unpacked, at: &str| unpacked.tree.entries[&path(at)].1.mode;
    assert_eq!(mode(&unpacked, "usr/bin/su"), 0o755);
    assert_eq!(mode(&unpacked, "usr/bin/wall"), 0o755);
    assert_eq!(mode(&unpacked, "var/mail"), 0o2775);
    assert_eq!(mode(&unpacked, "tmp/x"), 0o1777);
    let xattrs = &unpacked.tree.entries[&path("usr/bin/ping")].1.xattrs;
    assert_eq!(xattrs.keys().collect::<Vec<_>>(), ["user.note"]);
    assert_eq!(
        unpacked.notes,
        [
            "setuid was taken from `/usr/bin/su`",
            "setgid was taken from `/usr/bin/wall`",
            "capabilities were taken from `/usr/bin/ping`"
        ]
    );
    let allowed = ["usr/bin/su", "usr/bin/ping"];
    let kept = unpack_with(&deb(&items), &allowed, &mut Cursor::default()).unwrap();
    assert_eq!(mode(&kept, "usr/bin/su"), 0o4755);
    let xattrs = &kept.tree.entries[&path("usr/bin/ping")].1.xattrs;
    assert_eq!(xattrs["security.capability"], capability);
    assert_eq!(kept.notes, ["setgid was taken from `/usr/bin/wall`"]);
}

#[test]
fn a_bomb_is_refused() {
    let zeros = vec![0; 20 << 20];
    for ending in [".xz", ".zst", ".gz"] {
        // One large file; nothing but padding after the end.
        for data in [tar(&[file("./zeros", &zeros)]), zeros.clone()] {
            let deb = deb_of(ending, CONTROL, &data);
            assert!(deb.len() < 500_000);
            let error = unpack_with(&deb, &[], &mut Cursor::default()).unwrap_err();
            assert!(
                matches!(error.why, DebFault::TooLarge { said: 10_240, .. }),
                "{error}"
            );
        }
    }
    // Who says so may be that large.
    let honest = CONTROL.replace("Installed-Size: 10", "Installed-Size: 20480");
    let deb = deb_of(".xz", &honest, &tar(&[file("./zeros", &zeros)]));
    unpack_with(&deb, &[], &mut Cursor::default()).unwrap();
}

#[test]
fn long_names_take_little_memory() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 20);
    header.set_cksum();
    let data = [header.as_bytes().as_slice(), &vec![b'a'; 8 << 20]].concat();
    let error = unpack_with(&deb_of(".xz", CONTROL, &data), &[], &mut Cursor::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("extension at byte 0 is too large"),
        "{error}"
    );
}

#[test]
fn another_package_is_refused() {
    for (from, to, expected) in [
        (
            "demo",
            "damo",
            "its package is `damo`, and should be `demo`",
        ),
        ("2.0", "2.1", "its version is `1:2.1-3`"),
        ("amd64", "arm64", "its architecture is `arm64`"),
    ] {
        let deb = deb_of(".xz", &CONTROL.replace(from, to), &tar(&[]));
        let error = unpack_with(&deb, &[], &mut Cursor::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn damage_is_an_error_or_nothing() {
    let data = tar(&[
        folder("./a"),
        file("./a/b", b"content"),
        hardlink("./a/c", "./a/b"),
    ]);
    // Without a packing, so that the changes reach the tar.
    let whole = deb_of("", CONTROL, &data);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] = damaged[at].wrapping_add(1);
        drop(unpack_with(&damaged, &[], &mut Cursor::default()));
    }
    // What comes after the end of a tar is zeros.
    let mut more = data.clone();
    more.push(1);
    let error = unpack_with(&deb_of("", CONTROL, &more), &[], &mut Cursor::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("something after its end"), "{error}");
    let zeros = [data.as_slice(), &[0; 9000]].concat();
    unpack_with(&deb_of(".gz", CONTROL, &zeros), &[], &mut Cursor::default()).unwrap();
    let packed = pack(".xz", &data);
    assert!(packed.len() < data.len());
}

#[test]
fn pruning_leaves_no_empty_folder_and_no_link_to_nothing() {
    let node = |text: &str| match text {
        "/" => Node::Directory,
        "f" => Node::File(Content::Spooled { at: 0, size: 0 }),
        target => Node::Hardlink(path(target)),
    };
    let all = [
        ("doc", "/"),
        ("doc/a", "f"),
        ("doc/deep", "/"),
        ("doc/deep/b", "f"),
        ("doc/empty", "/"),
        ("doc/copyright", "/"),
        ("doc/copyright/c", "f"),
        ("implicit/doc/x", "f"),
        ("implicit", "/"),
        ("keep", "/"),
        ("keep/empty", "/"),
        ("keep/link", "doc/a"),
        ("keep/link2", "doc/a"),
        ("keep/man", "/"),
        ("keep/man/doc", "f"),
    ];
    let all = all.map(|(at, what)| {
        let found = Found {
            origin: at.to_owned(),
            node: node(what),
            meta: Meta::default(),
        };
        (path(at), found)
    });
    let keeps = |path: &ImagePath| {
        let path = path.as_str();
        path.starts_with("doc/copyright/") || !path.contains("doc")
    };
    let kept: Vec<String> = pruned(all.into(), &keeps)
        .into_iter()
        .map(|(at, (node, _))| match node {
            Node::Hardlink(target) => format!("{at} = {target}"),
            Node::File(_) => format!("{at}: file"),
            _ => at.to_string(),
        })
        .collect();
    assert_eq!(
        kept,
        [
            "doc",
            "doc/copyright",
            "doc/copyright/c: file",
            "keep",
            "keep/empty",
            "keep/link: file",
            "keep/link2 = keep/link",
        ]
    );
}
