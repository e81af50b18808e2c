//! Secrets on a host: decrypted with its own key, in clear on tmpfs alone.
//!
//! A file that is there and right is never touched: containers have mounted that very file. Neither a change nor an error here says anything of
//! a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::disk::Power;
use crate::edge::host::place::{self, Differs, Placed};
use crate::edge::host::secrets::{HostKey, SecretError};
use crate::pure::generation::from_bundle::secrets_in_use;
use crate::pure::generation::{
    Action, Change, Kind, Mode, Owner, Place, Target, TargetFile, placeholders, sealed_root,
};
use crate::pure::name::SecretName;

/// Secrets alone, sealed files, and managed files that embed secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets;

/// A file on tmpfs, in clear.
struct Item {
    /// The secret or the file, for people.
    name: String,
    path: String,
    owner: Owner,
    mode: Mode,
    bytes: Zeroizing<Vec<u8>>,
    /// The same of a generation before, under the path that it had.
    was: Option<String>,
}

type Values = BTreeMap<SecretName, Zeroizing<Vec<u8>>>;

fn values(host: &Host, target: &Target) -> Result<Values, HostError> {
    let names = secrets_in_use(target);
    if names.is_empty() {
        return Ok(Values::new());
    }
    let path = host.paths.host_key();
    let mut key = HostKey::open(&path).map_err(|error| {
        HostError::refused(
            error.to_string(),
            Some("the host decrypts with the key that its SSH server shows; `ssh-keygen -A` makes one that is missing"),
        )
    })?;
    let mut values = Values::new();
    for name in names {
        let ciphertext = target.ciphertext(&name).ok_or_else(|| {
            HostError::refused(
                format!("the bundle has no ciphertext of the secret {name}"),
                None,
            )
        })?;
        let value = key.decrypt(ciphertext).map_err(|error| match error {
            SecretError::NotForThisHost => HostError::refused(
                format!(
                    "the secret {name} cannot be decrypted here: it is encrypted for another host key than {}",
                    path.display()
                ),
                Some("put the host's key into `host_key` of the host file and run `forge secret rekey`"),
            ),
            error => HostError::refused(
                format!("the secret {name} cannot be decrypted: {error}"),
                None,
            ),
        })?;
        values.insert(name, value);
    }
    Ok(values)
}

/// A file that embeds secrets, if it does.
fn embeds(file: &TargetFile) -> bool {
    !file.secrets.is_empty() || matches!(file.place, Place::Sealed { .. })
}

fn checked(path: &str, root: &str, name: &str) -> Result<(), HostError> {
    let below = path.strip_prefix(root).is_some_and(|rest| {
        rest.starts_with('/') && !rest.split('/').any(|part| matches!(part, "." | ".."))
    });
    if below {
        Ok(())
    } else {
        Err(HostError::refused(
            format!("the bundle wants {name} in clear at {path}, which is not below {root}"),
            None,
        ))
    }
}

/// Everything that a target has in clear, decrypted and completed.
fn items(host: &Host, target: &Target, before: &[&Target]) -> Result<Vec<Item>, HostError> {
    let values = values(host, target)?;
    let mut items = Vec::new();
    for secret in &target.secrets {
        checked(&secret.path, sealed_root(), secret.name.as_str())?;
        let was = before
            .iter()
            .flat_map(|target| &target.secrets)
            .find(|was| was.name == secret.name && was.owner == secret.owner);
        let value = values.get(&secret.name).ok_or_else(|| {
            HostError::thing(Kind::Secret, secret.name.as_str(), "it has no value")
        })?;
        items.push(Item {
            name: secret.name.to_string(),
            path: secret.path.clone(),
            owner: secret.owner,
            mode: secret.mode,
            bytes: value.clone(),
            was: was.map(|was| was.path.clone()),
        });
    }
    for (name, file) in target.files.iter().filter(|(_, file)| embeds(file)) {
        let path = file.place.path();
        let root = match file.place {
            Place::Sealed { .. } => sealed_root(),
            _ => "/run",
        };
        checked(path, root, name)?;
        if let Place::Content { .. } | Place::Block { .. } = file.place {
            return Err(HostError::refused(
                format!("the bundle embeds secrets in {name}, whose place is not made for that"),
                None,
            ));
        }
        let template = target.file_bytes(name).ok_or_else(|| {
            HostError::refused(format!("the bundle has no bytes of {name}"), None)
        })?;
        let bytes = placeholders::fill(template, &file.secrets, &values)
            .map_err(|why| HostError::refused(format!("{name}: {why}"), None))?;
        let was = before.iter().find_map(|target| target.files.get(name));
        items.push(Item {
            name: name.clone(),
            path: path.to_owned(),
            owner: file.owner,
            mode: file.mode,
            bytes,
            was: was.map(|was| was.place.path().to_owned()),
        });
    }
    Ok(items)
}

