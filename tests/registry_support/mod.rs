#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

pub(crate) mod real;
pub(crate) mod server;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forge::edge::http::{Http, HttpOptions, Impatient, ProxyRule};
use forge::edge::store::{MemoryStore, verify};

/// 2024-01-01T00:00:00Z.
pub(crate) fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200)
}

/// A client that goes nowhere by a proxy, and never waits.
pub(crate) fn http() -> (Http, Arc<Impatient>) {
    let clock = Arc::new(Impatient::at(new_year()));
    let direct = ProxyRule {
        scheme: None,
        host: None,
        proxy: None,
    };
    let options = HttpOptions {
        proxies: vec![direct],
        clock: Arc::clone(&clock) as _,
        ..HttpOptions::default()
    };
    (Http::with(options).unwrap(), clock)
}

/// Nothing in it that is not what its name says.
pub(crate) fn assert_clean(store: &MemoryStore) {
    let report = verify(store).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

/// Bytes that no part of is like another.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
