//! Docker's networks: made before Compose, which is told that they are external.
//!
//! A network that differs must be made anew, and for that whoever is on it must go first: containers of forge's project are stopped and
//! removed, and the step of the services creates them again. A container of somebody else is left alone, and is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::engine::{Container, Engine, NetworkFacts};
use crate::pure::generation::{Action, Change, Kind, Network, Target};
use crate::pure::name::NetworkName;

const LABEL: &str = "forge.network";
const BRIDGE: &str = "com.docker.network.bridge.name";
/// By which Compose knows the containers of its project.
pub(super) const PROJECT: &str = "com.docker.compose.project=forge";

/// The arguments of `docker network create`.
fn arguments(name: &NetworkName, network: &Network) -> Vec<String> {
    let mut arguments = vec![
        "--driver=bridge".to_owned(),
        format!("--label={LABEL}={name}"),
        format!("--opt={BRIDGE}={}", name.bridge()),
    ];
    if network.internal {
        arguments.push("--internal".to_owned());
    }
    if let Some(subnet) = &network.subnet {
        arguments.push(format!("--subnet={subnet}"));
    }
    arguments.push(name.in_docker());
    arguments
}

/// What of a network is not as declared; nothing if it is.
fn difference(name: &NetworkName, want: &Network, have: &NetworkFacts) -> Option<String> {
    let mut why = Vec::new();
    if have.driver != "bridge" {
        why.push(format!("driver {} → bridge", have.driver));
    }
    if have.internal != want.internal {
        why.push(
            if want.internal {
                "internal now"
            } else {
                "no longer internal"
            }
            .to_owned(),
        );
    }
    let subnets = have.ipam.config.iter().flatten();
    let subnets: Vec<&str> = subnets.map(|config| config.subnet.as_str()).collect();
    // Where none is declared, any that Docker has picked is right.
    if let Some(subnet) = &want.subnet
        && !subnets.contains(&subnet.as_str())
    {
        why.push(format!("subnet {} → {subnet}", subnets.join(", ")));
    }
    let options = have.options.as_ref();
    let bridge = options.and_then(|options| options.get(BRIDGE));
    if bridge != Some(&name.bridge()) {
        why.push(format!("interface {}", name.bridge()));
    }
    (!why.is_empty()).then(|| why.join(", "))
}

/// The networks that must be made anew, so that whoever is on one is created anew too.
pub(super) fn renewed(
    target: &Target,
    networks: &[NetworkFacts],
) -> BTreeMap<NetworkName, Option<String>> {
    let differs = |(name, want): (&NetworkName, &Network)| match networks
        .iter()
        .find(|have| have.name == name.in_docker())
    {
        None => Some((name.clone(), None)),
        Some(have) => difference(name, want, have).map(|why| (name.clone(), Some(why))),
    };
    target.networks.iter().filter_map(differs).collect()
}

/// The containers that are on a network, running or not.
fn on<'a>(network: &str, containers: &'a [Container]) -> Vec<&'a Container> {
    containers
        .iter()
        .filter(|container| container.network_settings.networks.contains_key(network))
        .collect()
}

/// True if a container that is not ours runs on it.
fn has_strangers(network: &NetworkFacts, ours: &[Container]) -> bool {
    let ours: BTreeSet<&str> = ours.iter().map(|container| container.id.as_str()).collect();
    let on = network.containers.iter().flatten();
    on.into_iter()
        .any(|(id, _)| !id.starts_with("ep-") && !ours.contains(id.as_str()))
}

/// Networks that carry our label, that nothing wants any more, and that no stranger is on.
fn unwanted<'a>(
    target: &Target,
    networks: &'a [NetworkFacts],
    ours: &[Container],
) -> Vec<(&'a str, &'a NetworkFacts)> {
    let wanted: BTreeSet<String> = target.networks.keys().map(NetworkName::in_docker).collect();
    networks
        .iter()
        .filter(|network| !wanted.contains(&network.name) && !has_strangers(network, ours))
        .filter_map(|network| {
            let label = network.labels.as_ref()?.get(LABEL)?;
            Some((label.as_str(), network))
        })
        .collect()
}

fn removal(name: &str) -> Change {
    Change::new(Kind::Network, name, Action::Remove, "no longer declared")
}

