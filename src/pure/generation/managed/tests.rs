use super::*;

const ROOT: Owner = Owner { uid: 0, gid: 0 };

fn file(bytes: &[u8]) -> Found {
    Found::File {
        bytes: bytes.to_vec(),
        owner: ROOT,
        mode: Mode(0o644),
    }
}

fn whole_file(bytes: &[u8]) -> Want {
    Want::Whole {
        bytes: bytes.to_vec(),
        owner: ROOT,
        mode: Mode(0o644),
    }
}

fn block(bytes: &[u8]) -> Want {
    Want::Blocks(vec![Block {
        name: "m/b".to_owned(),
        bytes: bytes.to_vec(),
        owner: ROOT,
        mode: Mode(0o600),
    }])
}

/// Does a step, and gives what is there and remembered then.
fn done(found: &Found, step: &Step) -> (Found, Option<Entry>) {
    let found = match &step.deed {
        Deed::Leave => found.clone(),
        Deed::File { bytes, owner, mode } => Found::File {
            bytes: bytes.clone(),
            owner: *owner,
            mode: *mode,
        },
        Deed::Link { target } => Found::Link {
            target: target.clone(),
        },
        Deed::Remove => Found::Nothing,
    };
    (found, step.after.clone())
}

fn why(step: &Step) -> &str {
    step.change.as_ref().map_or("", |(_, why)| why.as_str())
}

#[test]
fn every_original_comes_back_from_every_way_there() {
    let link = Found::Link {
        target: "../run/x".to_owned(),
    };
    for before in [Found::Nothing, file(b"theirs\n"), link.clone()] {
        for wants in [
            vec![whole_file(b"a")],
            vec![whole_file(b"a"), whole_file(b"b")],
            vec![block(b"a")],
            vec![block(b"a"), block(b"b")],
            vec![block(b"a"), whole_file(b"b")],
            vec![whole_file(b"a"), block(b"b")],
            vec![whole_file(b"a"), block(b"b"), whole_file(b"c")],
        ] {
            let (mut found, mut entry, mut kept) = (before.clone(), None, None);
            let linked_block = before == link && wants.iter().any(|w| matches!(w, Want::Blocks(_)));
            let mut refused = false;
            for want in &wants {
                let Ok(step) = decide(&found, entry.as_ref(), kept.as_deref(), want) else {
                    refused = true;
                    break;
                };
                assert!(step.change.is_some(), "{before:?} {wants:?}");
                kept = step.keep.clone().or(kept);
                (found, entry) = done(&found, &step);
                let again = decide(&found, entry.as_ref(), kept.as_deref(), want).unwrap();
                assert_eq!(again.change, None, "an apply after an apply does nothing");
                assert_eq!(again.after, entry);
            }
            assert_eq!(refused, linked_block, "{before:?} {wants:?}");
            let step = decide(&found, entry.as_ref(), kept.as_deref(), &Want::Original).unwrap();
            let (found, entry) = done(&found, &step);
            assert_eq!(found, before, "{wants:?}");
            assert_eq!(entry, None);
        }
    }
}

#[test]
fn a_crash_before_the_file_was_replaced_is_no_edit_by_hand() {
    let first = decide(&file(b"theirs"), None, None, &whole_file(b"a")).unwrap();
    assert_eq!(first.keep.as_deref(), Some(&b"theirs"[..]));
    // The list was written, the file was not.
    let again = decide(
        &file(b"theirs"),
        first.during.as_ref(),
        Some(b"theirs"),
        &whole_file(b"b"),
    )
    .unwrap();
    assert_eq!((why(&again), &again.edited), ("changed", &None));
    assert_eq!(again.after.unwrap().original, first.after.unwrap().original);

    let put = decide(&file(b"theirs\n"), None, None, &block(b"a")).unwrap();
    let (found, entry) = done(&file(b"theirs\n"), &put);
    let next = decide(&found, entry.as_ref(), None, &block(b"b")).unwrap();
    let again = decide(&found, next.during.as_ref(), None, &block(b"b")).unwrap();
    assert_eq!((why(&again), &again.edited), ("changed", &None));
}

#[test]
fn a_crash_between_a_whole_file_and_its_block_loses_no_original() {
    let step = decide(&file(b"theirs"), None, None, &whole_file(b"a")).unwrap();
    let (found, entry) = done(&file(b"theirs"), &step);
    let step = decide(&found, entry.as_ref(), Some(b"theirs"), &block(b"b")).unwrap();
    let step = decide(
        &found,
        step.during.as_ref(),
        Some(b"theirs"),
        &Want::Original,
    )
    .unwrap();
    assert_eq!(done(&found, &step).0, file(b"theirs"));
}

#[test]
fn what_was_edited_by_hand_is_told_and_kept() {
    let step = decide(&Found::Nothing, None, None, &whole_file(b"a")).unwrap();
    assert_eq!(why(&step), "new");
    let entry = step.after;
    let edited = decide(&file(b"x"), entry.as_ref(), None, &whole_file(b"a")).unwrap();
    assert_eq!(why(&edited), "edited by hand since");
    assert_eq!(edited.edited.as_deref(), Some(&b"x"[..]));
    let gone = decide(&Found::Nothing, entry.as_ref(), None, &whole_file(b"a")).unwrap();
    assert_eq!(why(&gone), "removed by hand since");
    let removed = decide(&file(b"x"), entry.as_ref(), None, &Want::Original).unwrap();
    assert_eq!(removed.edited.as_deref(), Some(&b"x"[..]));

    let step = decide(&file(b"t\n"), None, None, &block(b"a")).unwrap();
    let inner = b"t\n# BEGIN forge m/b\nhand\n# END forge m/b\n";
    let edited = decide(&file(inner), step.after.as_ref(), None, &block(b"a")).unwrap();
    assert_eq!(why(&edited), "edited by hand since");
    let outside = b"more\nt\n# BEGIN forge m/b\na\n# END forge m/b\n";
    let other = decide(&file(outside), step.after.as_ref(), None, &block(b"a")).unwrap();
    assert_eq!(other.change, None, "outside the marks it is theirs");
}

#[test]
fn owner_and_mode_are_told_and_folders_are_refused() {
    let loose = Found::File {
        bytes: b"a".to_vec(),
        owner: Owner { uid: 5, gid: 6 },
        mode: Mode(0o666),
    };
    let step = decide(&loose, None, None, &whole_file(b"a")).unwrap();
    assert_eq!(why(&step), "owner 5:6 → 0:0, mode 0666 → 0644");
    for found in [Found::Folder, Found::Other] {
        assert!(decide(&found, None, None, &whole_file(b"a")).is_err());
        assert!(decide(&found, None, None, &block(b"a")).is_err());
        let entry = step.after.as_ref();
        let back = decide(&found, entry, Some(b"a"), &Want::Original).unwrap();
        assert_eq!((back.deed, back.after), (Deed::Leave, None));
    }
}
