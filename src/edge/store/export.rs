//! A bundle or an image on its own: an OCI image layout, in a folder or in a `.tar`, that any OCI tool reads; or a `.tar` that is at once
//! an OCI image layout and what `docker load` takes.
//!
//! The content depends on what is exported and on nothing else; the bytes of a `.tar` too.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::Descriptor;

use super::{Blob, DiskStore, Options, Store, StoreError, Trust, reach};
use crate::edge::disk::{DiskError, Folder};
use crate::pure::bundle::system_manifest;
use crate::pure::name::BlobDigest;
use crate::pure::oci::docker::{DOCKER_FILE, docker_archive};
use crate::pure::oci::layout::{Entries, Entry, INDEX_FILE, LAYOUT, LAYOUT_FILE};
use crate::pure::oci::manifest::{encode_index, parse_index};
use crate::pure::oci::tar::{Mode, TarError, Writer};
use crate::pure::oci::{Link, ManifestError, RefName, RefNameError, media};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Folder(PathBuf),
    Archive(PathBuf),
}

impl Target {
    /// An archive if the path ends in `.tar`, else a folder.
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension == "tar" => Self::Archive(path.to_owned()),
            _ => Self::Folder(path.to_owned()),
        }
    }
}

/// What an archive of an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An OCI image layout.
    Oci,
    /// An OCI image layout with a `manifest.json`: the one form that loads into both of Docker's image stores.
    Docker,
}

/// Why something was not exported. The target is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is not replaced: {why}; name another place, or remove it", path.display())]
    Refused { path: PathBuf, why: &'static str },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{}: {source}", path.display())]
    Archive { path: PathBuf, source: TarError },
    #[error("the list of entries cannot be written: {0}")]
    Encode(#[from] ManifestError),
    #[error("an image cannot be called so: {0}")]
    Name(RefNameError),
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    pub blobs: usize,
    /// Of the blobs.
    pub bytes: u64,
}

/// Writes what `root` needs, under one name. The target appears whole or not at all: what is there (an empty folder, or an earlier
/// export) is replaced by one rename. A crash can leave a folder or file beside it, whose name starts with `.` and ends with
/// `.forge-tmp`.
///
/// # Errors
/// [`ExportError::Refused`] if something is there that is no export of forge; [`StoreError::Missing`] and [`StoreError::Corrupt`] if
/// the store does not have all of it.
pub fn export(
    store: &dyn Store,
    root: &Link,
    name: &RefName,
    target: &Target,
) -> Result<Exported, ExportError> {
    // Writes nothing: it keeps the collector away.
    let _guard = store.begin(Trust::Size)?;
    write_to(&Content::of(store, root, name)?, target)
}

/// As [`export`], of an image, under a name that Docker takes (`REPOSITORY:TAG`).
///
/// # Errors
/// As [`export`].
pub fn export_image(
    store: &dyn Store,
    image: &Link,
    name: &str,
    form: Form,
    target: &Target,
) -> Result<Exported, ExportError> {
    let _guard = store.begin(Trust::Size)?;
    write_to(&Content::of_image(store, image, name, form)?, target)
}

/// Writes the archive of an image as a stream: what `docker load` reads.
///
/// # Errors
/// [`StoreError`] if the store does not have all of it; [`TarError`] if `to` does not take it.
pub fn stream_image(
    store: &dyn Store,
    image: &Link,
    name: &str,
    form: Form,
    to: &mut dyn io::Write,
) -> Result<Exported, ExportError> {
    stream_image_without(store, image, name, form, &BTreeSet::new(), to)
}

/// As [`stream_image`], without the bytes of these blobs: layers that the reader has already. What refers to them stays as it is.
///
/// # Errors
/// As [`stream_image`].
pub fn stream_image_without(
    store: &dyn Store,
    image: &Link,
    name: &str,
    form: Form,
    omitted: &BTreeSet<BlobDigest>,
    to: &mut dyn io::Write,
) -> Result<Exported, ExportError> {
    let _guard = store.begin(Trust::Size)?;
    let mut content = Content::of_image(store, image, name, form)?;
    content
        .blobs
        .retain(|(digest, _)| !omitted.contains(digest));
    pack(&content, io::BufWriter::with_capacity(256 * 1024, to))
        .map_err(|error| error.at(Path::new("the stream")))?;
    Ok(content.exported())
}

fn write_to(content: &Content<'_>, target: &Target) -> Result<Exported, ExportError> {
    match target {
        Target::Folder(path) => to_folder(content, path)?,
        Target::Archive(path) => to_archive(content, path)?,
    }
    Ok(content.exported())
}

/// What is to be written, the blobs in ascending order.
struct Content<'a> {
    store: &'a dyn Store,
    blobs: Vec<(BlobDigest, u64)>,
    /// The whole name of an image, so that an earlier export of the same is known. Bundles are known by themselves.
    image: Option<String>,
    index: Vec<u8>,
    /// `manifest.json`, for Docker.
    docker: Option<Vec<u8>>,
}

