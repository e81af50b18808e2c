//! Manifests as registries send them: what they are, what they need, and which platform's is wanted.

use oci_spec::image::{Arch as OciArch, Descriptor, ImageIndex, Os};

use super::manifest::{Link, ManifestError, parse_index, parse_manifest};
use super::media;
use crate::pure::name::Arch;

/// Why a manifest from a registry is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceivedError {
    #[error(
        "it is a manifest of Docker's schema 1, which names no layer by what is in it and has been given up; push the image again with a \
         Docker from after 2017"
    )]
    Schema1,
    #[error("it is sent as `{}` and calls itself `{}`", sent.escape_debug(), own.escape_debug())]
    Contradiction { sent: String, own: String },
    #[error("it is neither an image manifest nor an index{}", .0.as_ref().map(|it| format!(", but `{}`", it.escape_debug())).unwrap_or_default())]
    Unknown(Option<String>),
    #[error("it is for {}; {wanted} is not among them", list(there))]
    Platform { wanted: String, there: Vec<String> },
    #[error(
        "its layer {digest} may not be distributed (`{}`) and is not in the registry: use another image", media_type.escape_debug()
    )]
    Foreign { digest: String, media_type: String },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn list(there: &[String]) -> String {
    match there.is_empty() {
        true => "no platform".to_owned(),
        false => there.join(", "),
    }
}

/// What a registry is asked for, in the words of `Accept`.
pub const ACCEPTED: &[&str] = &[
    media::INDEX,
    media::MANIFEST,
    media::DOCKER_INDEX,
    media::DOCKER_MANIFEST,
];

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    artifact_type: Option<String>,
}

/// The link to a manifest or index: its media type, from the header `Content-Type` and its own words, which must agree.
///
/// # Errors
/// [`ReceivedError::Schema1`], [`ReceivedError::Contradiction`], [`ReceivedError::Unknown`], [`ReceivedError::Manifest`].
pub fn link(content_type: Option<&str>, bytes: &[u8]) -> Result<Link, ReceivedError> {
    let sent = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
    if sent.is_some_and(|sent| sent.starts_with("application/vnd.docker.distribution.manifest.v1+"))
    {
        return Err(ReceivedError::Schema1);
    }
    let shape: Shape = serde_json::from_slice(bytes).map_err(|source| ManifestError::Parse {
        what: "manifest",
        source,
    })?;
    if shape.schema_version == Some(1) {
        return Err(ReceivedError::Schema1);
    }
    let known = |text: Option<&str>| {
        text.filter(|text| ACCEPTED.contains(text))
            .map(str::to_owned)
    };
    let media_type = match (known(sent), known(shape.media_type.as_deref())) {
        (Some(sent), Some(own)) if sent != own => {
            return Err(ReceivedError::Contradiction { sent, own });
        }
        (Some(sent), _) if shape.media_type.is_none() => sent,
        (_, Some(own)) => own,
        // Both fields may be left out of OCI's documents.
        (None, None) if shape.media_type.is_none() => match (&shape.manifests, &shape.layers) {
            (Some(_), None) => media::INDEX.to_owned(),
            (None, Some(_)) => media::MANIFEST.to_owned(),
            _ => return Err(ReceivedError::Unknown(sent.map(str::to_owned))),
        },
        _ => return Err(ReceivedError::Unknown(shape.media_type)),
    };
    let mut link = Link::to(&media_type, bytes);
    link.artifact_type = shape.artifact_type;
    Ok(link)
}

/// The manifest for Linux on this architecture.
///
/// A variant must be the one that every processor of the architecture has (`v8` of arm64, `v1` of amd64), or be left out.
///
/// # Errors
/// [`ReceivedError::Platform`] with the platforms that there are.
pub fn choose(bytes: &[u8], arch: Arch) -> Result<Link, ReceivedError> {
    let index = parse_index(bytes)?;
    match fitting(&index, arch) {
        Some(descriptor) => Ok(Link::try_from(descriptor)?),
        None => Err(ReceivedError::Platform {
            wanted: format!("linux/{arch}"),
            there: platforms(&index),
        }),
    }
}

fn fitting(index: &ImageIndex, arch: Arch) -> Option<&Descriptor> {
    let (wanted, base) = match arch {
        Arch::Amd64 => (OciArch::Amd64, "v1"),
        Arch::Arm64 => (OciArch::ARM64, "v8"),
    };
    index.manifests().iter().find(|descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            let variant = platform.variant().as_deref();
            *platform.os() == Os::Linux
                && *platform.architecture() == wanted
                && variant.is_none_or(|variant| variant.is_empty() || variant == base)
        })
    })
}

fn platforms(index: &ImageIndex) -> Vec<String> {
    let mut all = Vec::new();
    for descriptor in index.manifests() {
        let Some(platform) = descriptor.platform() else {
            continue;
        };
        let mut text = format!("{}/{}", platform.os(), platform.architecture());
        if let Some(variant) = platform.variant() {
            text.push('/');
            text.push_str(variant);
        }
        // Attestations call themselves so.
        if text != "unknown/unknown" && !all.contains(&text) && all.len() < 50 {
            all.push(text.escape_debug().to_string());
        }
    }
    all
}

