//! The images that a deploy sends from here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::images::Images;
use super::progress::Progress;
use crate::edge::parcel::Wire;
use crate::edge::registry::{Credential, Credentials as _, DockerCredentials};
use crate::flow::operator::deliver::{Conduit, Delivery, SendError, contents, prepare};
use crate::flow::operator::deploy::conversation::{Conversation, TalkError};
use crate::flow::operator::deploy::ports::Freight;
use crate::pure::bundle::Embedded;
use crate::pure::delivery::Holding;
use crate::pure::generation::Fetch;
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::Link;
use crate::pure::protocol::{Image, Reply, Request, Secretive};
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
    /// Where parcels are kept until they have arrived.
    wire: PathBuf,
    delivery: Option<Delivery>,
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
        wire: PathBuf,
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
            wire,
            delivery: None,
        };
        for (name, digest) in all {
            if let Some(embedded) = present.iter().find(|image| image.pinned == digest) {
                shelf.put(name, embedded.manifest.clone())?;
            }
        }
        Ok(shelf)
    }

    fn put(&mut self, name: ImageName, manifest: Link) -> Result<(), TalkError> {
        let pieces = contents(self.images.store(), std::slice::from_ref(&manifest)).map_err(own)?;
        let sized = pieces.into_iter().map(|piece| (piece.blob, piece.size));
        self.blobs.extend(sized);
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
        if holding.missing.is_empty() {
            self.delivery = None;
            return Ok(0);
        }
        let manifests: Vec<Link> = self.here.values().cloned().collect();
        let wire = Wire::open(&self.wire).map_err(own)?;
        let store = self.images.store();
        let delivery = prepare(store, wire, &manifests, holding, self.progress).map_err(own)?;
        let bytes = delivery.bytes;
        self.delivery = (!delivery.is_empty()).then_some(delivery);
        Ok(bytes)
    }

    fn send(&mut self, to: &mut dyn Conversation) -> Result<(), TalkError> {
        let Some(delivery) = self.delivery.take() else {
            return Ok(());
        };
        let sent = delivery.send(self.images.store(), &mut Pipe(to), self.progress);
        match sent {
            // What cannot be removed now, the next deploy removes.
            Ok(()) => delivery.clear().or(Ok(())),
            Err(SendError::Conduit(error)) => Err(error),
            Err(error) => Err(own(error)),
        }
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

/// A conversation, as a delivery wants it.
#[derive(Debug)]
struct Pipe<'a>(&'a mut dyn Conversation);

impl Conduit for Pipe<'_> {
    type Error = TalkError;

    fn request(&mut self, request: &Request) -> Result<(), TalkError> {
        self.0.send(request)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.0.send_data(bytes)
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        self.0.flush()
    }

    fn reply(&mut self) -> Result<Reply, TalkError> {
        self.0.answer(&mut |_| ())
    }
}
