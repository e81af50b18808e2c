//! The last layer: accounts, what the rules make of the packages, and the recipe's own folders, links and files.
//!
//! It changes most often, so that everything below it stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use super::layer::{ImagePath, Meta, Node, PathError, Tree};
use super::rules::Rules;
use super::skeleton::{self, folder, link, text};
use crate::pure::config::image::{File, Owner, Recipe};
use crate::pure::config::project::ProjectText;
use crate::pure::name::{Arch, ImageName};

/// What the layer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    pub image: &'a ImageName,
    pub recipe: &'a Recipe,
    pub arch: Arch,
    pub text: &'a ProjectText,
    pub rules: &'a Rules,
    /// Every package of the image, those of its base too.
    pub packages: &'a BTreeSet<&'a str>,
    pub accounts: &'a Accounts,
    /// Files that were put together of files of packages, by path.
    pub bundles: &'a BTreeMap<ImagePath, Vec<u8>>,
    /// Whether the image has the folders and links of the skeleton.
    pub skeleton: bool,
}

/// Why the layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(
        "there is no `{path}`, which the recipe puts at `{target}`; add the file, or a folder with files in it"
    )]
    Missing { path: String, target: String },
    #[error("`{path}` cannot be part of an image: it is {what}")]
    Refused { path: String, what: &'static str },
    #[error("`/{path}` lies in `/{parent}`, which is no folder; give one of them another path")]
    Parent { path: ImagePath, parent: ImagePath },
}

/// Left out of a folder that is copied: what editors, systems and interpreters leave behind.
fn is_leftover(path: &str) -> bool {
    path.split('/')
        .any(|part| part.starts_with('.') || part == "__pycache__" || part.ends_with('~'))
        || path.ends_with(".pyc")
}

/// The files of a recipe by where they go, relative to the recipe's path; the bytes borrowed from the project.
///
/// # Errors
/// [`OwnError::Missing`], [`OwnError::Refused`].
pub fn sources<'a>(
    image: &ImageName,
    file: &File,
    text: &'a ProjectText,
) -> Result<Vec<(String, &'a [u8])>, OwnError> {
    let here = format!("images/{image}/{}", file.source.trim_end_matches('/'));
    if let Some(found) = text.get(&here) {
        return Ok(vec![(file.path.clone(), &found.bytes)]);
    }
    let below = format!("{here}/");
    let refused = text.refused.range(here.clone()..);
    let refused = refused
        .take_while(|(path, _)| path.starts_with(&here))
        .find(|(path, _)| **path == here || path.starts_with(&below));
    if let Some((path, what)) = refused {
        return Err(OwnError::Refused {
            path: path.clone(),
            what,
        });
    }
    let target = file.path.trim_end_matches('/');
    let files: Vec<_> = text
        .files
        .range(below.clone()..)
        .map_while(|(path, found)| Some((path.strip_prefix(&below)?, found)))
        .filter(|(inner, _)| !is_leftover(inner))
        .map(|(inner, found)| (format!("{target}/{inner}"), found.bytes.as_ref()))
        .collect();
    match files.is_empty() {
        true => Err(OwnError::Missing {
            path: here,
            target: file.path.clone(),
        }),
        false => Ok(files),
    }
}

