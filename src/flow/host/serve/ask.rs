//! What is the host, and what was it?

use std::collections::BTreeMap;

use super::offer::LARGEST_PARTS;
use super::parts::{ExecOrder, LogOrder};
use super::{Conversation, Fault};
use crate::edge::host::kept;
use crate::edge::store::Store;
use crate::flow::host::HostError;
use crate::flow::host::resource::Way;
use crate::pure::bundle::Opened;
use crate::pure::generation::{Record, Target};
use crate::pure::name::SecretName;
use crate::pure::oci::RefName;
use crate::pure::protocol::{GenerationLine, Reply, StatusReport};

impl Conversation<'_> {
    pub(super) fn status(&self) -> Result<Reply, Fault> {
        let (current, target) = self.current()?;
        let machine = self.environment.machine(self.host)?;
        let before = [&target];
        let way = Way {
            want: &target,
            before: &before,
        };
        let drift = match &current {
            Some(record) => {
                self.environment
                    .plan(self.host, current.as_ref(), way, record.bundle)?
                    .changes
            }
            None => Vec::new(),
        };
        Ok(Reply::Status {
            status: Box::new(StatusReport {
                journal: self.environment.journal(self.host)?,
                lease: self.environment.lease(self.host)?,
                services: self.environment.services(self.host, &target)?,
                drift,
                failed_units: self.environment.failed_units(self.host, &target)?,
                secrets: self.secrets(&target),
                free: machine.free,
                uptime: machine.uptime,
                current,
            }),
        })
    }

    /// Which secrets are in all the places on tmpfs where they belong.
    fn secrets(&self, target: &Target) -> BTreeMap<SecretName, bool> {
        let alone = target
            .secrets
            .iter()
            .map(|secret| (&secret.name, secret.path.as_str()));
        let embedded = target.files.values().flat_map(|file| {
            let path = file.place.path();
            file.secrets.iter().map(move |name| (name, path))
        });
        let mut there = BTreeMap::new();
        for (name, path) in alone.chain(embedded) {
            *there.entry(name.clone()).or_insert(true) &= kept::is_there(&self.host.paths.at(path));
        }
        there
    }

    pub(super) fn history(&self) -> Result<Reply, Fault> {
        let current = self.environment.current(self.host)?;
        let store: &dyn Store = &self.host.store;
        let names = store.refs()?;
        let generations = self
            .environment
            .records(self.host)?
            .into_iter()
            .map(|record| GenerationLine {
                current: current
                    .as_ref()
                    .is_some_and(|current| current.number == record.number),
                kept: record.bundle.is_none() || is_kept(&record, &names),
                record,
            })
            .collect();
        Ok(Reply::History { generations })
    }

    pub(super) fn bundle(&self, generation: Option<u64>) -> Result<Reply, Fault> {
        let record = match generation {
            Some(number) if number > 0 => Some(self.record(number)?),
            _ => self.environment.current(self.host)?,
        };
        let Some(bundle) = record.as_ref().and_then(|record| record.bundle) else {
            return Ok(Reply::Bundle {
                bundle: None,
                blobs: BTreeMap::new(),
            });
        };
        let opened = self.open(bundle)?;
        let store: &dyn Store = &self.host.store;
        let sizes = &opened.closure().blobs;
        if sizes.values().sum::<u64>() > LARGEST_PARTS {
            return Err(Fault::refused("the bundle is too large to be sent", None));
        }
        let mut blobs = BTreeMap::new();
        for digest in sizes.keys() {
            blobs.insert(*digest, store.read(*digest)?);
        }
        Ok(Reply::Bundle {
            bundle: Some(bundle),
            blobs,
        })
    }

    fn open(&self, bundle: crate::pure::name::BundleDigest) -> Result<Opened, Fault> {
        crate::edge::store::open_bundle(&self.host.store, bundle).map_err(|error| {
            Fault::refused(
                format!("the bundle {bundle} is not on the host any more: {error}"),
                Some("`forge history` tells which generations are kept"),
            )
        })
    }

    pub(super) fn logs(&self, order: &LogOrder) -> Result<Reply, Fault> {
        let mut to = self.out.stream(None);
        let mut errors_to = self.out.stream(None);
        let read = self
            .environment
            .logs(self.host, order, &mut to, &mut errors_to);
        self.unless_gone(read)?;
        Ok(Reply::Done)
    }

    pub(super) fn exec(&self, order: &ExecOrder) -> Result<Reply, Fault> {
        if order.command.is_empty() {
            return Err(Fault::refused("no command was given", None));
        }
        let stdin = Box::new(self.incoming.data());
        let mut stdout = self.out.stream(Some(1));
        let mut stderr = self.out.stream(Some(2));
        let ran = self
            .environment
            .exec(self.host, order, stdin, &mut stdout, &mut stderr);
        Ok(Reply::Exited {
            code: self.unless_gone(ran)?,
        })
    }

    /// What was read for a laptop that has gone failed because of that.
    fn unless_gone<T>(&self, done: Result<T, HostError>) -> Result<T, Fault> {
        match done {
            Err(_) if self.out.is_broken() => {
                Err(Fault::Line(crate::pure::protocol::frame::FrameError::Ended))
            }
            done => Ok(done?),
        }
    }
}

/// The name by which the store keeps a generation's bundle and images.
pub(super) fn ref_name(number: u64) -> Result<RefName, HostError> {
    format!("generation-{number}")
        .parse()
        .map_err(|error: crate::pure::oci::RefNameError| {
            HostError::refused(error.to_string(), None)
        })
}

/// A record of a generation whose bundle the store has.
pub(super) fn is_kept(record: &Record, names: &BTreeMap<RefName, crate::pure::oci::Link>) -> bool {
    ref_name(record.number).is_ok_and(|name| names.contains_key(&name))
}
