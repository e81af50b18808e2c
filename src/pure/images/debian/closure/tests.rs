#![allow(clippy::unwrap_used)]

use super::*;

/// An index of stanzas that say only what matters: `name version; Field: value; …`.
fn index(packages: &[&str]) -> Index {
    let mut text = String::new();
    for package in packages {
        let mut parts = package.split("; ");
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text.push_str(&format!(
            "Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSize: 1\n"
        ));
        text.push_str(&format!("SHA256: {}\n", "0".repeat(64)));
        if !package.contains("Architecture:") {
            text.push_str("Architecture: amd64\n");
        }
        for field in parts {
            text.push_str(&format!("{field}\n"));
        }
        text.push('\n');
    }
    Index::parse("test", text.into_bytes()).unwrap()
}

fn request<'a>(packages: &str) -> Request<'a> {
    Request {
        arch: Arch::Amd64,
        packages: packages.split_whitespace().map(str::to_owned).collect(),
        exclude: BTreeSet::new(),
        dropped: &|_| false,
    }
}

fn show(closure: &Closure) -> String {
    let all: Vec<_> = closure
        .packages
        .iter()
        .map(|pin| format!("{} {}", pin.name, pin.version))
        .collect();
    all.join(", ")
}

#[track_caller]
fn closes(packages: &[&str], wanted: &str, expected: &str) {
    let closure = resolve(&index(packages), &request(wanted)).unwrap();
    assert_eq!(show(&closure), expected);
}

