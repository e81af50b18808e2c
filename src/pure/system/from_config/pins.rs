//! The images of a host: each by the digest that the lock has for it.

use std::collections::BTreeMap;

use crate::pure::config::image::{Image, ImageSource};
use crate::pure::config::project::Project;
use crate::pure::name::{Arch, ImageName};
use crate::pure::pins::{Pin, Pins};
use crate::pure::system::facts::Facts;
use crate::pure::system::{BUILT_REGISTRY, BUILT_TAG, Host, PinnedImage};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// The digest of every image that a service of the host uses.
pub(super) fn pin_images(
    facts: &Facts,
    host: &Host,
    project: &Project,
    pins: &Pins,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<ImageName, PinnedImage> {
    let mut pinned = BTreeMap::new();
    for fact in facts.of("service") {
        let Some(value) = fact.value.get("image") else {
            continue;
        };
        let Some(image) = value.as_str().and_then(|name| project.images.get(name)) else {
            continue;
        };
        if pinned.contains_key(&image.name) {
            continue;
        }
        if let Some(pin) = pin(image, host.arch.parse().ok(), value.at, pins, diagnostics) {
            pinned.insert(image.name.clone(), pin);
        }
    }
    pinned
}

fn pin(
    image: &Image,
    arch: Option<Arch>,
    used_at: Span,
    pins: &Pins,
    diagnostics: &mut Diagnostics,
) -> Option<PinnedImage> {
    let command = format!("run `forge lock {}`", image.name);
    let Some(pin) = pins.all.get(&image.name) else {
        if pins.may_hold(image.name.as_str()) {
            return None;
        }
        diagnostics.push(
            Diagnostic::error(
                codes::UNPINNED,
                format!("image `{}` is not in forge.lock", image.name),
            )
            .at(used_at, "used here")
            .help(command),
        );
        return None;
    };
    let stale = || {
        Diagnostic::error(
            codes::STALE_PIN,
            format!("forge.lock is out of date for image `{}`", image.name),
        )
    };
    match (&image.source, pin) {
        (ImageSource::Registry(wanted), Pin::Registry(pin)) => {
            if pin.repository == wanted.repository && pin.tag == wanted.tag {
                return Some(PinnedImage {
                    repository: pin.repository.clone(),
                    tag: pin.tag.clone(),
                    digest: pin.digest,
                });
            }
            diagnostics.push(
                stale()
                    .at(pin.at, format!("{}:{} is locked", pin.repository, pin.tag))
                    .also(
                        wanted.tag_at,
                        format!("{}:{} is wanted", wanted.repository, wanted.tag),
                    )
                    .help(command),
            );
        }
        (ImageSource::Recipe(recipe), Pin::Recipe(pin)) => {
            if let Some(now) = pins.inputs.get(&image.name)
                && *now != pin.inputs
            {
                diagnostics.push(
                    stale()
                        .at(pin.at, "locked as it was")
                        .also(
                            recipe.at,
                            "the recipe, its files, its base or forge's rules have changed",
                        )
                        .help(command),
                );
                return None;
            }
            // What is wrong with the host's architecture is said where it stands.
            let arch = arch?;
            if let Some(build) = pin.builds.get(&arch) {
                return Some(PinnedImage {
                    repository: format!("{BUILT_REGISTRY}/{}", image.name),
                    tag: BUILT_TAG.to_owned(),
                    digest: build.digest,
                });
            }
            diagnostics.push(
                stale()
                    .at(pin.at, format!("nothing is locked for {arch}"))
                    .also(used_at, "used here")
                    .help(command),
            );
        }
        (ImageSource::Registry(_), Pin::Recipe(pin)) => {
            diagnostics.push(
                stale()
                    .at(pin.at, "a recipe is locked")
                    .also(image.at, "it comes from a registry")
                    .help(command),
            );
        }
        (ImageSource::Recipe(_), Pin::Registry(pin)) => {
            diagnostics.push(
                stale()
                    .at(pin.at, "an image of a registry is locked")
                    .also(image.at, "it is a recipe")
                    .help(command),
            );
        }
    }
    None
}
