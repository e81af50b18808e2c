use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use super::{Content, Facts, ImagePath, LayerError, Meta, Node, Tree};

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        ..Meta::default()
    }
}

fn file(bytes: &[u8]) -> Node {
    Node::File(Content::Bytes(bytes.into()))
}

fn tree<const N: usize>(entries: [(&str, Node, Meta); N]) -> Tree {
    let entries = entries.map(|(at, node, meta)| (path(at), (node, meta)));
    Tree {
        entries: entries.into(),
    }
}

fn write(tree: &Tree, spool: &[u8]) -> Result<(Vec<u8>, Facts), LayerError> {
    let mut bytes = Vec::new();
    let facts = tree.write(&mut Cursor::new(spool), &mut bytes)?;
    Ok((bytes, facts))
}

/// Kind, path, link, mode, owner, group, content, in the order of the archive.
type Seen = (tar::EntryType, String, String, u32, u64, u64, Vec<u8>);

fn read(bytes: &[u8]) -> Vec<Seen> {
    let mut archive = tar::Archive::new(bytes);
    let mut all = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!(header.mtime().unwrap(), 0);
        assert_eq!(header.username_bytes(), Some(&b""[..]));
        assert_eq!(header.groupname_bytes(), Some(&b""[..]));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (at, link) = (
            text(&entry.path_bytes()),
            text(&entry.link_name_bytes().unwrap_or_default()),
        );
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let (mode, uid, gid) = (header.mode(), header.uid(), header.gid());
        let kind = header.entry_type();
        all.push((
            kind,
            at,
            link,
            mode.unwrap(),
            uid.unwrap(),
            gid.unwrap(),
            content,
        ));
    }
    all
}

#[test]
fn what_is_read_back_is_what_the_tree_says() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let far = format!("../{}", "t".repeat(150));
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\n=".to_vec();
    let with_capability = Meta {
        xattrs: BTreeMap::from([("security.capability".to_owned(), capability)]),
        ..meta(0o755)
    };
    let owned = Meta {
        uid: 101,
        gid: 3_000_000,
        ..meta(0o2775)
    };
    let tree = tree([
        ("usr", Node::Directory, meta(0o755)),
        ("usr/bin", Node::Directory, meta(0o40755)),
        ("usr/bin/ping", file(b"ping"), with_capability),
        ("usr/bin-x", file(b""), meta(0o644)),
        (
            "usr/link",
            Node::Symlink("bin/ping".to_owned()),
            meta(0o777),
        ),
        ("usr/far", Node::Symlink(far.clone()), meta(0o777)),
        (&long, file(b"long"), meta(0o600)),
        ("usr/\u{fc}", file(b"u"), meta(0o644)),
        ("var", Node::Directory, owned),
        (
            "usr/spooled",
            Node::File(Content::Spooled { at: 3, size: 600 }),
            meta(0o4755),
        ),
    ]);
    let spool = vec![b's'; 603];
    let (bytes, facts) = write(&tree, &spool).unwrap();
    assert_eq!(bytes, write(&tree, &spool).unwrap().0);
    assert_eq!(bytes.len() % 512, 0);

    let seen = read(&bytes);
    let entry = |at: usize| {
        let (kind, path, link, mode, uid, gid, content) = &seen[at];
        let text = String::from_utf8(content.clone()).unwrap();
        (*kind, path.clone(), link.clone(), *mode, *uid, *gid, text)
    };
    let own = |text: &str| text.to_owned();
    use tar::EntryType as Kind;
    let expected = [
        (Kind::Regular, long, own(""), 0o600, 0, 0, own("long")),
        (Kind::Directory, own("usr/"), own(""), 0o755, 0, 0, own("")),
        (
            Kind::Directory,
            own("usr/bin/"),
            own(""),
            0o755,
            0,
            0,
            own(""),
        ),
        // `-` is before `/`: the order is that of the bytes of paths.
        (
            Kind::Regular,
            own("usr/bin-x"),
            own(""),
            0o644,
            0,
            0,
            own(""),
        ),
        (
            Kind::Regular,
            own("usr/bin/ping"),
            own(""),
            0o755,
            0,
            0,
            own("ping"),
        ),
        (
            Kind::Symlink,
            own("usr/far"),
            far.clone(),
            0o777,
            0,
            0,
            own(""),
        ),
        (
            Kind::Symlink,
            own("usr/link"),
            own("bin/ping"),
            0o777,
            0,
            0,
            own(""),
        ),
        (
            Kind::Regular,
            own("usr/spooled"),
            own(""),
            0o4755,
            0,
            0,
            "s".repeat(600),
        ),
        (
            Kind::Regular,
            own("usr/\u{fc}"),
            own(""),
            0o644,
            0,
            0,
            own("u"),
        ),
        (
            Kind::Directory,
            own("var/"),
            own(""),
            0o2775,
            101,
            3_000_000,
            own(""),
        ),
    ];
    let mut expected = expected.to_vec();
    // `usr/bin` as a folder of the tree comes before `usr/bin-x`, although its name in the archive ends in `/`.
    assert_eq!(seen.len(), expected.len());
    for (at, expected) in expected.drain(..).enumerate() {
        assert_eq!(entry(at), expected, "{at}");
    }
    assert_eq!(facts.links.len(), 2);
    assert_eq!(facts.links[&path("usr/far")], far);
}

