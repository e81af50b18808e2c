//! Preflight checks: a service's own judgement of its new configuration, in its new image, before anything is changed.
//!
//! Each runs in a project of its own, made of the service as the new `compose.yaml` has it, with another entrypoint and without a
//! network: nothing that runs is touched, nothing has to exist yet but the image and the files, and nothing can be reached.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_yaml_ng::{Mapping, Value};

use super::resource::{Resource as _, Way};
use super::services::{Services, compose_text};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::disk::Folder;
use crate::edge::host::compose::Compose;
use crate::edge::host::engine::Engine;
use crate::pure::generation::{Check, Target};

const PROJECT: &str = "forge-check";
const OURS: &str = "com.docker.compose.project=forge-check";
const LIMIT: Duration = Duration::from_secs(180);

/// The services that will be made, started or made anew. What a running one reads is named by its content: it has not changed since it was checked.
fn changing(host: &Host, target: &Target) -> Result<BTreeSet<String>, HostError> {
    let way = Way {
        want: target,
        before: &[],
    };
    let changes = Services.plan(host, way)?;
    Ok(changes.into_iter().map(|change| change.name).collect())
}

/// Runs every check of a service that is not running as the target has it.
///
/// # Errors
/// [`HostError::Check`] of the first that fails, with the end of what it said; [`HostError`] if Docker cannot be asked.
pub fn check(host: &Host, target: &Target, tell: &dyn Tell) -> Result<(), HostError> {
    if target.checks.is_empty() {
        return Ok(());
    }
    let changing = changing(host, target)?;
    let engine = Engine::of(&host.paths);
    clean(&engine)?;
    let text = compose_text(target)?;
    let compose = Compose::new(&engine, PROJECT);
    let checks = target
        .checks
        .iter()
        .filter(|(_, check)| changing.contains(check.service.as_str()));
    for (name, check) in checks {
        let failed = |why: String| HostError::Check {
            check: name.clone(),
            service: check.service.to_string(),
            why,
        };
        let is_missing = |path: &str| Ok::<bool, HostError>(!exists(host, path)?);
        let missing = volumes_missing(target, is_missing)?;
        let file = alone(text, check, &missing).map_err(&failed)?;
        let (ended, said) = match compose.run_once(&file, check.service.as_str(), LIMIT) {
            Ok(answer) => answer,
            Err(error) => {
                // One that takes too long was not told to end with Compose.
                clean(&engine)?;
                return Err(failed(error.to_string()));
            }
        };
        if !ended.is_success() {
            return Err(failed(format!(
                "`{}` ended with {}:\n{}",
                check.exec.join(" "),
                ended.status,
                said.trim()
            )));
        }
        tell.say(format!(
            "preflight check {name} of service {} passed",
            check.service
        ));
    }
    Ok(())
}

/// Removes what earlier checks have left that were killed.
fn clean(engine: &Engine) -> Result<(), HostError> {
    let left = engine.containers(&[OURS])?;
    let left: Vec<&str> = left.iter().map(|container| container.id.as_str()).collect();
    Ok(engine.remove(&left)?)
}

