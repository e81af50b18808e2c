//! Pulling from registries and pushing to them: a real one, and one that does whatever is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use forge::edge::registry::{Compression, Credential, FixedCredentials, Registry, RegistryError};
use forge::edge::store::{
    MemoryStore, RefChange, Store, Trust, find_bundle, open_bundle, put_bundle,
};
use forge::flow::operator::push::{Push, push};
use forge::flow::progress::Silent;
use forge::flow::pull::pull;
use forge::pure::bundle::{Draft, Embedded, Part, PartKind};
use forge::pure::config::sources::RegistrySource;
use forge::pure::name::{Arch, BlobDigest};
use forge::pure::oci::{Link, Repository, media};

use registry_support::real::{Auth, RealRegistry, copy_to, make_image, push_index, raw, succeed};
use registry_support::server::{Asked, Reply, Server};
use registry_support::{assert_clean, http, noise};

fn plain(hosts: &[&str]) -> BTreeMap<String, RegistrySource> {
    let source = RegistrySource {
        mirrors: Vec::new(),
        plain_http: true,
    };
    let each = |host: &&str| ((*host).to_owned(), source.clone());
    hosts.iter().map(each).collect()
}

fn registry(host: &str, credentials: FixedCredentials) -> Registry {
    Registry::new(http().0, plain(&[host]), Arc::new(credentials))
}

fn password(login: &str, user: &str, password: &str) -> FixedCredentials {
    let credential = Credential::Password {
        user: user.to_owned(),
        password: password.into(),
    };
    FixedCredentials(BTreeMap::from([(login.to_owned(), credential)]))
}

fn repository(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse().unwrap()
}

fn take(
    registry: &Registry,
    store: &MemoryStore,
    repository: &Repository,
    tag: &str,
) -> Result<Link, RegistryError> {
    let digest = registry.resolve(repository, tag)?;
    pull(registry, store, repository, digest, Arch::Amd64, 4, &Silent)
}

/// Names what was pulled, so that `verify` follows it.
fn keep(store: &MemoryStore, link: &Link) {
    let writer = store.begin(Trust::Size).unwrap();
    let name = "test/kept".parse().unwrap();
    writer
        .commit(&[RefChange::Set(name, link.clone())])
        .unwrap();
    assert_clean(store);
}

fn what<'a>(repository: &'a Repository, root: &'a Link, tags: &'a [String]) -> Push<'a> {
    Push {
        repository,
        root,
        tags,
        compress: None,
        referrers: false,
        mount: None,
        jobs: 4,
    }
}

#[test]
fn images_of_a_real_registry_come_whole() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let folder = real.folder.path();
    let layout = make_image(folder, "app", "amd64", &noise(3_000_000));
    copy_to(folder, &layout, &format!("{}/team/app:1", real.host), &[]);
    copy_to(
        folder,
        &layout,
        &format!("{}/team/app:docker", real.host),
        &["--format", "v2s2"],
    );
    let registry = registry(&real.host, FixedCredentials::default());
    let repository = repository(&real.host, "team/app");
    for (tag, kind) in [("1", media::MANIFEST), ("docker", media::DOCKER_MANIFEST)] {
        let store = MemoryStore::default();
        let link = take(&registry, &store, &repository, tag).unwrap();
        assert_eq!(link.media_type, kind);
        assert_eq!(
            link.digest,
            BlobDigest::of(raw(&real.host, &format!("team/app:{tag}")))
        );
        keep(&store, &link);
        assert_eq!(
            store.blobs().unwrap().len(),
            3,
            "manifest, config and one layer"
        );
    }
    let error = registry.resolve(&repository, "none").unwrap_err();
    assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
}

#[test]
fn of_an_index_our_platform_comes() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let digest = push_index(&real, "multi", "all", &["amd64", "arm64"]);
    let registry = registry(&real.host, FixedCredentials::default());
    let repository = repository(&real.host, "multi");
    assert_eq!(registry.resolve(&repository, "all").unwrap(), digest);
    for arch in Arch::ALL {
        let store = MemoryStore::default();
        let link = pull(&registry, &store, &repository, digest, arch, 4, &Silent).unwrap();
        assert_eq!(
            link.digest,
            BlobDigest::of(raw(&real.host, &format!("multi:{arch}")))
        );
        keep(&store, &link);
        assert_eq!(
            (&store as &dyn Store).read(digest.blob()).unwrap(),
            raw(&real.host, "multi:all")
        );
    }
    let other = push_index(&real, "other", "all", &["s390x", "riscv64"]);
    let repository = self::repository(&real.host, "other");
    let store = MemoryStore::default();
    let error = pull(
        &registry,
        &store,
        &repository,
        other,
        Arch::Amd64,
        4,
        &Silent,
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("it is for linux/s390x, linux/riscv64; linux/amd64 is not among them"),
        "{error}"
    );
    assert_eq!(store.blobs().unwrap().len(), 0);
}

