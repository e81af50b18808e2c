//! Which layers an image has, and in which order.
//!
//! From what changes least to what changes most: skeleton, packages (dependencies first), wheels, what shares a layer, the recipe's
//! own files. Docker's graph driver takes a delta only where the layers that it has already are the first ones, and a
//! dependency is older than what depends on it.

use crate::pure::pins::{PackagePin, WheelPin};

/// As many layers as an image may have by default: overlay file systems end at about 125 (and Docker at 127).
pub const MOST_LAYERS: usize = 100;

/// Something that gets a layer of its own where there is room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    Package(PackagePin),
    Wheel(WheelPin),
}

impl Item {
    pub fn name(&self) -> &str {
        match self {
            Self::Package(pin) => &pin.name,
            Self::Wheel(pin) => &pin.name,
        }
    }

    pub fn version(&self) -> &str {
        match self {
            Self::Package(pin) => &pin.version,
            Self::Wheel(pin) => &pin.version,
        }
    }

    /// Of the file that it comes in, in bytes.
    fn size(&self) -> u64 {
        match self {
            Self::Package(pin) => pin.size,
            Self::Wheel(pin) => pin.size,
        }
    }
}

/// A layer of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Skeleton,
    One(Item),
    /// Several in one: of a path that two of them have, the later one's entry.
    Shared(Vec<Item>),
    Own,
}

/// Too many layers, and none left to share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image would have more than {most} layers: {base} of its base leave no room for its own; let the base have fewer packages"
)]
pub struct PlanError {
    pub base: usize,
    pub most: usize,
}

/// Plans the layers above those of the base.
///
/// If there are more than `most`, the smallest (by the size of the .deb or wheel, then by name) share one, which comes after all
/// others: it changes whenever one of those in it does.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    base: usize,
    skeleton: bool,
    packages: &[PackagePin],
    wheels: &[WheelPin],
    most: usize,
) -> Result<Vec<Step>, PlanError> {
    let packages = packages.iter().cloned().map(Item::Package);
    let items: Vec<Item> = packages
        .chain(wheels.iter().cloned().map(Item::Wheel))
        .collect();
    let around = base + usize::from(skeleton) + 1;
    let room = most.saturating_sub(around);
    if around > most || (room == 0 && !items.is_empty()) {
        return Err(PlanError { base, most });
    }
    let shared = match items.len() > room {
        true => items.len() - room + 1,
        false => 0,
    };
    let mut by_size: Vec<&Item> = items.iter().collect();
    by_size.sort_by_key(|item| (item.size(), item.name(), *item));
    let shared = &by_size[..shared];

    let mut steps: Vec<Step> = skeleton.then_some(Step::Skeleton).into_iter().collect();
    let (together, alone): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|item| shared.contains(item));
    steps.extend(alone.into_iter().cloned().map(Step::One));
    if !together.is_empty() {
        steps.push(Step::Shared(together.into_iter().cloned().collect()));
    }
    steps.push(Step::Own);
    Ok(steps)
}

impl Step {
    /// For people: `libc6 2.36-9`.
    pub fn title(&self) -> String {
        match self {
            Self::Skeleton => "skeleton".to_owned(),
            Self::One(item) => format!("{} {}", item.name(), item.version()),
            Self::Shared(items) => {
                let names: Vec<&str> = items.iter().map(Item::name).collect();
                format!("{} small packages: {}", items.len(), names.join(", "))
            }
            Self::Own => "the recipe's own files".to_owned(),
        }
    }

    /// What the layer holds, the same for all versions of it: by this, an older version of a layer is found.
    pub fn key(&self) -> String {
        match self {
            Self::Skeleton => "skeleton".to_owned(),
            Self::One(Item::Package(pin)) => format!("deb/{}", pin.name),
            Self::One(Item::Wheel(pin)) => format!("pypi/{}", pin.name),
            Self::Shared(_) => "shared".to_owned(),
            Self::Own => "own".to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::name::BlobDigest;

    fn package(name: &str, size: u64) -> PackagePin {
        PackagePin {
            name: name.to_owned(),
            version: "1".to_owned(),
            arch: "amd64".to_owned(),
            suite: "bookworm".to_owned(),
            path: format!("pool/{name}.deb"),
            size,
            digest: BlobDigest::of(name),
        }
    }

    fn keys(steps: &[Step]) -> Vec<String> {
        steps.iter().map(Step::key).collect()
    }

    #[test]
    fn dependencies_come_first_and_the_recipe_last() {
        let packages = [package("libc6", 9), package("app", 1)];
        let wheel = WheelPin {
            name: "fastapi".to_owned(),
            version: "0.1".to_owned(),
            file: "fastapi-0.1-py3-none-any.whl".to_owned(),
            size: 5,
            digest: BlobDigest::of("w"),
        };
        let steps = plan(
            0,
            true,
            &packages,
            std::slice::from_ref(&wheel),
            MOST_LAYERS,
        )
        .unwrap();
        assert_eq!(
            keys(&steps),
            ["skeleton", "deb/libc6", "deb/app", "pypi/fastapi", "own"]
        );
        let steps = plan(0, true, &packages, &[wheel], 4).unwrap();
        assert_eq!(keys(&steps), ["skeleton", "deb/libc6", "shared", "own"]);
        assert!(
            steps[2].title().ends_with("app, fastapi"),
            "{}",
            steps[2].title()
        );
    }

    #[test]
    fn never_more_than_the_bound_and_nothing_is_lost() {
        let packages: Vec<_> = (0..150).map(|n| package(&format!("p{n}"), n % 7)).collect();
        for (base, most) in [(0, 100), (30, 100), (0, 3), (97, 100), (98, 100)] {
            let steps = plan(base, base == 0, &packages, &[], most).unwrap();
            assert!(base + steps.len() <= most, "{base} {most}");
            let items: usize = steps
                .iter()
                .map(|step| match step {
                    Step::One(_) => 1,
                    Step::Shared(items) => items.len(),
                    _ => 0,
                })
                .sum();
            assert_eq!(items, 150);
        }
        assert!(plan(99, false, &packages, &[], 100).is_err());
        assert!(plan(99, false, &[], &[], 100).is_ok());
        assert!(plan(100, false, &[], &[], 100).is_err());
        let exactly: Vec<_> = (0..98).map(|n| package(&format!("p{n}"), n)).collect();
        let steps = plan(0, true, &exactly, &[], 100).unwrap();
        assert_eq!(steps.len(), 100);
        assert!(!keys(&steps).contains(&"shared".to_owned()));
    }
}