fn exists(host: &Host, path: &str) -> Result<bool, HostError> {
    let path = host.paths.at(path);
    let (Some(parent), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Ok(true);
    };
    match Folder::open(parent) {
        Ok(folder) => Ok(folder.look(name)?.is_some()),
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The folders of declared volumes that are made only after the checks.
fn volumes_missing(
    target: &Target,
    is_missing: impl Fn(&str) -> Result<bool, HostError>,
) -> Result<BTreeSet<String>, HostError> {
    let mut missing = BTreeSet::new();
    for name in target.volumes.keys() {
        let path = format!("/var/lib/forge/volumes/{name}");
        if is_missing(&path)? {
            missing.insert(path);
        }
    }
    Ok(missing)
}

/// A `compose.yaml` of this service alone: as it will be, but for what it runs and whom it meets.
///
/// Volumes that do not exist yet are empty memory: the check must not be what makes them.
fn alone(text: &[u8], check: &Check, missing: &BTreeSet<String>) -> Result<Vec<u8>, String> {
    let file: Mapping = serde_yaml_ng::from_slice(text).map_err(|error| error.to_string())?;
    let service = check.service.as_str();
    let mut entry = file
        .get("services")
        .and_then(|services| services.get(service))
        .and_then(Value::as_mapping)
        .cloned()
        .ok_or_else(|| "it is not in `compose.yaml`".to_owned())?;
    for key in ["ports", "networks", "depends_on", "healthcheck", "labels"] {
        entry.remove(key);
    }
    let mut put = |key: &str, value: Value| entry.insert(key.into(), value);
    // Interpolated, as everything in such a file is.
    let words = check.exec.iter().map(|word| word.replace('$', "$$").into());
    put("entrypoint", Value::Sequence(words.collect()));
    put("command", Value::Sequence(Vec::new()));
    put("network_mode", "none".into());
    put("restart", "no".into());
    let volumes = entry.get_mut("volumes").and_then(Value::as_sequence_mut);
    for volume in volumes.into_iter().flatten() {
        let source = volume.get("source").and_then(Value::as_str);
        let target = volume.get("target").cloned();
        if let Some(source) = source
            && let Some(target) = target
            && missing.iter().any(|path| path == source)
        {
            // Whoever it runs as may write there: the folder's owner cannot be given to such memory.
            let options = [("mode".into(), 0o1777.into())].into_iter().collect();
            let memory: Mapping = [
                ("type".into(), "tmpfs".into()),
                ("target".into(), target),
                ("tmpfs".into(), Value::Mapping(options)),
            ]
            .into_iter()
            .collect();
            *volume = Value::Mapping(memory);
        }
    }
    let services: Mapping = [(Value::from(service), Value::Mapping(entry))]
        .into_iter()
        .collect();
    let whole: Mapping = [
        ("name".into(), PROJECT.into()),
        ("services".into(), Value::Mapping(services)),
    ]
    .into_iter()
    .collect();
    serde_yaml_ng::to_string(&whole)
        .map(String::into_bytes)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_check_meets_nobody_and_keeps_the_rest() {
        let text = br#"
name: forge
services:
  web:
    image: "forge.invalid/web:sha256-00"
    user: "1000:1000"
    entrypoint: ["server"]
    command: ["a"]
    restart: unless-stopped
    environment: { A: "x$$y" }
    ports: [{ published: "80", target: 80 }]
    networks: [front]
    depends_on: { db: { condition: service_healthy } }
    volumes:
      - { type: bind, source: /var/lib/forge/volumes/data, target: /data }
      - { type: bind, source: /var/lib/forge/files/00/conf, target: /conf, read_only: true }
  db: { image: db }
networks: { front: { name: forge-front, external: true } }
"#;
        let check = Check {
            service: "web".parse().unwrap(),
            exec: vec!["test".to_owned(), "$HOME".to_owned()],
        };
        let missing = BTreeSet::from(["/var/lib/forge/volumes/data".to_owned()]);
        let file = alone(text, &check, &missing).unwrap();
        let json: serde_json::Value = serde_yaml_ng::from_slice(&file).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "name": "forge-check",
                "services": { "web": {
                    "image": "forge.invalid/web:sha256-00",
                    "user": "1000:1000",
                    "entrypoint": ["test", "$$HOME"],
                    "command": [],
                    "restart": "no",
                    "environment": { "A": "x$$y" },
                    "network_mode": "none",
                    "volumes": [
                        { "type": "tmpfs", "target": "/data", "tmpfs": { "mode": 0o1777 } },
                        { "type": "bind", "source": "/var/lib/forge/files/00/conf", "target": "/conf", "read_only": true }
                    ]
                } }
            })
        );
        let other = Check {
            service: "other".parse().unwrap(),
            exec: Vec::new(),
        };
        alone(text, &other, &missing).unwrap_err();
    }
}