#[track_caller]
fn fails(packages: &[&str], wanted: &str, expected: &str) {
    let error = resolve(&index(packages), &request(wanted)).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn takes_what_is_needed_and_nothing_else() {
    closes(
        &[
            "app 1; Depends: lib (>= 2), data; Recommends: extra; Suggests: extra",
            "lib 1",
            "lib 2; Pre-Depends: base",
            "lib 3; Pre-Depends: base",
            "base 1",
            "data 1; Architecture: all",
            "extra 1",
            "essential 1; Essential: yes",
        ],
        "app",
        "base 1, data 1, lib 3, app 1",
    );
    closes(&["aa 1"], "", "");
}

#[test]
fn real_packages_close_with_dependencies_first() {
    let text = include_bytes!("../tests/Packages").to_vec();
    let index = Index::parse("bookworm", text).unwrap();
    let closure = resolve(&index, &request("caddy")).unwrap();
    let names: Vec<_> = closure.packages.iter().map(|pin| &*pin.name).collect();
    assert_eq!(
        names.join(" "),
        "gcc-12-base libc6 libgcc-s1 libnspr4 libsqlite3-0 libnss3 libzstd1 media-types zlib1g libnss3-tools caddy"
    );
    assert_eq!(
        closure.chain("gcc-12-base").unwrap().to_string(),
        "caddy → libc6 → libgcc-s1 → gcc-12-base"
    );
    assert_eq!(closure.chain("libcrypt1"), None);
    let caddy = closure.packages.last().unwrap();
    assert!(caddy.path.starts_with("pool/main/c/caddy/"));
}

#[test]
fn prefers_of_alternatives_what_is_there() {
    let packages = [
        "app 1; Depends: xx | yy",
        "other 1; Depends: yy",
        "xx 1",
        "yy 1",
    ];
    closes(&packages, "app", "xx 1, app 1");
    closes(&packages, "app yy", "yy 1, app 1");
    // Whatever comes first: what has one way only is followed first.
    closes(&packages, "app other", "yy 1, app 1, other 1");
    closes(
        &["app 1; Depends: gone | xx (>= 2) | yy", "xx 1", "yy 1"],
        "app",
        "yy 1, app 1",
    );
}

#[test]
fn goes_back_from_a_way_that_leads_nowhere() {
    closes(
        &[
            "app 1; Depends: xx | yy",
            "xx 1; Depends: deep",
            "deep 1; Depends: gone",
            "yy 1",
        ],
        "app",
        "yy 1, app 1",
    );
    closes(
        &[
            "app 1; Depends: xx | yy, zz",
            "xx 1; Conflicts: zz",
            "yy 1",
            "zz 1",
        ],
        "app",
        "yy 1, zz 1, app 1",
    );
    fails(
        &[
            "app 1; Depends: xx | yy",
            "xx 1; Depends: gone",
            "yy 1; Depends: lost",
        ],
        "app",
        "app → xx needs `gone`, and there is nothing of that name",
    );
}

#[test]
fn virtual_packages_are_met_by_who_provides_them() {
    let packages = [
        "app 1; Depends: mta",
        "new 1; Depends: mta (>= 2)",
        "aa 1; Provides: mta",
        "bb 1; Provides: mta (= 2), other",
        "bb 3; Provides: mta (= 3)",
    ];
    closes(&packages, "app", "aa 1, app 1");
    closes(&packages, "new", "bb 3, new 1");
    closes(&packages, "app new", "bb 3, app 1, new 1");
    closes(&packages, "app bb=1", "bb 1, app 1");
    fails(
        &["new 1; Depends: mta (>= 2)", "aa 1; Provides: mta"],
        "new",
        "new needs `mta (>= 2)`, and there is only aa 1, which provides another version",
    );
    // The package of that name is what is meant first.
    closes(
        &["app 1; Depends: mta", "mta 1", "aa 1; Provides: mta"],
        "app",
        "mta 1, app 1",
    );
}

#[test]
fn finds_versions_that_go_together() {
    // A suite that is ahead of another: the highest version of one does not fit the highest of the other.
    closes(
        &["lib 2", "lib 1", "lib-dev 1; Depends: lib (= 1)"],
        "lib lib-dev",
        "lib 1, lib-dev 1",
    );
    closes(
        &[
            "app 1; Depends: lib, tool",
            "lib 2",
            "lib 1",
            "tool 1; Depends: lib (<< 2)",
        ],
        "app",
        "lib 1, tool 1, app 1",
    );
    fails(
        &[
            "app 1; Depends: lib (>= 2), tool",
            "lib 2",
            "lib 1",
            "tool 1; Depends: lib (<< 2)",
        ],
        "app",
        "app → tool needs `lib (<< 2)`, but app → lib brings lib 2",
    );
    fails(
        &["lib 2", "lib 1", "app 1; Depends: lib (= 1)"],
        "lib=2 app",
        "app needs `lib (= 1)`, but lib brings lib 2",
    );
}

#[test]
fn stays_within_one_architecture() {
    let packages = [
        "app 1; Depends: lib:any, tool:native, arm [arm64], other [!amd64] | any, own:amd64",
        "lib 2; Architecture: arm64",
        "lib 1",
        "tool 1",
        "own 1",
        "any 1",
    ];
    closes(&packages, "app", "any 1, lib 1, own 1, tool 1, app 1");
    fails(
        &["app 1; Depends: lib:arm64", "lib 1"],
        "app",
        "app needs `lib:arm64`, and there is only lib 1",
    );
    fails(
        &["lib 2; Architecture: arm64"],
        "lib",
        "there is no `lib` for amd64; there is lib 2 for arm64",
    );
    closes(
        &["app 1; Depends: lib <!nocheck>, gone <stage1>", "lib 1"],
        "app",
        "lib 1, app 1",
    );
}

#[test]
fn reports_conflicts_with_both_chains() {
    fails(
        &[
            "app 1; Depends: left, right",
            "left 1; Depends: deep",
            "deep 1; Conflicts: right",
            "right 1",
        ],
        "app",
        "two packages do not go together: app → left → deep says `Conflicts: right`, which is app → right",
    );
    fails(
        &["aa 1; Breaks: bb (<< 2)", "bb 1"],
        "aa bb",
        "two packages do not go together: aa says `Breaks: bb (<< 2)`, which is bb",
    );
    fails(
        &["aa 1; Conflicts: mta; Provides: mta", "bb 1; Provides: mta"],
        "aa bb",
        "two packages do not go together: aa says `Conflicts: mta`, which is bb",
    );
    closes(
        &[
            "aa 1; Conflicts: aa, mta; Provides: mta",
            "bb 1; Breaks: aa (>> 1)",
        ],
        "aa bb",
        "aa 1, bb 1",
    );
}

#[test]
fn what_is_left_out_counts_as_present() {
    let packages = [
        "app 1; Depends: debconf (>= 9) | debconf-2.0, perl, mta, lib",
        "debconf 1; Depends: gone",
        "perl 1; Depends: gone",
        "exim 1; Provides: mta",
        "lib 1; Depends: perl",
    ];
    let index = index(&packages);
    let mut asked = request("app");
    asked.exclude.insert("perl".to_owned());
    asked.dropped = &|name| matches!(name, "debconf" | "exim" | "app");
    let closure = resolve(&index, &asked).unwrap();
    assert_eq!(show(&closure), "lib 1, app 1");
    let cut = |name: &str| Cut {
        name: name.to_owned(),
        needed_by: "app".to_owned(),
    };
    assert_eq!(closure.cut, [cut("debconf"), cut("exim"), cut("perl")]);
    assert_eq!(
        closure.reasons.get("lib"),
        Some(&Reason::Needed {
            by: "app".to_owned(),
            relation: "lib".to_owned()
        })
    );
    asked.exclude.insert("app".to_owned());
    assert_eq!(
        resolve(&index, &asked).unwrap_err().to_string(),
        "app is asked for and left out at once: take it out of `packages` or out of `exclude`"
    );
}

#[test]
fn says_what_was_asked_for_wrongly() {
    let packages = ["redis-server 2", "redis-server 1"];
    closes(&packages, "redis-server=1 redis-server=1", "redis-server 1");
    fails(
        &packages,
        "redis-sever",
        "there is no package `redis-sever` for amd64 in test; did you mean `redis-server`?",
    );
    fails(
        &packages,
        "postgresql",
        "there is no package `postgresql` for amd64 in test",
    );
    fails(
        &packages,
        "redis-server=3",
        "there is no version 3 of redis-server; there is 2, 1",
    );
    fails(
        &packages,
        "redis-server=",
        "`redis-server=` names no package: `` is no version of a Debian package: it is empty",
    );
    fails(
        &packages,
        "../x",
        "`../x` names no package: use `NAME` or `NAME=VERSION`",
    );
    fails(
        &packages,
        "redis-server redis-server=1",
        "redis-server is asked for twice, as the newest and as 1",
    );
}

#[test]
fn the_order_of_the_index_does_not_matter() {
    let mut packages = [
        "app 1; Depends: mta, xx | yy",
        "aa 1; Provides: mta; Depends: app",
        "bb 1; Provides: mta",
        "xx 1; Depends: aa",
        "yy 1",
    ];
    let first = resolve(&index(&packages), &request("app")).unwrap();
    packages.reverse();
    assert_eq!(resolve(&index(&packages), &request("app")).unwrap(), first);
}

#[test]
fn hostile_indexes_end() {
    // Each package offers two ways, all of which fail at the end.
    let mut packages: Vec<String> = (0..60)
        .map(|at| format!("p{at:02} 1; Depends: p{:02} | q{:02}", at + 1, at + 1))
        .collect();
    packages
        .extend((0..60).map(|at| format!("q{at:02} 1; Depends: p{:02} | q{:02}", at + 1, at + 1)));
    let all: Vec<&str> = packages.iter().map(String::as_str).collect();
    assert!(matches!(
        resolve(&index(&all), &request("p00")),
        Err(ClosureError::Unsatisfiable { .. })
    ));
    // A long chain.
    let packages: Vec<String> = (0..2000)
        .map(|at| format!("p{at} 1; Depends: p{}", (at + 1) % 2000))
        .collect();
    let all: Vec<&str> = packages.iter().map(String::as_str).collect();
    assert_eq!(
        resolve(&index(&all), &request("p0"))
            .unwrap()
            .packages
            .len(),
        2000
    );
}
