//! Back to a generation that the host has: planned, agreed to and confirmed as a deploy is.

use std::collections::BTreeSet;

use super::conversation::Conversation;
use super::ports::Proposal;
use super::see_through::{Expected, see_through};
use super::{Outcome, Site, Stop, agreed, lock, no, unfinished};
use crate::pure::generation::Journal;
use crate::pure::protocol::{Event, Purpose, Reply, Request};

/// Goes back to generation `to`, or to the last confirmed one before the current.
pub fn rollback(site: &mut Site<'_>, to: Option<u64>) -> Outcome {
    match story(site, to) {
        Ok(outcome) | Err(Stop::Out(outcome)) => outcome,
        Err(Stop::Talk(error)) => Outcome::could_not(error),
    }
}

fn story(site: &mut Site<'_>, to: Option<u64>) -> Result<Outcome, Stop> {
    site.person
        .say(&format!("connecting to {}", site.connect.place()));
    let mut talk = site.connect.open(Purpose::Change)?;
    // An unfinished activation does not keep from going back: it may be why somebody does.
    if let Some(journal) = talk.welcome().journal.clone() {
        if to.is_none_or(|to| to == journal.from) {
            return give_up(site, talk, &journal);
        }
        unfinished(site, &*talk)?;
    }
    let (plan, to) = match talk.ask_only(&Request::PlanRollback { to })? {
        Reply::Planned { plan, to, refusals } if refusals.is_empty() => (plan, to),
        Reply::Planned { refusals, .. } => {
            return Ok(Outcome::refused("plan", refusals.join("\n")));
        }
        reply => return Err(no(reply)),
    };
    let proposal = Proposal {
        plan,
        bytes: 0,
        fetched: Vec::new(),
    };
    site.person.show(&proposal);
    let plan = proposal.plan;
    if plan.is_nothing() && plan.from == to {
        return Ok(Outcome::NothingToDo { generation: to });
    }
    agreed(site)?;
    lock(site, &mut *talk, &format!("rollback to generation {to}"))?;
    let request = Request::Rollback {
        to,
        plan: plan.digest(),
        deadline: site.deadline.as_secs(),
    };
    let expected = Expected {
        bundle: Some(plan.to_bundle),
        // Which ports the older generation declares closed is in its bundle alone, which is on the host.
        closed: &BTreeSet::new(),
        from: plan.from,
    };
    Ok(see_through(site, talk, &request, &expected))
}

/// Ends an unfinished activation: the host goes back now, or again if it has not come back whole. That it is there is read over a new connection.
fn give_up(
    site: &mut Site<'_>,
    talk: Box<dyn Conversation + '_>,
    journal: &Journal,
) -> Result<Outcome, Stop> {
    let text = journal.told();
    site.person.event(&Event::Warn { text });
    agreed(site)?;
    site.person
        .say(&format!("going back to generation {}", journal.from));
    let request = Request::Abandon {
        token: journal.token.clone(),
        why: "rolled back".to_owned(),
    };
    let expected = Expected {
        bundle: None,
        closed: &BTreeSet::new(),
        from: journal.from,
    };
    let outcome = see_through(site, talk, &request, &expected);
    let Outcome::RolledBack { generation, .. } = outcome else {
        return Ok(outcome);
    };
    // It is what was asked for, if the host says so of itself.
    if let Ok(mut talk) = site.connect.open(Purpose::Ask)
        && let Ok(Reply::Status { status }) = talk.ask_only(&Request::Status)
        && let Some(current) = status.current
        && current.number == generation
        && status.journal.is_none()
    {
        return Ok(Outcome::Done {
            generation,
            bundle: current.bundle,
        });
    }
    Ok(outcome)
}
