//! The ports to the person and to what the laptop has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::conversation::{Conversation, TalkError};
use crate::pure::bundle::Sealed;
use crate::pure::delivery::Holding;
use crate::pure::generation::{Fetch, Plan};
use crate::pure::name::{BlobDigest, BundleDigest, ImageName};
use crate::pure::oci::manifest::children;
use crate::pure::oci::media;
use crate::pure::protocol::{Event, Image, Request};
use crate::pure::system::System;
use crate::pure::system::service::Protocol;

/// What a person is shown before anything happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub plan: Plan,
    /// What will be sent, to the byte, beside a few messages.
    pub bytes: u64,
    /// What the host fetches from registries itself.
    pub fetched: Vec<ImageName>,
}

/// What a person says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    Go,
    /// The plan is all that was wanted.
    OnlyPlan,
    /// No, or there is nobody to say yes.
    No {
        why: String,
        hints: Vec<String>,
    },
}

/// The port to whoever watches.
pub trait Person: Debug + Send {
    /// What this side is about to do.
    fn say(&mut self, what: &str);

    fn show(&mut self, proposal: &Proposal);

    fn agree(&mut self) -> Agreement;

    /// So many bytes of [`Proposal::bytes`] went over the connection, as counted there: all of them, or fewer if it was lost.
    fn sent(&mut self, bytes: u64);

    /// Something happened on the host.
    fn event(&mut self, event: &Event);
}

/// A bundle, all but its images.
#[derive(Clone, Debug)]
pub struct Cargo {
    pub bundle: BundleDigest,
    /// The system manifest, its config and the parts.
    pub blobs: BTreeMap<BlobDigest, Vec<u8>>,
    /// The system manifest and its config: what no host has of a bundle that is new to it.
    pub head: BTreeSet<BlobDigest>,
    /// Where the images come from.
    pub images: BTreeMap<ImageName, Fetch>,
    /// TCP ports on which nobody may answer from outside.
    pub closed: BTreeSet<u16>,
}

impl Cargo {
    pub fn new(sealed: &Sealed, system: &System) -> Self {
        let children = children(media::MANIFEST, sealed.manifest()).unwrap_or_default();
        let config = children
            .into_iter()
            .filter(|link| link.media_type == media::SYSTEM_CONFIG);
        let images = system.images.iter().map(|(name, image)| {
            let fetch = Fetch {
                image: name.clone(),
                repository: image.repository.clone(),
                tag: image.tag.clone(),
                digest: image.digest,
            };
            (name.clone(), fetch)
        });
        Self {
            bundle: sealed.digest(),
            blobs: sealed
                .blobs()
                .map(|(digest, bytes)| (digest, bytes.to_vec()))
                .collect(),
            head: std::iter::once(sealed.digest().blob())
                .chain(config.map(|link| link.digest))
                .collect(),
            images: images.collect(),
            closed: closed_ports(system),
        }
    }
}

/// TCP ports that services publish, and that are open neither to everybody nor to somebody: a published port binds to loopback unless it is
/// public, and a public one is reached through a hole in the firewall alone. If the host declares no firewall, nothing is known of the
/// public ones.
pub fn closed_ports(system: &System) -> BTreeSet<u16> {
    let holes: BTreeSet<u16> = system
        .firewall
        .iter()
        .filter(|hole| hole.protocol == Protocol::Tcp)
        .map(|hole| hole.port)
        .collect();
    system
        .services
        .values()
        .flat_map(|service| &service.ports)
        .filter(|port| port.protocol == Protocol::Tcp)
        .filter(|port| !port.public || !system.firewall.is_empty())
        .map(|port| port.host)
        .filter(|port| !holes.contains(port))
        .collect()
}

/// The port to the images that the laptop has.
pub trait Freight: Debug + Send {
    /// Every image of the bundle; with its manifest those that are sent from here.
    fn images(&self) -> Vec<Image>;

    /// Every blob of those that are sent from here, with its size.
    fn image_blobs(&self) -> BTreeMap<BlobDigest, u64>;

    /// Sees to it that an image can be sent from here: pulls it, if need be.
    ///
    /// # Errors
    /// [`TalkError::Own`].
    fn take(&mut self, image: &ImageName) -> Result<(), TalkError>;

    /// Makes the parcels that the host lacks. Gives what they take on the wire.
    ///
    /// # Errors
    /// [`TalkError::Own`].
    fn prepare(&mut self, holding: &Holding) -> Result<u64, TalkError>;

    /// Sends what was prepared, and waits until all of it has arrived.
    ///
    /// # Errors
    /// [`TalkError`].
    fn send(&mut self, to: &mut dyn Conversation) -> Result<(), TalkError>;

    /// [`Request::Fetch`] of these, with what their registries want.
    ///
    /// # Errors
    /// [`TalkError::Own`] if credentials cannot be had.
    fn fetch(&self, images: Vec<Fetch>) -> Result<Request, TalkError>;
}
