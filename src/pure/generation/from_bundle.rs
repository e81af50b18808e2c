//! Bundle → target: the evaluated system, read with types (`docs/format/system.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::target::{
    Check, Group, Hole, Mode, Network, Owner, Probe, Service, ServicePort, Target, TargetFile,
    TargetSecret, Unit, User, Volume,
};
use crate::pure::bundle::Opened;
use crate::pure::name::{
    Arch, BundleDigest, ImageName, NetworkName, SecretName, ServiceName, VolumeName,
};

/// Why a bundle is no target of this host.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(
        "the bundle {bundle} says something that this forge does not understand, at `{at}`: {why}; use the forge that built the \
         bundle, or a newer one"
    )]
    Unknown {
        bundle: BundleDigest,
        at: String,
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct System {
    compose: String,
    contributions: BTreeMap<String, BTreeMap<String, Value>>,
    files: BTreeMap<String, TargetFile>,
    host: Host,
    modules: Vec<String>,
    secrets: Vec<TargetSecret>,
}

#[derive(Deserialize)]
struct Host {
    system: String,
    arch: Arch,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Healthcheck {
    interval: String,
    timeout: String,
    retries: u32,
    start_period: String,
}

#[derive(Deserialize)]
struct ServiceFact {
    image: ImageName,
    networks: Vec<NetworkName>,
    depends_on: Vec<ServiceName>,
    network_host: bool,
    restart: String,
    healthcheck: Option<Healthcheck>,
    ports: Vec<ServicePort>,
}

#[derive(Deserialize)]
struct NetworkFact {
    internal: bool,
    subnet: Option<String>,
}

#[derive(Deserialize)]
struct VolumeFact {
    owner: Owner,
    mode: Mode,
}

#[derive(Deserialize)]
struct UserFact {
    uid: Option<u32>,
    shell: String,
    comment: String,
    groups: Vec<String>,
    system: bool,
    keys: Vec<String>,
    sudo: String,
}

#[derive(Deserialize)]
struct GroupFact {
    gid: Option<u32>,
}

#[derive(Deserialize)]
struct SysctlFact {
    value: String,
}

#[derive(Deserialize)]
struct UnitFact {
    enable: bool,
}

#[derive(Deserialize)]
struct CheckFact {
    service: ServiceName,
    exec: Vec<String>,
}

#[derive(Deserialize)]
struct ProbeFact {
    url: Option<String>,
    tcp: Option<u16>,
    exec: Option<Vec<String>>,
    service: Option<ServiceName>,
    timeout: String,
}

#[derive(Deserialize)]
struct HoleFact {
    port: u16,
    protocol: String,
    from: Vec<String>,
}

struct Reader<'a> {
    bundle: BundleDigest,
    facts: &'a BTreeMap<String, BTreeMap<String, Value>>,
}

/// However long a service may be waited for.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// A service that has no healthcheck is asked only whether it runs.
const SHORT_PATIENCE: Duration = Duration::from_secs(60);
/// Beyond what a healthcheck allows: creating, starting, a slow disk.
const MARGIN: Duration = Duration::from_secs(60);

impl Reader<'_> {
    fn unknown(&self, at: impl Into<String>, why: impl ToString) -> TargetError {
        TargetError::Unknown {
            bundle: self.bundle,
            at: at.into(),
            why: why.to_string(),
        }
    }

    /// Every fact of a kind: nothing of a kind that the bundle does not have.
    fn all<K, F, T>(
        &self,
        kind: &str,
        make: impl Fn(&str, F) -> Result<T, TargetError>,
    ) -> Result<BTreeMap<K, T>, TargetError>
    where
        K: Ord + std::str::FromStr<Err: ToString>,
        F: DeserializeOwned,
    {
        let mut made = BTreeMap::new();
        for (name, value) in self.facts.get(kind).into_iter().flatten() {
            let at = format!("contributions.{kind}.{name}");
            let key = name.parse::<K>().map_err(|e| self.unknown(&at, e))?;
            let fact = F::deserialize(value).map_err(|e| self.unknown(&at, e))?;
            made.insert(key, make(&at, fact)?);
        }
        Ok(made)
    }

    /// `1h30m`, `500ms`: as the project's language writes durations.
    fn duration(&self, at: &str, text: &str) -> Result<Duration, TargetError> {
        let duration: SignedDuration = text.parse().map_err(|e| self.unknown(at, e))?;
        Duration::try_from(duration).map_err(|e| self.unknown(at, e))
    }

    fn service(&self, at: &str, fact: ServiceFact) -> Result<Service, TargetError> {
        let patience = match &fact.healthcheck {
            Some(check) => {
                let each =
                    self.duration(at, &check.interval)? + self.duration(at, &check.timeout)?;
                let all =
                    self.duration(at, &check.start_period)? + each * (check.retries + 1) + MARGIN;
                all.min(LONGEST_PATIENCE)
            }
            None => SHORT_PATIENCE,
        };
        Ok(Service {
            one_shot: fact.healthcheck.is_none()
                && matches!(fact.restart.as_str(), "no" | "on-failure"),
            healthcheck: fact.healthcheck.is_some(),
            patience,
            image: fact.image,
            networks: fact.networks,
            depends_on: fact.depends_on,
            network_host: fact.network_host,
            ports: fact.ports,
        })
    }
}

