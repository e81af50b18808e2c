//! The tables of a recipe.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::paths::Paths;
use super::{Reader, owned};
use crate::pure::config::from_text::tables;
use crate::pure::config::image::{
    Debian, Directory, File, Group, Link, Owner, Python, Recipe, Run, User,
};
use crate::pure::config::module::Named;
use crate::pure::config::node::Table;
use crate::pure::config::value::Value;
use crate::pure::name::Arch;
use crate::pure::text::{Diagnostic, Span, codes};

impl Reader<'_> {
    /// The recipe of a file. `None` when a part of it could not be read; what is wrong otherwise is reported, and does not hide the image.
    pub(super) fn recipe(
        &mut self,
        table: &Table,
        header: Option<&Value>,
    ) -> Option<(Recipe, Accounts)> {
        let mut fine = true;
        let mut section = |reader: &mut Self, key: &str| {
            let entry = table.get(key)?;
            let value = reader.section(key, entry);
            fine &= value.is_some();
            value
        };
        let debian = section(self, "debian");
        let python = section(self, "python");
        let run = section(self, "run");
        let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for key in ["group", "user", "directory", "link", "file"] {
            let Some(entry) = table.get(key) else {
                continue;
            };
            let nodes = tables(key, entry, self.diagnostics);
            fine &= !nodes.is_empty();
            for node in nodes {
                let inner = node.as_table()?;
                match self.fields(key, &format!("[[{key}]]"), inner, node.span) {
                    Some(value) => lists.entry(key).or_default().push(value),
                    None => fine = false,
                }
            }
        }
        let header = header.filter(|_| fine)?;
        let list = |key: &str| lists.get(key).map_or(&[][..], Vec::as_slice);

        let debian = debian.map(|value| self.debian(&value));
        let python = python.map(|value| self.python(&value));
        let accounts = self.accounts(list("group"), list("user"), run.as_ref());
        let mut paths = Paths::default();
        let directories = list("directory")
            .iter()
            .map(|value| {
                self.claim(&mut paths, value, "a folder");
                Some(Directory {
                    path: owned(value, "path"),
                    owner: self.owner(value)?,
                    mode: mode(value),
                })
            })
            .collect::<Option<_>>();
        let links = list("link")
            .iter()
            .map(|value| {
                self.claim(&mut paths, value, "a link");
                Link {
                    path: owned(value, "path"),
                    target: owned(value, "target"),
                }
            })
            .collect();
        let files = list("file")
            .iter()
            .map(|value| {
                self.claim_files(&mut paths, value);
                Some(File {
                    at: value.at,
                    path: owned(value, "path"),
                    source: owned(value, "source"),
                    owner: self.owner(value)?,
                    mode: mode(value),
                })
            })
            .collect::<Option<_>>();
        paths.check_nesting(self.diagnostics);
        let recipe = Recipe {
            at: header.at,
            base: header
                .get("base")
                .and_then(|base| Some((base.as_str()?.parse().ok()?, base.at))),
            arch: header
                .list("arch")
                .iter()
                .filter_map(|arch| arch.as_str()?.parse::<Arch>().ok())
                .collect(),
            debian,
            python,
            groups: list("group")
                .iter()
                .map(|value| Group {
                    name: owned(value, "name"),
                    gid: number(value, "gid").unwrap_or_default(),
                })
                .collect(),
            users: list("user").iter().map(user).collect(),
            directories: directories?,
            links,
            files: files?,
            run: run.map(|value| self.run(&value)).unwrap_or_default(),
        };
        Some((recipe, accounts))
    }

    fn debian(&mut self, value: &Value) -> Debian {
        for key in [
            "suites",
            "components",
            "packages",
            "exclude",
            "include",
            "keep",
            "drop",
        ] {
            self.once(value, key);
        }
        for glob in value.list("keep").iter().chain(value.list("drop")) {
            self.clean(glob);
        }
        for (one, other, why) in [
            ("exclude", "packages", "it is wanted and left out"),
            ("exclude", "include", "it is kept and left out"),
            ("drop", "keep", "it is kept and left out"),
        ] {
            for item in value.list(one) {
                let Some(text) = item.as_str() else { continue };
                let twin = value
                    .list(other)
                    .iter()
                    .find(|twin| twin.as_str() == Some(text));
                if let Some(twin) = twin {
                    self.diagnostics.push(
                        Diagnostic::error(
                            codes::DUPLICATE,
                            format!("`{text}` of image `{}`: {why}", self.name),
                        )
                        .at(item.at, format!("in `{one}`"))
                        .also(twin.at, format!("in `{other}`"))
                        .help("remove one of them"),
                    );
                }
            }
        }
        Debian {
            at: value.at,
            suites: texts(value, "suites"),
            components: texts(value, "components"),
            packages: value
                .list("packages")
                .iter()
                .filter_map(|package| Some((package.as_str()?.to_owned(), package.at)))
                .collect(),
            exclude: texts(value, "exclude"),
            include: texts(value, "include"),
            keep: texts(value, "keep"),
            drop: texts(value, "drop"),
        }
    }

    fn python(&mut self, value: &Value) -> Python {
        let requirements = owned(value, "requirements");
        let path = format!("images/{}/{requirements}", self.name);
        if self.text.get(&path).is_none()
            && let Some(at) = value.get("requirements").map(|value| value.at)
        {
            self.missing_source(&requirements, at, "add it");
        }
        Python {
            at: value.at,
            requirements,
            version: owned(value, "version"),
        }
    }

    fn run(&mut self, value: &Value) -> Run {
        for port in value.list("ports") {
            let number = port.as_str().and_then(|port| port.split('/').next());
            if number.is_none_or(|number| number.parse::<u16>().map_or(true, |port| port == 0)) {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_VALUE,
                        format!("`{}` is no port", port.as_str().unwrap_or_default()),
                    )
                    .at(port.at, "")
                    .help("ports are from 1 to 65535"),
                );
            }
        }
        for key in ["ports", "volumes"] {
            self.once(value, key);
        }
        let map = |key: &str| {
            let map = value.get(key).and_then(Value::as_map);
            map.into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect::<BTreeMap<String, String>>()
        };
        let env = map("env");
        for name in env.keys().filter(|name| name.contains('=')) {
            let at = value.get("env").map_or(value.at, |env| env.at);
            self.diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    format!("`{name}` cannot be the name of an environment variable"),
                )
                .at(at, "")
                .help("leave out the `=`"),
            );
        }
        Run {
            user: owned(value, "user"),
            entrypoint: texts(value, "entrypoint"),
            command: texts(value, "command"),
            working_dir: owned(value, "working_dir"),
            stop_signal: value.str("stop_signal").map(str::to_owned),
            env,
            ports: texts(value, "ports"),
            volumes: texts(value, "volumes"),
            labels: map("labels"),
        }
    }

    /// Reports what a list has twice.
    fn once(&mut self, value: &Value, key: &str) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for item in value.list(key) {
            let Some(text) = item.as_str() else { continue };
            match seen.get(text) {
                Some(first) => self.diagnostics.push(
                    Diagnostic::error(
                        codes::DUPLICATE,
                        format!("`{key}` of image `{}` has `{text}` twice", self.name),
                    )
                    .at(item.at, "again here")
                    .also(*first, "first here")
                    .help("remove one of them"),
                ),
                None => {
                    seen.insert(text, item.at);
                }
            }
        }
    }

    fn owner(&mut self, value: &Value) -> Option<Owner> {
        let owner = value.get("owner")?;
        let parsed = owner
            .as_str()
            .and_then(|text| text.split_once(':'))
            .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        if parsed.is_none() {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    format!("`{}` is no owner", owner.as_str().unwrap_or_default()),
                )
                .at(owner.at, "")
                .help("numbers of users and groups are below 4294967296"),
            );
        }
        parsed.map(|(uid, gid)| Owner { uid, gid })
    }
}

