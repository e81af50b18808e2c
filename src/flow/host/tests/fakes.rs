use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::edge::clock::Clock;
use crate::edge::disk::Lock;
use crate::edge::host::machine_facts::Facts;
use crate::edge::host::own_units::{Recorded, Supervisor, UnitsError};
use crate::edge::host::paths::Paths;
use crate::edge::host::state::State;
use crate::edge::store::{DiskStore, Options, RefChange, Store, Trust, put_bundle};
use crate::flow::host::resource::{Resource, Way};
use crate::flow::host::stage::{Step, Steps};
use crate::flow::host::tell::{Kept, Tell};
use crate::flow::host::works::Works;
use crate::flow::host::{Host, HostError, activate, confirm, converge, generations, recover};
use crate::pure::bundle::Draft;
use crate::pure::generation::{Action, Change, Journal, Kind, Outcome, Plan, Target};
use crate::pure::name::{BlobDigest, BundleDigest};
use crate::pure::protocol::{Ending, Event};

/// The resources, in their order.
pub(super) const NAMES: &[&str] = &["packages", "files", "units", "firewall", "services"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Fail,
    /// The process dies in the middle of a change.
    Kill,
}

/// What is planted: this, at this step, on the way to this bundle. Steps are functions and read it from the host's disk.
fn planted(host: &Host, step: &str, want: &Target) -> Option<Fault> {
    let text = std::fs::read_to_string(host.paths.at("/fault")).ok()?;
    let words: Vec<&str> = text.split(' ').collect();
    let here = words[1] == step && words[2] == name_of(want);
    let fault = if words[0] == "Fail" {
        Fault::Fail
    } else {
        Fault::Kill
    };
    here.then_some(fault)
}

/// The name of a bundle of these tests: its only module.
fn name_of(target: &Target) -> String {
    target
        .modules
        .first()
        .map_or("nothing", |name| name)
        .to_owned()
}

fn fall(host: &Host, step: &str, want: &Target) -> Result<(), HostError> {
    match planted(host, step, want) {
        None => Ok(()),
        Some(Fault::Fail) => Err(HostError::thing(Kind::File, step, "planted")),
        Some(Fault::Kill) => std::panic::resume_unwind(Box::new("killed")),
    }
}

fn step(name: &'static str) -> Step {
    let run = match name {
        "secrets" => |host: &Host, want: &Target, _: &dyn Tell| fall(host, "secrets", want),
        "preflight" => |host: &Host, want: &Target, _: &dyn Tell| fall(host, "preflight", want),
        _ => |host: &Host, want: &Target, _: &dyn Tell| fall(host, "probes", want),
    };
    Step { name, run }
}

/// A thing of the host: a file that holds the name of the bundle that it was brought to.
#[derive(Debug)]
struct Thing {
    name: &'static str,
    order: Arc<Mutex<Vec<&'static str>>>,
}

fn place(host: &Host, name: &str) -> PathBuf {
    host.paths.at("/things").join(name)
}

fn content(host: &Host, name: &str) -> String {
    std::fs::read_to_string(place(host, name)).unwrap_or_else(|_| "nothing".to_owned())
}

impl Resource for Thing {
    fn step(&self) -> &'static str {
        self.name
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let (have, want) = (content(host, self.name), name_of(way.want));
        let change = || {
            Change::new(
                Kind::File,
                self.name,
                Action::Change,
                format!("{have} → {want}"),
            )
        };
        Ok(if have == want { vec![] } else { vec![change()] })
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        self.order.lock().unwrap().push(self.name);
        let changes = self.plan(host, way)?;
        if planted(host, self.name, way.want).is_some() {
            // It is neither the one nor the other any more.
            std::fs::write(place(host, self.name), "half").unwrap();
        }
        fall(host, self.name, way.want)?;
        std::fs::write(place(host, self.name), name_of(way.want)).unwrap();
        for change in &changes {
            tell.changed(change);
        }
        Ok(())
    }
}

/// A clock that is put forward by hand.
#[derive(Clone, Debug)]
struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// Keeps what it is asked, and can play a process that works on and holds the lock until it is stopped.
#[derive(Debug, Default)]
pub(super) struct Double {
    recorded: Recorded,
    other: Mutex<Option<Lock>>,
}

impl Double {
    pub(super) fn calls(&self) -> Vec<String> {
        self.recorded.calls()
    }
}

#[derive(Debug)]
struct Shared(Arc<Double>);

impl Supervisor for Shared {
    fn install(&self) -> Result<(), UnitsError> {
        self.0.recorded.install()
    }
    fn uninstall(&self) -> Result<(), UnitsError> {
        self.0.recorded.uninstall()
    }
    fn start_activation(&self, program: &std::path::Path) -> Result<(), UnitsError> {
        self.0.recorded.start_activation(program)
    }
    fn runs(&self) -> Result<bool, UnitsError> {
        self.0.recorded.runs()
    }
    fn stop_activation(&self) -> Result<(), UnitsError> {
        *self.0.other.lock().unwrap() = None;
        self.0.recorded.stop_activation()
    }
    fn start_recovery(&self, program: &std::path::Path) -> Result<(), UnitsError> {
        self.0.recorded.start_recovery(program)
    }
    fn arm_confirmation(
        &self,
        program: &std::path::Path,
        after: Duration,
    ) -> Result<(), UnitsError> {
        self.0.recorded.arm_confirmation(program, after)
    }

