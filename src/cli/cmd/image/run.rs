use std::ffi::OsString;
use std::io::IsTerminal as _;

use super::{arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::{Outcome, progress};
use crate::edge::docker::{self, DockerError, Loading};
use crate::edge::store::export::{Form, stream_image};
use crate::pure::system::BUILT_REGISTRY;

const AFTER_HELP: &str = "\
The image is built or fetched, loaded into this machine's Docker unless it is there, and started by `docker run`, which removes the container \
when it ends. Options are those of `docker run`.

Examples:
  forge image run -e POSTGRES_PASSWORD=secret -p 5432:5432 postgres-bookworm
  forge image run debug psql --version
  forge image run --docker=--memory=256m redis-bookworm";

/// Start an image in this machine's Docker, to try it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Set an environment variable
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<OsString>,
    /// Publish a port of the container
    #[arg(short, long, value_name = "[ADDRESS:]HOST:CONTAINER")]
    publish: Vec<OsString>,
    /// Mount a volume or a path
    #[arg(short, long, value_name = "SOURCE:PATH")]
    volume: Vec<OsString>,
    /// Leave it running, and print its id
    #[arg(short, long)]
    detach: bool,
    /// Name of the container
    #[arg(long)]
    name: Option<OsString>,
    /// Any other option of `docker run`
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    docker: Vec<OsString>,
    /// Image to start
    image: String,
    /// What to run in it instead of its own command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    // Docker runs what this machine can.
    let arch = arch_of(None)?;
    let opened = open(global)?;
    let name = image_name(&args.image, &opened)?;
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    let link = images.get(&name, arch, &progress)?;
    let tag = format!("{BUILT_REGISTRY}/{name}:sha256-{}", link.digest.hex());
    let failed = |error: DockerError| {
        CliError::failed(&error)
            .hint("is Docker installed, its daemon running, and may you use it?")
    };
    if !docker::has(&tag).map_err(failed)? {
        progress.say("loading the image into Docker");
        let mut loading = Loading::start().map_err(failed)?;
        if let Err(error) = stream_image(images.store(), &link, &tag, Form::Docker, &mut loading) {
            // Docker's own words say more than "broken pipe".
            loading.finish(&tag).map_err(failed)?;
            return Err(CliError::failed(&error));
        }
        loading.finish(&tag).map_err(failed)?;
    }
    progress.finish();
    Err(failed(docker::become_run(arguments(args, &tag))))
}

fn arguments(args: &Args, tag: &str) -> Vec<OsString> {
    let mut list: Vec<OsString> = vec!["--rm".into(), "--pull=never".into()];
    if args.detach {
        list.push("--detach".into());
    } else {
        list.push("--interactive".into());
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            list.push("--tty".into());
        }
    }
    let options = [
        ("--env", &args.env),
        ("--publish", &args.publish),
        ("--volume", &args.volume),
    ];
    for (option, values) in options {
        for value in values {
            list.extend([OsString::from(option), value.clone()]);
        }
    }
    if let Some(name) = &args.name {
        list.extend([OsString::from("--name"), name.clone()]);
    }
    list.extend(args.docker.iter().cloned());
    list.push(tag.into());
    list.extend(args.command.iter().cloned());
    list
}
