//! Whether the lock fits the project.

use std::collections::BTreeMap;
use std::fmt;

use crate::flow::operator::evaluate::Opened;
use crate::pure::config::image::{Image, ImageSource, Recipe};
use crate::pure::config::project::Project;
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::pins::{BuildPin, Pin, Pins, RecipePin, RegistryPin};

/// How the pin of an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Fresh,
    /// It has none, or one that cannot be read.
    Missing,
    Stale(Reason),
}

/// What has changed since an image was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It comes from a registry now, and was a recipe; or the reverse.
    Source,
    Tag {
        locked: String,
        wanted: String,
    },
    /// The recipe, its files, its base, or forge's rules for it.
    Recipe,
    /// Nothing is locked for this architecture.
    Arch(Arch),
    /// The image that it continues was locked anew.
    Base(ImageName),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("as the lock has it"),
            Self::Missing => f.write_str("not in the lock"),
            Self::Stale(Reason::Source) => {
                f.write_str("the lock is of before it came from elsewhere")
            }
            Self::Stale(Reason::Tag { locked, wanted }) => {
                write!(f, "the lock has {locked}, wanted is {wanted}")
            }
            Self::Stale(Reason::Recipe) => {
                f.write_str("the recipe has changed since it was locked")
            }
            Self::Stale(Reason::Arch(arch)) => write!(f, "the lock has nothing for {arch}"),
            Self::Stale(Reason::Base(base)) => {
                write!(f, "`{base}`, which it continues, was locked anew since")
            }
        }
    }
}

/// How an image of the project is pinned by `pins`, whose recipes are compared with the inputs that `opened` has.
pub fn state(opened: &Opened, pins: &Pins, name: &ImageName) -> State {
    let Some(image) = opened.project.images.get(name) else {
        return State::Missing;
    };
    if pins.broken.contains(name.as_str()) {
        return State::Missing;
    }
    match (&image.source, pins.all.get(name)) {
        (_, None) => State::Missing,
        (ImageSource::Registry(wanted), Some(Pin::Registry(pin))) => {
            let locked = format!("{}:{}", pin.repository, pin.tag);
            let wanted = format!("{}:{}", wanted.repository, wanted.tag);
            if locked == wanted {
                State::Fresh
            } else {
                State::Stale(Reason::Tag { locked, wanted })
            }
        }
        (ImageSource::Recipe(recipe), Some(Pin::Recipe(pin))) => {
            recipe_reason(opened, pins, image, recipe, pin).map_or(State::Fresh, State::Stale)
        }
        _ => State::Stale(Reason::Source),
    }
}

fn recipe_reason(
    opened: &Opened,
    pins: &Pins,
    image: &Image,
    recipe: &Recipe,
    pin: &RecipePin,
) -> Option<Reason> {
    if opened
        .pins
        .inputs
        .get(&image.name)
        .is_some_and(|inputs| *inputs != pin.inputs)
    {
        return Some(Reason::Recipe);
    }
    for arch in &recipe.arch {
        let Some(build) = pin.builds.get(arch) else {
            return Some(Reason::Arch(*arch));
        };
        let Some((base, _)) = &recipe.base else {
            continue;
        };
        let below = pins.all.get(base).and_then(|pin| pin.builds().get(arch));
        if !below.is_some_and(|below| build.layers.starts_with(&below.layers)) {
            return Some(Reason::Base(base.clone()));
        }
    }
    None
}

/// Pins that fit every image and mean nothing: to learn which images are used before they are pinned.
pub(super) fn stand_ins(project: &Project) -> Pins {
    let all = project.images.values().map(|image| {
        let pin = match &image.source {
            ImageSource::Registry(registry) => Pin::Registry(RegistryPin {
                at: image.at,
                repository: registry.repository.clone(),
                tag: registry.tag.clone(),
                digest: ManifestDigest::of([]),
            }),
            ImageSource::Recipe(recipe) => Pin::Recipe(RecipePin {
                at: image.at,
                inputs: BlobDigest::of([]),
                builds: recipe
                    .arch
                    .iter()
                    .map(|arch| (*arch, nothing()))
                    .collect::<BTreeMap<_, _>>(),
            }),
        };
        (image.name.clone(), pin)
    });
    Pins {
        all: all.collect(),
        ..Pins::default()
    }
}

fn nothing() -> BuildPin {
    BuildPin {
        digest: ManifestDigest::of([]),
        layers: Vec::new(),
        packages: Vec::new(),
        wheels: Vec::new(),
    }
}