#[test]
fn the_first_name_of_a_file_carries_its_content() {
    let tree = tree([
        ("b", file(b"content"), meta(0o751)),
        ("a", Node::Hardlink(path("b")), meta(0)),
        // By another link.
        ("c", Node::Hardlink(path("a")), meta(0)),
    ]);
    let (bytes, _) = write(&tree, b"").unwrap();
    let seen: Vec<_> = read(&bytes)
        .into_iter()
        .map(|(kind, at, link, mode, .., content)| (kind, at, link, mode, content))
        .collect();
    let link = |at: &str| {
        (
            tar::EntryType::Link,
            at.to_owned(),
            "a".to_owned(),
            0o751,
            Vec::new(),
        )
    };
    let first = (
        tar::EntryType::Regular,
        "a".to_owned(),
        String::new(),
        0o751,
        b"content".to_vec(),
    );
    assert_eq!(seen, [first, link("b"), link("c")]);
}

#[test]
fn a_hard_link_to_no_file_is_refused() {
    for (node, target) in [
        (Node::Hardlink(path("missing")), "missing"),
        (Node::Hardlink(path("a")), "a"),
        (Node::Hardlink(path("folder")), "folder"),
        (Node::Hardlink(path("link")), "link"),
    ] {
        let tree = tree([
            ("a", node, meta(0o644)),
            ("folder", Node::Directory, meta(0o755)),
            ("link", Node::Symlink("folder".to_owned()), meta(0o777)),
        ]);
        let error = write(&tree, b"").unwrap_err();
        assert!(
            matches!(&error, LayerError::Hardlink { path: at, target: to }
                if at.as_str() == "a" && to.as_str() == target),
            "{error}"
        );
    }
}

#[test]
fn nothing_lies_below_what_is_no_folder() {
    for node in [file(b""), Node::Symlink("/etc".to_owned())] {
        let tree = tree([("a", node, meta(0o777)), ("a/b/c", file(b"x"), meta(0o644))]);
        let error = write(&tree, b"").unwrap_err();
        assert!(matches!(error, LayerError::Parent { .. }), "{error}");
    }
}

#[test]
fn a_spool_that_is_too_short_is_an_error() {
    let spooled = Node::File(Content::Spooled { at: 1, size: 3 });
    let tree = tree([("a", spooled, meta(0o644))]);
    assert_eq!(read(&write(&tree, b"xabc").unwrap().0)[0].6, b"abc");
    let error = write(&tree, b"xab").unwrap_err();
    assert!(matches!(error, LayerError::Write { .. }), "{error}");
}

#[test]
fn an_attribute_that_no_archive_can_hold_is_refused() {
    let meta = Meta {
        xattrs: BTreeMap::from([("user.a=b".to_owned(), Vec::new())]),
        ..meta(0o644)
    };
    let error = write(&tree([("a", file(b""), meta)]), b"").unwrap_err();
    assert!(error.to_string().contains("user.a=b"), "{error}");
}
