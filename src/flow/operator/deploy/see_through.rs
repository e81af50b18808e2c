//! From the request to activate until its end is known: followed, found again when the connection is lost, confirmed over a new one,
//! and read back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::conversation::{Conversation, TalkError};
use super::{Outcome, Site};
use crate::pure::name::BundleDigest;
use crate::pure::protocol::{Ending, Event, Purpose, Reply, Request};

/// What the host must be when it is done.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    /// The bundle of the generation; the inner none is that of generation 0. None: nobody here knows.
    pub bundle: Option<Option<BundleDigest>>,
    /// TCP ports on which nobody may answer from outside.
    pub closed: &'a BTreeSet<u16>,
    /// The generation before.
    pub from: u64,
}

/// Beyond the deadline: so long the host may take to go back and to be reached again.
const GRACE: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is known so far.
enum Known {
    Ending(Ending),
    /// The answer is final.
    Over(Outcome),
    /// The connection is gone.
    Lost,
}

/// Sends the request that changes the host, and sees it through.
pub(super) fn see_through(
    site: &mut Site<'_>,
    mut talk: Box<dyn Conversation + '_>,
    request: &Request,
    expected: &Expected<'_>,
) -> Outcome {
    let until = site.patience.elapsed() + site.deadline + GRACE;
    let mut seen = 0;
    let reply = talk.ask(request, &mut |event| {
        seen += 1;
        site.person.event(&event);
    });
    drop(talk);
    let known = match reply {
        Ok(reply) => known(reply, expected),
        Err(TalkError::Nonsense(why)) => {
            site.person.event(&Event::Warn { text: why });
            Known::Lost
        }
        Err(_) => Known::Lost,
    };
    to_the_end(site, known, expected, until, seen)
}

/// Follows the activation that runs, or tells how the last one ended. One that this operator began is confirmed.
pub fn attach(site: &mut Site<'_>, operator: &str) -> Outcome {
    let closed = BTreeSet::new();
    let until = site.patience.elapsed() + site.deadline + GRACE;
    let mut talk = match site.connect.open(Purpose::Change) {
        Ok(talk) => talk,
        Err(error) => return Outcome::could_not(error),
    };
    let from = talk.welcome().current.as_ref().map_or(0, |r| r.number);
    let others = talk.welcome().journal.as_ref();
    let others = others
        .map(|journal| journal.by.clone())
        .filter(|by| by != operator);
    let expected = Expected {
        bundle: None,
        closed: &closed,
        from,
    };
    let mut seen = 0;
    let reply = talk.ask(&Request::Attach, &mut |event| {
        seen += 1;
        site.person.event(&event);
    });
    drop(talk);
    let known = match reply {
        Ok(reply) => known(reply, &expected),
        Err(_) => Known::Lost,
    };
    if let (Known::Ending(Ending::AwaitingConfirmation { generation, .. }), Some(by)) =
        (&known, others)
    {
        return Outcome::Refused {
            step: "confirm".to_owned(),
            why: format!("generation {generation} waits for {by} to confirm it"),
            hints: vec!["without a confirmation the host goes back by itself".to_owned()],
        };
    }
    to_the_end(site, known, &expected, until, seen)
}

fn known(reply: Reply, expected: &Expected<'_>) -> Known {
    match reply {
        Reply::Ended { ending } => Known::Ending(ending),
        Reply::Refused { why, hint } => Known::Over(Outcome::Refused {
            step: "activate".to_owned(),
            why,
            hints: hint.into_iter().collect(),
        }),
        Reply::Failed {
            step,
            why,
            touched: false,
        } => Known::Over(Outcome::Failed {
            why: format!("{step}: {why}"),
            hints: Vec::new(),
        }),
        Reply::Failed { step, why, .. } => Known::Over(Outcome::Incomplete {
            generation: expected.from,
            step,
            why,
            left: Vec::new(),
        }),
        // It is asked again.
        _ => Known::Lost,
    }
}