/// Removes the networks that are no longer wanted, and that nobody is on: after the services, which leave them.
///
/// # Errors
/// [`HostError`].
pub(super) fn sweep(host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
    let engine = Engine::of(&host.paths);
    let networks = engine.networks()?;
    let ours = engine.containers(&[PROJECT])?;
    for (name, network) in unwanted(way.want, &networks, &ours) {
        // A container that is stopped does not hold it, but could not start without it.
        if on(&network.name, &ours).is_empty() {
            engine.remove_network(&network.id)?;
            tell.changed(&removal(name));
        }
    }
    Ok(())
}

/// The networks that services join.
#[derive(Debug)]
pub struct Networks;

impl Resource for Networks {
    fn step(&self) -> &'static str {
        "networks"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let engine = Engine::of(&host.paths);
        if !engine.present(Duration::ZERO)? {
            let new = way.want.networks.keys();
            return Ok(new
                .map(|name| Change::new(Kind::Network, name.as_str(), Action::Add, "new"))
                .collect());
        }
        let networks = engine.networks()?;
        let ours = engine.containers(&[PROJECT])?;
        let mut changes: Vec<Change> = renewed(way.want, &networks)
            .into_iter()
            .map(|(name, why)| change(&name, why))
            .collect();
        let gone = unwanted(way.want, &networks, &ours);
        changes.extend(gone.into_iter().map(|(name, _)| removal(name)));
        Ok(changes)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let engine = Engine::of(&host.paths);
        if way.want.networks.is_empty() && !engine.present(Duration::ZERO)? {
            return Ok(());
        }
        let networks = engine.networks()?;
        for (name, why) in renewed(way.want, &networks) {
            let wanted = &way.want.networks[&name];
            let have = networks.iter().find(|have| have.name == name.in_docker());
            if let Some(have) = have {
                let ours = engine.containers(&[PROJECT])?;
                if has_strangers(have, &ours) {
                    return Err(HostError::thing(
                        Kind::Network,
                        name.as_str(),
                        "it must be made anew, and a container that is not forge's is on it: disconnect it first",
                    ));
                }
                let on: Vec<&str> = on(&have.name, &ours)
                    .into_iter()
                    .map(|container| container.id.as_str())
                    .collect();
                engine.stop(&on)?;
                engine.remove(&on)?;
                engine.remove_network(&have.id)?;
            }
            engine.create_network(&arguments(&name, wanted))?;
            tell.changed(&change(&name, why));
        }
        Ok(())
    }
}

fn change(name: &NetworkName, why: Option<String>) -> Change {
    match why {
        None => Change::new(Kind::Network, name.as_str(), Action::Add, "new"),
        Some(why) => Change::new(Kind::Network, name.as_str(), Action::Change, why),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name() -> NetworkName {
        "backend".parse().unwrap()
    }

    fn have(internal: bool, subnet: &str) -> NetworkFacts {
        serde_json::from_value(serde_json::json!({
            "Id": "1", "Name": "forge-backend", "Driver": "bridge", "Internal": internal,
            "IPAM": {"Config": [{"Subnet": subnet}]},
            "Options": {"com.docker.network.bridge.name": "fg-backend"},
            "Labels": {"forge.network": "backend"}, "Containers": {}
        }))
        .unwrap()
    }

    #[test]
    fn is_created_as_declared() {
        let network = Network {
            internal: true,
            subnet: Some("10.1.0.0/24".to_owned()),
        };
        assert_eq!(
            arguments(&name(), &network),
            [
                "--driver=bridge",
                "--label=forge.network=backend",
                "--opt=com.docker.network.bridge.name=fg-backend",
                "--internal",
                "--subnet=10.1.0.0/24",
                "forge-backend"
            ]
        );
    }

    #[test]
    fn differs_in_what_was_declared_alone() {
        let mut want = Network {
            internal: false,
            subnet: None,
        };
        assert_eq!(
            difference(&name(), &want, &have(false, "10.9.0.0/16")),
            None
        );
        want.subnet = Some("10.1.0.0/24".to_owned());
        want.internal = true;
        assert_eq!(
            difference(&name(), &want, &have(false, "10.9.0.0/16")).unwrap(),
            "internal now, subnet 10.9.0.0/16 → 10.1.0.0/24"
        );
        let other: NetworkName = "other".parse().unwrap();
        want = Network {
            internal: false,
            subnet: None,
        };
        assert_eq!(
            difference(&other, &want, &have(false, "10.1.0.0/24")).unwrap(),
            "interface fg-other"
        );
    }
}