    fn arm_deadline(&self, program: &std::path::Path, after: Duration) -> Result<(), UnitsError> {
        self.0.recorded.arm_deadline(program, after)
    }
    fn disarm(&self) -> Result<(), UnitsError> {
        self.0.recorded.disarm()
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) host: Host,
    pub(super) works: Works,
    pub(super) supervisor: Arc<Double>,
    pub(super) agent: BlobDigest,
    time: Arc<AtomicI64>,
    order: Arc<Mutex<Vec<&'static str>>>,
    told: Mutex<Arc<Kept>>,
    bundles: Mutex<BTreeMap<String, BundleDigest>>,
    _root: tempfile::TempDir,
}

impl World {
    /// A host where forge has never been.
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(paths.at("/etc")).unwrap();
        std::fs::create_dir_all(paths.at("/things")).unwrap();
        let release = "ID=debian\nVERSION_ID=13\n";
        std::fs::write(paths.at("/etc/os-release"), release).unwrap();
        let store = DiskStore::open(&paths.store(), Options::default()).unwrap();
        let time = Arc::new(AtomicI64::new(2_000_000_000));
        let order = Arc::<Mutex<Vec<&'static str>>>::default();
        let supervisor = Arc::<Double>::default();
        let thing = |name: &&'static str| -> Box<dyn Resource> {
            Box::new(Thing {
                name,
                order: Arc::clone(&order),
            })
        };
        let works = Works {
            resources: NAMES.iter().map(thing).collect(),
            steps: Steps {
                always: vec![step("secrets")],
                with_docker: vec![step("preflight")],
                docker_is_there: |_| true,
                after: vec![step("probes")],
                prune: |_, _| Ok(()),
                at_boot: |host, targets| {
                    let names: Vec<String> = targets.iter().map(|target| name_of(target)).collect();
                    std::fs::write(host.paths.at("/boot"), names.join(" ")).unwrap();
                    Ok(())
                },
            },
            supervisor: Box::new(Shared(Arc::clone(&supervisor))),
            clock: Box::new(Hand(Arc::clone(&time))),
        };
        Self {
            host: Host { paths, store },
            works,
            supervisor,
            agent: BlobDigest::of("program"),
            time,
            order,
            told: Mutex::default(),
            bundles: Mutex::default(),
            _root: root,
        }
    }

    /// A host at generation 1, of the bundle `one`.
    pub(super) fn at_one() -> Self {
        let world = Self::new();
        assert_eq!(world.activated("one"), 1);
        world
    }

    /// Receives a bundle of this name and makes a generation of it.
    pub(super) fn generation(&self, name: &str) -> u64 {
        let facts = Facts::read(&self.host.paths);
        let draft = Draft {
            host: "web".parse().unwrap(),
            system: json!({
                "compose": "forge/compose.yaml",
                // So that there is a service, and checks wait for Docker.
                "contributions": {"service": {"web": {
                    "image": "web", "networks": [], "depends_on": [], "network_host": false,
                    "restart": "always", "healthcheck": null, "ports": []
                }}},
                "files": {"forge/compose.yaml": {
                    "digest": BlobDigest::of("compose").to_string(),
                    "mode": "0644",
                    "owner": "0:0",
                    "place": {"kind": "content", "path": "/var/lib/forge/files/x/compose.yaml"},
                    "secrets": []
                }},
                "host": {"system": facts.system, "arch": facts.arch},
                "modules": [name],
                "secrets": []
            }),
            parts: vec![crate::pure::bundle::Part::new(
                crate::pure::bundle::PartKind::File,
                "files/forge/compose.yaml".parse().unwrap(),
                b"compose".to_vec(),
            )],
            images: vec![],
        };
        let sealed = draft.seal().unwrap();
        let offered = generations::OFFERED.parse().unwrap();
        put_bundle(&self.host.store, &sealed, &[], &offered, Trust::Size).unwrap();
        let mut bundles = self.bundles.lock().unwrap();
        bundles.insert(name.to_owned(), sealed.digest());
        drop(bundles);
        self.generation_of(name)
    }

    /// Makes a generation of a bundle that was received.
    pub(super) fn generation_of(&self, name: &str) -> u64 {
        let new = generations::New {
            bundle: self.bundle(name),
            agent: self.agent,
            by: "anna@laptop".to_owned(),
            revision: None,
        };
        generations::create_at(&self.host, new, self.now())
            .unwrap()
            .number
    }

    pub(super) fn forget_offer(&self) {
        let store: &dyn Store = &self.host.store;
        let change = RefChange::Remove(generations::OFFERED.parse().unwrap());
        store.begin(Trust::Size).unwrap().commit(&[change]).unwrap();
    }

    pub(super) fn bundle(&self, name: &str) -> BundleDigest {
        self.bundles.lock().unwrap()[name]
    }

    pub(super) fn plan(&self, to: u64) -> Plan {
        let current = generations::current(&self.host).unwrap().unwrap();
        let before = generations::target_of(&self.host, &current).unwrap();
        let want = generations::target(&self.host, to).unwrap();
        let resources = &self.works.resources;
        converge::plan_with(resources, &self.host, Some(&current), &before, &want).unwrap()
    }

    pub(super) fn try_start(&self, to: u64) -> Result<String, HostError> {
        let plan = self.plan(to).digest();
        let deadline = Duration::from_secs(60);
        activate::start_with(&self.works, &self.host, to, plan, deadline, "anna@laptop")
    }

    pub(super) fn start(&self, to: u64) -> String {
        self.order.lock().unwrap().clear();
        *self.told.lock().unwrap() = Arc::default();
        self.try_start(to).unwrap()
    }

    pub(super) fn run(&self) -> Option<Ending> {
        let told = Arc::clone(&self.told.lock().unwrap());
        activate::run_with(&self.works, &self.host, &*told)
    }

    pub(super) fn recover(&self, boot: bool) -> Option<Ending> {
        let told = Arc::clone(&self.told.lock().unwrap());
        recover::recover_with(&self.works, &self.host, boot, &*told).unwrap()
    }

    /// Whose files are put into memory when Docker starts.
    pub(super) fn at_boot(&self) -> String {
        confirm::secrets_at_boot_with(&self.works, &self.host).unwrap();
        std::fs::read_to_string(self.host.paths.at("/boot")).unwrap()
    }

    /// Activates a generation and confirms it.
    pub(super) fn confirmed(&self, number: u64) {
        let token = self.start(number);
        let ending = self.run().unwrap();
        assert!(
            matches!(ending, Ending::AwaitingConfirmation { .. }),
            "{ending:?}"
        );
        confirm::confirm_with(&self.works, &self.host, &token).unwrap();
    }

    pub(super) fn activated(&self, name: &str) -> u64 {
        let number = self.generation(name);
        self.confirmed(number);
        self.order.lock().unwrap().clear();
        number
    }

    pub(super) fn told(&self) -> Vec<Event> {
        self.told.lock().unwrap().events()
    }

    pub(super) fn steps(&self) -> Vec<String> {
        let events = self.told().into_iter();
        events
            .filter_map(|event| match event {
                Event::Step { step } => Some(step),
                _ => None,
            })
            .collect()
    }

    /// What was applied, in order.
    pub(super) fn order(&self) -> Vec<&'static str> {
        self.order.lock().unwrap().clone()
    }

    /// The same without the firewall's second turn, which stands behind the services.
    pub(super) fn order_without_again(&self) -> Vec<&'static str> {
        let mut order: Vec<&'static str> = Vec::new();
        for name in self.order() {
            if name != "firewall" || order.last() != Some(&"services") {
                order.push(name);
            }
        }
        order
    }

    pub(super) fn at(&self, name: &str) -> String {
        content(&self.host, name)
    }

    pub(super) fn put(&self, name: &str, what: &str) {
        std::fs::write(place(&self.host, name), what).unwrap();
    }

    /// What everything is at; none if not all of it is at the same.
    pub(super) fn all_at(&self) -> Option<String> {
        let first = self.at(NAMES[0]);
        NAMES
            .iter()
            .all(|name| self.at(name) == first)
            .then_some(first)
    }

    pub(super) fn fail(&self, fault: Fault, step: &str, towards: &str) {
        let text = format!("{fault:?} {step} {towards}");
        std::fs::write(self.host.paths.at("/fault"), text).unwrap();
    }

    pub(super) fn mend(&self) {
        std::fs::remove_file(self.host.paths.at("/fault")).unwrap();
    }

    /// A process that works on: it holds the lock until it is stopped.
    pub(super) fn hang(&self) {
        let lock = State::open(&self.host.paths).unwrap().lock(Duration::ZERO);
        *self.supervisor.other.lock().unwrap() = Some(lock.unwrap());
    }

    pub(super) fn now(&self) -> i64 {
        self.time.load(Ordering::Relaxed)
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) fn current(&self) -> u64 {
        State::open(&self.host.paths)
            .unwrap()
            .current()
            .unwrap()
            .unwrap()
    }

    pub(super) fn journal(&self) -> Option<Journal> {
        State::open(&self.host.paths).unwrap().journal().unwrap()
    }

    pub(super) fn outcome(&self, number: u64) -> Outcome {
        generations::record(&self.host, number).unwrap().outcome
    }

    pub(super) fn is_armed(&self) -> bool {
        let calls = self.supervisor.calls();
        let last = calls
            .iter()
            .rev()
            .find(|call| call.starts_with("armed") || *call == "disarmed");
        last.is_some_and(|call| call.starts_with("armed"))
    }
}