#[test]
fn who_has_everything_asks_nobody() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let digest = push_index(&real, "multi", "all", &["amd64"]);
    let mine = registry(&real.host, FixedCredentials::default());
    let mine_repository = repository(&real.host, "multi");
    let store = MemoryStore::default();
    let first = pull(
        &mine,
        &store,
        &mine_repository,
        digest,
        Arch::Amd64,
        4,
        &Silent,
    )
    .unwrap();
    drop(real);
    let second = pull(
        &mine,
        &store,
        &mine_repository,
        digest,
        Arch::Amd64,
        4,
        &Silent,
    )
    .unwrap();
    assert_eq!(first, second);
}

#[test]
fn what_forge_pushes_is_taken_by_others() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let folder = real.folder.path();
    let layout = make_image(folder, "app", "amd64", &noise(300_000));
    copy_to(folder, &layout, &format!("{}/first:1", real.host), &[]);
    let registry = registry(&real.host, FixedCredentials::default());
    let first = repository(&real.host, "first");
    let second = repository(&real.host, "team/second");
    let store = MemoryStore::default();
    let link = take(&registry, &store, &first, "1").unwrap();
    let tags = ["a".to_owned(), "b".to_owned()];
    assert_eq!(
        push(&registry, &store, &what(&second, &link, &tags), &Silent).unwrap(),
        link
    );
    for tag in &tags {
        assert_eq!(
            BlobDigest::of(raw(&real.host, &format!("team/second:{tag}"))),
            link.digest
        );
    }
    let back = folder.join("back").display().to_string();
    let from = format!("docker://{}/team/second:a", real.host);
    succeed(
        folder,
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            &from,
            &format!("oci:{back}:latest"),
        ],
    );
    succeed(
        folder,
        "umoci",
        &[
            "unpack",
            "--rootless",
            "--image",
            &format!("{back}:latest"),
            &format!("{back}.bundle"),
        ],
    );
    let content = std::fs::read(folder.join("back.bundle/rootfs/content")).unwrap();
    assert_eq!(content, noise(300_000));
    // Again, from the other repository: nothing is sent.
    let third = repository(&real.host, "third");
    let mut mounting = what(&third, &link, &tags);
    mounting.mount = Some(&first);
    push(&registry, &store, &mounting, &Silent).unwrap();
    assert_eq!(BlobDigest::of(raw(&real.host, "third:a")), link.digest);
}

/// An image of forge's kind in a store: its one layer is not packed. With it, an SBOM that speaks of it.
fn own_image(store: &MemoryStore) -> Link {
    let mut tar = Vec::new();
    {
        let mut builder = tar::Builder::new(&mut tar);
        let content = noise(100_000);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "content", content.as_slice())
            .unwrap();
        builder.finish().unwrap();
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        BlobDigest::of(&tar)
    );
    let descriptor = |kind: &str, bytes: &[u8]| {
        format!(
            r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#,
            BlobDigest::of(bytes),
            bytes.len()
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media::MANIFEST,
        descriptor(media::IMAGE_CONFIG, config.as_bytes()),
        descriptor(media::LAYER, &tar)
    );
    let sbom = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/spdx+json","config":{},"layers":[{}],"subject":{}}}"#,
        media::MANIFEST,
        descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        descriptor("application/spdx+json", b"the sbom"),
        descriptor(media::MANIFEST, manifest.as_bytes())
    );
    let link = Link::to(media::MANIFEST, manifest.as_bytes());
    let sbom_link = Link::to(media::MANIFEST, sbom.as_bytes());
    let mut writer = store.begin(Trust::Size).unwrap();
    for bytes in [
        tar.as_slice(),
        config.as_bytes(),
        manifest.as_bytes(),
        b"{}",
        b"the sbom",
        sbom.as_bytes(),
    ] {
        let mut content = bytes;
        writer
            .put(BlobDigest::of(bytes), bytes.len() as u64, &mut content)
            .unwrap();
    }
    let set = |name: &str, link: &Link| RefChange::Set(name.parse().unwrap(), link.clone());
    writer
        .commit(&[set("image", &link), set("sbom", &sbom_link)])
        .unwrap();
    link
}

