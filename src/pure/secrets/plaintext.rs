use std::fmt;

use zeroize::Zeroizing;

/// A secret in clear: wiped when dropped, never shown by `Debug`, without `Display`, `Clone` or `Serialize`.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// The longest secret that is taken: 1 MiB. So a reader can allocate once and leaves no half-grown copies in memory.
    pub const LONGEST: usize = 1 << 20;

    /// These bytes as they are.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// What a person or a program handed over: exactly one newline at the end is not part of it (`echo`, editors).
    pub fn from_input(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Self(bytes)
    }

    /// The bytes. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As text, where it is UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether two secrets are the same. Not in constant time: both are already in this process.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_off_exactly_one_newline() {
        for (given, kept) in [("a\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("\n", "")] {
            let plaintext = Plaintext::from_input(Zeroizing::new(given.as_bytes().to_vec()));
            assert_eq!(plaintext.expose_str(), Some(kept));
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        let plaintext = Plaintext::new(Zeroizing::new(b"hunter2".to_vec()));
        assert_eq!(format!("{plaintext:?}"), "Plaintext(…)");
    }
}
