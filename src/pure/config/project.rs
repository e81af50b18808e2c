//! The texts of a project, and what is common to all its hosts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::from_text::language::Language;
use super::image::Image;
use super::module::{Kind, Module};
use super::sources::PackageSources;
use crate::pure::name::{HostName, ImageName, ModuleName};

/// Every file of a project, by its path relative to the project, and the catalogue below it: a module or image of the project hides the one of
/// the same name in the catalogue altogether.
#[derive(Clone, Debug, Default)]
pub struct ProjectText {
    pub files: BTreeMap<String, TextFile>,
    /// What is no part of a project although it stands in its folder, by its path: links, devices, pipes.
    pub refused: BTreeMap<String, &'static str>,
}

#[derive(Clone, Debug)]
pub struct TextFile {
    pub bytes: Cow<'static, [u8]>,
    /// True for a file of the catalogue that comes with forge.
    pub embedded: bool,
}

impl ProjectText {
    pub fn get(&self, path: &str) -> Option<&TextFile> {
        self.files.get(path)
    }

    /// The names of the folders below `folder` that hold a file called `file`.
    pub fn folders_with<'a>(
        &'a self,
        folder: &'a str,
        file: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a TextFile)> {
        self.files.iter().filter_map(move |(path, text)| {
            let name = path
                .strip_prefix(folder)?
                .strip_prefix('/')?
                .strip_suffix(file)?
                .strip_suffix('/')?;
            (!name.contains('/')).then_some((name, path.as_str(), text))
        })
    }

    /// The names of the folders of the project itself below `folder` that hold no file called `file`.
    pub fn folders_without<'a>(&'a self, folder: &'a str, file: &'a str) -> BTreeSet<&'a str> {
        let own = self.files.iter().filter(|(_, text)| !text.embedded);
        let mut names: BTreeSet<&str> = own
            .filter_map(|(path, _)| {
                let (name, _) = path
                    .strip_prefix(folder)?
                    .strip_prefix('/')?
                    .split_once('/')?;
                Some(name)
            })
            .collect();
        for (name, _, _) in self.folders_with(folder, file) {
            names.remove(name);
        }
        names
    }

    /// The names of the hosts: `hosts/NAME.toml`, secrets files left out.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.host_files()
            .map(|(name, _)| name)
            .filter(|name| name.parse::<HostName>().is_ok())
    }

    /// What stands before `.toml` in the names of the files in `hosts/`, be it a name or not, and their paths.
    pub fn host_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.keys().filter_map(|path| {
            let name = path.strip_prefix("hosts/")?.strip_suffix(".toml")?;
            (!name.contains('/') && !name.ends_with(".secrets")).then_some((name, path.as_str()))
        })
    }
}

/// What the files of a project say, apart from the hosts.
#[derive(Clone, Debug, Default)]
pub struct Project {
    pub name: String,
    pub language: Language,
    pub modules: BTreeMap<ModuleName, Module>,
    pub images: BTreeMap<ImageName, Image>,
    /// The built-in kinds and those that modules declare.
    pub kinds: BTreeMap<String, Kind>,
    pub sources: PackageSources,
    pub broken: Broken,
}

impl Project {
    /// Whether some module declares the kind, or may declare it although it cannot be read.
    pub fn knows(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind) || self.broken.may_declare(kind)
    }
}

/// What is there but could not be read. Its mistake is reported where it is; what uses it is not wrong for that.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    pub modules: BTreeSet<String>,
    pub images: BTreeSet<String>,
    pub kinds: BTreeSet<String>,
}

impl Broken {
    /// Whether a kind that nobody seems to declare may be declared after all.
    pub fn may_declare(&self, kind: &str) -> bool {
        self.kinds.contains(kind) || !self.modules.is_empty()
    }
}
