//! Which file of an index a requirement takes.

use super::{IndexedFile, Requirement, Target, WheelName};

/// Why no file was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    #[error("{name} {version} has no wheel for {target}{}", among(.wheels))]
    NoneFits {
        name: String,
        version: String,
        target: String,
        /// The wheels of that version, which are for others.
        wheels: Vec<String>,
    },
    #[error(
        "{name} {version}: the wheel {file} fits, and its hash is none of those that the requirements list; write them anew \
         (`pip-compile --generate-hashes`, `uv export`)"
    )]
    OtherHash {
        name: String,
        version: String,
        file: String,
    },
    #[error("{name} {version}: {file} wants Python {wanted}, and the image has {target}")]
    Python {
        name: String,
        version: String,
        file: String,
        wanted: String,
        target: String,
    },
}

fn among(wheels: &[String]) -> String {
    match wheels {
        [] => ": the index has no wheel of this version at all".to_owned(),
        wheels => format!(", only {}", wheels.join(", ")),
    }
}

/// The file of the requirement's version that fits the interpreter best and has one of its hashes.
///
/// A yanked file may be chosen: a requirement names its version exactly (PEP 592, "Installers").
///
/// # Errors
/// [`ChooseError`].
pub fn choose<'a>(
    requirement: &Requirement,
    target: &Target,
    files: &'a [IndexedFile],
) -> Result<(WheelName, &'a IndexedFile), ChooseError> {
    let name = requirement.name.clone();
    let version = requirement.version.to_string();
    let wheels: Vec<(WheelName, &IndexedFile)> = files
        .iter()
        .filter_map(|file| Some((file.name.parse::<WheelName>().ok()?, file)))
        .filter(|(wheel, _)| wheel.name() == name && wheel.version() == &requirement.version)
        .collect();
    let mut fitting: Vec<(usize, WheelName, &IndexedFile)> = wheels
        .iter()
        .filter_map(|(wheel, file)| Some((wheel.rank(target)?, wheel.clone(), *file)))
        .collect();
    // The best tag; then the greatest build; then the name, so that the order of the index does not matter.
    fitting.sort_by(|(rank, wheel, _), (other_rank, other, _)| {
        rank.cmp(other_rank)
            .then_with(|| other.build().cmp(wheel.build()))
            .then_with(|| wheel.as_str().cmp(other.as_str()))
    });
    let Some((_, best, best_file)) = fitting.first() else {
        return Err(ChooseError::NoneFits {
            name,
            version,
            target: target.describe(),
            wheels: wheels.iter().map(|(wheel, _)| wheel.to_string()).collect(),
        });
    };
    if let Some(wanted) = &best_file.requires_python
        && !target.meets(wanted)
    {
        return Err(ChooseError::Python {
            name,
            version,
            file: best.to_string(),
            wanted: wanted.clone(),
            target: target.describe(),
        });
    }
    let listed = |file: &IndexedFile| match file.digest {
        Some(digest) => requirement.hashes.contains(&digest),
        // The index does not say: who fetches it compares.
        None => true,
    };
    match fitting.iter().find(|(_, _, file)| listed(file)) {
        Some((_, wheel, file)) => Ok((wheel.clone(), file)),
        None => Err(ChooseError::OtherHash {
            name,
            version,
            file: best.to_string(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::name::{Arch, BlobDigest};

    fn file(name: &str) -> IndexedFile {
        IndexedFile {
            name: name.to_owned(),
            url: format!("https://files.example.com/{name}"),
            digest: Some(BlobDigest::of(name)),
            size: Some(1),
            requires_python: None,
            yanked: false,
        }
    }

    fn wanted(version: &str, files: &[&str]) -> Requirement {
        Requirement {
            name: "a".to_owned(),
            version: version.parse().unwrap(),
            hashes: files.iter().map(BlobDigest::of).collect(),
            at: 0..0,
            line: 1,
        }
    }

    const PURE: &str = "a-1.0-py3-none-any.whl";
    const NATIVE: &str = "a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl";
    const REBUILT: &str = "a-1.0-2-cp311-cp311-manylinux_2_17_x86_64.whl";
    const ARM: &str = "a-1.0-cp311-cp311-manylinux_2_17_aarch64.whl";

    #[test]
    fn the_best_tag_with_a_listed_hash_wins() {
        let target = Target::new("3.11", Arch::Amd64, "2.36").unwrap();
        let files = [
            PURE,
            NATIVE,
            REBUILT,
            ARM,
            "a-1.1-py3-none-any.whl",
            "a-1.0.tar.gz",
        ]
        .map(file);
        for (hashes, chosen) in [
            (&[PURE, NATIVE, REBUILT, ARM][..], REBUILT),
            (&[PURE, NATIVE], NATIVE),
            (&[PURE], PURE),
        ] {
            let wanted = wanted("1", hashes);
            assert_eq!(choose(&wanted, &target, &files).unwrap().0.as_str(), chosen);
        }
        let error = choose(&wanted("1.0", &[ARM]), &target, &files).unwrap_err();
        assert!(matches!(error, ChooseError::OtherHash { file, .. } if file == REBUILT));
        let error = choose(&wanted("1.0", &[ARM]), &target, &[file(ARM)]).unwrap_err();
        assert!(error.to_string().contains(ARM), "{error}");
        let error = choose(&wanted("3", &[ARM]), &target, &files).unwrap_err();
        assert!(
            error.to_string().contains("no wheel of this version"),
            "{error}"
        );
    }

    #[test]
    fn a_wheel_for_other_interpreters_says_so() {
        let target = Target::new("3.11", Arch::Amd64, "2.36").unwrap();
        let mut file = file(PURE);
        file.requires_python = Some(">=3.12".to_owned());
        let error = choose(&wanted("1.0", &[PURE]), &target, &[file]).unwrap_err();
        assert!(matches!(error, ChooseError::Python { .. }), "{error}");
    }
}