/// The numbers and names of the accounts of a recipe, for checks over several files.
pub(super) fn named(value: &Value, key: &str) -> Named {
    let inner = value.get(key);
    Named {
        text: inner.and_then(Value::as_str).unwrap_or_default().to_owned(),
        at: inner.map_or(value.at, |inner| inner.at),
    }
}

/// A number that its shape bounds to 32 bits.
pub(super) fn number(value: &Value, key: &str) -> Option<u32> {
    value
        .get(key)
        .and_then(Value::as_int)
        .and_then(|number| u32::try_from(number).ok())
}

fn user(value: &Value) -> User {
    let uid = number(value, "uid").unwrap_or_default();
    User {
        name: owned(value, "name"),
        uid,
        gid: number(value, "gid").unwrap_or(uid),
        home: owned(value, "home"),
        shell: owned(value, "shell"),
    }
}

/// Octal, as its shape has it.
fn mode(value: &Value) -> u32 {
    u32::from_str_radix(&owned(value, "mode"), 8).unwrap_or_default()
}

fn texts<C: FromIterator<String>>(value: &Value, key: &str) -> C {
    value
        .list(key)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeSet;

    use super::*;
    use crate::pure::config::from_text::project;
    use crate::pure::config::project::{ProjectText, TextFile};
    use crate::pure::text::{Diagnostics, Sources};

    fn recipe(files: &[(&str, &str)]) -> (Option<Recipe>, Vec<String>) {
        let mut text = ProjectText::default();
        let settings = ("forge.toml", "[project]\nname = 'a'\n");
        for (path, content) in files.iter().chain([&settings]) {
            text.files.insert(
                (*path).to_owned(),
                TextFile {
                    bytes: Cow::Owned(content.as_bytes().to_vec()),
                    embedded: false,
                },
            );
        }
        let mut diagnostics = Diagnostics::default();
        let project = project::read(&text, &mut Sources::default(), &mut diagnostics);
        let recipe = project
            .images
            .get("app")
            .and_then(|image| image.recipe().cloned());
        let said = diagnostics
            .iter()
            .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.message))
            .collect();
        (recipe, said)
    }

    const WHOLE: &str = r#"