/// Reads what a bundle says about its host. Kinds of contribution that only modules know are passed over; a place, a member or a field
/// of the wrong shape is refused.
///
/// # Errors
/// [`TargetError::Unknown`], with the place in the system.
pub fn target(bundle: &Opened) -> Result<Target, TargetError> {
    let digest = bundle.digest();
    let unknown = |at: &str, why: String| TargetError::Unknown {
        bundle: digest,
        at: at.to_owned(),
        why,
    };
    let system =
        System::deserialize(bundle.system()).map_err(|e| unknown("system", e.to_string()))?;
    let reader = Reader {
        bundle: digest,
        facts: &system.contributions,
    };
    for (name, file) in &system.files {
        if bundle.part(&format!("files/{name}")).is_none() {
            return Err(unknown(
                &format!("files.{name}"),
                "it has no bytes".to_owned(),
            ));
        }
        let path = file.place.path();
        let whole =
            path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
        if !whole || path.contains('\0') {
            return Err(unknown(
                &format!("files.{name}"),
                format!("{path:?} is no absolute path"),
            ));
        }
    }
    let services: BTreeMap<ServiceName, Service> =
        reader.all("service", |at, fact| reader.service(at, fact))?;
    let packages: BTreeMap<String, ()> = reader.all("package", |_, _: Value| Ok(()))?;
    let compose = match system.files.get(&system.compose) {
        Some(file) if !services.is_empty() => Some(file.place.path().to_owned()),
        Some(_) => None,
        None if services.is_empty() => None,
        None => return Err(unknown("compose", "there is no such file".to_owned())),
    };
    Ok(Target {
        bundle: Some(digest),
        host: Some(bundle.host().clone()),
        ssh_port: system.host.port,
        networks: reader.all::<NetworkName, _, _>("network", |_, fact: NetworkFact| {
            Ok(Network {
                internal: fact.internal,
                subnet: fact.subnet,
            })
        })?,
        volumes: reader.all::<VolumeName, _, _>("volume", |_, fact: VolumeFact| {
            Ok(Volume {
                owner: fact.owner,
                mode: fact.mode,
            })
        })?,
        users: reader.all("user", |_, fact: UserFact| {
            Ok(User {
                uid: fact.uid,
                shell: fact.shell,
                comment: fact.comment,
                groups: fact.groups,
                system: fact.system,
                keys: fact.keys,
                sudo: fact.sudo,
            })
        })?,
        groups: reader.all("group", |_, fact: GroupFact| Ok(Group { gid: fact.gid }))?,
        sysctls: reader.all("sysctl", |_, fact: SysctlFact| Ok(fact.value))?,
        units: reader.all("unit", |_, fact: UnitFact| {
            Ok(Unit {
                enable: fact.enable,
            })
        })?,
        checks: reader.all("check", |_, fact: CheckFact| {
            Ok(Check {
                service: fact.service,
                exec: fact.exec,
            })
        })?,
        probes: reader.all("probe", |at, fact: ProbeFact| {
            Ok(Probe {
                timeout: reader.duration(at, &fact.timeout)?,
                url: fact.url,
                tcp: fact.tcp,
                exec: fact.exec,
                service: fact.service,
            })
        })?,
        holes: reader.all("firewall", |_, fact: HoleFact| {
            Ok(Hole {
                port: fact.port,
                protocol: fact.protocol,
                from: fact.from,
            })
        })?,
        packages: packages.into_keys().collect::<BTreeSet<String>>(),
        services,
        compose,
        system: system.host.system,
        arch: Some(system.host.arch),
        modules: system.modules,
        files: system.files,
        secrets: system.secrets,
        images: bundle
            .images()
            .iter()
            .map(|pin| (pin.name.clone(), pin.clone()))
            .collect(),
        parts: bundle
            .parts()
            .iter()
            .map(|part| (part.title.as_str().to_owned(), part.clone()))
            .collect(),
    })
}

/// The secrets that something on the host needs: those alone, and those in files.
pub fn secrets_in_use(target: &Target) -> BTreeSet<SecretName> {
    let alone = target.secrets.iter().map(|secret| secret.name.clone());
    let embedded = target.files.values().flat_map(|file| file.secrets.clone());
    alone.chain(embedded).collect()
}
