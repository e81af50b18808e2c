//! The images that a deploy sends from here.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;

use super::images::Images;
use super::progress::Progress;
use crate::edge::registry::{Credential, Credentials as _, DockerCredentials};
use crate::flow::operator::deploy::conversation::{Conversation, TalkError};
use crate::flow::operator::deploy::ports::Freight;
use crate::pure::bundle::Embedded;
use crate::pure::delivery::Holding;
use crate::pure::generation::Fetch;
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::Link;
use crate::pure::oci::manifest::children;
use crate::pure::protocol::{Image, Request, Secretive};
use crate::pure::system::System;

/// What the laptop's store has of a host's images.
#[derive(Debug)]
pub(crate) struct Shelf<'a> {
    images: &'a Images<'a>,
    progress: &'a Progress,
    arch: Arch,
    /// Every image of the bundle, and the digest that the bundle has for it.
    all: BTreeMap<ImageName, ManifestDigest>,
    /// Those that are sent from here: their manifests for the host's platform.
    here: BTreeMap<ImageName, Link>,
    blobs: BTreeMap<BlobDigest, u64>,
}

fn own(error: impl std::fmt::Display) -> TalkError {
    TalkError::Own(error.to_string())
}

/// Where `docker login` keeps what belongs to Docker Hub.
const HUB: &str = "docker.io";
const HUB_LOGIN: &str = "https://index.docker.io/v1/";

impl<'a> Shelf<'a> {
    pub(crate) fn new(
        images: &'a Images<'a>,
        system: &System,
        present: &[Embedded],
        arch: Arch,
        progress: &'a Progress,
    ) -> Result<Self, TalkError> {
        let all: BTreeMap<ImageName, ManifestDigest> = system
            .images
            .iter()
            .map(|(name, image)| (name.clone(), image.digest))
            .collect();
        let mut shelf = Self {
            images,
            progress,
            arch,
            all: all.clone(),
            here: BTreeMap::new(),
            blobs: BTreeMap::new(),
        };
        for (name, digest) in all {
            if let Some(embedded) = present.iter().find(|image| image.pinned == digest) {
                shelf.put(name, embedded.manifest.clone())?;
            }
        }
        Ok(shelf)
    }

    fn put(&mut self, name: ImageName, manifest: Link) -> Result<(), TalkError> {
        let bytes = self.images.store().read(manifest.digest).map_err(own)?;
        self.blobs.insert(manifest.digest, manifest.size);
        for child in children(&manifest.media_type, &bytes).map_err(own)? {
            self.blobs.insert(child.digest, child.size);
        }
        self.here.insert(name, manifest);
        Ok(())
    }
}

impl Freight for Shelf<'_> {
    fn images(&self) -> Vec<Image> {
        let image = |(name, pinned): (&ImageName, &ManifestDigest)| Image {
            name: name.clone(),
            pinned: *pinned,
            manifest: self.here.get(name).map(|link| link.digest.as_manifest()),
        };
        self.all.iter().map(image).collect()
    }

    fn image_blobs(&self) -> BTreeMap<BlobDigest, u64> {
        self.blobs.clone()
    }

    fn take(&mut self, image: &ImageName) -> Result<(), TalkError> {
        let link = self
            .images
            .get(image, self.arch, self.progress)
            .map_err(own)?;
        self.put(image.clone(), link)
    }

    fn prepare(&mut self, holding: &Holding) -> Result<u64, TalkError> {
        match holding.missing.is_empty() {
            true => Ok(0),
            false => Err(own("this forge cannot send images yet")),
        }
    }

    fn send(&mut self, _: &mut dyn Conversation) -> Result<(), TalkError> {
        Ok(())
    }

    fn fetch(&self, images: Vec<Fetch>) -> Result<Request, TalkError> {
        let mut credentials = BTreeMap::new();
        let (mut plain_http, mut mirrors) = (BTreeSet::new(), BTreeMap::new());
        let registries: BTreeSet<&str> = images
            .iter()
            .filter_map(|fetch| fetch.repository.split('/').next())
            .collect();
        for registry in registries {
            let login = if registry == HUB { HUB_LOGIN } else { registry };
            let known = DockerCredentials
                .of(login)
                .map_err(own)?
                .map(|known| match known {
                    Credential::Password { user, password } => {
                        (user, Secretive(password.expose_secret().to_owned()))
                    }
                    // As credential helpers write it.
                    Credential::Token(token) => (
                        "<token>".to_owned(),
                        Secretive(token.expose_secret().to_owned()),
                    ),
                });
            if let Some(known) = known {
                credentials.insert(registry.to_owned(), known);
            }
            if let Some(source) = self.images.source(registry) {
                if source.plain_http {
                    plain_http.insert(registry.to_owned());
                }
                if !source.mirrors.is_empty() {
                    mirrors.insert(registry.to_owned(), source.mirrors.clone());
                }
            }
        }
        Ok(Request::Fetch {
            images,
            credentials,
            plain_http,
            mirrors,
        })
    }
}
