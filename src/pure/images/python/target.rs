//! The interpreter that wheels are for.

use std::collections::BTreeMap;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};

use crate::pure::name::Arch;

/// CPython in an image: what its tags and its markers are.
#[derive(Clone, Debug)]
pub struct Target {
    /// As in `(3, 11)`.
    python: (u32, u32),
    arch: Arch,
    glibc: (u32, u32),
    version: Version,
    markers: MarkerEnvironment,
    /// The rank of each supported tag, best first.
    ranks: BTreeMap<String, usize>,
}

/// Why there is no such interpreter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("`{0}` is no version of Python 3: write it as `3.11`")]
    Python(String),
    #[error("`{0}` is no version of glibc: it begins as in `2.36`")]
    Glibc(String),
}

/// The oldest glibc that a tag names (PEP 600): before it, no wheel was built.
const OLDEST_GLIBC: [(Arch, u32); 2] = [(Arch::Amd64, 5), (Arch::Arm64, 17)];
/// What the numbered tags were called before (PEP 513, 571, 599).
const LEGACY: [(u32, &str); 3] = [
    (17, "manylinux2014"),
    (12, "manylinux2010"),
    (5, "manylinux1"),
];
/// The first interpreter with a stable ABI.
const FIRST_ABI3: u32 = 2;
/// Beyond these, a version is a mistake; bounds the number of tags.
const LAST_MINOR: u32 = 99;

impl Target {
    /// The interpreter `python`, as in `3.11` or `3.11.2`, on `arch`, linked with a `glibc` whose version begins as in `2.36` (a
    /// Debian version does: `2.36-9+deb12u13`).
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn new(python: &str, arch: Arch, glibc: &str) -> Result<Self, TargetError> {
        let no_python = || TargetError::Python(python.to_owned());
        let numbers: Option<Vec<u32>> = python.split('.').map(number).collect();
        let (minor, full) = match numbers.as_deref() {
            Some([3, minor]) => (*minor, format!("3.{minor}.0")),
            Some([3, minor, patch]) => (*minor, format!("3.{minor}.{patch}")),
            _ => return Err(no_python()),
        };
        let glibc = glibc_version(glibc).ok_or_else(|| TargetError::Glibc(glibc.to_owned()))?;
        if minor > LAST_MINOR || glibc.1 > LAST_MINOR {
            return Err(no_python());
        }
        let short = format!("3.{minor}");
        let markers = MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name: "posix",
            platform_machine: machine(arch),
            platform_python_implementation: "CPython",
            // Of the kernel that it will run on: nobody knows, and no requirement may depend on it.
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &full,
            python_version: &short,
            sys_platform: "linux",
        };
        Ok(Self {
            python: (3, minor),
            arch,
            glibc,
            version: full.parse().map_err(|_| no_python())?,
            markers: markers.try_into().map_err(|_| no_python())?,
            ranks: ranks(minor, &platforms(arch, glibc.1)),
        })
    }

    /// As in `3.11`.
    pub fn python(&self) -> String {
        format!("{}.{}", self.python.0, self.python.1)
    }

    pub fn arch(&self) -> Arch {
        self.arch
    }

    pub fn markers(&self) -> &MarkerEnvironment {
        &self.markers
    }

    /// The interpreter's tag (PEP 425), as in `cp311`; its ABI is called the same.
    pub fn interpreter(&self) -> String {
        format!("cp{}{}", self.python.0, self.python.1)
    }

    /// The tags of platforms, best first, `any` left out.
    pub fn platforms(&self) -> Vec<String> {
        platforms(self.arch, self.glibc.1)
    }

    /// How good a tag is, 0 the best; nothing if the interpreter does not take it.
    pub fn rank(&self, tag: &str) -> Option<usize> {
        self.ranks.get(tag).copied()
    }

    /// Whether a `requires-python` (PEP 345) lets this interpreter in. What cannot be read lets nobody in.
    pub fn meets(&self, requires_python: &str) -> bool {
        requires_python
            .parse::<VersionSpecifiers>()
            .is_ok_and(|wanted| wanted.contains(&self.version))
    }

    /// A few words: `CPython 3.11 on amd64 with glibc 2.36`.
    pub fn describe(&self) -> String {
        let (major, minor) = self.glibc;
        format!(
            "CPython {} on {} with glibc {major}.{minor}",
            self.python(),
            self.arch
        )
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() < 6 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn glibc_version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let end = rest
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((
        number(major).filter(|major| *major == 2)?,
        number(&rest[..end])?,
    ))
}

/// `platform.machine()`, which tags use too.
fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    }
}

