//! Programs that do a comparable job, where one is installed: they evaluate or check as many services and write nothing.
//! None does the same job, so the ratio is an orientation, not a contest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{compose, packages};

/// A peer that is installed, with its input written.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Peer {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

/// `layout` is an exported bundle with that many services: its `compose.yaml` is the input of Compose.
pub(crate) fn installed(place: &Path, layout: &Path, services: usize) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    let input = |name: &str, text: String| -> Result<String> {
        let path = place.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path.display().to_string())
    };
    let compose = compose::path()?;
    if packages::is_program(&compose)
        && let Some(rendered) = rendered_compose(layout)?
    {
        let file = input("compose.yaml", rendered)?;
        let arguments = [
            "--project-name",
            "bench",
            "--file",
            &file,
            "config",
            "--quiet",
        ]
        .map(str::to_owned)
        .into();
        peers.push(Peer {
            name: "docker compose config (checks the result)",
            program: compose,
            arguments,
        });
    }
    if let Some(program) = find("jsonnet")? {
        let arguments = vec![input("services.jsonnet", jsonnet(services))?];
        peers.push(Peer {
            name: "jsonnet (evaluates)",
            program,
            arguments,
        });
    }
    if let Some(program) = find("nix-instantiate")? {
        let file = input("services.nix", nix(services))?;
        // A store that is nowhere: evaluating alone needs no installed Nix.
        let arguments = ["--store", "dummy://", "--eval", "--strict", &file]
            .map(str::to_owned)
            .into();
        peers.push(Peer {
            name: "nix-instantiate --eval (no module system)",
            program,
            arguments,
        });
    }
    if let Some(program) = find("ansible-inventory")? {
        let file = input("inventory.json", inventory(services))?;
        let arguments = ["--inventory", &file, "--host", "big"]
            .map(str::to_owned)
            .into();
        peers.push(Peer {
            name: "ansible-inventory (reads)",
            program,
            arguments,
        });
    }
    Ok(peers)
}

fn find(program: &str) -> Result<Option<PathBuf>> {
    let path = packages::search_path()?;
    Ok(std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| packages::is_program(path)))
}

/// The one blob that is a Compose file, told by its content: the bench does not depend on the format of a bundle.
fn rendered_compose(layout: &Path) -> Result<Option<String>> {
    let blobs = layout.join("blobs").join("sha256");
    for entry in fs::read_dir(&blobs).with_context(|| format!("reading {}", blobs.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", blobs.display()))?
            .path();
        // Blobs that are no text are images.
        if let Ok(text) = fs::read_to_string(&path)
            && ["services:", "networks:"]
                .iter()
                .all(|key| text.lines().any(|line| line == *key))
        {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

const IMAGE: &str = "redis@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn jsonnet(services: usize) -> String {
    format!(
        "local service(name) = {{ image: '{IMAGE}', user: '1000:1000', command: ['serve', '--config', '/etc/%s.json' % name],\n\
         \x20 environment: {{ NAME: name }}, networks: ['many'], limits: {{ memory: '64MiB', cpus: '0.5' }},\n\
         \x20 healthcheck: {{ test: ['CMD', 'true'], interval: '10s' }}, config: {{ name: name, port: 8080 }} }};\n\
         {{ services: {{ [name]: service(name) for name in ['svc-%04d' % i for i in std.range(1, {services})] }} }}\n"
    )
}

fn nix(services: usize) -> String {
    format!(
        "let service = name: {{ image = \"{IMAGE}\"; user = \"1000:1000\"; command = [ \"serve\" \"--config\" \"/etc/${{name}}.json\" ];\n\
         \x20 environment = {{ NAME = name; }}; networks = [ \"many\" ]; limits = {{ memory = \"64MiB\"; cpus = \"0.5\"; }};\n\
         \x20 healthcheck = {{ test = [ \"CMD\" \"true\" ]; interval = \"10s\"; }}; config = {{ inherit name; port = 8080; }}; }};\n\
         in builtins.toJSON {{ services = builtins.listToAttrs (builtins.genList\n\
         \x20 (i: let name = \"svc-${{toString i}}\"; in {{ inherit name; value = service name; }}) {services}); }}\n"
    )
}

fn inventory(services: usize) -> String {
    let service = |number: usize| {
        format!(
            "\"svc-{number:04}\": {{\"image\": \"{IMAGE}\", \"user\": \"1000:1000\", \"environment\": {{\"NAME\": \"svc-{number:04}\"}}, \
             \"networks\": [\"many\"], \"limits\": {{\"memory\": \"64MiB\", \"cpus\": \"0.5\"}}, \"config\": {{\"port\": 8080}}}}"
        )
    };
    let services: Vec<String> = (0..services).map(service).collect();
    format!(
        "{{\"all\": {{\"hosts\": {{\"big\": {{\"services\": {{{}}}}}}}}}}}\n",
        services.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compose_file_is_found_among_blobs() {
        let layout = tempfile::tempdir().unwrap();
        let blobs = layout.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("a"), [0xff, 0xfe]).unwrap();
        fs::write(blobs.join("b"), "scrape_configs:\n  services:\n").unwrap();
        assert!(rendered_compose(layout.path()).unwrap().is_none());
        fs::write(
            blobs.join("c"),
            "name: x\nservices:\n  a: {}\nnetworks:\n  b: {}\n",
        )
        .unwrap();
        assert!(
            rendered_compose(layout.path())
                .unwrap()
                .unwrap()
                .starts_with("name: x")
        );
    }

    #[test]
    fn the_inventory_is_json() {
        serde_json::from_str::<serde_json::Value>(&inventory(3)).unwrap();
    }
}
