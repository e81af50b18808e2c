//! Debian's formats: versions, relations, package indexes, releases and their signatures; and the closure of a set of packages.
//!
//! Invariant: what an index says was signed by a key of the keyring; what a closure holds satisfies every relation in it.
//!
//! The way through: [`Keyring`] and the bytes of an `InRelease` give a [`Release`], which says what a `Packages` file must be;
//! each of these gives an [`Index`], merged into one; [`resolve`] takes from it what a recipe needs.

pub mod archive;
pub mod closure;
pub mod control;
pub mod index;
pub mod keyring;
pub mod relation;
pub mod release;
pub mod sources_list;
pub mod version;

pub use closure::{Closure, ClosureError, Reason, Request, resolve};
pub use control::{BinaryControl, ControlError, Stanza};
pub use index::{Index, IndexError, Package};
pub use keyring::{Keyring, KeyringError};
pub use relation::{Relation, RelationError};
pub use release::{IndexFile, Release, ReleaseError};
pub use version::{Version, VersionError};