[image]
summary = "PostgreSQL"
arch = ["amd64"]
[debian]
suites = ["bookworm"]
packages = ["postgresql-15", "dash"]
exclude = ["perl"]
keep = ["/usr/share/doc/**"]
[python]
requirements = "requirements.txt"
version = "3.11"
[[group]]
name = "data"
gid = 50
[[user]]
name = "postgres"
uid = 70
[[directory]]
path = "/var/lib/postgresql"
owner = "70:70"
mode = "0700"
[[link]]
path = "/bin/sh"
target = "dash"
[[file]]
path = "/etc/app"
source = "conf"
mode = "0755"
[run]
user = "postgres"
entrypoint = ["/usr/bin/postgres"]
ports = ["5432/tcp"]
env = { PGDATA = "/var/lib/postgresql" }
labels = { "org.opencontainers.image.licenses" = "PostgreSQL" }
"#;

    #[test]
    fn a_recipe_is_read_whole() {
        let (recipe, said) = recipe(&[
            ("images/app/image.toml", WHOLE),
            ("images/app/requirements.txt", ""),
            ("images/app/conf/a.conf", ""),
        ]);
        assert!(said.is_empty(), "{said:?}");
        let recipe = recipe.unwrap();
        assert_eq!(recipe.arch, BTreeSet::from([Arch::Amd64]));
        let debian = recipe.debian.unwrap();
        assert_eq!(debian.components, ["main"]);
        assert_eq!(debian.packages[1].0, "dash");
        assert_eq!((recipe.users[0].uid, recipe.users[0].gid), (70, 70));
        assert_eq!(recipe.users[0].shell, "/usr/sbin/nologin");
        assert_eq!(recipe.directories[0].mode, 0o700);
        assert_eq!(recipe.directories[0].owner, Owner { uid: 70, gid: 70 });
        assert_eq!(recipe.files[0].mode, 0o755);
        assert_eq!(recipe.run.user, "postgres");
        assert_eq!(recipe.run.env["PGDATA"], "/var/lib/postgresql");
    }

    #[test]
    fn what_is_not_given_is_plain() {
        let (recipe, said) = recipe(&[(
            "images/app/image.toml",
            "[image]\nsummary = 'A'\n[debian]\nsuites = ['bookworm']\npackages = ['dash']\n",
        )]);
        assert!(said.is_empty(), "{said:?}");
        let recipe = recipe.unwrap();
        assert_eq!(recipe.arch, BTreeSet::from(Arch::ALL));
        assert_eq!(recipe.run.user, "");
        assert!(recipe.base.is_none());
    }

    #[test]
    fn a_path_leads_into_the_image_and_a_source_out_of_its_folder() {
        for (part, wanted) in [
            ("[[directory]]\npath = '/'", "F0011"),
            ("[[directory]]\npath = '/a/../b'", "F0011"),
            ("[[directory]]\npath = 'a'", "F0011"),
            ("[[link]]\npath = '/a'\ntarget = ''", "F0004"),
            ("[[file]]\npath = '/a'\nsource = '../b'", "F0011"),
            ("[[file]]\npath = '/a'\nsource = 'image.toml/x'", "F0007"),
            (
                "[[directory]]\npath = '/a'\nowner = '4294967296:0'",
                "F0004",
            ),
            ("[[user]]\nname = 'a'\nuid = 0", "F0004"),
            ("[run]\nports = ['0/tcp']", "F0004"),
            ("[run]\nuser = 'nobody'", "F0407"),
            ("[run]\nenv = { 'A=B' = 'c' }", "F0004"),
        ] {
            let file = format!("[image]\nsummary = 'A'\n{part}\n");
            let (_, said) = recipe(&[("images/app/image.toml", &file)]);
            assert_eq!(said.len(), 1, "{part}: {said:?}");
            assert!(said[0].starts_with(wanted), "{part}: {said:?}");
        }
    }
}
