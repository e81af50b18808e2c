//! What stands at which path, for `compose.yaml`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::compose::Resolve;
use super::from_system::SecretFile;
use super::place::{RenderedFile, sealed_path};
use crate::pure::name::{BlobDigest, ImageName, SecretName};
use crate::pure::system::System;
use crate::pure::system::service::Service;

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

impl Resolve for Paths<'_> {
    fn image(&self, name: &ImageName) -> Option<String> {
        let image = self.system.images.get(name)?;
        Some(format!(
            "forge.invalid/{name}:sha256-{}",
            image.digest.hex()
        ))
    }

    fn file(&self, full_name: &str) -> Option<String> {
        let file = self.files.get(full_name)?;
        Some(file.place.path().to_owned())
    }

    fn secret(&self, service: &Service, name: &SecretName) -> Option<String> {
        // A missing value has been reported; the rest is rendered all the same, to report everything at once.
        let ciphertext = self
            .ciphertexts
            .get(name)
            .copied()
            .unwrap_or_else(|| BlobDigest::of(""));
        let owner = service.user.clone().unwrap_or_else(|| "0:0".to_owned());
        let path = sealed_path(
            None,
            &[(name, ciphertext)],
            &owner,
            SECRET_MODE,
            name.as_str(),
        );
        self.secrets.borrow_mut().insert(SecretFile {
            name: name.clone(),
            path: path.clone(),
            owner,
            mode: SECRET_MODE.to_owned(),
        });
        Some(path)
    }
}
