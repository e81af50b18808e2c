//! A host built: what `forge build` and `forge deploy` have in common.

use super::bundles;
use super::error::CliError;
use super::images::Images;
use super::progress::Progress;
use crate::edge::store::{Trust, Written, put_bundle};
use crate::flow::operator::build::Drafted;
use crate::flow::operator::evaluate::Opened;
use crate::pure::bundle::{Embedded, Sealed};
use crate::pure::system::System;

/// A bundle in the store.
pub(crate) struct Built {
    pub system: System,
    pub sealed: Sealed,
    /// The images that go with it.
    pub present: Vec<Embedded>,
    pub written: Written,
}

/// Seals what was drafted, and puts it into the store with the images that belong to it.
pub(crate) fn build(
    opened: &Opened,
    images: &Images<'_>,
    drafted: Drafted,
    vendor: bool,
    progress: &Progress,
) -> Result<Built, CliError> {
    let Drafted { system, draft, .. } = drafted;
    let sealed = draft.seal().map_err(|error| CliError::failed(&error))?;
    let vendor = vendor || system.host.vendor;
    let present = images.of_host(&system, vendor, progress)?;
    progress.say("writing the store");
    let name = bundles::ref_name(opened, &system.host.name)?;
    let written = put_bundle(images.store(), &sealed, &present, &name, Trust::Content)
        .map_err(|error| CliError::failed(&error))?;
    Ok(Built {
        system,
        sealed,
        present,
        written,
    })
}
