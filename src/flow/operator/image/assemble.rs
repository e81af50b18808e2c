//! The layers of an image, made or found, and what comes of them: configuration and manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};

use super::build::BuildError;
use crate::edge::store::{Store, Writing};
use crate::pure::config::image::{Debian, Image, Python, Recipe};
use crate::pure::config::project::ProjectText;
use crate::pure::images::accounts::Accounts;
use crate::pure::images::layer::{Facts, ImagePath, Tree};
use crate::pure::images::manifest::{self, Layer};
use crate::pure::images::own_files::{Own, concatenate};
use crate::pure::images::plan::{Item, MOST_LAYERS, Step, plan};
use crate::pure::images::rules::{Bundle, Pattern, Prune, Rules};
use crate::pure::images::{config, elf, shared, skeleton};
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::{Link, media};
use crate::pure::pins::{PackagePin, WheelPin};

/// Why an ingredient is not to be had; each kind has its own words.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A file that contents are kept in while a layer is made.
pub trait Spool: Read + Write + Seek {}

impl<T: Read + Write + Seek> Spool for T {}

/// A layer in the store, and what is known of it.
#[derive(Clone, Debug)]
pub struct Made {
    pub layer: Link,
    pub facts: Facts,
}

/// Where the layers of packages and wheels come from.
pub trait Ingredients: Debug {
    /// Everything that these pins of an image name is in the store afterwards, fetched if it was not.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn ensure(
        &self,
        image: &ImageName,
        packages: &[PackagePin],
        wheels: &[WheelPin],
    ) -> Result<(), Failure>;

    /// A layer for each package, in their order.
    ///
    /// # Errors
    /// Why one cannot be unpacked.
    fn packages(&self, pins: &[PackagePin], prune: &Prune) -> Result<Vec<Made>, Failure>;

    /// A layer for each wheel, in their order, for an image with these packages.
    ///
    /// # Errors
    /// Why one cannot be installed.
    fn wheels(
        &self,
        pins: &[WheelPin],
        python: &Python,
        packages: &[PackagePin],
    ) -> Result<Vec<Made>, Failure>;

    /// An empty file that is gone when it is dropped.
    ///
    /// # Errors
    /// Of the disk.
    fn spool(&self) -> io::Result<Box<dyn Spool>>;
}

/// A recipe with what it was resolved to.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub image: &'a Image,
    pub recipe: &'a Recipe,
    /// Dependencies first.
    pub packages: &'a [PackagePin],
    pub wheels: &'a [WheelPin],
}

/// An image, with its small blobs put and not yet committed.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) manifest: Link,
    pub(super) config: Link,
    pub(super) layers: Vec<Layer>,
}

/// What is needed to assemble.
#[derive(Debug)]
pub(super) struct Assembler<'a, 'w> {
    pub(super) store: &'a dyn Store,
    pub(super) writer: &'w mut dyn Writing,
    pub(super) ingredients: &'a dyn Ingredients,
    pub(super) text: &'a ProjectText,
    pub(super) rules: &'a Rules,
    pub(super) arch: Arch,
    /// The base first.
    pub(super) parts: &'a [Part<'a>],
}

