//! What old generations have left.

use std::collections::{BTreeMap, BTreeSet};

use super::activation::last_confirmed;
use super::ask::{is_kept, ref_name};
use super::held::reachable;
use super::{Conversation, Fault, Holds, OFFERED};
use crate::edge::host::kept::{self, Leftover};
use crate::edge::store::{RefChange, Store, Trust, plan_gc};
use crate::flow::host::HostError;
use crate::pure::generation::{Journal, Place, Record, Target, content_root};
use crate::pure::oci::RefName;
use crate::pure::protocol::{Event, GcReport, Reply};

/// Everything that goes. Volumes are in no list that this is made from.
#[derive(Debug, Default)]
struct Waste {
    generations: Vec<u64>,
    names: Vec<RefName>,
    files: Vec<Leftover>,
    agents: Vec<Leftover>,
    partials: Vec<Leftover>,
    images: BTreeSet<String>,
}

impl Conversation<'_> {
    /// Collects garbage. It has the lease meanwhile, so that no deploy relies on what goes.
    pub(super) fn gc(&mut self, keep: u32, dry_run: bool) -> Result<Reply, Fault> {
        if dry_run {
            let waste = self.waste(keep)?;
            let (blobs, bytes) = self.freed(&waste)?;
            return Ok(Reply::Collected {
                report: report(&waste, blobs, bytes),
            });
        }
        if self.lease == Holds::Given {
            return Err(Fault::refused(
                "an activation was started in this conversation",
                None,
            ));
        }
        let taken = self.lease == Holds::Nothing;
        if taken {
            let by = self.hello.operator.name.clone();
            self.environment.take_lease(self.host, &by, "gc")?;
            self.lease = Holds::Lease;
        }
        let done = self.collect(keep);
        if taken {
            self.lease = Holds::Nothing;
            self.environment.release_lease(self.host)?;
        }
        done
    }

    fn collect(&mut self, keep: u32) -> Result<Reply, Fault> {
        // What was offered here may be collected, and must be offered again.
        self.offered = None;
        self.fetched.clear();
        let mut waste = self.waste(keep)?;
        let store: &dyn Store = &self.host.store;
        if !waste.names.is_empty() {
            let changes: Vec<RefChange> =
                waste.names.iter().cloned().map(RefChange::Remove).collect();
            store.begin(Trust::Size)?.commit(&changes)?;
        }
        for number in &waste.generations {
            self.say(format!("generation {number} is not kept any more"));
        }
        // Docker before the store: an image that cannot be unloaded can still be looked at.
        let mut unloaded = BTreeSet::new();
        for tag in std::mem::take(&mut waste.images) {
            if self.environment.unload_image(self.host, &tag)? {
                self.say(format!("removed the image {tag} from Docker"));
                unloaded.insert(tag);
            }
        }
        waste.images = unloaded;
        let collected = store.collect(plan_gc(store)?)?;
        let mut bytes = collected.bytes;
        for leftover in waste
            .files
            .iter()
            .chain(&waste.agents)
            .chain(&waste.partials)
        {
            kept::remove(leftover)?;
            bytes += leftover.bytes;
            self.say(format!("removed {}", leftover.path.display()));
        }
        Ok(Reply::Collected {
            report: report(&waste, collected.blobs as u64, bytes),
        })
    }

    fn say(&self, text: String) {
        use crate::flow::host::tell::Tell as _;
        self.out.tell(Event::Say { text });
    }

    fn waste(&self, keep: u32) -> Result<Waste, HostError> {
        let records = self.environment.records(self.host)?;
        let current = self.environment.current(self.host)?;
        let journal = self.environment.journal(self.host)?;
        let kept_numbers =
            kept_generations(&records, current.as_ref(), journal.as_ref(), keep.max(1));
        let store: &dyn Store = &self.host.store;
        let names = store.refs()?;

        let mut targets = Vec::new();
        for record in &records {
            let is_current = current
                .as_ref()
                .is_some_and(|current| current.number == record.number);
            // One that an earlier collection let go keeps nothing. The current one must be readable: else nobody knows what it needs.
            if kept_numbers.contains(&record.number) && (is_current || is_kept(record, &names)) {
                targets.push(self.environment.target_of(self.host, record)?);
            }
        }
        let mut waste = Waste::default();
        for record in &records {
            if !kept_numbers.contains(&record.number) && is_kept(record, &names) {
                waste.generations.push(record.number);
                waste.names.push(ref_name(record.number)?);
            }
        }
        waste.names.extend(
            names
                .keys()
                .filter(|name| name.as_str() == OFFERED)
                .cloned(),
        );

        let files: BTreeSet<String> = targets.iter().flat_map(content_folders).collect();
        waste.files = kept::entries(&self.host.paths.files())?
            .into_iter()
            .filter(|entry| !files.contains(&entry.name))
            .collect();
        let machine = self.environment.machine(self.host)?;
        let mut agents: BTreeSet<String> = records
            .iter()
            .filter(|record| kept_numbers.contains(&record.number))
            .map(|record| record.agent.hex())
            .collect();
        agents.insert(machine.agent.hex());
        let running = kept::running(&self.host.paths)?;
        waste.agents = kept::entries(&self.host.paths.agents())?
            .into_iter()
            .filter(|entry| !agents.contains(&entry.name) && !running.contains(&entry.name))
            .collect();
        waste.partials = kept::entries(&self.host.paths.partial())?;
        let tags: BTreeSet<String> = targets
            .iter()
            .flat_map(|target| target.images.values().map(Target::image_tag))
            .collect();
        waste.images = self
            .environment
            .loaded_images(self.host)?
            .into_iter()
            .filter(|tag| tag.starts_with("forge.invalid/") && !tags.contains(tag))
            .collect();
        Ok(waste)
    }

    /// Blobs and bytes that would go with these names.
    fn freed(&self, waste: &Waste) -> Result<(u64, u64), HostError> {
        let store: &dyn Store = &self.host.store;
        let stay = store
            .entries()?
            .into_iter()
            .filter(|entry| {
                !waste
                    .names
                    .iter()
                    .any(|name| entry.name.as_deref() == Some(name.as_str()))
            })
            .map(|entry| entry.link);
        let needed = reachable(store, stay)?;
        let gone: BTreeMap<_, _> = store
            .blobs()?
            .into_iter()
            .filter(|(digest, _)| !needed.contains(digest))
            .collect();
        let others = waste
            .files
            .iter()
            .chain(&waste.agents)
            .chain(&waste.partials);
        let bytes = gone.values().sum::<u64>()
            + store.temporaries()?.values().sum::<u64>()
            + others.map(|leftover| leftover.bytes).sum::<u64>();
        Ok((gone.len() as u64, bytes))
    }
}

