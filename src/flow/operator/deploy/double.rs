//! A host that says what it was told to say, and remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use super::conversation::{Connect, Conversation, Hear, Said, Speak, TalkError};
use super::ports::{Agreement, Freight, Person, Proposal};
use crate::pure::delivery::Holding;
use crate::pure::generation::{Fetch, Journal, Outcome as Recorded, Phase, Record};
use crate::pure::name::{BlobDigest, BundleDigest, ImageName};
use crate::pure::protocol::{Event, Image, Purpose, Reply, Request, Secretive, VERSION, Welcome};

pub(in crate::flow::operator) fn digest(text: &str) -> BlobDigest {
    BlobDigest::of(text.as_bytes())
}

pub(in crate::flow::operator) fn bundle(text: &str) -> BundleDigest {
    digest(text).to_string().parse().unwrap()
}

pub(in crate::flow::operator) fn record(number: u64, of: Option<BundleDigest>) -> Record {
    Record {
        version: Record::VERSION,
        number,
        bundle: of,
        agent: digest("agent"),
        created: 1,
        by: "anna@laptop".to_owned(),
        revision: None,
        outcome: Recorded::Confirmed { at: 2 },
    }
}

pub(in crate::flow::operator) fn journal(by: &str) -> Journal {
    Journal {
        version: Journal::VERSION,
        from: 1,
        to: 2,
        phase: Phase::AwaitingConfirmation,
        deadline: 300,
        started: 1,
        by: by.to_owned(),
        token: "token".to_owned(),
    }
}

fn welcome() -> Welcome {
    Welcome {
        protocol: VERSION,
        forge: "0.1.0".to_owned(),
        agent: digest("agent"),
        hostname: "web".to_owned(),
        arch: None,
        system: "debian-13".to_owned(),
        time: 1,
        current: Some(record(1, Some(bundle("old")))),
        journal: None,
        lease: None,
    }
}

/// One connection: how it is greeted, and what comes on it, in order; then it is lost.
#[derive(Debug)]
pub(in crate::flow::operator) struct Session {
    welcome: Welcome,
    says: VecDeque<Said>,
}

impl Session {
    pub(in crate::flow::operator) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::saying(
            replies
                .into_iter()
                .map(|reply| Said::Reply(Box::new(reply))),
        )
    }

    pub(in crate::flow::operator) fn saying(says: impl IntoIterator<Item = Said>) -> Self {
        Self {
            welcome: welcome(),
            says: says.into_iter().collect(),
        }
    }

    pub(in crate::flow::operator) fn at(mut self, current: Option<Record>) -> Self {
        self.welcome.current = current;
        self
    }

    pub(in crate::flow::operator) fn with(mut self, journal: Journal) -> Self {
        self.welcome.journal = Some(journal);
        self
    }
}

/// A host. `None` among the sessions is a connection that does not come about; so is each after the last.
#[derive(Debug, Default)]
pub(in crate::flow::operator) struct Host {
    sessions: Mutex<VecDeque<Option<Session>>>,
    asked: Mutex<Vec<Request>>,
    log: Mutex<Vec<String>>,
}

impl Host {
    pub(in crate::flow::operator) fn new(
        sessions: impl IntoIterator<Item = Option<Session>>,
    ) -> Self {
        Self {
            sessions: Mutex::new(sessions.into_iter().collect()),
            ..Self::default()
        }
    }

    /// `open`, and the words of the requests.
    pub(in crate::flow::operator) fn log(&self) -> String {
        self.log.lock().unwrap().join(" ")
    }

    pub(in crate::flow::operator) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, word: &str) {
        self.log.lock().unwrap().push(word.to_owned());
    }
}

impl Connect for Host {
    fn open_asking(
        &self,
        purpose: Purpose,
        ahead: Option<&Request>,
    ) -> Result<Box<dyn Conversation + '_>, TalkError> {
        let session = self.sessions.lock().unwrap().pop_front().flatten();
        let Some(session) = session else {
            return Err(TalkError::Closed {
                why: "connection refused".to_owned(),
                hints: vec!["is sshd running?".to_owned()],
            });
        };
        self.note(match purpose {
            Purpose::Change => "open",
            Purpose::Ask => "look",
        });
        let mut mouth = Mouth(self);
        if let Some(request) = ahead {
            mouth.send(request)?;
        }
        Ok(Box::new(Talk {
            welcome: session.welcome,
            mouth,
            ears: Ears(session.says),
            sent: 0,
        }))
    }

    fn place(&self) -> String {
        "root@web".to_owned()
    }

    fn address(&self) -> Option<&str> {
        Some("web")
    }

    fn sent(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Talk<'a> {
    welcome: Welcome,
    mouth: Mouth<'a>,
    ears: Ears,
    sent: u64,
}

