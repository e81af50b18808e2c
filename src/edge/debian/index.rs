//! The index of a suite: fetched, verified, kept.
//!
//! An `InRelease` is asked for each time, because it alone says what is new; the lists of packages, which are large, are fetched if the
//! store does not have those that it names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use sha2::{Digest as _, Sha256};

use super::{Debian, SourceError};
use crate::edge::clock::Clock;
use crate::edge::http::{Http, HttpError};
use crate::edge::store::{RefChange, Store, StoreError, Trust};
use crate::pure::images::debian::index::MOST_BYTES;
use crate::pure::images::debian::release::{MOST_RELEASE_BYTES, Packing};
use crate::pure::images::debian::{Index, IndexFile, Keyring, Release, ReleaseError};
use crate::pure::name::{Arch, BlobDigest};
use crate::pure::oci::manifest::{encode_artifact, parse_manifest};
use crate::pure::oci::{Link, RefName, media};

/// The artifact that keeps the indexes of a suite from being collected.
const ARTIFACT: &str = "application/vnd.forge.debian.index.v1+json";
const RELEASE_FILE: &str = "application/vnd.forge.debian.release.v1";
const PACKAGES_FILE: &str = "application/vnd.forge.debian.packages.v1";
const IN_RELEASE: &str = "InRelease";
/// A keyring larger than this is none.
const LARGEST_KEYRING: u64 = 16 << 20;

/// Which index is wanted.
#[derive(Clone, Copy, Debug)]
pub struct IndexRequest<'a> {
    pub suite: &'a str,
    pub components: &'a [String],
    pub arch: Arch,
    /// Nothing is fetched; what was fetched last is taken, if it still holds.
    pub offline: bool,
}

/// What a suite has.
#[derive(Clone, Debug)]
pub struct SuiteIndex {
    /// Of its `InRelease`, as the lock writes it.
    pub date: String,
    /// Of all wanted components, in their order.
    pub index: Index,
}

/// What the store keeps of a suite: blobs by the paths below the suite's folder.
type Kept = BTreeMap<String, Link>;

