use super::status::time;
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::layout::table;
use crate::cli::plan::plain;
use crate::cli::reach::{self, One};
use crate::cli::{Outcome, print, print_json};
use crate::flow::operator::remote;
use crate::pure::generation::Outcome as Recorded;
use crate::pure::protocol::{GenerationLine, Purpose};

const AFTER_HELP: &str = "\
The current generation has a `*`. One that is in brackets is not kept any more: its record is there, its bundle is not.

Examples:
  forge history --host mainframe
  forge rollback --host mainframe --to 12
  sudo forge history              on the host itself";

/// List the generations of a host
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    one: One,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Ask)
        .map_err(reach::not_reached)?;
    let generations = remote::history(&mut *talk).map_err(reach::not_done)?;
    if args.json {
        let json = serde_json::to_value(&generations).map_err(|error| CliError::failed(&error))?;
        print_json(&json)?;
    } else if generations.is_empty() {
        crate::cli::tell("forge has never been on this host\n");
    } else {
        print(&draw(&generations))?;
    }
    Ok(Outcome::Done)
}

/// Digits of a digest that tell bundles apart for a person.
const SHORT: usize = 12;

fn draw(generations: &[GenerationLine]) -> String {
    let row = |line: &GenerationLine| {
        let record = &line.record;
        let number = match (line.current, line.kept) {
            (true, _) => format!("{}*", record.number),
            (false, true) => record.number.to_string(),
            (false, false) => format!("({})", record.number),
        };
        let short = |text: &str| text.chars().take(SHORT).collect::<String>();
        let revision = record.revision.as_deref().map(|revision| {
            let dirty = if revision.ends_with("-dirty") {
                "-dirty"
            } else {
                ""
            };
            format!("{}{dirty}", short(revision.trim_end_matches("-dirty")))
        });
        let nothing = || "-".to_owned();
        vec![
            number,
            time(record.created),
            plain(&record.by),
            revision.map_or_else(nothing, |revision| plain(&revision)),
            record
                .bundle
                .map_or_else(nothing, |bundle| short(&bundle.hex())),
            match &record.outcome {
                Recorded::Unconfirmed => "unconfirmed".to_owned(),
                Recorded::Confirmed { .. } => "confirmed".to_owned(),
                Recorded::Failed { step, why, .. } => {
                    format!("failed: {}: {}", plain(step), plain(why))
                }
            },
        ]
    };
    table(
        &["GENERATION", "WHEN", "BY", "REVISION", "BUNDLE", "OUTCOME"],
        generations.iter().map(row).collect(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::generation::Record;
    use crate::pure::name::BlobDigest;

    #[test]
    fn generations_are_lines() {
        let line = |number, current, kept, outcome| GenerationLine {
            record: Record {
                version: Record::VERSION,
                number,
                bundle: Some(BlobDigest::of(b"").as_bundle()),
                agent: BlobDigest::of(b""),
                created: 0,
                by: "anna@laptop".to_owned(),
                revision: Some("0123456789abcdef0123-dirty".to_owned()),
                outcome,
            },
            current,
            kept,
        };
        let failed = Recorded::Failed {
            at: 1,
            step: "services".to_owned(),
            why: "web is unhealthy".to_owned(),
        };
        let text = draw(&[
            line(1, false, false, Recorded::Confirmed { at: 1 }),
            line(2, true, true, Recorded::Confirmed { at: 1 }),
            line(3, false, true, failed),
        ]);
        let text = anstream::adapter::strip_str(&text).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1][0], "(1)");
        assert_eq!(
            rows[2],
            [
                "2*",
                "1970-01-01",
                "00:00:00Z",
                "anna@laptop",
                "0123456789ab-dirty",
                "e3b0c44298fc",
                "confirmed"
            ]
        );
        assert!(text.contains("failed: services: web is unhealthy"));
    }
}
