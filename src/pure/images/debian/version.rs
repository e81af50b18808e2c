//! Versions and their order (Debian Policy, section 5.6.12).
//!
//! Why no crate: `debversion` takes `1a` and `1a0` for different versions, which dpkg does not, and builds big integers to
//! compare two runs of digits. This compares slices and allocates nothing.

use std::cmp::Ordering;
use std::fmt;

/// A version: `[epoch:]upstream[-revision]`. Two that are equal may be spelt differently: `1`, `0:1` and `1-0` are one version.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    text: &'a str,
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no version of a Debian package: {reason}", .text.escape_debug())]
pub struct VersionError {
    pub text: String,
    pub reason: &'static str,
}

impl<'a> Version<'a> {
    /// Reads a version as strictly as dpkg does.
    ///
    /// # Errors
    /// [`VersionError`] if it is empty, has characters that no version may have, or an epoch that is no number.
    pub fn parse(text: &'a str) -> Result<Self, VersionError> {
        let refuse = |reason| VersionError {
            text: text.chars().take(200).collect(),
            reason,
        };
        let (epoch, rest) = match text.split_once(':') {
            None => (0, text),
            Some((epoch, rest)) => {
                // `u32` would take a sign too.
                if epoch.is_empty() || !epoch.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(refuse("its epoch is no number"));
                }
                let epoch = epoch
                    .parse()
                    .ok()
                    .filter(|epoch| *epoch <= i32::MAX as u32)
                    .ok_or_else(|| refuse("its epoch is too large"))?;
                (epoch, rest)
            }
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            None => (rest, ""),
            Some((_, "")) => return Err(refuse("its revision is empty")),
            Some((upstream, revision)) => (upstream, revision),
        };
        if upstream.is_empty() {
            return Err(refuse("it is empty"));
        }
        if !upstream.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(refuse("it does not begin with a digit"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~".contains(&byte);
        if !upstream
            .bytes()
            .all(|byte| plain(byte) || byte == b'-' || byte == b':')
            || !revision.bytes().all(plain)
        {
            return Err(refuse("it has a character that no version may have"));
        }
        Ok(Self {
            text,
            epoch,
            upstream,
            revision,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }
}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text)
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version<'_> {}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream, other.upstream))
            .then_with(|| compare_part(self.revision, other.revision))
    }
}

/// Compares the non-digits, then the digits, and so on until something differs.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let words = (take(&mut a, false), take(&mut b, false));
        let numbers = (take(&mut a, true), take(&mut b, true));
        let order =
            compare_words(words.0, words.1).then_with(|| compare_numbers(numbers.0, numbers.1));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the longest beginning that is all digits, or has none.
fn take<'a>(rest: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = rest
        .iter()
        .position(|byte| byte.is_ascii_digit() != digits)
        .unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn compare_words(a: &[u8], b: &[u8]) -> Ordering {
    fn weight(byte: Option<&u8>) -> u16 {
        match byte {
            Some(b'~') => 0,
            None => 1,
            Some(byte) if byte.is_ascii_alphabetic() => u16::from(*byte) + 2,
            Some(byte) => u16::from(*byte) + 258,
        }
    }
    (0..a.len().max(b.len()))
        .map(|at| weight(a.get(at)).cmp(&weight(b.get(at))))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// No digits at all count as zero; numbers may be of any length.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    fn significant(digits: &[u8]) -> &[u8] {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.split_at(zeros).1
    }
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each is lower than the next, as `dpkg --compare-versions` says.
    const RISING: &[&str] = &[
        "0~~",
        "0~~a",
        "0~",
        "0",
        "0+",
        "1~rc1-1",
        "1~rc1-1+b1",
        "1-1~bpo12+1",
        "1-1",
        "1-1+b1",
        "1-1.1",
        "1-2",
        "1a-1",
        "1.0-1",
        "1.0a-1",
        "1.0+dfsg-1",
        "1.0.1-1",
        "1.1-1",
        "1.9-1",
        "1.10-1",
        "2.36-9+deb12u9",
        "2.36-9+deb12u13",
        "15.9-0+deb12u1",
        "15.20-0+deb12u1",
        "99999999999999999999999999999999999998",
        "99999999999999999999999999999999999999",
        "1:0",
        "1:1.2.13.dfsg-1",
        "5:7.0.15-1~deb12u5",
    ];

    const EQUAL: &[(&str, &str)] = &[
        ("1", "0:1"),
        ("1", "1-0"),
        ("1a", "1a0"),
        ("1.0", "1.00"),
        ("1.", "1.0"),
        ("007-001", "7-1"),
    ];

    fn version(text: &str) -> Version<'_> {
        Version::parse(text).unwrap()
    }

    #[test]
    fn orders_as_dpkg_does() {
        for (at, low) in RISING.iter().enumerate() {
            for (other, high) in RISING.iter().enumerate() {
                assert_eq!(
                    version(low).cmp(&version(high)),
                    at.cmp(&other),
                    "{low} {high}"
                );
            }
        }
        for (a, b) in EQUAL {
            assert_eq!(version(a), version(b), "{a} {b}");
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for bad in [
            "",
            ":1",
            "a:1",
            "+1:1",
            "1:",
            "-1",
            "1-",
            "1-1_2",
            "a1",
            "1 2",
            "1\n",
            "1\0",
            "1é",
            "1:1:é",
            "99999999999999999999:1",
            "4294967295:1",
            "1_2-1",
        ] {
            assert!(Version::parse(bad).is_err(), "{bad:?}");
        }
    }

    fn any_version() -> impl Strategy<Value = String> {
        "([0-9]:)?[0-9][0-9a~+.-]{0,6}(-[0-9a~+.]{1,3})?"
            .prop_filter("a version", |text| Version::parse(text).is_ok())
    }

    proptest! {
        #[test]
        fn is_a_total_order(a in any_version(), b in any_version(), c in any_version()) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        }
    }
}
