//! What the conversation needs of the rest of the host's side: one trait, so that every turn of a conversation is tested without a host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::time::Duration;

use crate::flow::host::resource::Way;
use crate::flow::host::tell::Tell;
use crate::flow::host::{Host, HostError};
use crate::pure::bundle::Embedded;
use crate::pure::delivery::{Holding, Parcel};
use crate::pure::generation::{Fetch, Journal, Plan, Record, Target};
use crate::pure::name::{Arch, BlobDigest, BundleDigest, ImageName};
use crate::pure::protocol::{Ending, Event, ImageState, Lease, Operator, Secretive, ServiceStatus};

/// What a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The digest of the agent's own file.
    pub agent: BlobDigest,
    pub hostname: String,
    pub arch: Option<Arch>,
    /// As in `debian-13`.
    pub system: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Bytes free where forge keeps its store.
    pub free: u64,
    /// Seconds.
    pub uptime: u64,
}

/// Images to fetch from their registries, and how.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    pub images: Vec<Fetch>,
    /// Registry → (user, password).
    pub credentials: BTreeMap<String, (String, Secretive)>,
    /// Registries that speak HTTP without TLS.
    pub plain_http: BTreeSet<String>,
    /// Registry → mirrors, asked before it.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub present: Vec<Embedded>,
    /// What could not be had, and why.
    pub failed: BTreeMap<ImageName, String>,
}

/// Where the output of a service goes, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOrder {
    pub service: String,
    pub tail: Option<u32>,
    pub follow: bool,
    pub since: Option<String>,
}

/// A command in the container of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOrder {
    pub service: String,
    pub command: Vec<String>,
    pub user: Option<String>,
}

/// Takes the parcels of one conversation, one after the other.
pub trait Receiving: Debug {
    /// A parcel begins; `from` of its bytes are here from before. What was begun and not finished stays, to be gone on with.
    ///
    /// # Errors
    /// [`HostError`] if not so much of it is here.
    fn begin(&mut self, parcel: &Parcel, from: u64) -> Result<(), HostError>;

    /// # Errors
    /// [`HostError`]; then the parcel is given up.
    fn write(&mut self, bytes: &[u8]) -> Result<(), HostError>;

    /// All bytes of the parcel have come: it becomes a blob.
    ///
    /// # Errors
    /// [`HostError`] if it is not the one that was announced; then it is thrown away.
    fn finish(&mut self) -> Result<(), HostError>;

    /// Makes every blob that has been finished durable and visible.
    ///
    /// # Errors
    /// [`HostError`].
    fn commit(&mut self) -> Result<(), HostError>;
}

/// The host, as the conversation sees it. Each method asks anew: another process may have changed what it tells.
pub trait Environment: Debug + Sync {
    /// # Errors
    /// [`HostError`] if the agent cannot read its own file.
    fn machine(&self, host: &Host) -> Result<Machine, HostError>;

    // Generations, the journal, the lease.

    /// The record that `current` points to; none where forge has never been.
    ///
    /// # Errors
    /// [`HostError`] if what is there cannot be understood; so for all of these.
    fn current(&self, host: &Host) -> Result<Option<Record>, HostError>;
    /// All records, ascending by number.
    ///
    /// # Errors
    /// As [`Self::current`].
    fn records(&self, host: &Host) -> Result<Vec<Record>, HostError>;
    /// # Errors
    /// As [`Self::current`].
    fn journal(&self, host: &Host) -> Result<Option<Journal>, HostError>;
    /// # Errors
    /// As [`Self::current`].
    fn lease(&self, host: &Host) -> Result<Option<Lease>, HostError>;
    /// Takes the lease for this process.
    ///
    /// # Errors
    /// [`HostError`] with who holds it, or that an activation runs or is unfinished.
    fn take_lease(&self, host: &Host, by: &str, what: &str) -> Result<(), HostError>;
    /// Gives it back, if this process has it.
    ///
    /// # Errors
    /// [`HostError`].
    fn release_lease(&self, host: &Host) -> Result<(), HostError>;
    /// # Errors
    /// [`HostError::Refused`] if its holder runs and `force` is not given, or if an activation is unfinished.
    fn unlock(&self, host: &Host, force: bool) -> Result<(), HostError>;
    /// The target of a generation, from the host's store.
    ///
    /// # Errors
    /// [`HostError`] if its bundle is not kept any more.
    fn target_of(&self, host: &Host, record: &Record) -> Result<Target, HostError>;

    // The plan.

