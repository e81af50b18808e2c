//! Laptop → host: offers a bundle, shows what it would do, sends what is missing, has it activated, and confirms it over a new connection.
//!
//! Guarantees: before a person has agreed to the plan, nothing is asked that changes the host; and whatever happens, the [`Outcome`] says
//! whether the host is as it was, as declared, back, in between, or unknown. The host judges all of it itself: what is lost
//! here is the news, never the host.

pub mod conversation;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(super) mod double;
mod outcome;
pub mod ports;
mod rollback;
mod see_through;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use outcome::Outcome;
pub use rollback::rollback;
pub use see_through::attach;

use crate::edge::patience::Patience;
use crate::edge::reach::Reach;
use crate::pure::delivery::Holding;
use crate::pure::generation::{Fetch, Plan};
use crate::pure::name::ImageName;
use crate::pure::protocol::{Event, ImageState, Offer, Purpose, Reply, Request};
use conversation::{Connect, Conversation, TalkError, unexpected};
use ports::{Agreement, Cargo, Freight, Person, Proposal};
use see_through::{Expected, see_through};

/// The host, whoever watches, and how long it may take.
#[derive(Debug)]
pub struct Site<'a> {
    /// Its name in the project; none on the host itself.
    pub name: Option<String>,
    pub connect: &'a dyn Connect,
    pub patience: &'a dyn Patience,
    pub reach: &'a dyn Reach,
    pub person: &'a mut dyn Person,
    /// From the first change to the confirmation.
    pub deadline: Duration,
}

impl Site<'_> {
    /// A command to be typed, for this host.
    pub(super) fn command(&self, words: &str) -> String {
        match &self.name {
            Some(name) => format!("`forge {words} --host {name}`"),
            None => format!("`forge {words}`"),
        }
    }
}

/// Why a story ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Talk(TalkError),
    Out(Outcome),
}

impl From<TalkError> for Stop {
    fn from(error: TalkError) -> Self {
        Self::Talk(error)
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Out(outcome)
    }
}

/// A bundle whose parts are no larger than this together is offered whole: that saves asking which are wanted.
const WHOLE: usize = 128 << 10;

/// What the host said to an offer.
#[derive(Debug)]
struct Offered {
    plan: Plan,
    images: BTreeMap<ImageName, ImageState>,
    holding: Holding,
    failed_before: Option<String>,
    refusals: Vec<String>,
}

/// Deploys a bundle to one host. `retry`: also one that failed there before.
pub fn deploy(
    site: &mut Site<'_>,
    cargo: &Cargo,
    freight: &mut dyn Freight,
    retry: bool,
) -> Outcome {
    match story(site, cargo, freight, retry) {
        Ok(outcome) | Err(Stop::Out(outcome)) => outcome,
        Err(Stop::Talk(error)) => Outcome::could_not(error),
    }
}