impl<'a> Content<'a> {
    fn of(store: &'a dyn Store, root: &Link, name: &RefName) -> Result<Self, ExportError> {
        let entry = Entry {
            name: Some(name.to_string()),
            link: root.clone(),
        };
        let (needs, broken) = reach::walk(store, &[entry]);
        if let Some(broken) = broken.into_iter().next() {
            return Err(broken.error.into());
        }
        let mut blobs = Vec::with_capacity(needs.len());
        for digest in needs.into_keys() {
            let size = store.size(digest)?.ok_or_else(|| StoreError::Missing {
                digest,
                location: store.location(digest),
            })?;
            blobs.push((digest, size));
        }
        let mut entries = Entries::default();
        entries.set(name, root)?;
        Ok(Self {
            store,
            blobs,
            image: None,
            index: entries.encode()?,
            docker: None,
        })
    }

    fn of_image(
        store: &'a dyn Store,
        image: &Link,
        name: &str,
        form: Form,
    ) -> Result<Self, ExportError> {
        let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        let tag = tag.parse::<RefName>().map_err(ExportError::Name)?;
        let mut content = Self::of(store, image, &tag)?;
        content.image = Some(name.to_owned());
        let annotations = BTreeMap::from([
            (media::REF_NAME.to_owned(), tag.to_string()),
            (media::CONTAINERD_NAME.to_owned(), name.to_owned()),
        ]);
        content.index = encode_index(None, vec![image.descriptor(&annotations)?])?;
        if form == Form::Docker {
            let manifest = store.read(image.digest)?;
            content.docker = Some(docker_archive(&image.media_type, &manifest, name)?);
        }
        Ok(content)
    }

    fn exported(&self) -> Exported {
        Exported {
            blobs: self.blobs.len(),
            bytes: self.blobs.iter().map(|(_, size)| size).sum(),
        }
    }

    /// The files beside the blobs, in ascending order.
    fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let docker = self.docker.as_deref().map(|bytes| (DOCKER_FILE, bytes));
        std::iter::once((INDEX_FILE, self.index.as_slice()))
            .chain(docker)
            .chain(std::iter::once((LAYOUT_FILE, LAYOUT)))
    }
}

/// Removed when it is dropped, unless it has been given its place.
struct Scratch {
    folder: Folder,
    name: String,
}