/// The newest glibc first; a legacy name right after the number that it stands for (PEP 600).
fn platforms(arch: Arch, glibc: u32) -> Vec<String> {
    let machine = machine(arch);
    let oldest = OLDEST_GLIBC
        .iter()
        .find(|(known, _)| *known == arch)
        .map_or(0, |(_, oldest)| *oldest);
    let mut all = Vec::new();
    for minor in (oldest..=glibc).rev() {
        all.push(format!("manylinux_2_{minor}_{machine}"));
        let legacy = LEGACY.iter().find(|(number, _)| *number == minor);
        all.extend(legacy.map(|(_, name)| format!("{name}_{machine}")));
    }
    all.push(format!("linux_{machine}"));
    all
}

/// The supported tags in their order ("Platform compatibility tags", section "Use"): for this very interpreter, for its stable
/// ABI, for any ABI, then for what any older Python 3 runs too.
fn ranks(minor: u32, platforms: &[String]) -> BTreeMap<String, usize> {
    let own = format!("cp3{minor}");
    let mut tags = Vec::new();
    let mut each = |python: &str, abi: &str| {
        tags.extend(
            platforms
                .iter()
                .map(|platform| format!("{python}-{abi}-{platform}")),
        );
    };
    each(&own, &own);
    each(&own, "abi3");
    each(&own, "none");
    for older in (FIRST_ABI3..minor).rev() {
        each(&format!("cp3{older}"), "abi3");
    }
    let pure: Vec<String> = std::iter::once(format!("py3{minor}"))
        .chain(std::iter::once("py3".to_owned()))
        .chain((0..minor).rev().map(|older| format!("py3{older}")))
        .collect();
    for python in &pure {
        each(python, "none");
    }
    tags.push(format!("{own}-none-any"));
    tags.extend(pure.iter().map(|python| format!("{python}-none-any")));
    let mut ranks = BTreeMap::new();
    for (rank, tag) in tags.into_iter().enumerate() {
        ranks.entry(tag).or_insert(rank);
    }
    ranks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_ranked_as_the_specification_says() {
        let target = Target::new("3.11", Arch::Amd64, "2.36-9+deb12u13").unwrap();
        let rank = |tag: &str| target.rank(tag).unwrap();
        let order = [
            "cp311-cp311-manylinux_2_36_x86_64",
            "cp311-cp311-manylinux_2_17_x86_64",
            "cp311-cp311-manylinux2014_x86_64",
            "cp311-cp311-manylinux1_x86_64",
            "cp311-cp311-linux_x86_64",
            "cp311-abi3-manylinux_2_34_x86_64",
            "cp311-none-manylinux_2_34_x86_64",
            "cp310-abi3-manylinux_2_17_x86_64",
            "cp32-abi3-manylinux_2_17_x86_64",
            "py311-none-manylinux_2_17_x86_64",
            "py3-none-manylinux_2_17_x86_64",
            "cp311-none-any",
            "py311-none-any",
            "py3-none-any",
            "py310-none-any",
            "py30-none-any",
        ];
        for pair in order.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        for other in [
            "cp311-cp311-manylinux_2_37_x86_64",
            "cp311-cp311-manylinux_2_17_aarch64",
            "cp311-cp311-musllinux_1_1_x86_64",
            "cp311-cp311-macosx_10_9_x86_64",
            "cp312-abi3-manylinux_2_17_x86_64",
            "cp310-cp310-manylinux_2_17_x86_64",
            "cp311-cp311-any",
            "py2-none-any",
            "py312-none-any",
        ] {
            assert_eq!(target.rank(other), None, "{other}");
        }
        let arm = Target::new("3.11.2", Arch::Arm64, "2.36").unwrap();
        assert!(arm.rank("cp311-cp311-manylinux_2_17_aarch64").is_some());
        assert!(arm.rank("cp311-cp311-manylinux_2_16_aarch64").is_none());
        assert!(arm.rank("cp311-cp311-manylinux2014_aarch64").is_some());
    }

    #[test]
    fn refuses_what_is_no_interpreter() {
        for bad in ["", "3", "2.7", "3.x", "3.11.2.1", "3.999", "3.-1", "٣.11"] {
            assert!(Target::new(bad, Arch::Amd64, "2.36").is_err(), "{bad:?}");
        }
        for bad in ["", "2", "3.1", "x", "2.", "2.99999999999"] {
            assert!(Target::new("3.11", Arch::Amd64, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn compares_requires_python() {
        let target = Target::new("3.11.2", Arch::Amd64, "2.36").unwrap();
        for (wanted, meets) in [
            (">=3.8", true),
            (">=3.8,<4", true),
            ("!=3.11.*", false),
            (">=3.12", false),
            ("==3.11.2", true),
            (">=3.6, !=3.9.*", true),
            ("nonsense", false),
        ] {
            assert_eq!(target.meets(wanted), meets, "{wanted}");
        }
    }
}
