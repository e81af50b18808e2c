//! What would this bundle do here, and what is missing for it?

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::held::{pinned, whole};
use super::{Conversation, Fault, OFFERED};
use crate::edge::store::{Store, Trust, put_bundle};
use crate::flow::host::HostError;
use crate::flow::host::resource::Way;
use crate::pure::bundle::{Embedded, Opened};
use crate::pure::generation::{Outcome, Record, Target, from_bundle};
use crate::pure::name::{BlobDigest, BundleDigest, ImageName};
use crate::pure::oci::{Link, manifest};
use crate::pure::protocol::{Image, ImageState, Offer, Reply};

/// Manifest, config and parts of a bundle are in memory at once: not more of them.
pub(super) const LARGEST_PARTS: u64 = 64 << 20;

/// What has been offered and is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bundle: Option<BundleDigest>,
    blobs: BTreeMap<BlobDigest, Vec<u8>>,
}

/// The bundle that this conversation is about.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) bundle: BundleDigest,
    /// None once the store has it.
    opened: Option<Opened>,
    images: Vec<Image>,
    states: BTreeMap<ImageName, ImageState>,
    pub(super) plan: BlobDigest,
    pub(super) failed_before: Option<String>,
    pub(super) refusals: Vec<String>,
}

impl Offered {
    pub(super) fn is_kept(&self) -> bool {
        self.opened.is_none()
    }
}