fn story(
    site: &mut Site<'_>,
    cargo: &Cargo,
    freight: &mut dyn Freight,
    retry: bool,
) -> Result<Outcome, Stop> {
    site.person
        .say(&format!("connecting to {}", site.connect.place()));
    let first = first_offer(cargo, freight);
    let ahead = Request::Offer(first.clone());
    let mut talk = site.connect.open_asking(Purpose::Change, Some(&ahead))?;
    unfinished(site, &*talk)?;
    site.person.say("asking what is to be done");
    let offered = offered(&mut *talk, cargo, first)?;
    if !offered.refusals.is_empty() {
        return Ok(Outcome::refused("offer", offered.refusals.join("\n")));
    }
    let bytes = freight.prepare(&offered.holding)?;
    let fetched = fetched_by_host(cargo, freight, &offered);
    let proposal = Proposal {
        plan: offered.plan,
        bytes,
        fetched: fetched.iter().map(|fetch| fetch.image.clone()).collect(),
    };
    site.person.show(&proposal);
    let plan = proposal.plan;
    if plan.is_nothing() {
        return Ok(Outcome::NothingToDo {
            generation: plan.from,
        });
    }
    if let Some(why) = offered.failed_before.filter(|_| !retry) {
        return Ok(Outcome::Refused {
            step: "offer".to_owned(),
            why: format!("this bundle failed on this host before: {why}"),
            hints: vec!["`--retry` activates it again".to_owned()],
        });
    }
    agreed(site)?;
    lock(site, &mut *talk, &format!("deploy of {}", cargo.bundle))?;
    if bytes > 0 {
        site.person.say("sending");
        send(site, &mut *talk, freight)?;
    }
    if !fetched.is_empty() {
        fetch(site, &mut *talk, cargo, freight, fetched, &plan)?;
    }
    done(site, talk.ask_only(&Request::Keep)?, "keep")?;
    let request = Request::Activate {
        plan: plan.digest(),
        deadline: site.deadline.as_secs(),
        retry,
    };
    let expected = Expected {
        bundle: Some(Some(cargo.bundle)),
        closed: &cargo.closed,
        from: plan.from,
    };
    Ok(see_through(site, talk, &request, &expected))
}

/// Goes on only if the person says so.
pub(super) fn agreed(site: &mut Site<'_>) -> Result<(), Stop> {
    Err(match site.person.agree() {
        Agreement::Go => return Ok(()),
        Agreement::OnlyPlan => Outcome::Planned,
        Agreement::No { why, hints } => Outcome::Refused {
            step: "plan".to_owned(),
            why,
            hints,
        },
    }
    .into())
}

/// A host in the middle of something is left alone.
pub(super) fn unfinished(site: &Site<'_>, talk: &dyn Conversation) -> Result<(), Stop> {
    let Some(journal) = &talk.welcome().journal else {
        return Ok(());
    };
    let hints = if journal.is_stuck() {
        vec![
            format!("{} tries the way back again", site.command("rollback")),
            format!(
                "{} takes the host as it is: the next deploy starts from what is there",
                site.command("unlock --force")
            ),
        ]
    } else {
        vec![
            format!("{} shows it", site.command("attach")),
            format!(
                "if it hangs, {} goes back to generation {}",
                site.command("rollback"),
                journal.from
            ),
        ]
    };
    Err(Outcome::Refused {
        step: "connect".to_owned(),
        why: journal.told(),
        hints,
    }
    .into())
}

/// It goes ahead of the welcome, so nothing is known of the host: most hosts have most of the parts, so they are left out unless they are small.
fn first_offer(cargo: &Cargo, freight: &dyn Freight) -> Offer {
    let whole = cargo.blobs.values().map(Vec::len).sum::<usize>() <= WHOLE;
    Offer {
        bundle: cargo.bundle,
        blobs: cargo
            .blobs
            .iter()
            .filter(|(digest, _)| whole || cargo.head.contains(digest))
            .map(|(digest, bytes)| (*digest, bytes.clone()))
            .collect(),
        images: freight.images(),
        image_blobs: freight.image_blobs(),
    }
}

/// The answer to an offer that has been sent. What the host wants of it is sent with a second one: it keeps what it has been offered.
fn offered(talk: &mut dyn Conversation, cargo: &Cargo, mut offer: Offer) -> Result<Offered, Stop> {
    // The second answer is the last: whatever was wanted has been sent.
    for last in [false, true] {
        match talk.answer(&mut |_| ())? {
            Reply::Wanted { parts } if !last => {
                offer.blobs = parts
                    .into_iter()
                    .map(|digest| {
                        let bytes = cargo.blobs.get(&digest).ok_or_else(|| {
                            TalkError::Nonsense(format!("{digest} is no part of the bundle"))
                        })?;
                        Ok((digest, bytes.clone()))
                    })
                    .collect::<Result<_, TalkError>>()?;
                talk.send(&Request::Offer(offer.clone()))?;
            }
            Reply::Offered {
                plan,
                images,
                holding,
                failed_before,
                refusals,
            } => {
                return Ok(Offered {
                    plan,
                    images,
                    holding,
                    failed_before,
                    refusals,
                });
            }
            reply => return Err(no(reply)),
        }
    }
    Err(TalkError::Nonsense("it wants parts that it has been sent".to_owned()).into())
}