fn to_the_end(
    site: &mut Site<'_>,
    mut known: Known,
    expected: &Expected<'_>,
    until: Duration,
    mut seen: usize,
) -> Outcome {
    let mut pause = FIRST_PAUSE;
    loop {
        known = match known {
            Known::Over(outcome) => return outcome,
            Known::Ending(Ending::AwaitingConfirmation {
                generation, token, ..
            }) => confirm(site, generation, &token, expected),
            Known::Ending(Ending::Confirmed { generation, bundle }) => {
                read_back(site, generation, bundle, expected)
            }
            Known::Ending(Ending::Refused { step, why }) => Known::Over(Outcome::Refused {
                step,
                why,
                hints: Vec::new(),
            }),
            Known::Ending(Ending::RolledBack {
                generation,
                step,
                why,
            }) => Known::Over(Outcome::RolledBack {
                generation,
                step,
                why,
            }),
            Known::Ending(Ending::Incomplete {
                generation,
                step,
                why,
                left,
            }) => Known::Over(Outcome::Incomplete {
                generation,
                step,
                why,
                left,
            }),
            Known::Lost => {
                if site.patience.elapsed() >= until {
                    return unknown(site, "the host cannot be reached any more");
                }
                site.person.say("the connection is lost: trying again");
                site.patience.pause(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                find_again(site, expected, &mut seen)
            }
        };
    }
}

fn unknown(site: &Site<'_>, why: &str) -> Outcome {
    Outcome::Unknown {
        why: why.to_owned(),
        hints: vec![
            format!("{} asks again", site.command("attach")),
            "what nobody confirms, the host takes back by itself when the deadline is over"
                .to_owned(),
        ],
    }
}

/// A new connection, and what the host says about the activation. Its events come from the first again: those that were `seen` are not told
/// twice.
fn find_again(site: &mut Site<'_>, expected: &Expected<'_>, seen: &mut usize) -> Known {
    let Ok(mut talk) = site.connect.open(Purpose::Change) else {
        return Known::Lost;
    };
    let welcome = talk.welcome();
    let journal = welcome.journal.clone();
    let current = welcome.current.clone();
    let number = current.as_ref().map_or(0, |record| record.number);
    let bundle = current.and_then(|record| record.bundle);
    let back = || {
        Known::Over(Outcome::RolledBack {
            generation: number,
            step: "connection".to_owned(),
            why: "contact was lost, and the host is again at the generation before".to_owned(),
        })
    };
    // The host is there already, whoever said so.
    let arrived = number != expected.from && expected.bundle.is_none_or(|want| want == bundle);
    if journal.is_none() && arrived {
        return Known::Ending(Ending::Confirmed {
            generation: number,
            bundle,
        });
    }
    let mut heard = 0;
    let reply = talk.ask(&Request::Attach, &mut |event| {
        heard += 1;
        if heard > *seen {
            site.person.event(&event);
        }
    });
    *seen = heard.max(*seen);
    match reply {
        Ok(Reply::Ended { ending }) => match (&ending, journal) {
            // Of an activation before this one, which never began.
            (Ending::AwaitingConfirmation { .. } | Ending::Confirmed { .. }, None) => back(),
            _ => Known::Ending(ending),
        },
        // The stream of events is gone: the host was started anew.
        Ok(Reply::Refused { .. } | Reply::Failed { .. }) if journal.is_none() => back(),
        _ => Known::Lost,
    }
}

/// Over a new connection: that there is one is the first half of what is confirmed.
fn confirm(site: &mut Site<'_>, generation: u64, token: &str, expected: &Expected<'_>) -> Known {
    site.person.say("confirming over a new connection");
    let Ok(mut talk) = site.connect.open(Purpose::Change) else {
        return Known::Lost;
    };
    let open = open_ports(site, expected.closed);
    if !open.is_empty() {
        let why = format!(
            "seen from here, the host answers on TCP {}, which is declared closed",
            open.iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        );
        site.person.event(&Event::Failed {
            step: "ports".to_owned(),
            why: why.clone(),
        });
        let request = Request::Abandon {
            token: token.to_owned(),
            why,
        };
        return match talk.ask(&request, &mut |event| site.person.event(&event)) {
            Ok(reply) => known(reply, expected),
            Err(_) => Known::Lost,
        };
    }
    let request = Request::Confirm {
        token: token.to_owned(),
    };
    match talk.ask_only(&request) {
        Ok(Reply::Confirmed { generation, bundle }) => {
            match check(&mut *talk, generation, bundle, expected) {
                Some(known) => known,
                // It is confirmed; what it is now is asked once more.
                None => Known::Ending(Ending::Confirmed { generation, bundle }),
            }
        }
        // The deadline was sooner: what became of it is told to whoever attaches.
        Ok(Reply::Refused { why, .. } | Reply::Failed { why, .. }) => {
            site.person.event(&Event::Warn {
                text: format!("generation {generation} is not confirmed: {why}"),
            });
            Known::Lost
        }
        _ => Known::Lost,
    }
}

fn open_ports(site: &Site<'_>, closed: &BTreeSet<u16>) -> Vec<u16> {
    let Some(address) = site.connect.address() else {
        return Vec::new();
    };
    let open = |port: &&u16| site.reach.accepts(address, **port) == Some(true);
    closed.iter().filter(open).copied().collect()
}

fn read_back(
    site: &mut Site<'_>,
    generation: u64,
    bundle: Option<BundleDigest>,
    expected: &Expected<'_>,
) -> Known {
    let Ok(mut talk) = site.connect.open(Purpose::Ask) else {
        return Known::Lost;
    };
    check(&mut *talk, generation, bundle, expected).unwrap_or(Known::Lost)
}

/// "Done" is said when the host says it of itself, by number and digest. None if it does not answer.
fn check(
    talk: &mut dyn Conversation,
    generation: u64,
    bundle: Option<BundleDigest>,
    expected: &Expected<'_>,
) -> Option<Known> {
    let Ok(Reply::Status { status }) = talk.ask_only(&Request::Status) else {
        return None;
    };
    let number = status.current.as_ref().map_or(0, |record| record.number);
    let found = status.current.and_then(|record| record.bundle);
    let wanted = expected.bundle.unwrap_or(bundle);
    Some(Known::Over(
        if number == generation && found == wanted && bundle == wanted {
            Outcome::Done { generation, bundle }
        } else {
            let name = |bundle: Option<BundleDigest>| {
                bundle.map_or_else(|| "no bundle".to_owned(), |bundle| bundle.to_string())
            };
            Outcome::Unknown {
                why: format!(
                    "generation {generation} was confirmed, and the host says that it is at generation {number} of {}, not of {}",
                    name(found),
                    name(wanted)
                ),
                hints: Vec::new(),
            }
        },
    ))
}
