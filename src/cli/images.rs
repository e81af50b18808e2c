//! Where the commands get images from: the store, else a build, or a registry.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::cli::args::Global;
use crate::cli::bundles;
use crate::cli::error::{CliError, Exit};
use crate::edge::http::Http;
use crate::edge::packing::Compression;
use crate::edge::registry::{DockerCredentials, Registry};
use crate::edge::store::{DiskStore, Store};
use crate::flow::operator::evaluate::Opened;
use crate::flow::operator::image::build::{self, Request};
use crate::flow::operator::image::compress::compress;
use crate::flow::operator::image::contents::{self, Files};
use crate::flow::operator::image::present::present;
use crate::flow::operator::image::sbom;
use crate::flow::operator::image::workshop::{Bench, Workshop};
use crate::flow::progress::Progress;
use crate::flow::pull::pull;
use crate::pure::bundle::Embedded;
use crate::pure::config::image::{Image, ImageSource};
use crate::pure::config::sources::RegistrySource;
use crate::pure::images::inputs;
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::image;
use crate::pure::oci::{Link, Repository, media};
use crate::pure::pins::{BuildPin, Pin};
use crate::pure::system::{BUILT_REGISTRY, System};

/// Blobs fetched from a registry at once.
const DOWNLOADS: usize = 4;

/// The name that an image carries where nobody gives it another.
pub(crate) fn built_name(image: &ImageName, arch: Arch) -> String {
    format!("{BUILT_REGISTRY}/{image}:{arch}")
}

/// The images of a project.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    opened: &'a Opened,
    global: &'a Global,
    store: DiskStore,
    jobs: usize,
    offline: bool,
}

impl<'a> Images<'a> {
    pub(crate) fn open(opened: &'a Opened, global: &'a Global) -> Result<Self, CliError> {
        Ok(Self {
            opened,
            global,
            store: bundles::open_store(global)?,
            jobs: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            offline: false,
        })
    }

    /// So many packages are unpacked at once.
    pub(crate) fn jobs(self, jobs: Option<NonZeroUsize>) -> Self {
        Self {
            jobs: jobs.map_or(self.jobs, NonZeroUsize::get),
            ..self
        }
    }