impl Own<'_> {
    /// The layer.
    ///
    /// A folder on the way that neither the rules nor the recipe declare belongs to root and has mode 0755: a layer must say what
    /// all its folders are, because some runtimes (Docker among them) make up a mode for those it leaves out.
    ///
    /// # Errors
    /// [`OwnError`].
    pub fn tree(&self) -> Result<Tree, OwnError> {
        let mut made = Made {
            links: match self.skeleton {
                true => skeleton::links(self.arch),
                false => BTreeMap::new(),
            },
            entries: BTreeMap::new(),
        };
        made.put("/etc/passwd", text(self.accounts.passwd()))?;
        made.put("/etc/group", text(self.accounts.group()))?;
        self.release(&mut made)?;
        for rule in self.rules.directories(self.packages) {
            let owner = self.owner(&rule.owner);
            for path in &rule.paths {
                made.put(path, owned(folder(rule.mode), owner, rule.mode))?;
            }
        }
        for (path, target) in self.rules.links(self.packages, self.arch) {
            made.put(&path, link(&target))?;
        }
        for (path, bytes) in self.bundles {
            made.put(path.as_str(), text(bytes))?;
        }
        for directory in &self.recipe.directories {
            let entry = owned(folder(directory.mode), directory.owner, directory.mode);
            made.put(&directory.path, entry)?;
        }
        for own in &self.recipe.links {
            made.put(&own.path, link(&own.target))?;
        }
        for file in &self.recipe.files {
            for (path, bytes) in sources(self.image, file, self.text)? {
                made.put(&path, owned(text(bytes), file.owner, file.mode))?;
            }
        }
        made.finish()
    }

    /// Who an account of the rules is in this image: the recipe's account of the same name, or of the same number.
    fn owner(&self, name: &str) -> Owner {
        let number = || self.rules.account(name).map(|account| account.id);
        match self.accounts.owner(name) {
            Some(owner) => owner,
            None => number().map_or(Owner::default(), |id| Owner { uid: id, gid: id }),
        }
    }

    /// `/etc/os-release` (os-release(5)) and `/etc/debian_version`, which scanners look for, unless base-files brings them.
    fn release(&self, made: &mut Made<'_>) -> Result<(), OwnError> {
        let suites = self.recipe.debian.iter().flat_map(|debian| &debian.suites);
        let release = suites.filter_map(|suite| self.rules.release(suite)).next();
        let Some(release) = release.filter(|_| !self.packages.contains("base-files")) else {
            return Ok(());
        };
        let (codename, version) = (&release.codename, &release.version);
        let os = format!(
            "PRETTY_NAME=\"Debian GNU/Linux {version} ({codename})\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"{version}\"\n\
             VERSION=\"{version} ({codename})\"\nVERSION_CODENAME={codename}\nID=debian\n"
        );
        made.put("/usr/lib/os-release", text(os))?;
        made.put("/etc/os-release", link("../usr/lib/os-release"))?;
        made.put("/etc/debian_version", text(format!("{version}\n")))
    }
}

fn owned(entry: (Node, Meta), owner: Owner, mode: u32) -> (Node, Meta) {
    let (node, _) = entry;
    let meta = Meta {
        uid: owner.uid,
        gid: owner.gid,
        mode,
        xattrs: BTreeMap::new(),
    };
    (node, meta)
}

/// The layer while it is made.
struct Made<'a> {
    /// Links of the image that a path may lead through: what lies behind them is written where it really is.
    links: BTreeMap<&'a str, &'a str>,
    entries: BTreeMap<ImagePath, (Node, Meta)>,
}

impl Made<'_> {
    /// Later entries win.
    fn put(&mut self, path: &str, entry: (Node, Meta)) -> Result<(), OwnError> {
        let path: ImagePath = path.parse()?;
        self.entries.insert(self.real(&path)?, entry);
        Ok(())
    }

    fn real(&self, path: &ImagePath) -> Result<ImagePath, PathError> {
        let within = |link: &str| path.as_str().strip_prefix(link)?.strip_prefix('/');
        let found = self
            .links
            .iter()
            .find_map(|(link, target)| Some(format!("{target}/{}", within(link)?)));
        found.map_or_else(|| Ok(path.clone()), |real| real.parse())
    }

    /// Adds the folders on the way.
    fn finish(mut self) -> Result<Tree, OwnError> {
        let paths: Vec<ImagePath> = self.entries.keys().cloned().collect();
        for path in paths {
            let mut at = path.parent();
            while let Some(parent) = at {
                match self.entries.get(&parent) {
                    Some((Node::Directory, _)) => {}
                    Some(_) => return Err(OwnError::Parent { path, parent }),
                    None => {
                        let mode = skeleton::mode_of(&parent).filter(|_| !self.links.is_empty());
                        self.entries
                            .insert(parent.clone(), folder(mode.unwrap_or(0o755)));
                    }
                }
                at = parent.parent();
            }
        }
        Ok(Tree {
            entries: self.entries,
        })
    }
}

/// Files of a layer, one after the other, each ended by a line end: how `update-ca-certificates` makes its bundle.
pub fn concatenate(files: &BTreeMap<ImagePath, Vec<u8>>) -> Vec<u8> {
    let mut whole = Vec::new();
    for bytes in files.values() {
        whole.extend_from_slice(bytes);
        if !bytes.ends_with(b"\n") {
            whole.push(b'\n');
        }
    }
    whole
}
