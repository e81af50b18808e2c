//! The messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pure::delivery::{Holding, Parcel};
use crate::pure::generation::{Change, Fetch, Journal, Plan, Record};
use crate::pure::name::{Arch, BlobDigest, BundleDigest, ImageName, ManifestDigest, SecretName};

/// Who is at the laptop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// As in `anna@laptop`.
    pub name: String,
    /// The revision of the project, if it is kept in git.
    pub revision: Option<String>,
}

/// What a conversation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It may change the host, and takes the lease when it does.
    Change,
    /// It only asks.
    Ask,
}

/// The laptop's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::VERSION`].
    pub protocol: u32,
    /// Version of the program.
    pub forge: String,
    pub operator: Operator,
    pub purpose: Purpose,
}

/// Who holds a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub by: String,
    /// Seconds since 1970.
    pub since: i64,
    /// What for, as in `deploy of sha256:…`.
    pub what: String,
    /// True if the process that took it still runs.
    pub alive: bool,
}

/// The host's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`super::VERSION`].
    pub protocol: u32,
    pub forge: String,
    /// The digest of the agent's own file.
    pub agent: BlobDigest,
    pub hostname: String,
    pub arch: Option<Arch>,
    /// As in `debian-13`: `ID` and `VERSION_ID` of os-release(5).
    pub system: String,
    /// Seconds since 1970, by the host's clock.
    pub time: i64,
    /// The current generation; none where forge has never been.
    pub current: Option<Record>,
    pub journal: Option<Journal>,
    pub lease: Option<Lease>,
}

/// An image of a bundle, as the laptop knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: ImageName,
    /// The digest that the bundle has for it.
    pub pinned: ManifestDigest,
    /// Its manifest for the host's platform, if the laptop has the image whole.
    pub manifest: Option<ManifestDigest>,
}

/// A bundle, offered to a host: everything but what is large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    pub bundle: BundleDigest,
    /// The system manifest, its config and every part, by digest; those that the host is thought to have may be left out.
    #[serde(with = "blobs")]
    pub blobs: BTreeMap<BlobDigest, Vec<u8>>,
    pub images: Vec<Image>,
    /// Every blob of the images that the laptop has, with its size.
    pub image_blobs: BTreeMap<BlobDigest, u64>,
}

/// Bytes in JSON: base64.
mod blobs {
    use std::collections::BTreeMap;

    use base64ct::{Base64, Encoding as _};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::pure::name::BlobDigest;

    pub(super) fn serialize<S: Serializer>(
        blobs: &BTreeMap<BlobDigest, Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let text: BTreeMap<BlobDigest, String> = blobs
            .iter()
            .map(|(digest, bytes)| (*digest, Base64::encode_string(bytes)))
            .collect();
        text.serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<BTreeMap<BlobDigest, Vec<u8>>, D::Error> {
        BTreeMap::<BlobDigest, String>::deserialize(from)?
            .into_iter()
            .map(|(digest, text)| {
                let bytes = Base64::decode_vec(&text).map_err(D::Error::custom)?;
                if BlobDigest::of(&bytes) == digest {
                    Ok((digest, bytes))
                } else {
                    Err(D::Error::custom(format!(
                        "{digest} is not the digest of its bytes"
                    )))
                }
            })
            .collect()
    }
}

/// What a host has of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum ImageState {
    /// Docker has it, proven by a container that was created from it.
    Loaded,
    /// The host's store has it whole.
    Stored,
    /// The host has to be sent it, or to fetch it.
    Absent,
}

/// A value that is never shown: credentials of a registry on their way to the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secretive(pub String);

impl fmt::Debug for Secretive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What the laptop asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask", deny_unknown_fields)]
pub enum Request {
    /// What is missing for this bundle, and what would be done? Writes nothing but to memory. → [`Reply::Offered`].
    /// If parts are missing: [`Reply::Wanted`], and the offer is repeated with them.
    Offer(Offer),
    /// Takes the lease. → [`Reply::Done`] or [`Reply::Refused`].
    Lock { what: String },
    /// Parcels follow, each [`Request::Parcel`] and then frames of data. → [`Reply::Arrived`] for each.
    Parcel { parcel: Parcel, from: u64 },
    /// Fetch images by digest from their registries. → events, then [`Reply::Fetched`].
    Fetch {
        images: Vec<Fetch>,
        /// Registry → (user, password).
        credentials: BTreeMap<String, (String, Secretive)>,
        /// Registries that speak HTTP without TLS.
        plain_http: BTreeSet<String>,
        /// Registry → mirrors, asked before it.
        mirrors: BTreeMap<String, Vec<String>>,
    },
    /// Names the bundle and its images in the host's store: from now on they are kept. → [`Reply::Done`].
    Keep,
    /// Makes a generation of the offered bundle and activates it, if the plan is still the one that was shown.
    /// → events, then [`Reply::Ended`].
    Activate {
        plan: BlobDigest,
        /// Seconds that the activation may take until it is confirmed.
        deadline: u64,
        /// Activate a bundle that failed before.
        retry: bool,
    },
    /// What would a rollback do? → [`Reply::Planned`]. `to` none: the last confirmed generation before the current one.
    PlanRollback { to: Option<u64> },
    /// → events, then [`Reply::Ended`].
    Rollback {
        to: u64,
        plan: BlobDigest,
        deadline: u64,
    },
    /// The events of the activation that runs, or of the last one, from the first. → events, then [`Reply::Ended`].
    Attach,
    /// Confirms the activation: over a connection that was opened after it had finished. → [`Reply::Confirmed`].
    Confirm { token: String },
    /// Gives the activation up: the host goes back now. → events, then [`Reply::Ended`].
    Abandon { token: String, why: String },
    /// → [`Reply::Status`].
    Status,
    /// → [`Reply::History`].
    History,
    /// → [`Reply::Collected`].
    Gc { keep: u32, dry_run: bool },
    /// → [`Reply::Verified`].
    Verify,
    /// → frames of data, then [`Reply::Done`].
    Logs {
        service: String,
        tail: Option<u32>,
        follow: bool,
        since: Option<String>,
    },
    /// Runs a command in a service's container without a terminal. Frames of data: first byte 1 for stdout, 2 for stderr; from the laptop
    /// stdin, an empty one is its end. → [`Reply::Exited`].
    Exec {
        service: String,
        command: Vec<String>,
        user: Option<String>,
    },
    /// Gives up a lease whose holder is gone; with `force` also one whose holder runs. → [`Reply::Done`], [`Reply::Refused`].
    Unlock { force: bool },
    /// What is the system of this generation (0 and none: the current one)? → [`Reply::Bundle`].
    Bundle { generation: Option<u64> },
}

