//! What a flow says while it works. Flows never print: whoever draws it implements [`Progress`].

use std::fmt::Debug;

/// Told about long work: phases one after the other, in each items and bytes. Called from several threads.
pub trait Progress: Debug + Sync {
    /// A phase begins: so many items, so many bytes in all.
    fn begin(&self, what: &str, items: usize, bytes: u64);

    /// Bytes of the phase are done.
    fn advance(&self, bytes: u64);

    /// An item of the phase is done.
    fn done(&self, item: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: usize, _: u64) {}
    fn advance(&self, _: u64) {}
    fn done(&self, _: &str) {}
}
