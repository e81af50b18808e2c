use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A token is not used in the last moments of its life: the request takes time too.
const MARGIN: Duration = Duration::from_secs(10);

/// What to say who one is, by place, repository and what is to be done.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<Key, Token>>);

pub(super) type Key = (String, String, &'static str);

#[derive(Clone)]
pub(super) struct Token {
    /// Of the header `Authorization`.
    pub(super) header: String,
    pub(super) until: Option<SystemTime>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    pub(super) fn get(&self, key: &Key, now: SystemTime) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = all.get(key)?;
        let good = token.until.is_none_or(|until| now + MARGIN < until);
        good.then(|| token.header.clone())
    }

    pub(super) fn put(&self, key: Key, token: Token) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, token);
    }
}