/// Config and layers of a manifest, each of which the registry must have.
///
/// # Errors
/// [`ReceivedError::Foreign`] if a layer is elsewhere; [`ReceivedError::Manifest`].
pub fn blobs(bytes: &[u8]) -> Result<Vec<Link>, ReceivedError> {
    let manifest = parse_manifest(bytes)?;
    let mut links = Vec::new();
    for descriptor in std::iter::once(manifest.config()).chain(manifest.layers()) {
        let media_type = descriptor.media_type().to_string();
        let elsewhere = descriptor
            .urls()
            .as_ref()
            .is_some_and(|urls| !urls.is_empty());
        if elsewhere
            || media_type.contains(".foreign.")
            || media_type.contains(".nondistributable.")
        {
            return Err(ReceivedError::Foreign {
                digest: descriptor.digest().to_string(),
                media_type,
            });
        }
        links.push(Link::try_from(descriptor)?);
    }
    Ok(links)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<u8> {
        let manifest = |(number, platform): (usize, &&str)| {
            let mut parts = platform.split('/');
            let (os, arch) = (parts.next().unwrap(), parts.next().unwrap());
            let variant = parts
                .next()
                .map_or(String::new(), |it| format!(r#","variant":"{it}""#));
            format!(
                r#"{{"mediaType":"{}","size":1,"digest":"sha256:{number:064}","platform":{{"os":"{os}","architecture":"{arch}"{variant}}}}}"#,
                media::MANIFEST
            )
        };
        let manifests: Vec<String> = platforms.iter().enumerate().map(manifest).collect();
        format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            manifests.join(",")
        )
        .into_bytes()
    }

    #[test]
    fn the_platform_is_chosen_or_those_that_there_are_are_told() {
        let all = index(&[
            "linux/arm/v7",
            "windows/amd64",
            "linux/amd64/v3",
            "linux/amd64",
            "linux/arm64/v8",
            "unknown/unknown",
        ]);
        let number = |link: Link| link.digest.hex().parse::<u32>().unwrap();
        assert_eq!(number(choose(&all, Arch::Amd64).unwrap()), 3);
        assert_eq!(number(choose(&all, Arch::Arm64).unwrap()), 4);
        let error = choose(
            &index(&["linux/arm/v7", "linux/s390x", "unknown/unknown"]),
            Arch::Arm64,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is for linux/arm/v7, linux/s390x; linux/arm64 is not among them"
        );
        let error = choose(&index(&[]), Arch::Arm64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is for no platform; linux/arm64 is not among them"
        );
    }

    #[test]
    fn what_is_sent_and_what_it_calls_itself_agree() {
        let own = |media_type: &str| {
            format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","layers":[]}}"#)
        };
        let kind = |sent: Option<&str>, body: &str| {
            link(sent, body.as_bytes()).map(|link| link.media_type)
        };
        assert_eq!(
            kind(Some(media::MANIFEST), &own(media::MANIFEST)).unwrap(),
            media::MANIFEST
        );
        assert_eq!(
            kind(Some("application/json"), &own(media::DOCKER_MANIFEST)).unwrap(),
            media::DOCKER_MANIFEST
        );
        assert_eq!(
            kind(None, r#"{"schemaVersion":2,"layers":[]}"#).unwrap(),
            media::MANIFEST
        );
        assert_eq!(
            kind(None, r#"{"schemaVersion":2,"manifests":[]}"#).unwrap(),
            media::INDEX
        );
        assert!(matches!(
            kind(Some(media::INDEX), &own(media::MANIFEST)),
            Err(ReceivedError::Contradiction { .. })
        ));
        assert!(matches!(
            kind(None, r#"{"layers":[],"manifests":[]}"#),
            Err(ReceivedError::Unknown(_))
        ));
        assert!(matches!(
            kind(Some(media::MANIFEST), &own("text/html")),
            Err(ReceivedError::Unknown(_))
        ));
        assert!(matches!(
            kind(None, r#"{"schemaVersion":1}"#),
            Err(ReceivedError::Schema1)
        ));
        let v1 = "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8";
        assert!(matches!(kind(Some(v1), "{}"), Err(ReceivedError::Schema1)));
        assert!(matches!(
            kind(None, r#"{"schemaVersion":2,"lay"#),
            Err(ReceivedError::Manifest(_))
        ));
    }

    #[test]
    fn layers_that_are_elsewhere_are_refused() {
        let manifest = |layer: &str| {
            let digest = format!("sha256:{:064}", 0);
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","size":1,"digest":"{digest}"}},"layers":[{{"size":1,"digest":"{digest}",{layer}}}]}}"#
            )
        };
        assert_eq!(
            blobs(manifest(r#""mediaType":"a/b""#).as_bytes())
                .unwrap()
                .len(),
            2
        );
        for layer in [
            r#""mediaType":"a/b","urls":["https://other.example/layer"]"#,
            r#""mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#,
            r#""mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip""#,
        ] {
            assert!(
                matches!(
                    blobs(manifest(layer).as_bytes()),
                    Err(ReceivedError::Foreign { .. })
                ),
                "{layer}"
            );
        }
    }
}
