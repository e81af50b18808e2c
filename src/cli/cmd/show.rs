use serde_json::Value as Json;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::table::Table;
use crate::cli::{Outcome, bundles, print, print_json};
use crate::pure::bundle::{Draft, PartKind};

const AFTER_HELP: &str = "\
A bundle is the name of a host (as the project says it now), a digest or the beginning of one (as it is in the store), or the path of an exported
bundle (a folder or a .tar).

Examples:
  forge show mainframe                             everything, in tables
  forge show mainframe services images             only these
  forge show mainframe --file caddy/caddyfile      the content of one file
  forge show sha256:1f3c --json | jq .             a built bundle, as the agent reads it";

/// Show what is in a host or a bundle: files, services, images, secrets by name
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host, digest or exported bundle
    bundle: String,
    /// What to show [default: all]
    #[arg(value_name = "SECTION")]
    sections: Vec<Section>,
    /// Print the content of this file instead
    #[arg(long, value_name = "MODULE/NAME", conflicts_with_all = ["sections", "json"])]
    file: Option<String>,
    /// Print the evaluated system as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    Services,
    Images,
    Files,
    Routes,
    Firewall,
    Users,
    Volumes,
    Units,
    Backups,
    Secrets,
}

const ALL: [Section; 10] = [
    Section::Services,
    Section::Images,
    Section::Routes,
    Section::Firewall,
    Section::Users,
    Section::Volumes,
    Section::Backups,
    Section::Units,
    Section::Files,
    Section::Secrets,
];

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let found = bundles::resolve(&args.bundle, global)?;
    let draft = &found.draft;
    if let Some(name) = &args.file {
        print_file(draft, name)?;
        return Ok(Outcome::Done);
    }
    if args.json {
        print_json(&serde_json::json!({
            "digest": found.digest,
            "host": draft.host,
            "system": draft.system,
        }))?;
        return Ok(Outcome::Done);
    }
    let sections: &[Section] = if args.sections.is_empty() {
        &ALL
    } else {
        &args.sections
    };
    let mut text = String::new();
    if args.sections.is_empty() {
        let host = &draft.system["host"];
        let word = |key: &str| host[key].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!(
            "{}  {}  {} {}\n{}\n\n",
            draft.host,
            word("address"),
            word("system"),
            word("arch"),
            found.digest,
        ));
    }
    for section in sections {
        let table = table(draft, *section);
        if table.is_empty() && args.sections.is_empty() {
            continue;
        }
        text.push_str(&table.draw(title(*section)));
        text.push('\n');
    }
    print(text.trim_end_matches('\n'))?;
    print("\n")?;
    Ok(Outcome::Done)
}

fn title(section: Section) -> &'static str {
    match section {
        Section::Services => "Services",
        Section::Images => "Images",
        Section::Files => "Files",
        Section::Routes => "Routes",
        Section::Firewall => "Firewall",
        Section::Users => "Users",
        Section::Volumes => "Volumes",
        Section::Units => "Units",
        Section::Backups => "Backups",
        Section::Secrets => "Secrets (names alone)",
    }
}

fn print_file(draft: &Draft, name: &str) -> Result<(), CliError> {
    let title = format!("files/{name}");
    let part = draft
        .parts
        .iter()
        .find(|part| part.kind == PartKind::File && part.title.as_str() == title);
    let Some(part) = part else {
        let mut error = CliError::new(
            Exit::No,
            format!("there is no file `{name}` in this bundle"),
        );
        let names = draft
            .parts
            .iter()
            .filter_map(|part| part.title.as_str().strip_prefix("files/"));
        if let Some(near) = crate::pure::text::did_you_mean(name, names) {
            error = error.hint(format!("did you mean `{near}`?"));
        }
        return Err(error.hint("`forge show BUNDLE files` lists them"));
    };
    crate::cli::print_bytes(&part.bytes)
}

/// The facts of a kind, by name.
fn facts<'a>(draft: &'a Draft, kind: &str) -> impl Iterator<Item = (&'a String, &'a Json)> {
    draft.system["contributions"][kind]
        .as_object()
        .into_iter()
        .flatten()
}

