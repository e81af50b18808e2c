//! The pins of a set of images, anew where they are not fresh.

use std::collections::{BTreeMap, BTreeSet};

use super::{Failure, Packages, ResolveError, Resolver, State, ToBuild, state};
use crate::flow::operator::evaluate::Opened;
use crate::flow::progress::Progress;
use crate::pure::config::image::{Image, ImageSource, Recipe};
use crate::pure::name::{Arch, ImageName};
use crate::pure::pins::{BuildPin, PackagePin, Pin, Pins, RecipePin, RegistryPin, SuitePin};

pub(super) fn resolve(
    opened: &Opened,
    shipped: &Pins,
    wanted: &BTreeSet<ImageName>,
    update: bool,
    resolver: &dyn Resolver,
    progress: &dyn Progress,
) -> Result<Pins, Vec<Failure>> {
    let mut run = Run {
        opened,
        resolver,
        pins: start(opened),
    };
    let mut failures = Vec::new();
    // An image that another one continues comes first, since what it has decides what the other one needs.
    let mut order: Vec<&Image> = wanted
        .iter()
        .filter_map(|name| opened.project.images.get(name))
        .collect();
    order.sort_by_key(|image| depth(opened, image));
    progress.begin("Resolving images", order.len(), 0);
    for image in order {
        let name = &image.name;
        if update || state(opened, &run.pins, name) != State::Fresh {
            let below_failed = image
                .recipe()
                .and_then(|recipe| recipe.base.as_ref())
                .is_some_and(|(base, _)| {
                    failures
                        .iter()
                        .any(|failure: &Failure| failure.image == *base)
                });
            // What failed below says it already.
            if !below_failed && (update || !run.take_shipped(shipped, image)) {
                match run.image(image) {
                    Ok(pin) => {
                        run.pins.broken.remove(name.as_str());
                        run.pins.all.insert(name.clone(), pin);
                    }
                    Err(error) => failures.push(Failure {
                        image: name.clone(),
                        error,
                    }),
                }
            }
        }
        progress.done(name.as_str());
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    run.pins.prune();
    Ok(run.pins)
}

/// What the lock holds of images that there are, and for architectures that they are built for.
fn start(opened: &Opened) -> Pins {
    let mut pins = opened.pins.clone();
    pins.all.retain(|name, pin| {
        let Some(image) = opened.project.images.get(name) else {
            return false;
        };
        if let (Pin::Recipe(pin), Some(recipe)) = (pin, image.recipe()) {
            pin.builds.retain(|arch, _| recipe.arch.contains(arch));
        }
        true
    });
    pins
}

/// How many images lie below one.
fn depth(opened: &Opened, image: &Image) -> usize {
    below(opened, image).len()
}

/// The recipes that an image continues, the nearest first. A circle, which is reported elsewhere, ends it.
fn below<'a>(opened: &'a Opened, image: &'a Image) -> Vec<&'a Image> {
    let mut chain: Vec<&Image> = Vec::new();
    let mut next = image.recipe();
    while let Some((base, _)) = next.and_then(|recipe| recipe.base.as_ref()) {
        let Some(image) = opened.project.images.get(base) else {
            break;
        };
        if chain.iter().any(|seen| seen.name == image.name) {
            break;
        }
        chain.push(image);
        next = image.recipe();
    }
    chain
}

struct Run<'a> {
    opened: &'a Opened,
    resolver: &'a dyn Resolver,
    pins: Pins,
}

impl Run<'_> {
    /// Takes the pin that comes with forge for an image of its catalogue, if it fits.
    fn take_shipped(&mut self, shipped: &Pins, image: &Image) -> bool {
        let embedded = self
            .opened
            .text
            .get(&format!("images/{}/image.toml", image.name))
            .is_some_and(|file| file.embedded);
        let Some(pin) = shipped.all.get(&image.name).filter(|_| embedded) else {
            return false;
        };
        let mut tried = self.pins.clone();
        tried.broken.remove(image.name.as_str());
        tried
            .all
            .insert(image.name.clone(), pin.clone().moved_to(image.at));
        if state(self.opened, &tried, &image.name) != State::Fresh {
            return false;
        }
        self.pins = tried;
        let suites: BTreeSet<&str> = pin
            .packages()
            .map(|package| package.suite.as_str())
            .collect();
        for suite in suites {
            if let Some(pin) = shipped.suites.get(suite) {
                self.suite(suite, pin);
            }
        }
        true
    }

    fn suite(&mut self, name: &str, pin: &SuitePin) {
        let known = self
            .pins
            .suites
            .entry(name.to_owned())
            .or_insert_with(|| pin.clone());
        // Two of a run may have seen the index before and after it moved.
        if known.date < pin.date {
            *known = pin.clone();
        }
    }

    fn image(&mut self, image: &Image) -> Result<Pin, ResolveError> {
        match &image.source {
            ImageSource::Registry(registry) => {
                let digest = self
                    .resolver
                    .registry(&registry.repository, &registry.tag)?;
                Ok(Pin::Registry(RegistryPin {
                    at: image.at,
                    repository: registry.repository.clone(),
                    tag: registry.tag.clone(),
                    digest,
                }))
            }
            ImageSource::Recipe(recipe) => self.recipe(image, recipe),
        }
    }

    fn recipe(&mut self, image: &Image, recipe: &Recipe) -> Result<Pin, ResolveError> {
        let inputs = *self
            .opened
            .pins
            .inputs
            .get(&image.name)
            .ok_or("its inputs have no digest")?;
        let mut builds = BTreeMap::new();
        for arch in &recipe.arch {
            builds.insert(*arch, self.build(image, recipe, *arch)?);
        }
        Ok(Pin::Recipe(RecipePin {
            at: image.at,
            inputs,
            builds,
        }))
    }

    fn build(
        &mut self,
        image: &Image,
        recipe: &Recipe,
        arch: Arch,
    ) -> Result<BuildPin, ResolveError> {
        let chain = below(self.opened, image);
        let below: Vec<PackagePin> = chain
            .iter()
            .rev()
            .filter_map(|base| self.pins.all.get(&base.name)?.builds().get(&arch))
            .flat_map(|build| build.packages.clone())
            .collect();
        let found = match &recipe.debian {
            Some(debian) => self.resolver.debian(image, debian, arch, &below)?,
            None => Packages::default(),
        };
        for (name, pin) in &found.suites {
            self.suite(name, pin);
        }
        let wheels = match &recipe.python {
            Some(python) => {
                let path = format!("images/{}/{}", image.name, python.requirements);
                let requirements = self
                    .opened
                    .text
                    .get(&path)
                    .ok_or_else(|| format!("`{path}` is not there"))?;
                let all: Vec<PackagePin> = [below, found.packages.clone()].concat();
                self.resolver
                    .wheels(image, python, &requirements.bytes, arch, &all)?
            }
            None => Vec::new(),
        };
        let built = self.resolver.build(&ToBuild {
            opened: self.opened,
            image,
            arch,
            packages: &found.packages,
            wheels: &wheels,
            pins: &self.pins,
        })?;
        Ok(BuildPin {
            digest: built.digest,
            layers: built.layers,
            packages: found.packages,
            wheels,
        })
    }
}