/// The image while it grows.
#[derive(Default)]
struct Growing<'a> {
    layers: Vec<Layer>,
    facts: Vec<Facts>,
    packages: BTreeMap<&'a str, &'a PackagePin>,
    /// The layers of packages, from which bundles are made.
    of_package: BTreeMap<&'a str, Link>,
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn assemble(&mut self) -> Result<Assembled, BuildError> {
        let mut image = Growing::default();
        for at in 0..self.parts.len() {
            self.part(at, &mut image)?;
        }
        let run = config::run_of(self.parts.iter().map(|part| &part.recipe.run));
        let facts: Vec<&Facts> = image.facts.iter().collect();
        let library_path = run.env.get("LD_LIBRARY_PATH").map(String::as_str);
        let missing = elf::missing(&facts, self.arch, library_path);
        if !missing.is_empty() {
            return Err(BuildError::Libraries {
                image: self.name(),
                cut: self.cut(&image),
                missing,
            });
        }
        let history: Vec<(BlobDigest, String)> = image
            .layers
            .iter()
            .map(|layer| (layer.link.digest, layer.title.clone()))
            .collect();
        let bytes = config::encode(self.arch, &run, &history)?;
        let config = self.put(media::IMAGE_CONFIG, &bytes)?;
        let bytes = manifest::image(&config, &image.layers, &run.labels)?;
        let manifest = self.put(media::MANIFEST, &bytes)?;
        Ok(Assembled {
            manifest,
            config,
            layers: image.layers,
        })
    }

    fn name(&self) -> String {
        let last = self.parts.last();
        last.map_or_else(String::new, |part| part.image.name.to_string())
    }

    /// The packages that rules or recipes cut: one of them may have what is missing.
    fn cut(&self, image: &Growing<'_>) -> Vec<String> {
        let recipes = self
            .parts
            .iter()
            .filter_map(|part| part.recipe.debian.as_ref());
        let excluded = recipes.flat_map(|debian| debian.exclude.iter().cloned());
        let mut cut: BTreeSet<String> = excluded.collect();
        cut.retain(|name| !image.packages.contains_key(name.as_str()));
        cut.into_iter().collect()
    }

    /// The layers of one recipe, above those of its base.
    fn part(&mut self, at: usize, image: &mut Growing<'a>) -> Result<(), BuildError> {
        let part = &self.parts[at];
        let mut packages = Vec::new();
        for pin in part.packages {
            match image.packages.get(pin.name.as_str()) {
                Some(known) if known.version == pin.version => {}
                Some(known) => {
                    return Err(BuildError::Base {
                        image: part.image.name.clone(),
                        package: pin.name.clone(),
                        version: pin.version.clone(),
                        base: known.version.clone(),
                    });
                }
                None => packages.push(pin.clone()),
            }
        }
        let is_debian = |part: &Part<'_>| part.recipe.debian.is_some();
        let first_debian = self.parts.iter().position(is_debian);
        let steps = plan(
            image.layers.len(),
            first_debian == Some(at),
            &packages,
            part.wheels,
            MOST_LAYERS,
        )?;
        image
            .packages
            .extend(part.packages.iter().map(|pin| (pin.name.as_str(), pin)));
        let mut made = self.unpack(part, &packages, image)?;
        for step in &steps {
            let Made { layer, facts } = match step {
                Step::Skeleton => self.write(&skeleton::tree(self.arch)?)?,
                Step::One(item) => take(&mut made, item)?,
                Step::Shared(items) => {
                    let layers: Vec<Made> = items
                        .iter()
                        .map(|item| take(&mut made, item))
                        .collect::<Result<_, _>>()?;
                    self.share(&layers)?
                }
                Step::Own => self.own(at, image)?,
            };
            image.layers.push(Layer::of(step, layer));
            image.facts.push(facts);
        }
        Ok(())
    }

    /// Layers of everything that a recipe adds.
    fn unpack(
        &self,
        part: &Part<'a>,
        packages: &[PackagePin],
        image: &mut Growing<'a>,
    ) -> Result<BTreeMap<Item, Made>, BuildError> {
        let mut all = BTreeMap::new();
        if !packages.is_empty() {
            let debian: Option<&Debian> = part.recipe.debian.as_ref();
            let prune = debian.map(|debian| self.rules.prune_for(debian));
            let layers = self
                .ingredients
                .packages(packages, &prune.unwrap_or_default());
            let layers = layers.map_err(BuildError::Unpack)?;
            for (pin, made) in packages.iter().zip(layers) {
                if let Some((name, _)) = image.packages.get_key_value(pin.name.as_str()) {
                    image.of_package.insert(*name, made.layer.clone());
                }
                all.insert(Item::Package(pin.clone()), made);
            }
        }
        if let (false, Some(python)) = (part.wheels.is_empty(), &part.recipe.python) {
            let packages: Vec<PackagePin> = image.packages.values().copied().cloned().collect();
            let layers = self.ingredients.wheels(part.wheels, python, &packages);
            let layers = layers.map_err(BuildError::Unpack)?;
            for (pin, made) in part.wheels.iter().zip(layers) {
                all.insert(Item::Wheel(pin.clone()), made);
            }
        }
        Ok(all)
    }

    /// The recipe's own layer.
    fn own(&mut self, at: usize, image: &Growing<'_>) -> Result<Made, BuildError> {
        let part = &self.parts[at];
        let packages: BTreeSet<&str> = image.packages.keys().copied().collect();
        let recipes: Vec<&Recipe> = self.parts[..=at].iter().map(|part| part.recipe).collect();
        let accounts = Accounts::of(&recipes, self.rules, &packages)?;
        let mut bundles = BTreeMap::new();
        for rule in self.rules.bundles(&packages) {
            bundles.insert(rule.path.parse()?, self.bundle(rule, image)?);
        }
        let tree = Own {
            image: &part.image.name,
            recipe: part.recipe,
            arch: self.arch,
            text: self.text,
            rules: self.rules,
            packages: &packages,
            accounts: &accounts,
            bundles: &bundles,
            skeleton: recipes.iter().any(|recipe| recipe.debian.is_some()),
        }
        .tree()?;
        self.write(&tree)
    }

    /// A file that is put together of files of packages.
    fn bundle(&self, rule: &Bundle, image: &Growing<'_>) -> Result<Vec<u8>, BuildError> {
        let pattern: Pattern = rule.from.parse()?;
        let mut files = BTreeMap::new();
        let packages = rule.packages.iter();
        for layer in packages.filter_map(|name| image.of_package.get(name.as_str())) {
            let mut blob = self.store.open(layer.digest)?;
            let found = matching(&mut blob, &pattern, &mut files);
            if let Err(error) = found {
                return Err(blob.error(error).into());
            }
        }
        Ok(concatenate(&files))
    }

    /// Several layers as one.
    fn share(&mut self, layers: &[Made]) -> Result<Made, BuildError> {
        let mut spool = self.ingredients.spool().map_err(BuildError::Spool)?;
        let mut tree = Tree::default();
        for made in layers {
            let blob = self.store.open(made.layer.digest)?;
            shared::absorb(&mut tree, blob, &mut spool)?;
        }
        // Written aside first: its digest is its name, and it need not fit in memory.
        let mut out = self.ingredients.spool().map_err(BuildError::Spool)?;
        let mut hashing = Hashing {
            to: &mut out,
            hasher: Sha256::new(),
            size: 0,
        };
        let facts = tree.write(&mut spool, &mut hashing)?;
        let (digest, size) = (BlobDigest::from_hasher(hashing.hasher), hashing.size);
        out.seek(SeekFrom::Start(0)).map_err(BuildError::Spool)?;
        self.writer.put(digest, size, &mut out)?;
        let layer = Link {
            media_type: media::LAYER.to_owned(),
            digest,
            size,
            artifact_type: None,
        };
        Ok(Made { layer, facts })
    }

    /// A layer that is small: it comes from the texts of a project.
    fn write(&mut self, tree: &Tree) -> Result<Made, BuildError> {
        let mut bytes = Vec::new();
        let facts = tree.write(&mut Cursor::new([]), &mut bytes)?;
        let layer = self.put(media::LAYER, &bytes)?;
        Ok(Made { layer, facts })
    }

    fn put(&mut self, media_type: &str, mut bytes: &[u8]) -> Result<Link, BuildError> {
        let link = Link::to(media_type, bytes);
        self.writer.put(link.digest, link.size, &mut bytes)?;
        Ok(link)
    }
}

impl Assembled {
    pub(super) fn digest(&self) -> Result<ManifestDigest, BuildError> {
        Ok(self.manifest.digest.to_string().parse()?)
    }
}

fn take(made: &mut BTreeMap<Item, Made>, item: &Item) -> Result<Made, BuildError> {
    made.remove(item)
        .ok_or_else(|| BuildError::NoLayer(item.name().to_owned()))
}

/// The files of a layer that a pattern matches.
fn matching(
    layer: &mut dyn Read,
    pattern: &Pattern,
    files: &mut BTreeMap<ImagePath, Vec<u8>>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8(path)
            .ok()
            .and_then(|path| path.parse().ok());
        let Some(path) = path.filter(|path| pattern.covers(path)) else {
            continue;
        };
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.insert(path, bytes);
        }
    }
    // To its end: only then its digest is known to be right.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

/// Hashes what is written through it.
struct Hashing<'a> {
    to: &'a mut dyn Write,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