fn word(json: &Json, key: &str) -> String {
    match &json[key] {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

fn table(draft: &Draft, section: Section) -> Table {
    match section {
        Section::Services => {
            let mut table = Table::new([
                "service",
                "image",
                "networks",
                "published",
                "memory",
                "cpus",
                "user",
            ]);
            for (name, service) in facts(draft, "service") {
                table.row([
                    name.clone(),
                    word(service, "image"),
                    word(service, "networks"),
                    published(service),
                    word(&service["limits"], "memory"),
                    word(&service["limits"], "cpus"),
                    word(service, "user"),
                ]);
            }
            table
        }
        Section::Images => {
            let mut table = Table::new(["image", "from", "digest"]);
            for pin in &draft.images {
                table.row([
                    pin.name.to_string(),
                    format!("{}:{}", pin.repository, pin.tag),
                    pin.digest.to_string()[..19].to_owned(),
                ]);
            }
            table
        }
        Section::Files => {
            let mut table = Table::new(["file", "on the host", "owner", "mode"]);
            for (name, file) in draft.system["files"].as_object().into_iter().flatten() {
                table.row([
                    name.clone(),
                    shorten(&word(&file["place"], "path")),
                    word(file, "owner"),
                    word(file, "mode"),
                ]);
            }
            table
        }
        Section::Routes => {
            let mut table = Table::new(["route", "domains", "path", "to"]);
            for (name, route) in facts(draft, "route") {
                let to = match (&route["service"], &route["redirect"], &route["file"]) {
                    (Json::String(service), _, _) => format!("{service}:{}", route["port"]),
                    (_, Json::String(url), _) => format!("redirect to {url}"),
                    (_, _, Json::String(file)) => format!("file {file}"),
                    _ => "-".to_owned(),
                };
                table.row([
                    name.clone(),
                    word(route, "domains"),
                    word(route, "path"),
                    to,
                ]);
            }
            table
        }
        Section::Firewall => {
            let mut table = Table::new(["open", "port", "from", "limited", "by"]);
            for (name, hole) in facts(draft, "firewall") {
                let from = word(hole, "from");
                table.row([
                    name.clone(),
                    format!("{}/{}", hole["port"], word(hole, "protocol")),
                    if from.is_empty() {
                        "everybody".to_owned()
                    } else {
                        from
                    },
                    word(hole, "limit"),
                    word(hole, "module"),
                ]);
            }
            table
        }
        Section::Users => {
            let mut table = Table::new(["user", "sudo", "groups", "keys", "shell"]);
            for (name, user) in facts(draft, "user") {
                table.row([
                    name.clone(),
                    word(user, "sudo"),
                    word(user, "groups"),
                    user["keys"].as_array().map_or(0, Vec::len).to_string(),
                    word(user, "shell"),
                ]);
            }
            table
        }
        Section::Volumes => {
            let mut table = Table::new(["volume", "owner", "mode", "not backed up because"]);
            for (name, volume) in facts(draft, "volume") {
                table.row([
                    name.clone(),
                    word(volume, "owner"),
                    word(volume, "mode"),
                    word(volume, "no_backup"),
                ]);
            }
            table
        }
        Section::Units => {
            let mut table = Table::new(["unit", "enabled", "by"]);
            for (name, unit) in facts(draft, "unit") {
                table.row([name.clone(), word(unit, "enable"), word(unit, "module")]);
            }
            table
        }
        Section::Backups => {
            let mut table = Table::new(["backup", "when", "kept", "what"]);
            for (name, backup) in facts(draft, "backup") {
                let what = match (&backup["dump"], &backup["volume"]) {
                    (Json::Object(dump), _) => {
                        format!("dump of {}", dump["service"].as_str().unwrap_or_default())
                    }
                    (_, Json::String(volume)) => format!("volume {volume}"),
                    _ => word(backup, "paths"),
                };
                table.row([
                    name.clone(),
                    word(backup, "schedule"),
                    format!("{} days", backup["keep_days"]),
                    what,
                ]);
            }
            table
        }
        Section::Secrets => {
            let mut table = Table::new(["secret", "ciphertext"]);
            for part in draft
                .parts
                .iter()
                .filter(|part| part.kind == PartKind::Secret)
            {
                let title = part.title.as_str();
                table.row([
                    title.strip_prefix("secrets/").unwrap_or(title).to_owned(),
                    crate::pure::name::BlobDigest::of(&part.bytes).to_string()[..19].to_owned(),
                ]);
            }
            table
        }
    }
}

fn published(service: &Json) -> String {
    let ports: Vec<String> = service["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let protocol = word(port, "protocol");
            let bind = if port["public"] == Json::Bool(true) {
                "public "
            } else {
                ""
            };
            format!("{bind}{}/{protocol}", port["host"])
        })
        .collect();
    if ports.is_empty() {
        "-".to_owned()
    } else {
        ports.join(", ")
    }
}

/// A path with its digest cut to twelve digits, which are enough for a person.
fn shorten(path: &str) -> String {
    path.split('/')
        .map(|part| {
            if part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                format!("{}…", &part[..12])
            } else {
                part.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}
