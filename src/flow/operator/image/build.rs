//! A recipe and its pins to an image in the store.

use std::io;

use super::assemble::{Assembler, Failure, Ingredients, Part};
use super::sbom::{self, Sbom};
use crate::edge::store::{RefChange, Store, StoreError, Trust};
use crate::flow::progress::Progress;
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::images::accounts::AccountError;
use crate::pure::images::elf::Missing;
use crate::pure::images::inputs::{self, InputsError};
use crate::pure::images::layer::{LayerError, PathError};
use crate::pure::images::manifest::{self, Layer};
use crate::pure::images::own_files::OwnError;
use crate::pure::images::plan::PlanError;
use crate::pure::images::rules::{PatternError, Rules, RulesError};
use crate::pure::images::sbom::Subject;
use crate::pure::images::shared::AbsorbError;
use crate::pure::name::{Arch, BlobDigest, DigestError, ImageName, ManifestDigest};
use crate::pure::oci::canonical::CanonicalError;
use crate::pure::oci::manifest::parse_manifest;
use crate::pure::oci::{Link, ManifestError, RefName};
use crate::pure::pins::{BuildPin, Pin, Pins};

/// Why an image is not there.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("`{image}` is not locked for {arch}; run `forge lock {image}`")]
    NotLocked { image: ImageName, arch: Arch },
    #[error("what `{image}` is built from cannot be had: {source}")]
    Sources { image: ImageName, source: Failure },
    #[error("{0}")]
    Unpack(Failure),
    #[error("there is no layer of `{0}`, although it was unpacked")]
    NoLayer(String),
    #[error(
        "`{image}` would not start, because {} missing:{}\nname the packages that have them in `[debian] packages`, or leave out the files \
         that need them with `drop`, or, where a library is there and not found, name its folder in LD_LIBRARY_PATH in `[run] env`{}",
        if missing.len() == 1 { "a library is" } else { "libraries are" },
        missing.iter().map(|missing| format!("\n  {missing}")).collect::<String>(),
        if cut.is_empty() { String::new() } else { format!("; left out by `exclude`: {}", cut.join(", ")) }
    )]
    Libraries {
        image: String,
        missing: Vec<Missing>,
        cut: Vec<String>,
    },
    #[error(
        "`{image}` has {package} {version}, and its base has {base}; run `forge lock {image}`, so that both have the same"
    )]
    Base {
        image: ImageName,
        package: String,
        version: String,
        base: String,
    },
    #[error(
        "`{image}` for {arch} came out as {found}, and the lock says {expected}. Layers that differ:{}\nthe inputs are those of the lock, so \
         either forge or a rule has changed: run `forge lock {image}` to take what came out, after a look with `forge image diff`",
        layers.iter().map(|layer| format!("\n  {layer}")).collect::<String>()
    )]
    Differs {
        image: ImageName,
        arch: Arch,
        expected: ManifestDigest,
        found: ManifestDigest,
        layers: Vec<Difference>,
    },
    #[error("`{0}` is no name that the store could keep an image under")]
    Name(String),
    #[error("a temporary file cannot be used: {0}")]
    Spool(io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Inputs(#[from] InputsError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Accounts(#[from] AccountError),
    #[error(transparent)]
    Own(#[from] OwnError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Absorb(#[from] AbsorbError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Encode(#[from] CanonicalError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A layer that is not the one in the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From 1.
    pub position: usize,
    /// What came out there, for people; nothing if nothing did.
    pub title: Option<String>,
    pub expected: Option<BlobDigest>,
    pub found: Option<BlobDigest>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let title = self.title.as_deref().unwrap_or("(no such layer)");
        let digest = |digest: &Option<BlobDigest>| match digest {
            Some(digest) => digest.to_string(),
            None => "nothing".to_owned(),
        };
        let (expected, found) = (digest(&self.expected), digest(&self.found));
        write!(
            f,
            "{}. {title}: expected {expected}, got {found}",
            self.position
        )
    }
}

/// What is to be built, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub project: &'a Project,
    pub text: &'a ProjectText,
    /// The dates of suites, and what the images that this one continues were resolved to.
    pub pins: &'a Pins,
    pub image: &'a ImageName,
    pub arch: Arch,
    /// What it was resolved to. Its digest and layers count only if [`Self::is_locked`].
    pub build: &'a BuildPin,
    /// False while it is being locked: then what comes out is right.
    pub is_locked: bool,
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// To its manifest.
    pub link: Link,
    pub digest: ManifestDigest,
    pub config: BlobDigest,
    pub layers: Vec<BlobDigest>,
    /// Of everything in it, in bytes.
    pub size: u64,
    /// To the artifact with its bill of materials.
    pub sbom: Link,
    /// False if it was there already.
    pub is_new: bool,
}

/// Under which name the store keeps an image.
///
/// # Errors
/// [`BuildError::Name`].
pub fn ref_name(project: &str, image: &ImageName, arch: Arch) -> Result<RefName, BuildError> {
    let name = format!("{project}/images/{image}/{arch}");
    name.parse().map_err(|_| BuildError::Name(name))
}

/// The pin of an image that is locked.
///
/// # Errors
/// [`BuildError::NotLocked`].
pub fn locked<'a>(
    pins: &'a Pins,
    image: &ImageName,
    arch: Arch,
) -> Result<&'a BuildPin, BuildError> {
    match pins.all.get(image) {
        Some(Pin::Recipe(pin)) => pin.builds.get(&arch),
        Some(Pin::Registry(_)) | None => None,
    }
    .ok_or_else(|| BuildError::NotLocked {
        image: image.clone(),
        arch,
    })
}

