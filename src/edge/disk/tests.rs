use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    for steps in 0.. {
        let at = tempfile::tempdir().unwrap();
        std::fs::write(at.path().join("file"), "old").unwrap();
        let power = Power::for_steps(steps);
        let folder = Folder::open(at.path()).unwrap().with_power(power);
        let done = folder.replace("file", &folder, b"new").is_ok();
        let content = folder.read_whole("file").unwrap().unwrap();
        assert!(matches!(content.as_slice(), b"old" | b"new"), "{content:?}");
        if done {
            assert_eq!((content.as_slice(), steps), (b"new".as_slice(), 5));
            return;
        }
    }
}

#[test]
fn links_pipes_and_folders_are_not_read() {
    let at = tempfile::tempdir().unwrap();
    let folder = Folder::open(at.path()).unwrap();
    std::fs::write(at.path().join("file"), "text").unwrap();
    symlink("file", at.path().join("link")).unwrap();
    symlink(".", at.path().join("loop")).unwrap();
    std::fs::create_dir(at.path().join("folder")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(at.path().join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    assert_eq!(folder.look("file").unwrap(), Some(Kind::File(4)));
    assert_eq!(folder.look("link").unwrap(), Some(Kind::Other));
    assert_eq!(folder.look("none").unwrap(), None);
    assert!(folder.read("file").unwrap().is_some());
    assert!(folder.read("none").unwrap().is_none());
    for name in ["link", "folder", "pipe"] {
        assert!(folder.read(name).is_err(), "{name}");
    }
    assert!(folder.enter("loop").is_err());
    assert!(folder.enter("folder").unwrap().is_some());
}

#[test]
fn what_is_not_renamed_is_removed() {
    let at = tempfile::tempdir().unwrap();
    let folder = Folder::open(at.path()).unwrap();
    let mut kept = folder.temporary().unwrap();
    let dropped = folder.temporary().unwrap();
    kept.write_whole(b"text").unwrap();
    kept.close();
    assert!(kept.write_whole(b"more").is_err());
    kept.sync().unwrap();
    kept.rename_into(&folder, "kept").unwrap();
    drop(dropped);
    assert_eq!(folder.names().unwrap(), ["kept"]);
    assert!(folder.remove(OsStr::new("kept")).unwrap());
    assert!(!folder.remove(OsStr::new("kept")).unwrap());
}

#[test]
fn a_lock_is_waited_for_and_not_for_ever() {
    let at = tempfile::tempdir().unwrap();
    let folder = Folder::open(at.path()).unwrap();
    let take = |hold| folder.lock("lock", hold, Duration::from_millis(5));
    let (one, two) = (take(Hold::Shared).unwrap(), take(Hold::Shared).unwrap());
    assert!(matches!(take(Hold::Alone), Err(LockError::Busy { .. })));
    drop((one, two));
    let _alone = take(Hold::Alone).unwrap();
    assert!(matches!(take(Hold::Shared), Err(LockError::Busy { .. })));
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a/b/c");
    Folder::create(&path).unwrap();
    assert_eq!(Folder::create(&path).unwrap().path(), path);
    std::fs::write(at.path().join("file"), "").unwrap();
    assert!(Folder::create(&at.path().join("file")).is_err());
}
