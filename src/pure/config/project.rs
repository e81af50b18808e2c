//! The texts of a project, and what is common to all its hosts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::from_text::language::Language;
use super::image::Image;
use super::module::{Kind, Module};
use crate::pure::name::{ImageName, ModuleName};

/// Every file of a project, by its path relative to the project, and the catalogue below it: a module or image of the project hides the one of
/// the same name in the catalogue altogether.
#[derive(Clone, Debug, Default)]
pub struct ProjectText {
    pub files: BTreeMap<String, TextFile>,
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

    /// The names of the hosts: `hosts/NAME.toml`, secrets files left out.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| {
            let name = path.strip_prefix("hosts/")?.strip_suffix(".toml")?;
            (!name.contains(['/', '.'])).then_some(name)
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
}
