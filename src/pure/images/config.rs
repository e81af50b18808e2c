//! The configuration of an image: how its containers start (OCI image specification 1.1, "Image Configuration").

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::pure::config::image::Run;
use crate::pure::name::{Arch, BlobDigest};
use crate::pure::oci::canonical::{self, CanonicalError};

/// What programs are looked for in, unless the recipe says otherwise: Debian's order.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The time that every image was made at. Without one, tools print year 1, or refuse to show a history.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// How containers start of recipes that continue each other, the base first: what a later one says wins; lists and maps are joined.
///
/// As in a Dockerfile, an entrypoint takes away the command that was meant for the one before.
pub fn run_of<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Run {
    let mut whole = Run::default();
    for run in runs {
        let Run {
            user,
            entrypoint,
            command,
            working_dir,
            stop_signal,
            env,
            ports,
            volumes,
            labels,
        } = run.clone();
        if !user.is_empty() {
            whole.user = user;
        }
        if !entrypoint.is_empty() {
            whole.entrypoint = entrypoint;
            whole.command = Vec::new();
        }
        if !command.is_empty() {
            whole.command = command;
        }
        if !working_dir.is_empty() {
            whole.working_dir = working_dir;
        }
        whole.stop_signal = stop_signal.or(whole.stop_signal);
        whole.env.extend(env);
        whole.ports.extend(ports);
        whole.volumes.extend(volumes);
        whole.labels.extend(labels);
    }
    whole
}

/// The configuration's bytes, canonical. `layers` are the digests of the layers, which are not compressed, and what each is for people.
///
/// # Errors
/// [`CanonicalError`], never in fact: there are texts alone in it.
pub fn encode(
    arch: Arch,
    run: &Run,
    layers: &[(BlobDigest, String)],
) -> Result<Vec<u8>, CanonicalError> {
    let Run {
        user,
        entrypoint,
        command,
        working_dir,
        stop_signal,
        env,
        ports,
        volumes,
        labels,
    } = run;
    let mut variables = BTreeMap::from([("PATH", PATH)]);
    variables.extend(
        env.iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    let variables: Vec<String> = variables
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let set = |names: &std::collections::BTreeSet<String>| -> Map<String, Value> {
        names.iter().map(|name| (name.clone(), json!({}))).collect()
    };

    let mut config = Map::new();
    config.insert("Env".to_owned(), json!(variables));
    let mut add = |key: &str, present: bool, value: Value| {
        if present {
            config.insert(key.to_owned(), value);
        }
    };
    add("User", !user.is_empty(), json!(user));
    add("Entrypoint", !entrypoint.is_empty(), json!(entrypoint));
    add("Cmd", !command.is_empty(), json!(command));
    add("WorkingDir", !working_dir.is_empty(), json!(working_dir));
    add("StopSignal", stop_signal.is_some(), json!(stop_signal));
    add("ExposedPorts", !ports.is_empty(), Value::Object(set(ports)));
    add("Volumes", !volumes.is_empty(), Value::Object(set(volumes)));
    add("Labels", !labels.is_empty(), json!(labels));

    let history: Vec<Value> = layers
        .iter()
        .map(|(_, title)| json!({"created": EPOCH, "created_by": format!("forge: {title}")}))
        .collect();
    let digests: Vec<String> = layers
        .iter()
        .map(|(digest, _)| digest.to_string())
        .collect();
    let mut whole = json!({
        "created": EPOCH,
        "architecture": arch.as_str(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": history,
    });
    if arch == Arch::Arm64 {
        // OCI image specification, "Platform Variants".
        whole["variant"] = json!("v8");
    }
    canonical::to_vec(&whole)
}
