//! Guarded words: a value of one of these types has been checked, once, where it came in.
//!
//! Invariant: no type here has a public field, a setter or a `Deref`; the only way in is its parser.

mod arch;
mod digest;
mod network;
mod word;

pub use arch::{Arch, ArchError};
pub use digest::{BlobDigest, BundleDigest, DigestError, ManifestDigest};
pub use network::BRIDGES;
pub use word::{
    HostName, ImageName, KindName, ModuleName, NameError, NetworkName, OptionName, SecretName,
    ServiceName, VolumeName,
};
