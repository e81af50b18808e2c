//! What a network is called where names are short.

use super::{BlobDigest, NetworkName};

/// What the names of all bridge interfaces begin with.
pub const BRIDGES: &str = "fg-";

impl NetworkName {
    /// Its name in Docker.
    pub fn in_docker(&self) -> String {
        format!("forge-{self}")
    }

    /// The name of its bridge interface: at most 15 characters (IFNAMSIZ of Linux, less its end), and one that the firewall knows by its
    /// beginning. A name too long keeps its beginning and gets a digest of the whole.
    pub fn bridge(&self) -> String {
        const LONGEST: usize = 15;
        let name = format!("{BRIDGES}{self}");
        if name.len() <= LONGEST {
            return name;
        }
        let digest = BlobDigest::of(self.as_str()).hex();
        format!("{}-{}", &name[..LONGEST - 5], &digest[..4])
    }
}