/// Whatever stands in clear at a fixed path below `/run`, outside of the folder that is pruned.
fn fixed(target: &Target) -> BTreeMap<&str, &str> {
    target
        .files
        .iter()
        .filter(|(_, file)| !file.secrets.is_empty())
        .filter_map(|(name, file)| match &file.place {
            Place::Managed { path } => Some((path.as_str(), name.as_str())),
            _ => None,
        })
        .collect()
}

impl Item {
    fn folders(&self) -> u32 {
        if self.path.starts_with("/run/forge/") {
            0o700
        } else {
            0o755
        }
    }

    fn placed<'a>(&'a self, at: &'a std::path::Path) -> Placed<'a> {
        Placed {
            path: at,
            bytes: &self.bytes,
            owner: self.owner,
            mode: self.mode,
            folders: self.folders(),
        }
    }

    fn change(&self, host: &Host) -> Result<Option<Change>, HostError> {
        let at = host.paths.at(&self.path);
        let (action, why) = match (place::compare(self.placed(&at))?, &self.was) {
            (Differs::Nothing, _) => return Ok(None),
            (Differs::Missing, Some(was)) if *was != self.path => {
                (Action::Change, "its value has changed, or who may read it")
            }
            (Differs::Missing, Some(_)) => (Action::Add, "it is no longer in memory"),
            (Differs::Missing, None) => (Action::Add, "new"),
            (Differs::Otherwise, Some(was))
                if *was == self.path && self.path.starts_with(sealed_root()) =>
            {
                (Action::Change, "changed by hand since")
            }
            (Differs::Otherwise, _) => (Action::Change, "changed"),
        };
        Ok(Some(Change::new(Kind::Secret, &self.name, action, why)))
    }

    /// True if something had to be written.
    fn materialise(&self, host: &Host) -> Result<bool, HostError> {
        let at = host.paths.at(&self.path);
        if place::compare(self.placed(&at))? == Differs::Nothing {
            return Ok(false);
        }
        let power = Power::default();
        if let Some(parent) = at.parent() {
            let folder = place::folder(parent, self.folders(), &power)?;
            if host.paths.is_real() && !folder.is_in_memory()? {
                return Err(not_in_memory(parent.to_owned()));
            }
        }
        place::put(self.placed(&at), &power)?;
        Ok(true)
    }
}

fn not_in_memory(path: PathBuf) -> HostError {
    HostError::refused(
        format!(
            "{} is not in memory (tmpfs): secrets would be written to a disk",
            path.display()
        ),
        Some("every Debian and Ubuntu that was started by systemd has tmpfs at /run"),
    )
}

/// Only root may walk into the folders of secrets, whoever made them.
fn close_folders(host: &Host) -> Result<(), HostError> {
    for path in [host.paths.run(), host.paths.secrets()] {
        place::folder(&path, 0o700, &Power::default())?.set_mode(0o700)?;
    }
    Ok(())
}