#[derive(Debug)]
struct Mouth<'a>(&'a Host);

#[derive(Debug)]
struct Ears(VecDeque<Said>);

impl Speak for Mouth<'_> {
    fn send(&mut self, request: &Request) -> Result<(), TalkError> {
        let json = serde_json::to_value(request).unwrap();
        self.0.note(json["ask"].as_str().unwrap());
        self.0.asked.lock().unwrap().push(request.clone());
        Ok(())
    }

    fn send_data(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.0.note(&format!("data:{}", bytes.len()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        Ok(())
    }
}

impl Hear for Ears {
    fn next(&mut self) -> Result<Said, TalkError> {
        let lost = || TalkError::Lost("broken pipe".to_owned());
        self.0.pop_front().ok_or_else(lost)
    }
}

impl Speak for Talk<'_> {
    fn send(&mut self, request: &Request) -> Result<(), TalkError> {
        self.mouth.send(request)
    }

    fn send_data(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.sent += bytes.len() as u64;
        self.mouth.send_data(bytes)
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        Ok(())
    }
}

impl Hear for Talk<'_> {
    fn next(&mut self) -> Result<Said, TalkError> {
        self.ears.next()
    }
}

impl Conversation for Talk<'_> {
    fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    fn halves(&mut self) -> (Box<dyn Speak + '_>, Box<dyn Hear + '_>) {
        (
            Box::new(Mouth(self.mouth.0)),
            Box::new(Ears(std::mem::take(&mut self.ears.0))),
        )
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn received(&self) -> u64 {
        0
    }
}

/// Gives one answer to every plan.
#[derive(Debug)]
pub(in crate::flow::operator) struct Anna {
    pub answer: Agreement,
    pub shown: Vec<Proposal>,
    pub events: Vec<Event>,
    pub sent: u64,
}

impl Anna {
    pub(in crate::flow::operator) fn saying(answer: Agreement) -> Self {
        Self {
            answer,
            shown: Vec::new(),
            events: Vec::new(),
            sent: 0,
        }
    }
}

impl Person for Anna {
    fn say(&mut self, _: &str) {}

    fn show(&mut self, proposal: &Proposal) {
        self.shown.push(proposal.clone());
    }

    fn agree(&mut self) -> Agreement {
        self.answer.clone()
    }

    fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// Images of so many bytes each, that are sent from the laptop, and others that are taken when they must be.
#[derive(Debug, Default)]
pub(in crate::flow::operator) struct Crates {
    pub here: BTreeMap<ImageName, u64>,
    pub elsewhere: BTreeSet<ImageName>,
    pub prepared: u64,
}

impl Freight for Crates {
    fn images(&self) -> Vec<Image> {
        let here = self.here.keys().map(|name| (name, true));
        here.chain(self.elsewhere.iter().map(|name| (name, false)))
            .map(|(name, here)| Image {
                name: name.clone(),
                pinned: digest(name.as_str()).as_manifest(),
                manifest: here.then(|| digest(name.as_str()).as_manifest()),
            })
            .collect()
    }

    fn image_blobs(&self) -> BTreeMap<BlobDigest, u64> {
        let sized = |(name, size): (&ImageName, &u64)| (digest(name.as_str()), *size);
        self.here.iter().map(sized).collect()
    }

    fn take(&mut self, image: &ImageName) -> Result<(), TalkError> {
        if !self.elsewhere.remove(image) {
            return Err(TalkError::Own(format!("{image} cannot be had")));
        }
        self.here.insert(image.clone(), 1000);
        Ok(())
    }

    fn prepare(&mut self, holding: &Holding) -> Result<u64, TalkError> {
        let blobs = self.image_blobs();
        let missing = blobs
            .iter()
            .filter(|(digest, _)| holding.missing.contains(digest));
        self.prepared = missing.map(|(_, size)| *size).sum();
        Ok(self.prepared)
    }

    fn send(&mut self, to: &mut dyn Conversation) -> Result<(), TalkError> {
        let bytes = vec![0; usize::try_from(self.prepared).unwrap()];
        to.send_data(&bytes)
    }

    fn fetch(&self, images: Vec<Fetch>) -> Result<Request, TalkError> {
        let secret = Secretive("hunter2".to_owned());
        Ok(Request::Fetch {
            images,
            credentials: BTreeMap::from([("r".to_owned(), ("u".to_owned(), secret))]),
            plain_http: BTreeSet::new(),
            mirrors: BTreeMap::new(),
        })
    }
}