/// What the host answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply", deny_unknown_fields)]
pub enum Reply {
    /// An event; the answer is yet to come.
    Event {
        event: Event,
    },
    Wanted {
        parts: BTreeSet<BlobDigest>,
    },
    Offered {
        plan: Plan,
        images: BTreeMap<ImageName, ImageState>,
        holding: Holding,
        /// True if this bundle failed on this host.
        failed_before: Option<String>,
        /// Why it must not be activated at all: another architecture, no space, a lock-out. Each with its mend.
        refusals: Vec<String>,
    },
    Planned {
        plan: Plan,
        to: u64,
        refusals: Vec<String>,
    },
    Arrived {
        blob: BlobDigest,
    },
    Fetched {
        /// What could not be had, and why: the laptop sends it.
        failed: BTreeMap<ImageName, String>,
    },
    Ended {
        ending: Ending,
    },
    Confirmed {
        generation: u64,
        bundle: Option<BundleDigest>,
    },
    Status {
        status: Box<StatusReport>,
    },
    History {
        generations: Vec<GenerationLine>,
    },
    Collected {
        report: GcReport,
    },
    Verified {
        problems: Vec<VerifyProblem>,
        blobs: u64,
        bytes: u64,
    },
    Exited {
        code: i32,
    },
    Bundle {
        bundle: Option<BundleDigest>,
        #[serde(with = "blobs")]
        blobs: BTreeMap<BlobDigest, Vec<u8>>,
    },
    Done,
    /// The answer is no, and the host is as it was. With what to do about it.
    Refused {
        why: String,
        hint: Option<String>,
    },
    /// It could not be done. `touched`: something of it may have been.
    Failed {
        step: String,
        why: String,
        touched: bool,
    },
}

/// Something that happened on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event", deny_unknown_fields)]
pub enum Event {
    /// A step begins: `packages`, `images`, `preflight`, `services`, `probes`.
    Step {
        step: String,
    },
    /// It has been done.
    Changed {
        change: Change,
    },
    /// So much of so much (bytes or items), of the step.
    Progress {
        done: u64,
        of: u64,
        what: String,
    },
    Say {
        text: String,
    },
    Warn {
        text: String,
    },
    /// The end of what a service wrote before it failed.
    Log {
        service: String,
        text: String,
    },
    /// It failed, and the host goes back.
    Failed {
        step: String,
        why: String,
    },
    /// The last event of an activation.
    Ended {
        ending: Ending,
    },
}

/// How an activation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Ending {
    /// Everything is well; it counts when it is confirmed with this token.
    AwaitingConfirmation {
        generation: u64,
        token: String,
        deadline: i64,
    },
    /// `current` is this generation.
    Confirmed {
        generation: u64,
        bundle: Option<BundleDigest>,
    },
    /// Nothing running had been changed.
    Refused { step: String, why: String },
    /// It failed, and the host is again at this generation.
    RolledBack {
        generation: u64,
        step: String,
        why: String,
    },
    /// It failed, and going back did too: what is not as this generation says.
    Incomplete {
        generation: u64,
        step: String,
        why: String,
        left: Vec<String>,
    },
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationLine {
    pub record: Record,
    pub current: bool,
    /// Its bundle and images are still in the host's store.
    pub kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Starting,
    Unhealthy,
    /// It runs, and has no healthcheck.
    Running,
    /// It has ended, as it should.
    Completed,
    Stopped,
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceStatus {
    pub name: String,
    pub health: Health,
    pub image: Option<String>,
    pub container: Option<String>,
    /// As Docker tells it: RFC 3339.
    pub started: Option<String>,
    pub restarts: u32,
}

/// How a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    pub current: Option<Record>,
    pub journal: Option<Journal>,
    pub lease: Option<Lease>,
    pub services: Vec<ServiceStatus>,
    /// What a deploy of the current generation would do: hand edits, stopped units, rules that somebody added.
    pub drift: Vec<Change>,
    pub failed_units: Vec<String>,
    pub secrets: BTreeMap<SecretName, bool>,
    /// Bytes free where forge keeps its store.
    pub free: u64,
    pub uptime: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcReport {
    pub generations: Vec<u64>,
    pub blobs: u64,
    pub bytes: u64,
    pub files: u64,
    pub images: Vec<String>,
    pub agents: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyProblem {
    /// A path, a blob, a service.
    pub subject: String,
    pub why: String,
}