impl Debian {
    /// The index of a suite, from the store as far as it has it.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn index(
        &self,
        store: &dyn Store,
        http: &Http,
        clock: &dyn Clock,
        wanted: IndexRequest<'_>,
    ) -> Result<SuiteIndex, SourceError> {
        let keyring = self.keyring(wanted.suite)?;
        let name = kept_name(wanted.suite)?;
        let mut kept = read_kept(store, &name)?;
        let check = |bytes: &[u8]| -> Result<Release, ReleaseError> {
            let release = Release::verify(bytes, &keyring)?;
            release.check_suite(wanted.suite)?;
            release.check_time(clock.now())?;
            Ok(release)
        };
        let (roots, bytes, release) = if wanted.offline {
            let known = kept.get(IN_RELEASE).ok_or_else(|| offline(wanted.suite))?;
            let bytes = store.read(known.digest)?;
            let release = check(&bytes).map_err(|source| SourceError::Release {
                suite: wanted.suite.to_owned(),
                source,
            })?;
            (Vec::new(), bytes, release)
        } else {
            let component = wanted.components.first().map_or("main", String::as_str);
            let roots = self.index_roots(wanted.suite, component, clock.now())?;
            let (from, bytes, release) = first_good(&roots, wanted.suite, http, check)?;
            // The mirror that has the release first: it has what the release names.
            let mut ordered = vec![roots[from].clone()];
            ordered.extend(
                roots
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| *at != from)
                    .map(|(_, root)| root.clone()),
            );
            (ordered, bytes, release)
        };
        let link = Link::to(RELEASE_FILE, &bytes);
        // Of another release, nothing is kept.
        if kept.get(IN_RELEASE) != Some(&link) {
            kept.clear();
            kept.insert(IN_RELEASE.to_owned(), link.clone());
        }
        let mut writer = store.begin(Trust::Size)?;
        writer.put(link.digest, link.size, &mut &*bytes)?;
        let mut indexes = Vec::new();
        for component in wanted.components {
            let files = release
                .package_index(component, wanted.arch.as_str())
                .map_err(|source| SourceError::Release {
                    suite: wanted.suite.to_owned(),
                    source,
                })?;
            let title = format!("{component}/binary-{}/Packages", wanted.arch);
            let text = match known_text(store, &files, kept.get(&title))? {
                Some((link, text)) => {
                    kept.insert(title, link);
                    text
                }
                None if wanted.offline => return Err(offline(&title)),
                None => {
                    let text = fetch_packages(http, &roots, wanted.suite, &files)?;
                    let link = Link::to(PACKAGES_FILE, &text);
                    writer.put(link.digest, link.size, &mut &*text)?;
                    kept.insert(title, link);
                    text
                }
            };
            indexes.push(Index::parse(wanted.suite, text)?);
        }
        let manifest = encode_kept(&kept)?;
        let mut root = Link::to(media::MANIFEST, &manifest);
        root.artifact_type = Some(ARTIFACT.to_owned());
        let empty = Link::to(media::EMPTY, media::EMPTY_BYTES);
        writer.put(empty.digest, empty.size, &mut &*media::EMPTY_BYTES)?;
        writer.put(root.digest, root.size, &mut &*manifest)?;
        writer.commit(&[RefChange::Set(name, root)])?;
        Ok(SuiteIndex {
            date: release.date_stamp(),
            index: Index::merge(indexes),
        })
    }

    /// The keys that sign a suite: those that the project names for it, else for all suites, else Debian's.
    fn keyring(&self, suite: &str) -> Result<Keyring, SourceError> {
        let own = self.source.suites.get(suite);
        let own = own.and_then(|suite| suite.keyring.as_ref());
        let Some(name) = own.or(self.source.keyring.as_ref()) else {
            return Ok(Keyring::debian()?);
        };
        let path = self.root.join(name);
        let refuse = |why: String| SourceError::KeyringFile {
            path: path.clone(),
            why,
        };
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(name).components().all(inside) {
            return Err(refuse("it is not within the project".to_owned()));
        }
        let file = std::fs::File::open(&path).map_err(|error| refuse(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = file.take(LARGEST_KEYRING + 1).read_to_end(&mut bytes);
        read.map_err(|error| refuse(error.to_string()))?;
        if bytes.len() as u64 > LARGEST_KEYRING {
            return Err(refuse("it is too large".to_owned()));
        }
        Keyring::parse(&bytes).map_err(|error| refuse(error.to_string()))
    }
}

fn offline(what: &str) -> SourceError {
    SourceError::Offline {
        what: format!("the package index of {what}"),
    }
}

/// The first root whose `InRelease` may be believed.
fn first_good(
    roots: &[String],
    suite: &str,
    http: &Http,
    check: impl Fn(&[u8]) -> Result<Release, ReleaseError>,
) -> Result<(usize, Vec<u8>, Release), SourceError> {
    let mut tried = Vec::new();
    for (at, root) in roots.iter().enumerate() {
        let url = format!("{root}/dists/{suite}/{IN_RELEASE}");
        match http.get(&url, &[], MOST_RELEASE_BYTES as u64) {
            Ok(bytes) => match check(&bytes) {
                Ok(release) => return Ok((at, bytes, release)),
                Err(error) => tried.push(format!("{}: {error}", shown(&url))),
            },
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(SourceError::NoIndex {
        suite: suite.to_owned(),
        tried,
    })
}

/// Without who is at the server.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

/// The list of packages, if the store has it: by the digest of the text, or, where the release does not say that, as it was kept of the
/// same release.
fn known_text(
    store: &dyn Store,
    files: &[IndexFile],
    kept: Option<&Link>,
) -> Result<Option<(Link, Vec<u8>)>, SourceError> {
    let named = files.iter().find_map(|file| file.unpacked);
    let link = match (named, kept) {
        (Some(file), _) => Link {
            media_type: PACKAGES_FILE.to_owned(),
            digest: file.digest,
            size: file.size,
            artifact_type: None,
        },
        (None, Some(kept)) => kept.clone(),
        (None, None) => return Ok(None),
    };
    if !store.has(link.digest, link.size)? {
        return Ok(None);
    }
    match store.read(link.digest) {
        Ok(text) => Ok(Some((link, text))),
        // It is fetched again; `forge verify` finds and removes what is damaged.
        Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Fetches a list of packages in the smallest form that some root has, by its digest first: so an archive that is being changed has it
/// still.
fn fetch_packages(
    http: &Http,
    roots: &[String],
    suite: &str,
    files: &[IndexFile],
) -> Result<Vec<u8>, SourceError> {
    let mut tried = Vec::new();
    for root in roots {
        for file in files {
            for path in file.by_hash.iter().chain([&file.path]) {
                let url = format!("{root}/dists/{suite}/{path}");
                match http.get(&url, &[], file.file.size) {
                    Ok(packed) => match unpack(&packed, file) {
                        Ok(text) => return Ok(text),
                        Err(why) => tried.push(format!("{}: {why}", shown(&url))),
                    },
                    Err(error @ HttpError::Store(_)) => return Err(error.into()),
                    Err(error) => tried.push(error.to_string()),
                }
            }
        }
    }
    Err(SourceError::NoIndex {
        suite: suite.to_owned(),
        tried,
    })
}

/// The text of a list, checked packed and unpacked; at most as long as the release says.
fn unpack(packed: &[u8], file: &IndexFile) -> Result<Vec<u8>, String> {
    if BlobDigest::of(packed) != file.file.digest {
        return Err("it is not what the InRelease says: its digest differs".to_owned());
    }
    let limit = file.unpacked.map_or(MOST_BYTES as u64, |file| file.size);
    let mut text = Vec::with_capacity(usize::try_from(limit.min(256 << 20)).unwrap_or(0));
    let mut hasher = Sha256::new();
    let mut reader: Box<dyn Read + '_> = match file.packing {
        Packing::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(packed)),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Packing::None => Box::new(packed),
    };
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| format!("it cannot be unpacked: {error}"))?;
        if count == 0 {
            break;
        }
        if text.len() as u64 + count as u64 > limit {
            return Err(format!(
                "it is longer than {limit} bytes when it is unpacked"
            ));
        }
        hasher.update(&buffer[..count]);
        text.extend_from_slice(&buffer[..count]);
    }
    let found = BlobDigest::from_hasher(hasher);
    match file.unpacked {
        Some(named) if named.digest != found || named.size != text.len() as u64 => {
            Err("its text is not what the InRelease says: its digest differs".to_owned())
        }
        _ => Ok(text),
    }
}

/// `debian/indexes/SUITE`; a suite's name that cannot stand there is none.
fn kept_name(suite: &str) -> Result<RefName, SourceError> {
    let name = format!("debian/indexes/{suite}").parse();
    name.map_err(|_| SourceError::NoIndex {
        suite: suite.to_owned(),
        tried: vec![format!("`{}` is no name of a suite", suite.escape_debug())],
    })
}

fn read_kept(store: &dyn Store, name: &RefName) -> Result<Kept, SourceError> {
    let refs = store.refs()?;
    let Some(link) = refs.get(name) else {
        return Ok(Kept::new());
    };
    let bytes = match store.read(link.digest) {
        Ok(bytes) => bytes,
        Err(StoreError::Missing { .. } | StoreError::Corrupt { .. }) => return Ok(Kept::new()),
        Err(error) => return Err(error.into()),
    };
    let manifest = parse_manifest(&bytes)?;
    let mut kept = Kept::new();
    for layer in manifest.layers() {
        let title = layer
            .annotations()
            .as_ref()
            .and_then(|all| all.get(media::TITLE));
        if let Some(title) = title {
            kept.insert(title.clone(), Link::try_from(layer)?);
        }
    }
    Ok(kept)
}

fn encode_kept(kept: &Kept) -> Result<Vec<u8>, SourceError> {
    let mut layers = Vec::new();
    for (title, link) in kept {
        let title = BTreeMap::from([(media::TITLE.to_owned(), title.clone())]);
        layers.push(link.descriptor(&title)?);
    }
    let config = Link::to(media::EMPTY, media::EMPTY_BYTES).descriptor(&BTreeMap::new())?;
    Ok(encode_artifact(ARTIFACT, config, layers)?)
}