fn report(waste: &Waste, blobs: u64, bytes: u64) -> GcReport {
    GcReport {
        generations: waste.generations.clone(),
        blobs,
        bytes,
        files: waste.files.len() as u64,
        images: waste.images.iter().cloned().collect(),
        agents: waste.agents.len() as u64,
    }
}

/// The generations that stay: the last `keep`, the current one, the one that a rollback would go to, and those of an unfinished activation.
/// Generation 0 has nothing to keep, and its record stays always.
fn kept_generations(
    records: &[Record],
    current: Option<&Record>,
    journal: Option<&Journal>,
    keep: u32,
) -> BTreeSet<u64> {
    let mut numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
    numbers.sort_unstable();
    let mut kept: BTreeSet<u64> = numbers.iter().rev().take(keep as usize).copied().collect();
    kept.insert(0);
    if let Some(current) = current {
        kept.insert(current.number);
        kept.extend(last_confirmed(records, current.number).map(|record| record.number));
    }
    kept.extend(
        records
            .iter()
            .filter(|record| record.number > 0 && record.is_confirmed())
            .map(|record| record.number)
            .max(),
    );
    kept.extend(
        journal
            .iter()
            .flat_map(|journal| [journal.from, journal.to]),
    );
    kept
}

/// The folders below `/var/lib/forge/files` that a target names.
fn content_folders(target: &Target) -> impl Iterator<Item = String> {
    target.files.values().filter_map(|file| match &file.place {
        Place::Content { path } => {
            let below = path.strip_prefix(content_root())?.strip_prefix('/')?;
            below.split('/').next().map(ToOwned::to_owned)
        }
        Place::Sealed { .. } | Place::Managed { .. } | Place::Block { .. } => None,
    })
}
