use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna,,,:/home/anna:/bin/sh\n\
    old:x:1001:1001::/home/old:/bin/bash\nbroken\n";
const GROUP: &str = "root:x:0:\nadm:x:4:anna,old\nsudo:x:27:anna\nanna:x:1000:\nold:x:1001:\n";
const SHADOW: &str =
    "root:*:19000:0:99999:7:::\nanna:!$6$x:19000:0:99999:7:::\nold:!*:19000:0:99999:7::1:\n";

fn have() -> Have {
    Have::parse(PASSWD, GROUP, SHADOW)
}

fn user(groups: &[&str]) -> User {
    User {
        uid: None,
        shell: "/bin/bash".to_owned(),
        comment: String::new(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        system: false,
        keys: Vec::new(),
        sudo: "none".to_owned(),
    }
}

fn want(name: &str, user: User) -> BTreeMap<String, User> {
    BTreeMap::from([(name.to_owned(), user)])
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn record(name: &str, kept: Kept) -> Record {
    BTreeMap::from([(name.to_owned(), kept)])
}

fn made(groups: &[&str]) -> Kept {
    Kept {
        made: true,
        groups: set(groups),
        ..Kept::default()
    }
}

#[test]
fn reads_the_three_files() {
    let have = have();
    assert_eq!(have.users.len(), 3);
    let anna = &have.users["anna"];
    assert_eq!((anna.uid, anna.gid), (1000, 1000));
    assert_eq!(anna.groups, set(&["adm", "sudo"]));
    assert_eq!(have.users["old"].expires, LOCKED_SINCE);
    assert!(have.users["old"].can_unlock);
    assert!(!have.users["root"].can_unlock);
    assert_eq!(have.groups["sudo"], 27);
}

#[test]
fn a_new_account_is_made_and_then_equal() {
    let want = want("bert", user(&["adm"]));
    let steps = plan_users(&want, &have(), &Record::new()).unwrap();
    assert_eq!(steps.len(), 1);
    assert!(steps[0].make);
    assert_eq!(steps[0].change.action, Action::Add);
    let mut after = have();
    after.users.insert(
        "bert".to_owned(),
        Account {
            uid: 1002,
            shell: "/bin/bash".to_owned(),
            groups: set(&["adm"]),
            ..Account::default()
        },
    );
    let kept = record_before(&want, &have(), &Record::new());
    assert_eq!(kept, record("bert", made(&["adm"])));
    assert!(plan_users(&want, &after, &kept).unwrap().is_empty());
    assert_eq!(record_before(&want, &after, &kept), kept);
}

#[test]
fn what_others_made_keeps_its_groups_and_its_comment() {
    let want = want("anna", user(&["root"]));
    let steps = plan_users(&want, &have(), &Record::new()).unwrap();
    assert_eq!(
        steps[0].change.why,
        "shell /bin/sh → /bin/bash, into the group root"
    );
    assert_eq!(steps[0].groups, Some(set(&["adm", "root", "sudo"])));
    assert_eq!(steps[0].comment, None);
    assert!(!steps[0].unlock, "locked by a person it stays locked");
}

#[test]
fn what_others_made_is_given_back_as_it_was_and_never_locked() {
    let kept = record_before(
        &want("anna", user(&["adm", "root"])),
        &have(),
        &Record::new(),
    );
    assert!(!kept["anna"].made);
    assert_eq!(kept["anna"].groups, set(&["root"]));
    let mut changed = have();
    let anna = changed.users.get_mut("anna").unwrap();
    anna.shell = "/bin/bash".to_owned();
    anna.groups.insert("root".to_owned());
    let steps = plan_users(&BTreeMap::new(), &changed, &kept).unwrap();
    assert_eq!(steps.len(), 1);
    assert!(!steps[0].lock);
    assert_eq!(steps[0].shell.as_deref(), Some("/bin/sh"));
    assert_eq!(steps[0].groups, Some(set(&["adm", "sudo"])));
    // Given back, there is nothing more to do, and nothing more to remember.
    assert!(
        plan_users(&BTreeMap::new(), &have(), &kept)
            .unwrap()
            .is_empty()
    );
    assert!(record_after(&BTreeMap::new(), &have(), &kept).is_empty());
}

#[test]
fn what_forge_made_is_locked_and_comes_back() {
    let kept = record("anna", made(&["adm"]));
    let steps = plan_users(&BTreeMap::new(), &have(), &kept).unwrap();
    assert!(steps[0].lock);
    assert_eq!(record_after(&BTreeMap::new(), &have(), &kept), kept);
    let kept = record("old", made(&["adm"]));
    assert!(
        plan_users(&BTreeMap::new(), &have(), &kept)
            .unwrap()
            .is_empty()
    );
    let steps = plan_users(&want("old", user(&[])), &have(), &kept).unwrap();
    assert!(steps[0].unexpire && steps[0].unlock);
    assert_eq!(steps[0].change.why, "declared again, out of the group adm");
    assert_eq!(steps[0].groups, Some(set(&[])));
}

#[test]
fn an_account_that_somebody_deleted_is_forgotten() {
    let kept = record("nobody-there", made(&[]));
    assert!(
        plan_users(&BTreeMap::new(), &have(), &kept)
            .unwrap()
            .is_empty()
    );
    assert!(record_after(&BTreeMap::new(), &have(), &kept).is_empty());
}

#[test]
fn nobodys_files_change_hands() {
    let with = |uid| User {
        uid: Some(uid),
        ..user(&[])
    };
    let none = Record::new();
    let error = plan_users(&want("anna", with(1234)), &have(), &none).unwrap_err();
    assert!(error.contains("has the uid 1000"), "{error}");
    let error = plan_users(&want("bert", with(1000)), &have(), &none).unwrap_err();
    assert!(error.contains("is that of the user anna"), "{error}");
    assert!(plan_users(&want("bert", with(1234)), &have(), &none).is_ok());

    let group = |gid| BTreeMap::from([("adm".to_owned(), Group { gid })]);
    assert!(plan_groups(&group(None), &have()).unwrap().is_empty());
    assert!(plan_groups(&group(Some(4)), &have()).unwrap().is_empty());
    assert!(plan_groups(&group(Some(5)), &have()).is_err());
    let taken = BTreeMap::from([("new".to_owned(), Group { gid: Some(4) })]);
    assert!(plan_groups(&taken, &have()).is_err());
    let new = BTreeMap::from([("new".to_owned(), Group { gid: Some(5) })]);
    assert_eq!(plan_groups(&new, &have()).unwrap().len(), 1);
}
