//! Media types and annotation keys, each written down once.

/// An image manifest (OCI image specification, "Image Manifest"). The system manifest is one too.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An image index (OCI image specification, "Image Index").
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration of an image that runs.
pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer: an uncompressed tar (OCI image specification, "Image Layer Filesystem Changeset"): what forge builds.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's own layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The two bytes `{}`, where a manifest must have something and there is nothing to say (OCI image specification, "Guidance for an
/// Empty Descriptor").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What such a blob holds.
pub const EMPTY_BYTES: &[u8] = b"{}";
/// Docker's own manifest, which registries still serve.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's own index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The one version of the bundle format that this program writes and reads.
pub const BUNDLE_VERSION: u32 = 1;
/// The artifact type of a system manifest. It carries the version of the format.
pub const SYSTEM: &str = "application/vnd.forge.system.v1+json";
/// The media type of a system manifest's config: host, images and the evaluated system.
pub const SYSTEM_CONFIG: &str = "application/vnd.forge.system.config.v1+json";
/// A rendered file.
pub const FILE: &str = "application/vnd.forge.file.v1";
/// The age ciphertext of a secret.
pub const SECRET: &str = "application/vnd.forge.secret.v1.age";

/// A bill of materials (SPDX specification 2.3).
pub const SPDX: &str = "application/spdx+json";

/// What a layer of an image holds, the same for all its versions: `deb/libc6`, `pypi/fastapi`, `skeleton`, `shared` or `own`.
pub const LAYER_KEY: &str = "forge.layer";
/// The version of the package that a layer holds.
pub const LAYER_VERSION: &str = "forge.layer.version";
/// Where a layer of a bundle belongs: a relative path.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The name of an entry of an `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The digest by which a bundle names an image that is embedded beside it: that of its manifest, or of an index that has this manifest.
pub const PINNED: &str = "forge.image";

/// The name of an image in containerd, and so in Docker's containerd store.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The version in the artifact type of a system manifest, or nothing if `artifact_type` is not one.
pub fn system_version(artifact_type: &str) -> Option<u32> {
    let version = artifact_type
        .strip_prefix("application/vnd.forge.system.v")?
        .strip_suffix("+json")?;
    // `+1` and `01` parse as numbers, but no forge writes them.
    let version = version
        .parse()
        .ok()
        .filter(|number: &u32| number.to_string() == version)?;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_the_format() {
        assert_eq!(system_version(SYSTEM), Some(BUNDLE_VERSION));
        assert_eq!(
            system_version("application/vnd.forge.system.v12+json"),
            Some(12)
        );
        for other in [
            "",
            SYSTEM_CONFIG,
            "application/vnd.forge.system.v+json",
            "application/vnd.forge.system.v+1+json",
            "application/vnd.forge.system.v01+json",
            IMAGE_CONFIG,
        ] {
            assert_eq!(system_version(other), None, "{other}");
        }
    }
}
