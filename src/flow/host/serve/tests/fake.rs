//! A host of values: what a test says of it, and what was done to it.

use std::sync::{Mutex, MutexGuard};

use super::*;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: Vec<Record>,
    pub(super) current: Option<u64>,
    pub(super) journal: Option<Journal>,
    /// Who holds the lease, and whether it is a conversation of the test.
    pub(super) lease: Option<(String, bool)>,
    pub(super) changes: Vec<Change>,
    pub(super) refusals: Vec<String>,
    pub(super) loaded: BTreeSet<String>,
    pub(super) in_use: BTreeSet<String>,
    pub(super) started: Vec<(u64, Duration)>,
    pub(super) events: Vec<Event>,
    pub(super) free: u64,
    pub(super) broken: bool,
}

/// Locked only within one call.
#[derive(Debug)]
pub(super) struct Fake(Mutex<State>);

impl Fake {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            free: 100 << 30,
            ..State::default()
        }))
    }

    pub(super) fn now(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[derive(Debug)]
struct Parcels<'h> {
    host: &'h Host,
    now: Option<(Parcel, Vec<u8>)>,
    done: Vec<Vec<u8>>,
}

impl Receiving for Parcels<'_> {
    fn begin(&mut self, parcel: &Parcel, from: u64) -> Result<(), HostError> {
        if from != 0 {
            return Err(HostError::refused("nothing of it is here", None));
        }
        self.now = Some((*parcel, Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        self.now.as_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        let (parcel, bytes) = self.now.take().unwrap();
        if BlobDigest::of(&bytes) != parcel.digest {
            return Err(HostError::refused("the parcel is another one", None));
        }
        self.done.push(bytes);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), HostError> {
        let store: &dyn Store = &self.host.store;
        let mut writer = store.begin(Trust::Size)?;
        for bytes in self.done.drain(..) {
            writer.put(
                BlobDigest::of(&bytes),
                bytes.len() as u64,
                &mut bytes.as_slice(),
            )?;
        }
        writer.commit(&[])?;
        Ok(())
    }
}

impl Environment for Fake {
    fn machine(&self, _: &Host) -> Result<Machine, HostError> {
        if self.now().broken {
            return Err(HostError::refused("broken", None));
        }
        Ok(Machine {
            agent: BlobDigest::of("agent"),
            hostname: "web".to_owned(),
            arch: Some(Arch::Amd64),
            system: "debian-12".to_owned(),
            time: 1000,
            free: self.now().free,
            uptime: 60,
        })
    }

    fn current(&self, _: &Host) -> Result<Option<Record>, HostError> {
        let now = self.now();
        Ok(now
            .records
            .iter()
            .find(|record| Some(record.number) == now.current)
            .cloned())
    }

    fn records(&self, _: &Host) -> Result<Vec<Record>, HostError> {
        Ok(self.now().records.clone())
    }

    fn journal(&self, _: &Host) -> Result<Option<Journal>, HostError> {
        Ok(self.now().journal.clone())
    }

    fn lease(&self, _: &Host) -> Result<Option<Lease>, HostError> {
        Ok(self.now().lease.as_ref().map(|(by, _)| Lease {
            by: by.clone(),
            since: 0,
            what: "deploy".to_owned(),
            alive: true,
        }))
    }

    fn take_lease(&self, _: &Host, by: &str, _: &str) -> Result<(), HostError> {
        let mut now = self.now();
        if let Some((by, _)) = &now.lease {
            return Err(HostError::refused(format!("{by} holds the host"), None));
        }
        now.lease = Some((by.to_owned(), true));
        Ok(())
    }

    fn release_lease(&self, _: &Host) -> Result<(), HostError> {
        let mut now = self.now();
        if now.lease.as_ref().is_some_and(|(_, own)| *own) {
            now.lease = None;
        }
        Ok(())
    }

    fn unlock(&self, _: &Host, force: bool) -> Result<(), HostError> {
        if !force && self.now().lease.is_some() {
            return Err(HostError::refused("its holder runs", None));
        }
        self.now().lease = None;
        Ok(())
    }

    fn target_of(&self, host: &Host, record: &Record) -> Result<Target, HostError> {
        match record.bundle {
            Some(bundle) => Ok(from_bundle::target(&open_bundle(&host.store, bundle)?)?),
            None => Ok(Target::nothing()),
        }
    }

    fn plan(
        &self,
        _: &Host,
        current: Option<&Record>,
        way: Way<'_>,
        bundle: Option<BundleDigest>,
    ) -> Result<Plan, HostError> {
        Ok(Plan {
            host: way.want.host.clone().unwrap_or("web".parse().unwrap()),
            from: current.map_or(0, |record| record.number),
            from_bundle: current.and_then(|record| record.bundle),
            to_bundle: bundle,
            changes: self.now().changes.clone(),
            notes: Vec::new(),
        })
    }

    fn refusals(&self, _: &Host, _: Way<'_>, missing: u64) -> Result<Vec<String>, HostError> {
        let now = self.now();
        let mut refusals = now.refusals.clone();
        if missing > now.free {
            refusals.push(format!("{missing} bytes have no room"));
        }
        Ok(refusals)
    }

    fn image_states(
        &self,
        _: &Host,
        target: &Target,
    ) -> Result<BTreeMap<ImageName, ImageState>, HostError> {
        let now = self.now();
        let images = target.images_in_use().into_iter();
        Ok(images
            .map(
                |(name, pin)| match now.loaded.contains(&Target::image_tag(&pin)) {
                    true => (name, ImageState::Loaded),
                    false => (name, ImageState::Absent),
                },
            )
            .collect())
    }

    fn holding(
        &self,
        host: &Host,
        asked: &BTreeMap<BlobDigest, u64>,
    ) -> Result<Holding, HostError> {
        let store: &dyn Store = &host.store;
        let mut holding = Holding::default();
        for (digest, size) in asked {
            if !store.has(*digest, *size)? {
                holding.missing.insert(*digest);
            }
        }
        Ok(holding)
    }

    fn receiving<'h>(&self, host: &'h Host) -> Result<Box<dyn Receiving + 'h>, HostError> {
        Ok(Box::new(Parcels {
            host,
            now: None,
            done: Vec::new(),
        }))
    }

    fn fetch(&self, _: &Host, order: &FetchOrder, tell: &dyn Tell) -> Result<Fetched, HostError> {
        tell.say("fetching");
        Ok(Fetched {
            present: Vec::new(),
            failed: order
                .images
                .iter()
                .map(|image| (image.image.clone(), "no route".to_owned()))
                .collect(),
        })
    }

    fn create(
        &self,
        host: &Host,
        bundle: BundleDigest,
        operator: &Operator,
    ) -> Result<Record, HostError> {
        let store: &dyn Store = &host.store;
        let offered = OFFERED.parse().unwrap();
        let link = store.refs()?.get(&offered).unwrap().clone();
        let mut now = self.now();
        let number = now.records.last().map_or(1, |record| record.number + 1);
        let name = format!("generation-{number}").parse().unwrap();
        store
            .begin(Trust::Size)?
            .commit(&[RefChange::Set(name, link), RefChange::Remove(offered)])?;
        let record = record(number, Some(bundle), Outcome::Unconfirmed);
        now.records.push(Record {
            by: operator.name.clone(),
            ..record.clone()
        });
        Ok(record)
    }

    fn start(
        &self,
        _: &Host,
        to: u64,
        _: BlobDigest,
        deadline: Duration,
        _: &str,
    ) -> Result<String, HostError> {
        let mut now = self.now();
        now.started.push((to, deadline));
        now.lease = Some(("activation".to_owned(), false));
        now.journal = Some(journal(to, Phase::AwaitingConfirmation));
        Ok("token".to_owned())
    }

    fn follow(
        &self,
        _: &Host,
        from: u64,
        each: &mut dyn FnMut(Event) -> bool,
    ) -> Result<Option<Ending>, HostError> {
        let mut ending = None;
        let events = self.now().events.clone();
        for event in events.into_iter().skip(usize::try_from(from).unwrap()) {
            if let Event::Ended { ending: last } = &event {
                ending = Some(last.clone());
            }
            if !each(event) {
                return Ok(None);
            }
        }
        Ok(ending)
    }

    fn confirm(&self, _: &Host, token: &str) -> Result<Record, HostError> {
        let mut now = self.now();
        if let Some(journal) = now.journal.take_if(|journal| journal.token == token) {
            now.current = Some(journal.to);
            now.lease = None;
        }
        match now.records.iter().find(|r| Some(r.number) == now.current) {
            Some(record) => Ok(record.clone()),
            None => Err(HostError::refused("nothing waits", None)),
        }
    }

    fn abandon(&self, _: &Host, _: &str, why: &str) -> Result<u64, HostError> {
        let mut now = self.now();
        let from = now.events.len() as u64;
        now.events.push(Event::Ended {
            ending: Ending::RolledBack {
                generation: 0,
                step: "abandon".to_owned(),
                why: why.to_owned(),
            },
        });
        Ok(from)
    }

    fn services(&self, _: &Host, _: &Target) -> Result<Vec<ServiceStatus>, HostError> {
        Ok(Vec::new())
    }

    fn failed_units(&self, _: &Host, _: &Target) -> Result<Vec<String>, HostError> {
        Ok(Vec::new())
    }

    fn logs(
        &self,
        _: &Host,
        order: &LogOrder,
        to: &mut (dyn Write + Send),
        _: &mut (dyn Write + Send),
    ) -> Result<(), HostError> {
        let failed = |error: std::io::Error| HostError::refused(error.to_string(), None);
        to.write_all(order.service.as_bytes()).map_err(failed)?;
        to.write_all(&vec![b'x'; 100_000]).map_err(failed)
    }

    fn exec(
        &self,
        _: &Host,
        order: &ExecOrder,
        mut stdin: Box<dyn Read + Send>,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<i32, HostError> {
        let mut text = String::new();
        stdin.read_to_string(&mut text).unwrap();
        stdout.write_all(text.to_uppercase().as_bytes()).unwrap();
        stderr
            .write_all(order.command.join(" ").as_bytes())
            .unwrap();
        Ok(7)
    }

    fn loaded_images(&self, _: &Host) -> Result<BTreeSet<String>, HostError> {
        Ok(self.now().loaded.clone())
    }

    fn unload_image(&self, _: &Host, tag: &str) -> Result<bool, HostError> {
        let mut now = self.now();
        Ok(!now.in_use.contains(tag) && now.loaded.remove(tag))
    }
}
