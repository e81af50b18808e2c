//! The name of a wheel's file (PEP 427, "File name convention"): what it is, and what it is for.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;

use super::{Target, normalise};

/// `NAME-VERSION(-BUILD)?-PYTHON-ABI-PLATFORM.whl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    file: String,
    name: String,
    version: Version,
    build: (u64, String),
    pythons: Vec<String>,
    abis: Vec<String>,
    platforms: Vec<String>,
}

/// A text that is no [`WheelName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the name of a wheel: {why}", file.escape_debug())]
pub struct WheelNameError {
    pub file: String,
    pub why: &'static str,
}

/// A compressed tag expands to the product of its parts; beyond this many, nobody means it.
const MOST_TAGS: usize = 1000;

impl WheelName {
    /// The file's name, as it was given.
    pub fn as_str(&self) -> &str {
        &self.file
    }

    /// Of the project, normalised.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The build tag: a greater one is to be preferred.
    pub fn build(&self) -> &(u64, String) {
        &self.build
    }

    /// How well it fits, 0 the best; nothing if it does not.
    pub fn rank(&self, target: &Target) -> Option<usize> {
        let mut best = None;
        for python in &self.pythons {
            for abi in &self.abis {
                for platform in &self.platforms {
                    let rank = target.rank(&format!("{python}-{abi}-{platform}"));
                    best = match (best, rank) {
                        (Some(best), Some(rank)) => Some(std::cmp::min(best, rank)),
                        (best, rank) => best.or(rank),
                    };
                }
            }
        }
        best
    }
}

impl FromStr for WheelName {
    type Err = WheelNameError;

    fn from_str(file: &str) -> Result<Self, WheelNameError> {
        let refuse = |why| WheelNameError {
            file: file.to_owned(),
            why,
        };
        let stem = file
            .strip_suffix(".whl")
            .ok_or_else(|| refuse("it does not end in `.whl`"))?;
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_.+!".contains(c);
        if stem.len() > 240 || !stem.chars().all(safe) {
            return Err(refuse(
                "it is too long, or has characters that do not belong there",
            ));
        }
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts.as_slice() {
            [name, version, tags @ ..] if tags.len() == 3 => (name, version, None, tags),
            [name, version, build, tags @ ..] if tags.len() == 3 => {
                (name, version, Some(*build), tags)
            }
            _ => return Err(refuse("it has not five or six parts between `-`")),
        };
        let build = match build {
            None => (0, String::new()),
            Some(text) => {
                let end = text
                    .bytes()
                    .position(|b| !b.is_ascii_digit())
                    .unwrap_or(text.len());
                let (number, rest) = text.split_at(end);
                let number = number
                    .parse()
                    .map_err(|_| refuse("its build tag does not begin with a number"))?;
                (number, rest.to_owned())
            }
        };
        let split = |set: &str| -> Vec<String> { set.split('.').map(str::to_owned).collect() };
        let (pythons, abis, platforms) = (split(tags[0]), split(tags[1]), split(tags[2]));
        let all = [&pythons, &abis, &platforms];
        if all.iter().any(|set| set.iter().any(String::is_empty)) {
            return Err(refuse("a tag is empty"));
        }
        if all.iter().map(|set| set.len()).product::<usize>() > MOST_TAGS {
            return Err(refuse("it has too many tags"));
        }
        Ok(Self {
            file: file.to_owned(),
            name: normalise(name)
                .ok_or_else(|| refuse("it does not begin with a project's name"))?,
            // In a file name `_` stands for the `-` that a version may hold.
            version: version
                .replace('_', "-")
                .parse()
                .map_err(|_| refuse("its second part is no version"))?,
            build,
            pythons,
            abis,
            platforms,
        })
    }
}

impl fmt::Display for WheelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.file)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::name::Arch;

    #[test]
    fn reads_names_and_tags() {
        let target = Target::new("3.11", Arch::Amd64, "2.36").unwrap();
        for (file, name, version, build, fits) in [
            (
                "fastapi-0.115.0-py3-none-any.whl",
                "fastapi",
                "0.115.0",
                0,
                true,
            ),
            ("six-1.16.0-py2.py3-none-any.whl", "six", "1.16.0", 0, true),
            (
                "asyncpg-0.29.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "asyncpg",
                "0.29.0",
                0,
                true,
            ),
            (
                "cryptography-43.0.1-cp39-abi3-manylinux_2_28_x86_64.whl",
                "cryptography",
                "43.0.1",
                0,
                true,
            ),
            (
                "Zope.Interface-6.0-7local-cp312-cp312-win_amd64.whl",
                "zope-interface",
                "6.0",
                7,
                false,
            ),
            (
                "torch-2.1.0+cpu-cp311-cp311-linux_x86_64.whl",
                "torch",
                "2.1.0+cpu",
                0,
                true,
            ),
            (
                "x-1-cp311-cp311-manylinux_2_17_aarch64.whl",
                "x",
                "1",
                0,
                false,
            ),
        ] {
            let wheel: WheelName = file.parse().unwrap();
            assert_eq!(wheel.name(), name);
            assert_eq!(wheel.version().to_string(), version);
            assert_eq!(wheel.build().0, build);
            assert_eq!(wheel.rank(&target).is_some(), fits, "{file}");
            assert_eq!(wheel.to_string(), file);
        }
    }

    #[test]
    fn refuses_what_is_no_wheel() {
        for bad in [
            "",
            ".whl",
            "a-1.tar.gz",
            "a-1-py3-none-any",
            "a-1-py3-none.whl",
            "a-1-1-1-py3-none-any.whl",
            "a-1-x-py3-none-any.whl",
            "a-version-py3-none-any.whl",
            "-1-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a/b-1-py3-none-any.whl",
            "a-1-py3-none-any\n.whl",
            "a-1-py3..py2-none-any.whl",
            "ä-1-py3-none-any.whl",
            &format!("a-1-{}-none-any.whl", "p.".repeat(120)),
        ] {
            assert!(bad.parse::<WheelName>().is_err(), "{bad:?}");
        }
    }
}