/// Builds an image, unless the store has it: then its blobs are looked at and nothing is read but its manifest.
///
/// # Errors
/// [`BuildError`]. What was made until then is in the store, unnamed; the next run finds what is still there.
pub fn build(
    store: &dyn Store,
    request: &Request<'_>,
    ingredients: &dyn Ingredients,
    progress: &dyn Progress,
) -> Result<BuiltImage, BuildError> {
    let chain = inputs::chain(request.project, request.image)?;
    let mut parts = Vec::new();
    for (image, recipe) in chain {
        let build = match image.name == *request.image {
            true => request.build,
            false => locked(request.pins, &image.name, request.arch)?,
        };
        parts.push(Part {
            image,
            recipe,
            packages: &build.packages,
            wheels: &build.wheels,
        });
    }
    if request.is_locked {
        let found = found(store, request.build.digest)?;
        if let Some((link, config, layers)) = found {
            return finish(store, request, &parts, link, &config, layers, false);
        }
    }
    for part in &parts {
        ingredients
            .ensure(&part.image.name, part.packages, part.wheels)
            .map_err(|source| BuildError::Sources {
                image: part.image.name.clone(),
                source,
            })?;
    }
    // Held to the end, so that no layer is collected between its making and the naming of the image.
    let mut writer = store.begin(Trust::Size)?;
    progress.begin(&format!("assembling {}", request.image), 1, 0);
    let rules = Rules::embedded()?;
    let assembled = Assembler {
        store,
        writer: &mut *writer,
        ingredients,
        text: request.text,
        rules: &rules,
        arch: request.arch,
        parts: &parts,
    }
    .assemble()?;
    progress.done(request.image.as_str());
    // Unnamed also where it is not what was expected: then it can be compared with that.
    writer.commit(&[])?;
    let digest = assembled.digest()?;
    if request.is_locked && digest != request.build.digest {
        return Err(BuildError::Differs {
            image: request.image.clone(),
            arch: request.arch,
            expected: request.build.digest,
            found: digest,
            layers: differences(&request.build.layers, &assembled.layers),
        });
    }
    let layers = assembled.layers.iter().map(|layer| layer.link.clone());
    finish(
        store,
        request,
        &parts,
        assembled.manifest,
        &assembled.config,
        layers.collect(),
        true,
    )
}

/// The image, if all of it is in the store: by size, without reading layers.
fn found(
    store: &dyn Store,
    digest: ManifestDigest,
) -> Result<Option<(Link, Link, Vec<Link>)>, BuildError> {
    let Some(size) = store.size(digest.blob())? else {
        return Ok(None);
    };
    let manifest = match store.read(digest.blob()) {
        Ok(bytes) => parse_manifest(&bytes)?,
        // It is built again, and what is damaged replaced.
        Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let config = Link::try_from(manifest.config())?;
    let layers: Vec<Link> = manifest
        .layers()
        .iter()
        .map(Link::try_from)
        .collect::<Result<_, _>>()?;
    for link in layers.iter().chain([&config]) {
        if !store.has(link.digest, link.size)? {
            return Ok(None);
        }
    }
    let link = manifest::link(digest, size);
    Ok(Some((link, config, layers)))
}

/// Lets the names of the image and of its bill of materials point to them.
fn finish(
    store: &dyn Store,
    request: &Request<'_>,
    parts: &[Part<'_>],
    link: Link,
    config: &Link,
    layers: Vec<Link>,
    is_new: bool,
) -> Result<BuiltImage, BuildError> {
    let digest: ManifestDigest = link.digest.to_string().parse()?;
    let builds: Vec<_> = parts
        .iter()
        .map(|part| (part.packages, part.wheels))
        .collect();
    let (packages, wheels) = sbom::parts_of(&builds);
    let subject = Subject {
        image: request.image,
        arch: request.arch,
        digest,
        packages: &packages,
        wheels: &wheels,
    };
    let sbom = Sbom::of(&subject, request.pins, &link)?;
    let project = &request.project.name;
    let names = [
        (
            ref_name(project, request.image, request.arch)?,
            link.clone(),
        ),
        (
            sbom::ref_name(project, request.image, request.arch)?,
            sbom.link(),
        ),
    ];
    let refs = store.refs()?;
    if names
        .iter()
        .any(|(name, link)| refs.get(name) != Some(link))
    {
        let mut writer = store.begin(Trust::Size)?;
        sbom.put(&mut *writer)?;
        let changes = names.map(|(name, link)| RefChange::Set(name, link));
        writer.commit(&changes)?;
    }
    let size = layers.iter().map(|layer| layer.size).sum::<u64>() + config.size + link.size;
    Ok(BuiltImage {
        link,
        digest,
        config: config.digest,
        layers: layers.iter().map(|layer| layer.digest).collect(),
        size,
        sbom: sbom.link(),
        is_new,
    })
}

/// The layers that differ, by their place.
fn differences(expected: &[BlobDigest], found: &[Layer]) -> Vec<Difference> {
    (0..expected.len().max(found.len()))
        .map(|at| Difference {
            position: at + 1,
            title: found.get(at).map(|layer| layer.title.clone()),
            expected: expected.get(at).copied(),
            found: found.get(at).map(|layer| layer.link.digest),
        })
        .filter(|difference| difference.expected != difference.found)
        .collect()
}
