//! Activation, seen from the conversation: it is started, followed, confirmed and given up.

use std::time::Duration;

use super::{Conversation, Fault, Holds, awaits};
use crate::flow::host::resource::Way;
use crate::pure::generation::{Plan, Record};
use crate::pure::name::BlobDigest;
use crate::pure::protocol::Reply;

/// Seconds. Below it no service becomes healthy, above it nobody waits.
const DEADLINES: std::ops::RangeInclusive<u64> = 10..=24 * 3600;

impl Conversation<'_> {
    pub(super) fn activate(
        &mut self,
        plan: BlobDigest,
        deadline: u64,
        retry: bool,
    ) -> Result<Reply, Fault> {
        self.must_hold("activating")?;
        let deadline = duration(deadline)?;
        let Some(offered) = &self.offered else {
            return Err(Fault::refused("no bundle has been offered", None));
        };
        if !offered.is_kept() {
            return Err(Fault::refused("the bundle is not kept yet", None));
        }
        if offered.plan != plan {
            return Err(Fault::refused(
                "the plan is not the one that was shown",
                Some("deploy again, and look at the plan"),
            ));
        }
        if !offered.refusals.is_empty() {
            return Err(Fault::refused(offered.refusals.join("\n"), None));
        }
        if let Some(failed) = offered.failed_before.as_ref().filter(|_| !retry) {
            return Err(Fault::refused(
                format!("this bundle failed on this host before: {failed}"),
                Some("`--retry` activates it all the same"),
            ));
        }
        let bundle = offered.bundle;
        let record = self
            .environment
            .create(self.host, bundle, &self.hello.operator)?;
        self.start(record.number, plan, deadline)
    }

    pub(super) fn plan_rollback(&self, to: Option<u64>) -> Result<Reply, Fault> {
        let (to, plan, refusals) = self.way_back(to)?;
        Ok(Reply::Planned {
            plan,
            to: to.number,
            refusals,
        })
    }

    pub(super) fn rollback(
        &mut self,
        to: u64,
        plan: BlobDigest,
        deadline: u64,
    ) -> Result<Reply, Fault> {
        self.must_hold("rolling back")?;
        let deadline = duration(deadline)?;
        let (to, now, refusals) = self.way_back(Some(to))?;
        if !refusals.is_empty() {
            return Err(Fault::refused(refusals.join("\n"), None));
        }
        if now.digest() != plan {
            return Err(Fault::refused(
                "the host has changed since the plan was made",
                Some("roll back again, and look at the plan"),
            ));
        }
        self.start(to.number, plan, deadline)
    }

    fn way_back(&self, to: Option<u64>) -> Result<(Record, Plan, Vec<String>), Fault> {
        let (current, have) = self.current()?;
        let Some(current) = current else {
            return Err(Fault::refused(
                "forge has never been on this host: there is nothing to go back to",
                None,
            ));
        };
        let record = match to {
            Some(number) => self.record(number)?,
            None => {
                let records = self.environment.records(self.host)?;
                last_confirmed(&records, current.number)
                    .cloned()
                    .ok_or_else(|| {
                        Fault::refused(
                            "no confirmed generation is before the current one",
                            Some("`--to 0` takes forge out of the host"),
                        )
                    })?
            }
        };
        let want = self.environment.target_of(self.host, &record)?;
        let before = [&have];
        let way = Way {
            want: &want,
            before: &before,
        };
        let mut refusals = Vec::new();
        if let Some(journal) = self.environment.journal(self.host)? {
            refusals.push(format!(
                "{}; `forge rollback` without `--to` ends it",
                journal.told()
            ));
        }
        refusals.extend(self.environment.refusals(self.host, way, 0)?);
        let plan = self
            .environment
            .plan(self.host, Some(&current), way, record.bundle)?;
        Ok((record, plan, refusals))
    }

    fn start(&mut self, to: u64, plan: BlobDigest, deadline: Duration) -> Result<Reply, Fault> {
        self.environment
            .start(self.host, to, plan, deadline, &self.hello.operator.name)?;
        // From here on the activation keeps others away by itself: it outlives this conversation.
        self.lease = Holds::Given;
        self.follow(0)
    }

    pub(super) fn attach(&self) -> Result<Reply, Fault> {
        self.follow(0)
    }

    /// Follows the activation. If the laptop goes, only the telling ends.
    fn follow(&self, from: u64) -> Result<Reply, Fault> {
        let mut line = Ok(());
        let ending = self.environment.follow(self.host, from, &mut |event| {
            line = self.out.reply(&Reply::Event { event });
            line.is_ok()
        })?;
        line.map_err(Fault::Line)?;
        match ending {
            Some(ending) => Ok(Reply::Ended { ending }),
            // It was killed, or its events are gone: only the host itself tells now how it ended.
            None => Ok(Reply::Failed {
                step: "activation".to_owned(),
                why: "its events ended before it did".to_owned(),
                touched: true,
            }),
        }
    }

    /// Confirms: that this conversation exists shows that one can still log in, so it must have begun after the activation had finished.
    pub(super) fn confirm(&self, token: &str) -> Result<Reply, Fault> {
        let now = self.environment.journal(self.host)?;
        let pending = now.as_ref().is_some_and(|journal| journal.token == token);
        if pending && !awaits(self.journal.as_ref(), token) {
            return Err(Fault::refused(
                "this connection is older than the end of the activation: it does not show that the host can still be reached",
                Some("confirm over a new connection"),
            ));
        }
        let record = self.environment.confirm(self.host, token)?;
        Ok(Reply::Confirmed {
            generation: record.number,
            bundle: record.bundle,
        })
    }

    pub(super) fn abandon(&self, token: &str, why: &str) -> Result<Reply, Fault> {
        let from = self.environment.abandon(self.host, token, why)?;
        self.follow(from)
    }
}

fn duration(seconds: u64) -> Result<Duration, Fault> {
    match DEADLINES.contains(&seconds) {
        true => Ok(Duration::from_secs(seconds)),
        false => Err(Fault::refused(
            format!(
                "a deadline of {seconds} s is refused: {} s to {} s",
                DEADLINES.start(),
                DEADLINES.end()
            ),
            None,
        )),
    }
}

/// The last generation before this one that was confirmed. Generation 0 is none of them: forge is taken out only where it is said.
pub(super) fn last_confirmed(records: &[Record], before: u64) -> Option<&Record> {
    records
        .iter()
        .filter(|record| record.number > 0 && record.number < before && record.is_confirmed())
        .max_by_key(|record| record.number)
}