/// Decrypts every secret that the target uses and completes every file that embeds one, in memory: whatever is wrong with them is found before
/// anything of the host is changed.
///
/// # Errors
/// [`HostError::Refused`], with the secret.
pub fn check_all(host: &Host, target: &Target) -> Result<(), HostError> {
    let run = host.paths.at("/run");
    if !items(host, target, &[])?.is_empty()
        && host.paths.is_real()
        && !place::folder(&run, 0o755, &Power::default())?.is_in_memory()?
    {
        return Err(not_in_memory(run));
    }
    Ok(())
}

/// [`check_all`], and puts what stands at a path that its content names in its place: preflight checks read it, and nothing that runs does yet.
///
/// # Errors
/// As [`check_all`].
pub fn stage(host: &Host, target: &Target) -> Result<(), HostError> {
    check_all(host, target)?;
    let mut items = items(host, target, &[])?;
    items.retain(|item| item.path.starts_with(sealed_root()));
    materialise(host, &items, &|_| {})
}

fn materialise(host: &Host, items: &[Item], written: &dyn Fn(&Item)) -> Result<(), HostError> {
    if items.is_empty() {
        return Ok(());
    }
    close_folders(host)?;
    for item in items {
        if item.materialise(host)? {
            written(item);
        }
    }
    Ok(())
}

/// Before Docker starts: everything in clear again that tmpfs has forgotten, of each of these targets. One that cannot be had does not keep
/// the others back.
///
/// # Errors
/// The first [`HostError`].
pub fn at_boot(host: &Host, targets: &[&Target]) -> Result<(), HostError> {
    let mut first = Ok(());
    // The last first: of two targets that want the same path below /run, the earlier in the list has it.
    for target in targets.iter().rev() {
        let done = items(host, target, &[]).and_then(|items| materialise(host, &items, &|_| {}));
        first = done.and(first);
    }
    first
}

/// Removes everything in clear that none of these targets has, once no container has it mounted any more.
///
/// # Errors
/// [`HostError`].
pub fn prune(host: &Host, keep: &[&Target]) -> Result<(), HostError> {
    let kept: BTreeSet<PathBuf> = keep
        .iter()
        .flat_map(|target| {
            let alone = target.secrets.iter().map(|secret| secret.path.as_str());
            let files = target.files.values().map(|file| file.place.path());
            alone.chain(files)
        })
        .map(|path| host.paths.at(path))
        .collect();
    let root = host.paths.secrets();
    for file in place::files_below(&root)? {
        if !kept.contains(&file) {
            place::prune(&file, &root)?;
        }
    }
    Ok(())
}

/// Files at fixed paths that are no longer wanted, and are there.
fn gone<'a>(host: &Host, way: Way<'a>) -> Result<BTreeMap<&'a str, &'a str>, HostError> {
    let wanted = fixed(way.want);
    let mut gone = BTreeMap::new();
    for before in way.before {
        for (path, name) in fixed(before) {
            if !wanted.contains_key(path) && place::is_there(&host.paths.at(path))? {
                gone.insert(path, name);
            }
        }
    }
    Ok(gone)
}

fn removal(name: &str) -> Change {
    Change::new(Kind::Secret, name, Action::Remove, "no longer declared")
}

impl Resource for Secrets {
    fn step(&self) -> &'static str {
        "secrets"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let mut changes = Vec::new();
        for item in items(host, way.want, way.before)? {
            changes.extend(item.change(host)?);
        }
        changes.extend(gone(host, way)?.into_values().map(removal));
        Ok(changes)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let items = items(host, way.want, way.before)?;
        let mut changes = BTreeMap::new();
        for item in &items {
            if let Some(change) = item.change(host)? {
                changes.insert(item.path.as_str(), change);
            }
        }
        materialise(host, &items, &|item| {
            if let Some(change) = changes.get(item.path.as_str()) {
                tell.changed(change);
            }
        })?;
        for (path, name) in gone(host, way)? {
            place::remove(&host.paths.at(path), &Power::default())?;
            tell.changed(&removal(name));
        }
        Ok(())
    }
}
