//! Debian's formats: versions, relations, package indexes, releases and their signatures; and the closure of a set of packages.
//!
//! Invariant: what an index says was signed by a key of the keyring; what a closure holds satisfies every relation in it.

pub mod sources_list;