impl Conversation<'_> {
    pub(super) fn offer(&mut self, offer: Offer) -> Result<Reply, Fault> {
        let before = self.offered.take().map(|offered| offered.bundle);
        let Offer {
            bundle,
            blobs,
            images,
            image_blobs,
        } = offer;
        // Offered again, because an image could not be fetched: the others were.
        if before.or(self.pending.bundle) != Some(bundle) {
            self.fetched.clear();
        }
        if self.pending.bundle != Some(bundle) {
            self.pending = Pending {
                bundle: Some(bundle),
                blobs: BTreeMap::new(),
            };
        }
        self.pending.blobs.extend(blobs);
        let wanted = match self.gather(bundle) {
            Ok(wanted) => wanted,
            Err(fault) => {
                self.pending = Pending::default();
                return Err(fault);
            }
        };
        if !wanted.is_empty() {
            return Ok(Reply::Wanted { parts: wanted });
        }
        let Pending { blobs, .. } = std::mem::take(&mut self.pending);
        let opened = Opened::read(bundle, |digest, _| {
            blobs
                .get(&digest)
                .cloned()
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        })
        .map_err(|error| Fault::refused(error.to_string(), None))?;
        drop(blobs);
        let want = from_bundle::target(&opened).map_err(|e| Fault::refused(e.to_string(), None))?;

        let (current, have) = self.current()?;
        let before = [&have];
        let way = Way {
            want: &want,
            before: &before,
        };
        let holding = self.environment.holding(self.host, &image_blobs)?;
        let coming = holding
            .missing
            .iter()
            .filter_map(|blob| image_blobs.get(blob))
            .fold(0_u64, |sum, size| sum.saturating_add(*size));
        let mut refusals = self.misfits(&want, &have)?;
        refusals.extend(self.environment.refusals(self.host, way, coming)?);
        let plan = self
            .environment
            .plan(self.host, current.as_ref(), way, Some(bundle))?;
        let states = self.environment.image_states(self.host, &want)?;
        let failed_before = failed_before(&self.environment.records(self.host)?, bundle);
        self.offered = Some(Offered {
            bundle,
            opened: Some(opened),
            images,
            states: states.clone(),
            plan: plan.digest(),
            failed_before: failed_before.clone(),
            refusals: refusals.clone(),
        });
        Ok(Reply::Offered {
            plan,
            images: states,
            holding,
            failed_before,
            refusals,
        })
    }

    /// Completes what is pending with what the store has, and says what is in neither. What is damaged there counts as missing.
    fn gather(&mut self, bundle: BundleDigest) -> Result<BTreeSet<BlobDigest>, Fault> {
        let store: &dyn Store = &self.host.store;
        let too_large = || {
            Fault::refused(
                format!(
                    "the files of the bundle {bundle} are larger than {} MiB together",
                    LARGEST_PARTS >> 20
                ),
                Some("large files belong into an image or a volume"),
            )
        };
        let blobs = &mut self.pending.blobs;
        let offered: u64 = blobs.values().map(|bytes| bytes.len() as u64).sum();
        if offered > LARGEST_PARTS {
            return Err(too_large());
        }
        let from_store = |digest: BlobDigest, size: Option<u64>| -> Result<_, HostError> {
            match store.size(digest)? {
                Some(found) if found <= LARGEST_PARTS && size.is_none_or(|size| size == found) => {
                    Ok(store.read(digest).ok())
                }
                _ => Ok(None),
            }
        };
        let root = match blobs.get(&bundle.blob()) {
            Some(bytes) => bytes.clone(),
            None => match from_store(bundle.blob(), None)? {
                Some(bytes) => bytes,
                None => return Ok(BTreeSet::from([bundle.blob()])),
            },
        };
        let unreadable = |error: manifest::ManifestError| Fault::refused(error.to_string(), None);
        let manifest = manifest::parse_manifest(&root).map_err(unreadable)?;
        let links: BTreeSet<Link> = std::iter::once(manifest.config())
            .chain(manifest.layers())
            .map(|descriptor| Link::try_from(descriptor).map_err(unreadable))
            .collect::<Result<_, _>>()?;
        let all = links
            .iter()
            .fold(root.len() as u64, |sum, link| sum.saturating_add(link.size));
        if all > LARGEST_PARTS {
            return Err(too_large());
        }
        // What the manifest does not name is not kept in memory.
        let needed: BTreeSet<BlobDigest> = links.iter().map(|link| link.digest).collect();
        blobs.retain(|digest, _| needed.contains(digest));
        blobs.insert(bundle.blob(), root);
        let mut wanted = BTreeSet::new();
        for link in links {
            if blobs.contains_key(&link.digest) {
                continue;
            }
            match from_store(link.digest, Some(link.size))? {
                Some(bytes) => {
                    blobs.insert(link.digest, bytes);
                }
                None => {
                    wanted.insert(link.digest);
                }
            }
        }
        Ok(wanted)
    }

    /// Why this bundle is not for this host now, whatever the host is.
    fn misfits(&self, want: &Target, have: &Target) -> Result<Vec<String>, HostError> {
        let mut refusals = Vec::new();
        if let (Some(want), Some(have)) = (&want.host, &have.host)
            && want != have
        {
            refusals.push(format!(
                "the bundle is for the host `{want}`, and this one is `{have}`: `forge rollback --to 0` takes forge out first, if it is \
                 to become another"
            ));
        }
        if let Some(journal) = self.environment.journal(self.host)? {
            refusals.push(format!("{}; `forge rollback` ends it", journal.told()));
        }
        Ok(refusals)
    }

    /// Names the bundle and its images in the store.
    pub(super) fn keep(&mut self) -> Result<Reply, Fault> {
        self.must_hold("keeping a bundle")?;
        let store: &dyn Store = &self.host.store;
        let Some(offered) = &mut self.offered else {
            return Err(Fault::refused("no bundle has been offered", None));
        };
        let Some(opened) = offered.opened.take() else {
            return Ok(Reply::Done);
        };
        let known = pinned(store)?;
        let mut present = Vec::new();
        let mut absent = Vec::new();
        for pin in opened.images() {
            let told = offered
                .images
                .iter()
                .filter(|image| image.pinned == pin.digest)
                .filter_map(|image| image.manifest);
            let fetched = self
                .fetched
                .iter()
                .filter(|image| image.pinned == pin.digest)
                .map(|image| image.manifest.digest.as_manifest());
            let kept = known.get(&pin.digest).map(|link| link.digest.as_manifest());
            let mut found = None;
            for manifest in told.chain(fetched).chain(kept).chain([pin.digest]) {
                found = whole(store, manifest)?;
                if found.is_some() {
                    break;
                }
            }
            match found {
                Some(manifest) => present.push(Embedded {
                    pinned: pin.digest,
                    manifest,
                }),
                None => {
                    let state = offered.states.get(&pin.name);
                    if state.is_some_and(|state| *state != ImageState::Loaded) {
                        absent.push(format!("{}:{}", pin.repository, pin.tag));
                    }
                }
            }
        }
        if !absent.is_empty() {
            offered.opened = Some(opened);
            return Err(Fault::refused(
                format!("the host does not have {} whole", absent.join(", ")),
                Some("deploy again: what has arrived is not sent anew"),
            ));
        }
        let sealed = opened
            .clone()
            .into_draft()
            .seal()
            .map_err(|error| Fault::refused(error.to_string(), None));
        let put = sealed.and_then(|sealed| {
            let name = OFFERED
                .parse()
                .map_err(|error: crate::pure::oci::RefNameError| {
                    Fault::refused(error.to_string(), None)
                })?;
            // By content: these bytes were just compared, and a damaged blob of the store is repaired by them.
            Ok(put_bundle(store, &sealed, &present, &name, Trust::Content)?)
        });
        match put {
            Ok(_) => Ok(Reply::Done),
            Err(fault) => {
                offered.opened = Some(opened);
                Err(fault)
            }
        }
    }
}

/// How the last activation of this bundle failed, if it did.
fn failed_before(records: &[Record], bundle: BundleDigest) -> Option<String> {
    let last = records
        .iter()
        .rev()
        .find(|record| record.bundle == Some(bundle))?;
    match &last.outcome {
        Outcome::Failed { step, why, .. } => {
            Some(format!("generation {}, {step}: {why}", last.number))
        }
        Outcome::Unconfirmed | Outcome::Confirmed { .. } => None,
    }
}
