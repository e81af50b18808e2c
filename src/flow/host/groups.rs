//! Groups. What is no longer declared stays: files may belong to it.

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::accounts;
use crate::pure::generation::Change;
use crate::pure::generation::things::accounts::plan_groups;

/// Makes the groups that are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Groups;

/// What a refusal about owners of files is answered with.
pub(super) const HINT: &str = "declare the number that the host has, or give the files away and change the account by hand first";

fn planned(host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
    plan_groups(&way.want.groups, &accounts::have(&host.paths)?)
        .map_err(|why| HostError::refused(why, Some(HINT)))
}

impl Resource for Groups {
    fn step(&self) -> &'static str {
        "groups"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        planned(host, way)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        for change in planned(host, way)? {
            let gid = way
                .want
                .groups
                .get(&change.name)
                .and_then(|group| group.gid);
            accounts::make_group(&host.paths, &change.name, gid)?;
            tell.changed(&change);
        }
        Ok(())
    }
}