#[test]
fn layers_are_packed_on_the_way_and_referrers_go_along() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let folder = real.folder.path();
    let registry = registry(&real.host, FixedCredentials::default());
    let store = MemoryStore::default();
    let link = own_image(&store);
    let tags = ["1".to_owned()];
    let mut digests = vec![link.digest];
    for (path, compress, kind) in [
        ("plain", None, media::LAYER),
        ("gzip", Some(Compression::Gzip), media::LAYER_GZIP),
        ("zstd", Some(Compression::Zstd), media::LAYER_ZSTD),
    ] {
        let repository = repository(&real.host, path);
        let mut all = what(&repository, &link, &tags);
        all.compress = compress;
        all.referrers = true;
        let pushed = push(&registry, &store, &all, &Silent).unwrap();
        assert_eq!(pushed == link, compress.is_none());
        assert_eq!(
            push(&registry, &store, &all, &Silent).unwrap(),
            pushed,
            "the same again"
        );
        let manifest = raw(&real.host, &format!("{path}:1"));
        assert_eq!(BlobDigest::of(&manifest), pushed.digest);
        let manifest = String::from_utf8(manifest).unwrap();
        assert!(manifest.contains(&format!("\"{kind}\"")), "{manifest}");
        // Who unpacks it checks the digests of the unpacked layers.
        let back = folder.join(path).display().to_string();
        let from = format!("docker://{}/{path}:1", real.host);
        if compress != Some(Compression::Zstd) {
            succeed(
                folder,
                "skopeo",
                &[
                    "copy",
                    "--insecure-policy",
                    "--src-tls-verify=false",
                    &from,
                    &format!("oci:{back}:latest"),
                ],
            );
            succeed(
                folder,
                "umoci",
                &[
                    "unpack",
                    "--rootless",
                    "--image",
                    &format!("{back}:latest"),
                    &format!("{back}.bundle"),
                ],
            );
            let content =
                std::fs::read(folder.join(format!("{path}.bundle/rootfs/content"))).unwrap();
            assert_eq!(content, noise(100_000));
        }
        let referrers = raw(
            &real.host,
            &format!("{path}:{}", pushed.digest.to_string().replace(':', "-")),
        );
        let referrers = String::from_utf8(referrers).unwrap();
        assert_eq!(
            referrers.matches("application/spdx+json").count(),
            1,
            "{referrers}"
        );
        digests.push(pushed.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[test]
fn a_bundle_goes_and_comes_with_the_same_digest() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let registry = registry(&real.host, FixedCredentials::default());
    let here = MemoryStore::default();
    let image = own_image(&here);
    let part =
        |path: &str, bytes: &[u8]| Part::new(PartKind::File, path.parse().unwrap(), bytes.to_vec());
    let draft = Draft {
        host: "web".parse().unwrap(),
        images: Vec::new(),
        parts: vec![part("files/a", b"a"), part("files/b", b"bb")],
        system: serde_json::json!({"x": 1}),
    };
    let sealed = draft.seal().unwrap();
    for (path, present) in [("alone", Vec::new()), ("embedded", vec![image])] {
        let present: Vec<Embedded> = present
            .into_iter()
            .map(|manifest: Link| Embedded {
                pinned: manifest.digest.as_manifest(),
                manifest,
            })
            .collect();
        let name = "shop/web".parse().unwrap();
        put_bundle(&here, &sealed, &present, &name, Trust::Size).unwrap();
        let root = (&here as &dyn Store).refs().unwrap()[&name].clone();
        let repository = repository(&real.host, path);
        let tags = ["web".to_owned()];
        let mut packed = what(&repository, &root, &tags);
        packed.compress = Some(Compression::Gzip);
        assert!(matches!(
            push(&registry, &here, &packed, &Silent),
            Err(RegistryError::Compress { .. })
        ));
        push(&registry, &here, &what(&repository, &root, &tags), &Silent).unwrap();
        let there = MemoryStore::default();
        let link = take(&registry, &there, &repository, "web").unwrap();
        assert_eq!(link, root);
        let writer = there.begin(Trust::Size).unwrap();
        writer
            .commit(&[RefChange::Set(name.clone(), link)])
            .unwrap();
        assert_clean(&there);
        let digest = find_bundle(&there, &name).unwrap().unwrap();
        assert_eq!(Some(digest), find_bundle(&here, &name).unwrap());
        open_bundle(&there, digest).unwrap();
    }
}

#[test]
fn passwords_are_wanted_and_given() {
    let auth = Auth::Basic {
        user: "me",
        password: "secret:with:colons",
    };
    let real = RealRegistry::start(&auth);
    let folder = real.folder.path();
    let layout = make_image(folder, "app", "amd64", b"content");
    let to = format!("{}/app:1", real.host);
    copy_to(
        folder,
        &layout,
        &to,
        &["--dest-creds", "me:secret:with:colons"],
    );
    let app = repository(&real.host, "app");
    let store = MemoryStore::default();
    let good = registry(&real.host, password(&real.host, "me", "secret:with:colons"));
    let link = take(&good, &store, &app, "1").unwrap();
    keep(&store, &link);
    let tags = ["2".to_owned()];
    push(&good, &store, &what(&app, &link, &tags), &Silent).unwrap();
    for bad in [
        FixedCredentials::default(),
        password(&real.host, "me", "wrong"),
    ] {
        let error = take(&registry(&real.host, bad.clone()), &store, &app, "1").unwrap_err();
        assert!(
            matches!(error, RegistryError::Unauthorized { .. }),
            "{error}"
        );
        let mend = format!("run `docker login {}`", real.host);
        assert!(error.to_string().contains(&mend), "{error}");
        let bad = registry(&real.host, bad);
        let error = push(&bad, &store, &what(&app, &link, &tags), &Silent).unwrap_err();
        assert!(
            matches!(error, RegistryError::Unauthorized { .. }),
            "{error}"
        );
    }
}

/// A token server with its own key; the registry is given the certificate.
fn token_server(folder: &Path, life: u64) -> Server {
    let (key, certificate) = (folder.join("key.pem"), folder.join("cert.pem"));
    let at = |path: &Path| path.display().to_string();
    succeed(
        folder,
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-keyout",
            &at(&key),
            "-out",
            &at(&certificate),
        ],
    );
    let pem = std::fs::read_to_string(&certificate).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Server::start(move |asked: &Asked, before| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let known = asked.header("authorization")
            == Some(&format!("Basic {}", Base64::encode_string(b"me:secret")))
            || body.contains("refresh_token=identity");
        if !known {
            return Reply::new(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#,
            );
        }
        let query = match asked.path.split_once('?') {
            Some((_, query)) => query.to_owned(),
            None => body,
        };
        let field = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(field("service").as_deref(), Some("test-registry"));
        let scope = field("scope").unwrap();
        let mut parts = scope.splitn(3, ':');
        let (_, name, actions) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
        let actions: Vec<String> = actions
            .split(',')
            .map(|action| format!("\"{action}\""))
            .collect();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let head = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{der}"]}}"#);
        let claims = format!(
            r#"{{"iss":"test-issuer","sub":"me","aud":"test-registry","exp":{},"nbf":{},"iat":{now},"jti":"{before}","access":[{{"type":"repository","name":"{name}","actions":[{}]}}]}}"#,
            now + 3600,
            now - 60,
            actions.join(",")
        );
        let signed = format!(
            "{}.{}",
            Base64UrlUnpadded::encode_string(head.as_bytes()),
            Base64UrlUnpadded::encode_string(claims.as_bytes())
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &signed).unwrap();
        let signature = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&key)
            .arg(file.path())
            .output()
            .unwrap();
        let signature = Base64UrlUnpadded::encode_string(&signature.stdout);
        Reply::ok(format!(
            r#"{{"token":"{signed}.{signature}","expires_in":{life}}}"#
        ))
    })
}

