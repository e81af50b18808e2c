//! Back to a generation that the host has: planned, agreed to and confirmed as a deploy is.

use std::collections::BTreeSet;

use super::ports::{Agreement, Proposal};
use super::see_through::{Expected, see_through};
use super::{Outcome, Site, Stop, lock, no};
use crate::pure::protocol::{Purpose, Reply, Request};

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
    // An unfinished activation does not keep from going back: it may be why somebody does.
    let mut talk = site.connect.open(Purpose::Change)?;
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
    match site.person.agree() {
        Agreement::Go => {}
        Agreement::OnlyPlan => return Ok(Outcome::Planned),
        Agreement::No { why, hints } => {
            return Ok(Outcome::Refused {
                step: "plan".to_owned(),
                why,
                hints,
            });
        }
    }
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