/// What neither the host has nor this side sends.
fn fetched_by_host(cargo: &Cargo, freight: &dyn Freight, offered: &Offered) -> Vec<Fetch> {
    freight
        .images()
        .into_iter()
        .filter(|image| image.manifest.is_none())
        .filter(|image| offered.images.get(&image.name) == Some(&ImageState::Absent))
        .filter_map(|image| cargo.images.get(&image.name).cloned())
        .collect()
}

/// The host fetches; what it cannot have is sent.
fn fetch(
    site: &mut Site<'_>,
    talk: &mut dyn Conversation,
    cargo: &Cargo,
    freight: &mut dyn Freight,
    images: Vec<Fetch>,
    plan: &Plan,
) -> Result<(), Stop> {
    site.person.say("the host fetches images");
    let request = freight.fetch(images)?;
    let failed = match talk.ask(&request, &mut |event| site.person.event(&event))? {
        Reply::Fetched { failed } => failed,
        reply => return Err(no(reply)),
    };
    if failed.is_empty() {
        return Ok(());
    }
    for (image, why) in &failed {
        site.person.event(&Event::Warn {
            text: format!("the host cannot fetch `{image}`, so it is sent from here: {why}"),
        });
        freight.take(image)?;
    }
    let again = first_offer(cargo, freight);
    talk.send(&Request::Offer(again.clone()))?;
    let offered = offered(talk, cargo, again)?;
    if offered.plan.digest() != plan.digest() {
        return Err(Outcome::refused(
            "fetch",
            "the host has changed since the plan was shown; deploy again",
        )
        .into());
    }
    let bytes = freight.prepare(&offered.holding)?;
    if bytes > 0 {
        site.person.say("sending images");
        send(site, talk, freight)?;
    }
    Ok(())
}

/// What was prepared; and says how much of it went, also if not all of it did.
fn send(
    site: &mut Site<'_>,
    talk: &mut dyn Conversation,
    freight: &mut dyn Freight,
) -> Result<(), TalkError> {
    let before = talk.sent();
    let arrived = freight.send(talk);
    site.person.sent(talk.sent().saturating_sub(before));
    arrived
}

pub(super) fn lock(site: &Site<'_>, talk: &mut dyn Conversation, what: &str) -> Result<(), Stop> {
    let what = what.to_owned();
    done(site, talk.ask_only(&Request::Lock { what })?, "lock")
}

fn done(site: &Site<'_>, reply: Reply, step: &str) -> Result<(), Stop> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Refused { why, hint } => {
            let mut hints: Vec<String> = hint.into_iter().collect();
            if step == "lock" {
                hints.push(format!(
                    "{} shows who holds the host; {} frees it if nobody does",
                    site.command("status"),
                    site.command("unlock")
                ));
            }
            Err(Outcome::Refused {
                step: step.to_owned(),
                why,
                hints,
            }
            .into())
        }
        reply => Err(no(reply)),
    }
}

/// An answer that ends the story before anything was changed.
pub(super) fn no(reply: Reply) -> Stop {
    match reply {
        Reply::Refused { why, hint } => Stop::Out(Outcome::Refused {
            step: "offer".to_owned(),
            why,
            hints: hint.into_iter().collect(),
        }),
        Reply::Failed { step, why, .. } => Stop::Out(Outcome::Failed {
            why: format!("{step}: {why}"),
            hints: Vec::new(),
        }),
        reply => Stop::Talk(unexpected(&reply)),
    }
}
