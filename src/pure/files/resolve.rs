//! What stands at which path, for `compose.yaml`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::compose::Resolve;
use super::from_system::SecretFile;
use super::place::{RenderedFile, sealed_path};
use crate::pure::name::{BlobDigest, ImageName, SecretName};
use crate::pure::system::System;

/// Resolves names to absolute, content-addressed paths, and remembers which secrets were asked for alone.
#[derive(Debug)]
pub struct Paths<'a> {
    system: &'a System,
    files: &'a BTreeMap<String, RenderedFile>,
    ciphertexts: &'a BTreeMap<SecretName, BlobDigest>,
    secrets: RefCell<BTreeSet<SecretFile>>,
}

/// Only its owner reads a secret.
const SECRET_MODE: &str = "0400";

impl<'a> Paths<'a> {
    pub fn new(
        system: &'a System,
        files: &'a BTreeMap<String, RenderedFile>,
        ciphertexts: &'a BTreeMap<SecretName, BlobDigest>,
    ) -> Self {
        Self {
            system,
            files,
            ciphertexts,
            secrets: RefCell::default(),
        }
    }

    /// The secrets that were asked for, each as its file on tmpfs.
    pub fn secret_files(&self) -> Vec<SecretFile> {
        self.secrets.borrow().iter().cloned().collect()
    }
}
