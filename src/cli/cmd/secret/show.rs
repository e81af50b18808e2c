//! What the command says; never a value.

use std::io::Write;

use crate::cli::table::counted;
use crate::flow::operator::secret::{Changed, Row, State};
use crate::pure::name::HostName;
use crate::pure::secrets::WantedBy;

pub(super) fn count(number: usize) -> String {
    counted(number, "value")
}

pub(super) fn report_change(
    changed: &Changed,
    host: &HostName,
    what: &str,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match &changed.pending {
        None => writeln!(
            out,
            "{what}; encrypted {} again",
            count(changed.rekeyed.names.len())
        ),
        Some(error) => {
            writeln!(
                out,
                "{what}, but the values are still encrypted as before: {error}"
            )?;
            writeln!(
                out,
                "somebody who can read them must run: forge secret rekey {host}"
            )
        }
    }
}

pub(super) fn print_table(rows: &[Row], out: &mut dyn Write) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no module of this host wants a secret");
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["SECRET", "WANTED BY", "STATE", "BYTES", "READABLE BY"]);
    for row in rows {
        let wanted_by = match &row.wanted_by {
            Some(by) => by.to_string().replace("the module ", "").replace('`', ""),
            None => "nobody".to_owned(),
        };
        let state = match (&row.state, &row.generate) {
            (State::Set, _) => "set".to_owned(),
            (State::Inherited { from }, _) => format!("inherited from {from}"),
            (State::Unreadable, _) => "not encrypted or damaged".to_owned(),
            (State::Missing, Some(_)) => "missing (generate)".to_owned(),
            (State::Missing, None) => "missing (set)".to_owned(),
        };
        let length = match (row.length, &row.wrong_length) {
            (Some(length), None) => length.to_string(),
            (Some(length), Some(_)) => format!("{length} (wrong)"),
            (None, _) => String::new(),
        };
        let mut readers = row.readers.join(", ");
        if !row.readers_right {
            readers.push_str(" (rekey)");
        }
        table.add_row([row.name.to_string(), wanted_by, state, length, readers]);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(())
}

pub(super) fn row_json(row: &Row) -> serde_json::Value {
    let (state, from) = match &row.state {
        State::Set => ("set", None),
        State::Missing => ("missing", None),
        State::Inherited { from } => ("inherited", Some(from.as_str())),
        State::Unreadable => ("unreadable", None),
    };
    serde_json::json!({
        "name": row.name.as_str(),
        "wanted_by": row.wanted_by.as_ref().map(|by| match by {
            WantedBy::Module(name) => name.as_str(),
            WantedBy::Host => "host",
        }),
        "about": row.about,
        "state": state,
        "inherited_from": from,
        "length": row.length,
        "wrong_length": row.wrong_length,
        "readers": row.readers,
        "readers_right": row.readers_right,
        "generate": row.generate,
    })
}