impl Scratch {
    /// A name beside the target, and the target's own.
    fn beside(target: &Path) -> Result<(Self, &OsStr), ExportError> {
        let name = target.file_name().ok_or_else(|| ExportError::Refused {
            path: target.to_owned(),
            why: "it has no name of its own",
        })?;
        let parent = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let scratch = Self {
            folder: Folder::create(parent)?,
            name: format!(
                ".{}.{}.forge-tmp",
                name.to_string_lossy(),
                std::process::id()
            ),
        };
        // Left over by a process of the same number.
        scratch.remove();
        Ok((scratch, name))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    fn remove(&self) {
        let path = self.path();
        // What cannot be removed has a telling name, and does no harm.
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn to_folder(content: &Content<'_>, path: &Path) -> Result<(), ExportError> {
    let found = look(path)?;
    check_folder(path, found, content.image.as_deref())?;
    let (scratch, name) = Scratch::beside(path)?;
    let root = scratch.folder.enter_or_create(&scratch.name)?;
    let blobs = root.enter_or_create("blobs")?.enter_or_create("sha256")?;
    for (digest, _) in &content.blobs {
        let mut blob = content.store.open(*digest)?;
        write(&blobs, &digest.hex(), &mut blob)?;
    }
    for (name, mut bytes) in content.files() {
        write(&root, name, &mut bytes)?;
    }
    // One sync for contents and names: the folder gets its place only when all of it is on the disk.
    root.sync_filesystem()?;

    let ours = OsStr::new(&scratch.name);
    let parent = &scratch.folder;
    if found == At::Folder && !parent.exchange(ours, name)? {
        // A file system without an exchange: for a moment nothing is there, and then the new one.
        let old = format!("{}-old", scratch.name);
        parent.rename(name, OsStr::new(&old))?;
        parent.rename(ours, name)?;
        let _ = fs::remove_dir_all(parent.path().join(old));
    } else if found != At::Folder {
        parent.rename(ours, name)?;
    }
    parent.sync()?;
    Ok(())
}

fn write(folder: &Folder, name: &str, from: &mut dyn io::Read) -> Result<(), ExportError> {
    let mut file = folder.temporary()?;
    io::copy(from, &mut file).map_err(|source| DiskError {
        operation: "write",
        path: folder.path().join(name),
        source,
    })?;
    Ok(file.rename_into(folder, name)?)
}

fn to_archive(content: &Content<'_>, path: &Path) -> Result<(), ExportError> {
    let found = look(path)?;
    check_archive(path, found)?;
    let (scratch, name) = Scratch::beside(path)?;
    let root = scratch.folder.enter_or_create(&scratch.name)?;
    let mut file = root.temporary()?;
    pack(content, io::BufWriter::with_capacity(256 * 1024, &mut file))
        .map_err(|error| error.at(path))?;
    file.sync()?;
    let name = name.to_str().ok_or_else(|| ExportError::Refused {
        path: path.to_owned(),
        why: "its name is not UTF-8",
    })?;
    file.rename_into(&scratch.folder, name)?;
    scratch.folder.sync()?;
    Ok(())
}

enum PackError {
    Store(StoreError),
    Tar(TarError),
}

impl PackError {
    fn at(self, path: &Path) -> ExportError {
        match self {
            // A damaged blob says where it is; that it was found while packing is no help.
            Self::Tar(TarError::Write { source, .. }) if Blob::is_damage(&source) => {
                ExportError::Disk(DiskError {
                    operation: "export",
                    path: path.to_owned(),
                    source,
                })
            }
            Self::Tar(source) => ExportError::Archive {
                path: path.to_owned(),
                source,
            },
            Self::Store(error) => error.into(),
        }
    }
}

fn pack(content: &Content<'_>, to: impl io::Write) -> Result<(), PackError> {
    let mut tar = Writer::new(to);
    tar.folder("blobs").map_err(PackError::Tar)?;
    tar.folder("blobs/sha256").map_err(PackError::Tar)?;
    for (digest, size) in &content.blobs {
        let blob = content.store.open(*digest).map_err(PackError::Store)?;
        let path = format!("blobs/sha256/{}", digest.hex());
        tar.file(&path, Mode::Plain, *size, blob)
            .map_err(PackError::Tar)?;
    }
    for (name, bytes) in content.files() {
        tar.file(name, Mode::Plain, bytes.len() as u64, bytes)
            .map_err(PackError::Tar)?;
    }
    let mut to = tar.finish().map_err(PackError::Tar)?;
    to.flush().map_err(|source| {
        PackError::Tar(TarError::Write {
            path: "the end".to_owned(),
            source,
        })
    })
}

/// What is at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nothing,
    Folder,
    File(u64),
    Other,
}

fn look(path: &Path) -> Result<At, DiskError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(At::Folder),
        Ok(metadata) if metadata.is_file() => Ok(At::File(metadata.len())),
        Ok(_) => Ok(At::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(At::Nothing),
        Err(source) => Err(DiskError {
            operation: "look at",
            path: path.to_owned(),
            source,
        }),
    }
}

fn check_folder(path: &Path, found: At, image: Option<&str>) -> Result<(), ExportError> {
    let refuse = |why| {
        Err(ExportError::Refused {
            path: path.to_owned(),
            why,
        })
    };
    match found {
        At::Nothing => return Ok(()),
        At::Folder => {}
        At::File(_) => return refuse("a file is there, and a folder is to be written"),
        At::Other => return refuse("something is there that is neither a folder nor a file"),
    }
    let names = Folder::open(path)?.names()?;
    if names.is_empty() {
        return Ok(());
    }
    // A store has more names than these, and so is never replaced by one of its bundles.
    let known = ["blobs", INDEX_FILE, DOCKER_FILE, LAYOUT_FILE];
    if names
        .iter()
        .any(|name| !known.iter().any(|known| name == *known))
    {
        return refuse("it holds other files than an OCI image layout does");
    }
    let Ok(there) = DiskStore::open_existing(path, Options::default()) else {
        return refuse("it is not empty, and no OCI image layout");
    };
    let there: &dyn Store = &there;
    let is_bundle = |entry: &Entry| {
        let read = |link: &Link| there.read(link.digest);
        matches!(system_manifest(&entry.link, read), Ok(Some(_)))
    };
    match (there.entries(), image) {
        (Ok(_), Some(image)) if holds_only(path, image) => Ok(()),
        (Ok(entries), None) if entries.iter().all(is_bundle) => Ok(()),
        (Ok(_), _) => refuse("it holds something else than an earlier export of the same"),
        (Err(_), _) => refuse("its `index.json` cannot be read"),
    }
}

/// Whether every entry of a layout is the image of this name.
fn holds_only(path: &Path, image: &str) -> bool {
    let Ok(bytes) = fs::read(path.join(INDEX_FILE)) else {
        return false;
    };
    let named = |entry: &Descriptor| {
        let annotations = entry.annotations().as_ref();
        annotations.and_then(|all| all.get(media::CONTAINERD_NAME)) == Some(&image.to_owned())
    };
    parse_index(&bytes).is_ok_and(|index| index.manifests().iter().all(named))
}

fn check_archive(path: &Path, found: At) -> Result<(), ExportError> {
    let refuse = |why| {
        Err(ExportError::Refused {
            path: path.to_owned(),
            why,
        })
    };
    match found {
        At::Nothing | At::File(0) => Ok(()),
        At::File(_) if has_layout(path) => Ok(()),
        At::File(_) => refuse("it is no archive of an OCI image layout"),
        At::Folder => refuse("a folder is there, and a file is to be written"),
        At::Other => refuse("something is there that is neither a folder nor a file"),
    }
}

fn has_layout(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    let mut archive = tar::Archive::new(file);
    let Ok(mut entries) = archive.entries_with_seek() else {
        return false;
    };
    entries.any(|entry| {
        let path = entry.as_ref().ok().map(|entry| entry.path_bytes());
        path.is_some_and(|path| path.strip_prefix(b"./").unwrap_or(&path) == LAYOUT_FILE.as_bytes())
    })
}