    /// What would be done to come from `current` to `want`.
    ///
    /// # Errors
    /// [`HostError`] if the host cannot be asked.
    fn plan(
        &self,
        host: &Host,
        current: Option<&Record>,
        way: Way<'_>,
        bundle: Option<BundleDigest>,
    ) -> Result<Plan, HostError>;
    /// Why it must not be done, where so many bytes are still to come: another architecture, no space, a lock-out. Each with its mend.
    ///
    /// # Errors
    /// As [`Self::plan`].
    fn refusals(&self, host: &Host, way: Way<'_>, missing: u64) -> Result<Vec<String>, HostError>;
    /// What is there of the images that services use.
    ///
    /// # Errors
    /// As [`Self::plan`].
    fn image_states(
        &self,
        host: &Host,
        target: &Target,
    ) -> Result<BTreeMap<ImageName, ImageState>, HostError>;

    // What travels.

    /// What is here of these blobs, with their sizes, and what the others may be made from.
    ///
    /// # Errors
    /// [`HostError`].
    fn holding(&self, host: &Host, asked: &BTreeMap<BlobDigest, u64>)
    -> Result<Holding, HostError>;
    /// # Errors
    /// [`HostError`].
    fn receiving<'h>(&self, host: &'h Host) -> Result<Box<dyn Receiving + 'h>, HostError>;
    /// # Errors
    /// [`HostError`] if nothing could be tried; what failed for one image is in the answer.
    fn fetch(&self, host: &Host, order: &FetchOrder, tell: &dyn Tell)
    -> Result<Fetched, HostError>;

    // Activation: it runs in a unit of its own, and goes on if this process ends.

    /// The next generation, of a bundle that the store keeps under [`super::OFFERED`].
    ///
    /// # Errors
    /// [`HostError`].
    fn create(
        &self,
        host: &Host,
        bundle: BundleDigest,
        operator: &Operator,
    ) -> Result<Record, HostError>;
    /// Starts the activation of a generation, and gives its token. From now on it keeps others away by itself.
    ///
    /// # Errors
    /// [`HostError`]; then nothing was started.
    fn start(
        &self,
        host: &Host,
        to: u64,
        plan: BlobDigest,
        deadline: Duration,
        by: &str,
    ) -> Result<String, HostError>;
    /// Gives every event of the activation that runs, or of the last one, from the byte `from` of their stream (0: from the first), until
    /// it has ended; stops when `each` says false. None if it was stopped so, or ended without a last word.
    ///
    /// # Errors
    /// [`HostError::Refused`] if there has been none since the host started.
    fn follow(
        &self,
        host: &Host,
        from: u64,
        each: &mut dyn FnMut(Event) -> bool,
    ) -> Result<Option<Ending>, HostError>;
    /// # Errors
    /// [`HostError::Refused`] if the token is another's, or nothing waits for it.
    fn confirm(&self, host: &Host, token: &str) -> Result<Record, HostError>;
    /// The host goes back now; gives where its events begin in the stream of [`Self::follow`].
    ///
    /// # Errors
    /// As [`Self::confirm`].
    fn abandon(&self, host: &Host, token: &str, why: &str) -> Result<u64, HostError>;

    // What runs.

    /// # Errors
    /// [`HostError`] if the host cannot be asked; so for all of these.
    fn services(&self, host: &Host, target: &Target) -> Result<Vec<ServiceStatus>, HostError>;
    /// The units of this target that have failed.
    ///
    /// # Errors
    /// As [`Self::services`].
    fn failed_units(&self, host: &Host, target: &Target) -> Result<Vec<String>, HostError>;
    /// Writes what a service has written. With `follow`: until `to` cannot be written to any more.
    ///
    /// # Errors
    /// [`HostError::Refused`] if there is no such service.
    fn logs(
        &self,
        host: &Host,
        order: &LogOrder,
        to: &mut (dyn Write + Send),
        errors_to: &mut (dyn Write + Send),
    ) -> Result<(), HostError>;
    /// Runs a command in a container, and gives its exit code.
    ///
    /// # Errors
    /// [`HostError::Refused`] if there is no such service, or it does not run.
    fn exec(
        &self,
        host: &Host,
        order: &ExecOrder,
        stdin: Box<dyn Read + Send>,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<i32, HostError>;

    // What garbage collection asks.

    /// The names of the images in Docker that forge has put there: `forge.invalid/…`. None where there is no Docker.
    ///
    /// # Errors
    /// As [`Self::services`].
    fn loaded_images(&self, host: &Host) -> Result<BTreeSet<String>, HostError>;
    /// Removes a name, and what nothing else needs of its image. False if a container still uses it.
    ///
    /// # Errors
    /// As [`Self::services`].
    fn unload_image(&self, host: &Host, tag: &str) -> Result<bool, HostError>;
}
