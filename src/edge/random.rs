//! Random bytes.

use std::fmt;

use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};

use crate::pure::secrets::{Randomness, RandomnessError};

/// The operating system's generator (`getrandom`), with no state of our own.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandomness;

impl OsRandomness {
    /// Fills `bytes`, for those who know no [`Randomness`].
    ///
    /// # Errors
    /// What the system says.
    pub fn bytes(bytes: &mut [u8]) -> Result<(), String> {
        SysRng
            .try_fill_bytes(bytes)
            .map_err(|error| error.to_string())
    }
}

impl Randomness for OsRandomness {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        SysRng
            .try_fill_bytes(bytes)
            .map_err(|error| RandomnessError(error.to_string()))
    }
}

/// The double for tests: the same bytes for the same seed, for ever (SHA-256 over seed and counter).
#[derive(Clone)]
pub struct SeededRandomness {
    seed: u64,
    counter: u64,
}

impl SeededRandomness {
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }
}

impl Randomness for SeededRandomness {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        for chunk in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new();
            hasher.update(self.seed.to_be_bytes());
            hasher.update(self.counter.to_be_bytes());
            self.counter += 1;
            chunk.copy_from_slice(&hasher.finalize()[..chunk.len()]);
        }
        Ok(())
    }
}

impl fmt::Debug for SeededRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededRandomness(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_fills_and_the_double_repeats() {
        let mut bytes = [0; 40];
        OsRandomness.fill(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 40]);
        let draw = || {
            let mut bytes = [0; 40];
            SeededRandomness::new(7).fill(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(draw(), draw());
    }
}