    /// Nothing is fetched.
    pub(crate) fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &self.store
    }

    /// What the project says of a registry.
    pub(crate) fn source(&self, registry: &str) -> Option<&RegistrySource> {
        self.opened.project.sources.registries.get(registry)
    }

    /// A client for registries, with this machine's logins.
    pub(crate) fn registry(&self, http: &Http) -> Registry {
        let sources = self.opened.project.sources.registries.clone();
        Registry::new(http.clone(), sources, Arc::new(DockerCredentials))
    }

    /// A client for everything that is fetched. It speaks to nobody before it is asked to.
    pub(crate) fn http() -> Result<Http, CliError> {
        Http::new().map_err(|error| CliError::failed(&error))
    }

    pub(crate) fn workshop<'b>(
        &'b self,
        http: &'b Http,
        progress: &'b dyn Progress,
    ) -> Workshop<'b> {
        Workshop {
            store: &self.store,
            memo: &self.store,
            sources: &self.opened.project.sources,
            root: &self.global.project,
            project: &self.opened.project.name,
            http,
            progress,
            offline: self.offline,
            jobs: self.jobs,
        }
    }

    /// The digest that the lock has for an image.
    pub(crate) fn pinned(&self, name: &ImageName, arch: Arch) -> Option<ManifestDigest> {
        match self.opened.pins.all.get(name)? {
            Pin::Registry(pin) => Some(pin.digest),
            Pin::Recipe(pin) => Some(pin.builds.get(&arch)?.digest),
        }
    }

    /// The image, if the store has all of it.
    pub(crate) fn present(&self, name: &ImageName, arch: Arch) -> Result<Option<Link>, CliError> {
        match self.pinned(name, arch) {
            Some(digest) => {
                present(&self.store, digest, arch).map_err(|error| CliError::failed(&error))
            }
            None => Ok(None),
        }
    }

    /// The image: what the store has, else it is built, or fetched from its registry.
    pub(crate) fn get(
        &self,
        name: &ImageName,
        arch: Arch,
        progress: &dyn Progress,
    ) -> Result<Link, CliError> {
        let image = self.image(name)?;
        match &image.source {
            ImageSource::Registry(_) => self.pull(name, arch, progress),
            ImageSource::Recipe(_) => self.build(image, arch, progress),
        }
    }

    /// Sees to it that the store has what an image is built from, or the image itself if a registry has it.
    pub(crate) fn fetch(
        &self,
        name: &ImageName,
        arch: Arch,
        progress: &dyn Progress,
    ) -> Result<(), CliError> {
        let image = self.image(name)?;
        if let ImageSource::Registry(_) = &image.source {
            return self.pull(name, arch, progress).map(drop);
        }
        let chain =
            inputs::chain(&self.opened.project, name).map_err(|error| CliError::failed(&error))?;
        let http = Self::http()?;
        let workshop = self.workshop(&http, progress);
        for (part, _) in chain {
            let build = self.locked(part, arch)?;
            self.bench(workshop, part, arch)
                .fetch(&part.name, build)
                .map_err(|error| CliError::failed(&error))?;
        }
        Ok(())
    }

    /// Every image of a host that belongs into its bundle: what forge builds, and with `vendor` the images of registries too.
    pub(crate) fn of_host(
        &self,
        system: &System,
        vendor: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Embedded>, CliError> {
        let arch = arch_of(system)?;
        let mut images = Vec::new();
        for (name, evaluated) in &system.images {
            let image = self.image(name)?;
            if vendor || image.recipe().is_some() {
                images.push(Embedded {
                    pinned: evaluated.digest,
                    manifest: self.get(name, arch, progress)?,
                });
            }
        }
        Ok(images)
    }

    /// The bill of materials of an image.
    pub(crate) fn sbom(
        &self,
        name: &ImageName,
        arch: Arch,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, CliError> {
        let image = self.image(name)?;
        if image.recipe().is_none() {
            return Err(CliError::new(
                Exit::No,
                format!("`{name}` comes from a registry: what is in it only its maker knows"),
            )
            .hint("`forge sbom HOST` lists it by its digest among the others"));
        }
        self.build(image, arch, progress)?;
        sbom::find(&self.store, &self.opened.project.name, name, arch)
            .map_err(|error| CliError::failed(&error))?
            .ok_or_else(|| {
                CliError::new(Exit::Failed, format!("`{name}` has no bill of materials"))
            })
    }

    /// The bill of materials of all images of a host.
    pub(crate) fn sbom_of_host(
        &self,
        system: &System,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, CliError> {
        self.of_host(system, false, progress)?;
        sbom::of_host(
            &self.opened.project,
            &self.opened.pins,
            system,
            arch_of(system)?,
        )
        .map_err(|error| CliError::failed(&error))
    }

    pub(crate) fn describe(&self, link: &Link) -> Result<image::Image, CliError> {
        contents::describe(&self.store, link).map_err(|error| CliError::failed(&error))
    }

    pub(crate) fn files(&self, link: &Link) -> Result<Files, CliError> {
        let image = self.describe(link)?;
        contents::files(&self.store, &image).map_err(|error| CliError::failed(&error))
    }

    pub(crate) fn compress(
        &self,
        link: &Link,
        form: Compression,
        progress: &dyn Progress,
    ) -> Result<Link, CliError> {
        compress(&self.store, link, form, &|bytes| progress.advance(bytes))
            .map_err(|error| CliError::failed(&error))
    }

    /// The manifest in the store whose digest begins so.
    pub(crate) fn by_digest(&self, text: &str) -> Result<Option<Link>, CliError> {
        let failed = |error: crate::edge::store::StoreError| CliError::failed(&error);
        let Some(prefix) = bundles::digest_prefix(text) else {
            return Ok(None);
        };
        let store: &dyn Store = &self.store;
        let found: Vec<(BlobDigest, u64)> = store
            .blobs()
            .map_err(failed)?
            .into_iter()
            .filter(|(digest, size)| digest.hex().starts_with(prefix) && *size < LARGEST_MANIFEST)
            .collect();
        let mut links = Vec::new();
        for (digest, size) in found {
            let link = Link {
                media_type: media::MANIFEST.to_owned(),
                digest,
                size,
                artifact_type: None,
            };
            if contents::describe(store, &link).is_ok() {
                links.push(link);
            }
        }
        match links.len() {
            0 | 1 => Ok(links.pop()),
            several => Err(CliError::new(
                Exit::Usage,
                format!("{several} images begin with `{text}`: give more digits"),
            )),
        }
    }

    fn image(&self, name: &ImageName) -> Result<&'a Image, CliError> {
        self.opened
            .project
            .images
            .get(name)
            .ok_or_else(|| CliError::new(Exit::Usage, format!("there is no image `{name}`")))
    }

    fn locked(&self, image: &Image, arch: Arch) -> Result<&'a BuildPin, CliError> {
        let stale = |what: String| {
            CliError::new(Exit::No, what).hint(format!("run `forge lock {}`", image.name))
        };
        let pins = &self.opened.pins;
        let known = pins.inputs.get(&image.name);
        match pins.all.get(&image.name) {
            Some(Pin::Recipe(pin)) if known.is_some_and(|inputs| *inputs != pin.inputs) => Err(
                stale(format!("`{}` has changed since it was locked", image.name)),
            ),
            _ => build::locked(pins, &image.name, arch).map_err(|error| stale(error.to_string())),
        }
    }

    fn bench<'b>(&'b self, workshop: Workshop<'b>, image: &'b Image, arch: Arch) -> Bench<'b> {
        let python = image.recipe().and_then(|recipe| recipe.python.as_ref());
        Bench {
            workshop,
            image: &image.name,
            arch,
            suites: &self.opened.pins.suites,
            python: python.map(|python| python.version.as_str()),
        }
    }

    fn build(&self, image: &Image, arch: Arch, progress: &dyn Progress) -> Result<Link, CliError> {
        let request = Request {
            project: &self.opened.project,
            text: &self.opened.text,
            pins: &self.opened.pins,
            image: &image.name,
            arch,
            build: self.locked(image, arch)?,
            is_locked: true,
        };
        let http = Self::http()?;
        let workshop = self.workshop(&http, progress);
        let built = build::build(
            &self.store,
            &request,
            &self.bench(workshop, image, arch),
            progress,
        )
        .map_err(|error| CliError::failed(&error))?;
        Ok(built.link)
    }

    fn pull(
        &self,
        name: &ImageName,
        arch: Arch,
        progress: &dyn Progress,
    ) -> Result<Link, CliError> {
        // What is damaged is fetched again.
        if let Ok(Some(link)) = self.present(name, arch) {
            return Ok(link);
        }
        let Some(Pin::Registry(pin)) = self.opened.pins.all.get(name) else {
            return Err(
                CliError::new(Exit::No, format!("image `{name}` is not in forge.lock"))
                    .hint(format!("run `forge lock {name}`")),
            );
        };
        let failed = |error: &dyn std::error::Error| CliError::failed(error);
        let repository: Repository = pin
            .repository
            .parse()
            .map_err(|error: crate::pure::oci::ReferenceError| failed(&error))?;
        let registry = self.registry(&Self::http()?);
        pull(
            &registry,
            &self.store,
            &repository,
            pin.digest,
            arch,
            DOWNLOADS,
            progress,
        )
        .map_err(|error| failed(&error))
    }
}

/// Larger blobs are no manifests.
const LARGEST_MANIFEST: u64 = 4 << 20;

fn arch_of(system: &System) -> Result<Arch, CliError> {
    system
        .host
        .arch
        .parse()
        .map_err(|error: crate::pure::name::ArchError| CliError::failed(&error))
}
