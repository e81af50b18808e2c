//! Secrets on a host: decrypted with a real host key, in clear where they belong and nowhere else.

// A test meets the world itself, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use forge::edge::age::encrypt;
use forge::edge::host::paths::Paths;
use forge::edge::store::{DiskStore, Options};
use forge::flow::host::Host;
use forge::flow::host::resource::{Resource, Way};
use forge::flow::host::secrets::{Secrets, at_boot, check_all, prune};
use forge::flow::host::tell::Kept;
use forge::pure::bundle::{Part, PartKind};
use forge::pure::generation::{Action, Mode, Owner, Place, Target, TargetFile, TargetSecret};
use forge::pure::name::BlobDigest;
use forge::pure::secrets::{Plaintext, Recipient};
use zeroize::Zeroizing;

const VALUE: &str = "pa\"ss\nwörd";

struct World {
    root: tempfile::TempDir,
    host: Host,
    recipient: Recipient,
    owner: Owner,
}

fn key(path: &Path) -> Recipient {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(path)
        .output()
        .expect("ssh-keygen runs");
    assert!(output.status.success(), "{output:?}");
    let public = fs::read_to_string(path.with_extension("pub")).expect("read");
    public.trim().parse().expect("a recipient")
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let paths = Paths::below(root.path());
        let recipient = key(&paths.host_key());
        let store = DiskStore::open(&paths.store(), Options::default()).expect("a store");
        let metadata = fs::metadata(root.path()).expect("there");
        Self {
            owner: Owner {
                uid: metadata.uid(),
                gid: metadata.gid(),
            },
            host: Host { paths, store },
            root,
            recipient,
        }
    }

    /// One secret alone, one sealed file, one managed below /run; their paths hold this digit.
    fn target(&self, digit: char, value: &str, to: &Recipient) -> Target {
        let mut target = Target::nothing();
        let sealed = encrypt(
            &Plaintext::new(Zeroizing::new(value.as_bytes().to_vec())),
            [to],
        );
        let mut part = |kind, title: &str, bytes: Vec<u8>| {
            let part = Part::new(kind, title.parse().expect("a title"), bytes);
            target.parts.insert(title.to_owned(), part);
        };
        part(
            PartKind::Secret,
            "secrets/token",
            sealed.expect("sealed").armored().as_bytes().to_vec(),
        );
        let template = "json ⟦secret:token:json⟧ url ⟦secret:token:url⟧\n";
        for name in ["m/sealed", "m/managed"] {
            part(
                PartKind::File,
                &format!("files/{name}"),
                template.as_bytes().to_vec(),
            );
        }
        let name: forge::pure::name::SecretName = "token".parse().expect("a name");
        let hex = digit.to_string().repeat(64);
        target.secrets.push(TargetSecret {
            name: name.clone(),
            path: format!("/run/forge/secrets/{hex}/token"),
            owner: self.owner,
            mode: Mode(0o400),
        });
        let file = |place| TargetFile {
            place,
            owner: self.owner,
            mode: Mode(0o440),
            digest: BlobDigest::of(template),
            secrets: BTreeSet::from([name.clone()]),
        };
        let path = format!("/run/forge/secrets/{hex}/sealed");
        target
            .files
            .insert("m/sealed".to_owned(), file(Place::Sealed { path }));
        let path = "/run/job/env".to_owned();
        target
            .files
            .insert("m/managed".to_owned(), file(Place::Managed { path }));
        target
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn apply(&self, want: &Target, before: &[&Target]) -> String {
        let told = Kept::default();
        Secrets
            .apply(&self.host, Way { want, before }, &told)
            .expect("applied");
        format!("{:?}", told.events())
    }

    fn plan(&self, want: &Target, before: &[&Target]) -> Vec<(String, Action, String)> {
        let plan = Secrets
            .plan(&self.host, Way { want, before })
            .expect("a plan");
        assert!(plan.iter().all(|change| change.diff.is_none()));
        plan.into_iter()
            .map(|change| (change.name, change.action, change.why))
            .collect()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn secrets_are_in_clear_where_they_belong_and_stay_untouched() {
    let world = World::new();
    let one = world.target('1', VALUE, &world.recipient);
    check_all(&world.host, &one).expect("they decrypt");
    assert!(!world.at("/run").exists(), "a check writes nothing");
    assert_eq!(world.plan(&one, &[]).len(), 3);
    let told = world.apply(&one, &[]);
    assert!(
        told.contains("token") && !told.contains("wörd"),
        "no value is told: {told}"
    );
    let alone = world.at(&one.secrets[0].path);
    assert_eq!(fs::read_to_string(&alone).expect("read"), VALUE);
    let completed = "json \"pa\\\"ss\\u000Awörd\" url pa%22ss%0Aw%C3%B6rd\n";
    let sealed = world.at(one.files["m/sealed"].place.path());
    for path in [&sealed, &world.at("/run/job/env")] {
        assert_eq!(fs::read_to_string(path).expect("read"), completed);
        assert_eq!(mode(path), 0o440);
    }
    assert_eq!(mode(&alone), 0o400);
    for folder in ["/run/forge", "/run/forge/secrets"] {
        assert_eq!(mode(&world.at(folder)), 0o700);
    }
    assert_eq!(mode(alone.parent().expect("a folder")), 0o700);
    assert_eq!(mode(&world.at("/run/job")), 0o755);

    // A container has mounted the very file.
    let inode = fs::metadata(&alone).expect("there").ino();
    assert_eq!(world.plan(&one, &[&one]), []);
    assert_eq!(world.apply(&one, &[&one]), "[]");
    at_boot(&world.host, &[&one]).expect("nothing to do");
    assert_eq!(fs::metadata(&alone).expect("there").ino(), inode);

    // Damaged by hand, with the same length.
    let mut other = VALUE.as_bytes().to_vec();
    other[0] = b'q';
    fs::set_permissions(&alone, fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(&alone, &other).expect("written");
    fs::set_permissions(&alone, fs::Permissions::from_mode(0o400)).expect("set");
    let plan = world.plan(&one, &[&one]);
    assert_eq!(
        plan,
        [(
            "token".to_owned(),
            Action::Change,
            "changed by hand since".to_owned()
        )]
    );
    world.apply(&one, &[&one]);
    assert_eq!(fs::read_to_string(&alone).expect("read"), VALUE);
}

#[test]
fn a_new_value_has_a_new_place_and_the_old_goes_after_the_commit() {
    let world = World::new();
    let one = world.target('1', VALUE, &world.recipient);
    let two = world.target('2', "new", &world.recipient);
    world.apply(&one, &[]);
    let plan = world.plan(&two, &[&one]);
    assert_eq!(plan[0].1, Action::Change);
    assert_eq!(plan[0].2, "its value has changed, or who may read it");
    world.apply(&two, &[&one]);
    let (old, new) = (
        world.at(&one.secrets[0].path),
        world.at(&two.secrets[0].path),
    );
    assert!(old.exists() && new.exists());
    prune(&world.host, &[&two]).expect("pruned");
    assert!(!old.parent().expect("a folder").exists() && new.exists());

    // A restart: tmpfs has forgotten everything.
    fs::remove_dir_all(world.at("/run")).expect("removed");
    at_boot(&world.host, &[&two, &one]).expect("materialised");
    assert_eq!(world.plan(&two, &[&two]), []);
    assert!(old.exists(), "the journal's other generation has its own");

    // Generation 0.
    let nothing = Target::nothing();
    assert_eq!(world.plan(&nothing, &[&two]).len(), 1);
    world.apply(&nothing, &[&two, &one]);
    assert!(!world.at("/run/job/env").exists());
    prune(&world.host, &[]).expect("pruned");
    let left = fs::read_dir(world.at("/run/forge/secrets")).expect("listed");
    assert_eq!(left.count(), 0);
}

#[test]
fn what_is_for_another_host_or_damaged_is_refused_before_anything() {
    let world = World::new();
    let stranger = key(&world.at("/elsewhere/key"));
    let foreign = world.target('1', VALUE, &stranger);
    let error = check_all(&world.host, &foreign).expect_err("refused");
    let said = format!("{error:?}");
    assert!(
        said.contains("the secret token") && said.contains("another host key"),
        "{said}"
    );
    assert!(said.contains("forge secret rekey"), "{said}");

    let mut damaged = world.target('1', VALUE, &world.recipient);
    let part = damaged.parts.get_mut("files/m/sealed").expect("there");
    part.bytes = "⟦secret:token".as_bytes().to_vec();
    let error = check_all(&world.host, &damaged).expect_err("refused");
    assert!(error.to_string().contains("m/sealed"), "{error}");
    assert!(!error.to_string().contains("wörd"), "{error}");

    let mut outside = world.target('1', VALUE, &world.recipient);
    outside.secrets[0].path = "/run/forge/secrets/../../../etc/x".to_owned();
    assert!(check_all(&world.host, &outside).is_err());
    let file = outside.files.get_mut("m/managed").expect("there");
    file.place = Place::Managed {
        path: "/etc/x".to_owned(),
    };
    outside.secrets.clear();
    let error = check_all(&world.host, &outside).expect_err("refused");
    assert!(error.to_string().contains("not below /run"), "{error}");

    fs::remove_file(world.host.paths.host_key()).expect("removed");
    let one = world.target('1', VALUE, &world.recipient);
    let error = check_all(&world.host, &one).expect_err("refused");
    assert!(error.to_string().contains("key of the host"), "{error}");
    assert!(!world.at("/run").exists());
}
