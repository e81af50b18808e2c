//! Is everything still what its name says?

use super::{Conversation, Fault};
use crate::edge::host::kept;
use crate::edge::store::{Found, verify};
use crate::flow::host::resource::Way;
use crate::pure::generation::{Change, Kind, Place};
use crate::pure::protocol::{Reply, VerifyProblem};

impl Conversation<'_> {
    /// Reads the whole store again, and every content file of the current generation. What stands and runs elsewhere is compared by
    /// the plan, which reads it too.
    pub(super) fn verify(&self) -> Result<Reply, Fault> {
        let report = verify(&self.host.store)?;
        let mut problems = Vec::new();
        for bad in report.bad {
            let why = match bad.found {
                Found::Digest(found) => format!("its bytes have the digest {found}"),
                Found::Unreadable(why) | Found::Misfit(why) => why,
            };
            problems.push(VerifyProblem {
                subject: bad.location,
                why: with_needs(why, &bad.needed_by),
            });
        }
        for missing in report.missing {
            problems.push(VerifyProblem {
                subject: missing.digest.to_string(),
                why: with_needs("it is missing in the store".to_owned(), &missing.needed_by),
            });
        }
        let (current, target) = self.current()?;
        for file in target.files.values() {
            let Place::Content { path } = &file.place else {
                continue;
            };
            let why = match kept::digest(&self.host.paths.at(path))? {
                Some(found) if found == file.digest => continue,
                Some(found) => {
                    format!(
                        "its bytes have the digest {found}, and should have {}",
                        file.digest
                    )
                }
                None => "it is missing".to_owned(),
            };
            problems.push(VerifyProblem {
                subject: path.clone(),
                why,
            });
        }
        if let Some(record) = &current {
            let before = [&target];
            let way = Way {
                want: &target,
                before: &before,
            };
            let plan = self
                .environment
                .plan(self.host, current.as_ref(), way, record.bundle)?;
            for change in plan.changes.iter().filter(|change| is_content(change)) {
                let subject = match change.kind {
                    Kind::File => change.name.clone(),
                    kind => format!("{kind} {}", change.name),
                };
                if !problems.iter().any(|problem| problem.subject == subject) {
                    problems.push(VerifyProblem {
                        subject,
                        why: change.why.clone(),
                    });
                }
            }
        }
        Ok(Reply::Verified {
            problems,
            blobs: report.checked as u64,
            bytes: report.bytes,
        })
    }
}

/// What has bytes, or runs from an image.
fn is_content(change: &Change) -> bool {
    matches!(
        change.kind,
        Kind::File | Kind::Secret | Kind::Image | Kind::Service
    )
}

fn with_needs(why: String, by: &std::collections::BTreeSet<String>) -> String {
    if by.is_empty() {
        return why;
    }
    let names: Vec<&str> = by.iter().map(String::as_str).collect();
    format!("{why}; {} need it", names.join(", "))
}
