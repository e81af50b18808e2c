//! Which firewall Docker makes its rules in.

use std::time::Duration;

use super::{of_target, on_disk};
use crate::edge::host::engine::Engine;
use crate::flow::host::{Host, HostError};
use crate::pure::generation::Target;

const CONFIG: &str = "/etc/docker/daemon.json";

/// Why a target with a firewall is refused on this host, with its mend: Docker with nftables asks no chain that forge can close. To be asked
/// before anything is changed, and again when Docker has come.
///
/// # Errors
/// [`HostError::Engine`] if Docker is there and cannot be asked.
pub fn refusal(host: &Host, target: &Target) -> Result<Option<String>, HostError> {
    if target.file_bytes("forge/user.rules").is_none() {
        return Ok(None);
    }
    let declared = of_target(target, CONFIG);
    let there = on_disk(host, CONFIG)?;
    let backend = backend(declared.as_deref(), there.as_deref(), || {
        let engine = Engine::of(&host.paths);
        if !engine.present(Duration::ZERO)? {
            return Ok(None);
        }
        Ok(engine.info()?.firewall)
    })?;
    Ok((backend.as_deref() == Some("nftables")).then(|| {
        format!(
            "Docker uses its firewall backend nftables, which knows no DOCKER-USER: the ports of containers would be open to everybody; set \
             \"firewall-backend\" to \"iptables\" in {CONFIG} and restart Docker"
        )
    }))
}

/// The backend of a Docker with this configuration; `running` is that of the one that runs, which counts where no file names any.
fn backend(
    declared: Option<&str>,
    there: Option<&str>,
    running: impl FnOnce() -> Result<Option<String>, HostError>,
) -> Result<Option<String>, HostError> {
    let named = |text: &str| {
        let daemon: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(daemon.get("firewall-backend")?.as_str()?.to_owned())
    };
    let before = there.and_then(named);
    match declared {
        None if before.is_some() => Ok(before),
        None => running(),
        Some(declared) => match named(declared) {
            Some(named) => Ok(Some(named)),
            // What named it is replaced, and Docker takes iptables again.
            None if before.is_some() => Ok(None),
            None => running(),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_comes_before_what_is_there_and_that_before_what_runs() {
        let nftables = r#"{"firewall-backend": "nftables"}"#;
        let iptables = r#"{"firewall-backend": "iptables"}"#;
        let of = |declared, there| {
            backend(declared, there, || Ok(Some("runs".to_owned())))
                .unwrap()
                .unwrap_or_default()
        };
        assert_eq!(of(Some(nftables), Some(iptables)), "nftables");
        assert_eq!(of(Some(iptables), Some(nftables)), "iptables");
        assert_eq!(of(Some("{}"), Some(nftables)), "");
        assert_eq!(of(None, Some(nftables)), "nftables");
        for nothing in [None, Some("{}"), Some("no JSON")] {
            assert_eq!(of(nothing, None), "runs", "{nothing:?}");
            assert_eq!(of(None, nothing), "runs", "{nothing:?}");
        }
    }
}