#[test]
fn tokens_are_fetched_kept_and_fetched_again() {
    let keys = tempfile::tempdir().unwrap();
    for (life, fetched) in [(300, 1), (1, 4)] {
        let tokens = token_server(keys.path(), life);
        let auth = Auth::Token {
            realm: tokens.url("/token"),
            certificate: keys.path().join("cert.pem"),
        };
        let real = RealRegistry::start(&auth);
        let app = repository(&real.host, "team/app");
        let store = MemoryStore::default();
        let link = own_image(&store);
        let mine = registry(&real.host, password(&real.host, "me", "secret"));
        let tags = ["1".to_owned()];
        push(&mine, &store, &what(&app, &link, &tags), &Silent).unwrap();
        let before = tokens.asked().len();
        let there = MemoryStore::default();
        let pulled = take(&mine, &there, &app, "1").unwrap();
        assert_eq!(pulled, link);
        keep(&there, &link);
        let after = tokens.asked().len() - before;
        // The tag, the manifest, two blobs; a token that ends soon is good for the request that it was fetched for.
        assert_eq!(after, fetched, "{:?}", tokens.paths());
        let token = Credential::Token("identity".into());
        let identity = FixedCredentials(BTreeMap::from([(real.host.clone(), token)]));
        assert_eq!(
            take(&registry(&real.host, identity), &there, &app, "1").unwrap(),
            link
        );
        let error = take(
            &registry(&real.host, FixedCredentials::default()),
            &there,
            &app,
            "1",
        )
        .unwrap_err();
        assert!(
            matches!(error, RegistryError::Unauthorized { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("who are you"), "{error}");
    }
}
