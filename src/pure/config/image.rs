//! An image file, typed: where an OCI image comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::name::{Arch, ImageName};
use crate::pure::text::Span;

#[derive(Clone, Debug)]
pub struct Image {
    pub name: ImageName,
    /// The beginning of its file.
    pub at: Span,
    pub summary: String,
    pub source: ImageSource,
}

#[derive(Clone, Debug)]
pub enum ImageSource {
    /// Pinned: someone else built it.
    Registry(Registry),
    /// forge builds it.
    Recipe(Box<Recipe>),
}

impl Image {
    /// The registry reference, if it comes from there.
    pub fn registry(&self) -> Option<&Registry> {
        match &self.source {
            ImageSource::Registry(registry) => Some(registry),
            ImageSource::Recipe(_) => None,
        }
    }

    /// The recipe, if forge builds it.
    pub fn recipe(&self) -> Option<&Recipe> {
        match &self.source {
            ImageSource::Registry(_) => None,
            ImageSource::Recipe(recipe) => Some(recipe),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Registry {
    /// As in `docker.io/library/postgres`.
    pub repository: String,
    pub tag: String,
    pub tag_at: Span,
}

/// How forge builds an image: what is in it, and how it starts.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Of `[image]`.
    pub at: Span,
    /// Another image of the project that this one continues. Its layers come first.
    pub base: Option<(ImageName, Span)>,
    pub arch: BTreeSet<Arch>,
    pub debian: Option<Debian>,
    pub python: Option<Python>,
    pub groups: Vec<Group>,
    pub users: Vec<User>,
    pub directories: Vec<Directory>,
    pub links: Vec<Link>,
    pub files: Vec<File>,
    pub run: Run,
}

/// Debian packages with their dependencies.
#[derive(Clone, Debug)]
pub struct Debian {
    pub at: Span,
    /// As in `bookworm`, `bookworm-security`; the highest version of a package wins.
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub packages: Vec<(String, Span)>,
    /// Packages to leave out although something depends on them, beyond those of the rules.
    pub exclude: BTreeSet<String>,
    /// Packages to keep although the rules would leave them out.
    pub include: BTreeSet<String>,
    /// Absolute paths, `*` and `**` allowed, to keep although the rules prune them.
    pub keep: Vec<String>,
    /// Absolute paths, `*` and `**` allowed, to leave out beyond what the rules prune.
    pub drop: Vec<String>,
}

/// Python wheels.
#[derive(Clone, Debug)]
pub struct Python {
    pub at: Span,
    /// The file with the requirements and their hashes, relative to the image's folder.
    pub requirements: String,
    /// The interpreter in the image, as in `3.11`.
    pub version: String,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub gid: u32,
}

#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub path: String,
    pub owner: Owner,
    pub mode: u32,
}

#[derive(Clone, Debug)]
pub struct Link {
    pub path: String,
    pub target: String,
}

/// A file of the image's folder, or the whole of a folder in it.
#[derive(Clone, Debug)]
pub struct File {
    pub at: Span,
    /// Where it goes: absolute.
    pub path: String,
    /// Relative to the image's folder.
    pub source: String,
    pub owner: Owner,
    pub mode: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// How a container of the image starts (OCI image specification, "Image Configuration", `config`).
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// `UID:GID`, or a name; empty for root.
    pub user: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub working_dir: String,
    pub stop_signal: Option<String>,
    pub env: BTreeMap<String, String>,
    /// As in `5432/tcp`.
    pub ports: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    /// Keys are those of OCI annotations, as in `org.opencontainers.image.licenses`.
    pub labels: BTreeMap<String, String>,
}
