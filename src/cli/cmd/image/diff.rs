use anstyle::AnsiColor;
use serde_json::json;

use super::{arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::images::Images;
use crate::cli::{Outcome, print, print_json, progress, session, tell};
use crate::flow::operator::image::contents::{Difference, Found, Kind, diff};
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
Each is the name of an image, or the digest of an image's manifest in the store, or its beginning.

Examples:
  forge image diff sha256:1f3c hermes-api
  forge image diff postgres-bookworm debug --exit-code";

/// Show which files differ between two images
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Image to compare from
    from: String,
    /// Image to compare to
    to: String,
    /// Architecture, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// End with 1 if anything differs
    #[arg(long)]
    exit_code: bool,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What compares these two, if both name images and neither a host.
    pub(crate) fn between(
        from: &str,
        to: &str,
        exit_code: bool,
        json: bool,
        global: &Global,
    ) -> Option<Self> {
        // Whoever compares exported bundles need not stand in a project.
        let opened = session::open(global).ok()?;
        let is_image = |text: &str| {
            !opened.text.hosts().any(|host| host == text)
                && (image_name(text, &opened).is_ok()
                    || Images::open(&opened, global)
                        .and_then(|images| images.by_digest(text))
                        .is_ok_and(|link| link.is_some()))
        };
        (is_image(from) && is_image(to)).then(|| Self {
            from: from.to_owned(),
            to: to.to_owned(),
            arch: None,
            exit_code,
            json,
        })
    }
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let arch = arch_of(args.arch)?;
    let opened = open(global)?;
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    let mut sides = Vec::with_capacity(2);
    for text in [&args.from, &args.to] {
        let link = match image_name(text, &opened) {
            Ok(name) => images.get(&name, arch, &progress)?,
            Err(unknown) => images.by_digest(text)?.ok_or_else(|| {
                if text.starts_with("sha256:") {
                    let what = format!("no image in the store begins with `{text}`");
                    return CliError::new(Exit::No, what)
                        .hint("`forge image build IMAGE` prints the digest of what it has built");
                }
                unknown
            })?,
        };
        progress.say("reading layers");
        sides.push((link.digest, images.files(&link)?));
    }
    progress.finish();
    let [(old_digest, old), (new_digest, new)] = sides.as_slice() else {
        return Err(CliError::new(Exit::Failed, "two images are compared"));
    };
    let found = diff(old, new);
    if args.json {
        print_json(&json!({ "from": old_digest, "to": new_digest, "files": found }))?;
    } else if found.is_empty() {
        tell("no differences in files\n");
    } else {
        print(&found.iter().map(draw).collect::<String>())?;
    }
    Ok(if args.exit_code && !found.is_empty() {
        Outcome::No
    } else {
        Outcome::Done
    })
}

fn draw(difference: &Difference) -> String {
    let green = AnsiColor::Green.on_default();
    let red = AnsiColor::Red.on_default();
    let yellow = AnsiColor::Yellow.on_default();
    let path = &difference.path;
    match (&difference.old, &difference.new) {
        (None, Some(new)) => format!("{green}+ /{path}{green:#}  {}\n", what(new)),
        (Some(old), None) => format!("{red}- /{path}{red:#}  {}\n", what(old)),
        (Some(old), Some(new)) => format!(
            "{yellow}~ /{path}{yellow:#}  {} → {}\n",
            what(old),
            what(new)
        ),
        (None, None) => String::new(),
    }
}

fn what(found: &Found) -> String {
    let kind = match &found.kind {
        Kind::File { size, digest } => format!("{size} bytes {}", &digest.hex()[..12]),
        Kind::Directory => "directory".to_owned(),
        Kind::Symlink(target) => format!("-> {target}"),
        Kind::Hardlink(target) => format!("hard link to /{target}"),
        Kind::Other(other) => other.clone(),
    };
    format!("{:04o} {}:{} {kind}", found.mode, found.uid, found.gid)
}
