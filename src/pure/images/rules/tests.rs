use super::*;
use crate::pure::text::{Sources, Span};

fn rules() -> Rules {
    Rules::embedded().unwrap()
}

#[test]
fn every_row_of_the_table_is_read_and_has_its_reason() {
    // What has none is refused by the parser; shown in the next test.
    let rules = rules();
    assert!(!rules.drop_packages.is_empty() && !rules.prunes.is_empty());
    // No name is cut twice, so that there is one reason.
    let names: Vec<_> = rules
        .drop_packages
        .iter()
        .flat_map(|rule| &rule.names)
        .collect();
    let once: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), once.len());
}

#[test]
fn a_row_that_can_never_apply_is_refused() {
    let row = |text: &str| {
        let empty =
            "drop_package=[]\nprune=[]\naccount=[]\ndirectory=[]\nlink=[]\nbundle=[]\nrelease=[]\n";
        let key = text.split('=').next().unwrap();
        Rules::parse(&empty.replace(&format!("{key}=[]"), text))
    };
    assert!(row(r#"drop_package=[{names=["a"],reason="r"}]"#).is_ok());
    for bad in [
        r#"drop_package=[{names=["a"],reason=" "}]"#,
        r#"drop_package=[{names=["a"]}]"#,
        r#"drop_package=[{names=[],reason="r"}]"#,
        r#"prune=[{paths=["usr"],reason="r"}]"#,
        r#"prune=[{paths=["/a"],keep=["/a//b"],reason="r"}]"#,
        r#"prune=[{paths=["/a"],why="r",reason="r"}]"#,
        r#"account=[{packages=["a"],user="u",id=1,home="/../x",reason="r"}]"#,
        r#"account=[{packages=["a"],user="u",id=1,home="/x",reason="r"},{packages=["a"],user="v",id=1,home="/x",reason="r"}]"#,
        r#"directory=[{packages=["a"],paths=["/x"],owner="u",mode="0755",reason="r"}]"#,
        r#"directory=[{packages=["a"],paths=["/x"],owner="root",mode="0999",reason="r"}]"#,
        r#"link=[{packages=["a"],names=["../x"],folder="/usr/bin",target="x",reason="r"}]"#,
        r#"bundle=[{packages=[],from="/a/*",path="/b",reason="r"}]"#,
    ] {
        assert!(row(bad).is_err(), "{bad}");
    }
}

fn debian(of: &[&str]) -> Debian {
    let mut sources = Sources::default();
    let at = Span::new(sources.add("images/x/image.toml", ""), 0..0);
    Debian {
        at,
        suites: vec!["bookworm".to_owned()],
        components: vec!["main".to_owned()],
        packages: of.iter().map(|name| ((*name).to_owned(), at)).collect(),
        exclude: BTreeSet::new(),
        include: BTreeSet::new(),
        keep: Vec::new(),
        drop: Vec::new(),
    }
}

#[test]
fn what_a_recipe_says_wins_over_the_table() {
    let rules = rules();
    assert!(rules.drops("debconf").unwrap().contains("questions"));
    assert_eq!(rules.drops("libpam0g"), None);
    let mut recipe = debian(&["openssl"]);
    recipe.include.insert("perl".to_owned());
    recipe.exclude.insert("libllvm14".to_owned());
    assert_eq!(rules.drops_for(&recipe, "openssl"), None);
    assert_eq!(rules.drops_for(&recipe, "perl"), None);
    assert!(rules.drops_for(&recipe, "perl-base").is_some());
    assert!(rules.drops_for(&recipe, "libllvm14").is_some());

    recipe.keep = vec!["/usr/share/man/man1".to_owned()];
    recipe.drop = vec!["/usr/bin/perldoc".to_owned()];
    let prune = rules.prune_for(&recipe);
    let keeps = |path: &str| prune.keeps(&path.parse().unwrap());
    assert!(keeps("usr/share/man/man1/x.1.gz") && keeps("usr/share/doc/x/copyright"));
    assert!(!keeps("usr/share/man/man8/x.8.gz") && !keeps("usr/bin/perldoc"));
    assert!(
        keeps("usr/lib/x86_64-linux-gnu/libc.so.6") && keeps("usr/lib/python3/dist-packages/x.py")
    );
}

#[test]
fn rules_apply_to_the_packages_that_are_there() {
    let rules = rules();
    let packages = BTreeSet::from(["postgresql-15", "postgresql-client-15", "libc6"]);
    let users: Vec<_> = rules
        .accounts(&packages)
        .map(|row| row.user.as_str())
        .collect();
    assert_eq!(users, ["postgres"]);
    assert!(rules.directories(&packages).any(|row| row.mode == 0o2775));
    let links: Vec<_> = rules.links(&packages, Arch::Amd64).collect();
    let psql = (
        "/usr/bin/psql".to_owned(),
        "../lib/postgresql/15/bin/psql".to_owned(),
    );
    assert!(links.contains(&psql), "{links:?}");
    let mawk = BTreeSet::from(["mawk"]);
    assert_eq!(
        rules.links(&mawk, Arch::Arm64).collect::<Vec<_>>(),
        [("/usr/bin/awk".to_owned(), "mawk".to_owned())]
    );
    let blas = BTreeSet::from(["libblas3"]);
    let (path, _) = rules.links(&blas, Arch::Arm64).next().unwrap();
    assert_eq!(path, "/usr/lib/aarch64-linux-gnu/libblas.so.3");
    assert_eq!(rules.release("bookworm-security").unwrap().version, "12");
    assert!(rules.release("sid").is_none());
    assert_eq!(rules.bundles(&packages).count(), 0);
    assert_eq!(
        rules.bundles(&BTreeSet::from(["ca-certificates"])).count(),
        1
    );
}
