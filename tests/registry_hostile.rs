//! Registries that lie, break, refuse and mislead: nothing unverified is ever in the store, and the message says what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge::cli::fuzz;
use forge::edge::registry::{
    Credential, Credentials, DockerCredentials, FixedCredentials, Registry, RegistryError,
};
use forge::edge::store::{MemoryStore, Store};
use forge::flow::progress::Silent;
use forge::flow::pull::pull;
use forge::pure::config::sources::RegistrySource;
use forge::pure::name::{Arch, BlobDigest, ManifestDigest};
use forge::pure::oci::{Link, Repository, media};

use registry_support::server::{Asked, Handler, Reply, Server};
use registry_support::{assert_clean, http, noise};

/// A part of the message, and what the server does with the right bytes.
type Lie = (&'static str, fn(&[u8]) -> Reply);

const SIZE: usize = 200_000;

/// An image as a registry has it: answers by path.
#[derive(Clone)]
struct Image {
    digest: ManifestDigest,
    layer: BlobDigest,
    answers: BTreeMap<String, (String, Vec<u8>)>,
}

fn image() -> Image {
    image_with(&[])
}

fn image_with(replaced: &[(&str, &str)]) -> Image {
    let layer = noise(SIZE);
    let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
    let mut manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{{"mediaType":"{}","digest":"{}","size":{SIZE}}}]}}"#,
        media::MANIFEST,
        media::IMAGE_CONFIG,
        BlobDigest::of(&config),
        config.len(),
        media::LAYER,
        BlobDigest::of(&layer)
    );
    for (from, to) in replaced {
        manifest = manifest.replace(from, to);
    }
    let manifest = manifest.into_bytes();
    let digest = ManifestDigest::of(&manifest);
    let mut answers = BTreeMap::new();
    let mut add = |path: String, kind: &str, bytes: &[u8]| {
        answers.insert(path, (kind.to_owned(), bytes.to_vec()));
    };
    add(
        format!("/v2/app/manifests/{digest}"),
        media::MANIFEST,
        &manifest,
    );
    add("/v2/app/manifests/1".to_owned(), media::MANIFEST, &manifest);
    for blob in [&layer, &config] {
        add(
            format!("/v2/app/blobs/{}", BlobDigest::of(blob)),
            "application/octet-stream",
            blob,
        );
    }
    Image {
        digest,
        layer: BlobDigest::of(&layer),
        answers,
    }
}

impl Image {
    fn answer(&self, asked: &Asked) -> Reply {
        match self.answers.get(&asked.path) {
            Some((kind, bytes)) => Reply::file(asked, bytes).with("Content-Type", kind),
            None => Reply::new(
                404,
                r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}"#,
            ),
        }
    }
}

fn sources(host: &str) -> BTreeMap<String, RegistrySource> {
    let source = RegistrySource {
        mirrors: Vec::new(),
        plain_http: true,
    };
    BTreeMap::from([(host.to_owned(), source)])
}

fn repository(server: &Server) -> Repository {
    format!("{}/app", server.host).parse().unwrap()
}

fn client(server: &Server) -> Registry {
    let none = Arc::new(FixedCredentials::default());
    Registry::new(http().0, sources(&server.host), none)
}

fn take(server: &Server, digest: ManifestDigest) -> (MemoryStore, Result<Link, RegistryError>) {
    let store = MemoryStore::default();
    let result = pull(
        &client(server),
        &store,
        &repository(server),
        digest,
        Arch::Amd64,
        4,
        &Silent,
    );
    assert_clean(&store);
    (store, result)
}

/// The image's manifest never comes into the store if anything of the image does not.
fn refused(server: &Server, image: &Image) -> String {
    let (store, result) = take(server, image.digest);
    assert_eq!(store.size(image.digest.blob()).unwrap(), None);
    result.unwrap_err().to_string()
}

/// A server of the image whose layer is answered like this.
fn with_layer(
    image: &Image,
    layer: impl Fn(&Asked, usize, &[u8]) -> Reply + Send + Sync + 'static,
) -> Server {
    let image = image.clone();
    let count = Mutex::new(0);
    Server::start(move |asked, _| {
        if asked.path != format!("/v2/app/blobs/{}", image.layer) {
            return image.answer(asked);
        }
        let before = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count - 1
        };
        layer(asked, before, &noise(SIZE))
    })
}

#[test]
fn a_layer_that_is_cut_is_resumed() {
    let image = image();
    let server = with_layer(&image, |asked, before, bytes| match before {
        0 => Reply::file(asked, bytes).cut(150_000),
        _ => Reply::file(asked, bytes),
    });
    let (store, result) = take(&server, image.digest);
    assert_eq!(result.unwrap().digest, image.digest.blob());
    assert_eq!(store.blobs().unwrap().len(), 3);
    let layer = format!("/v2/app/blobs/{}", image.layer);
    let asked = server.asked();
    let ranges: Vec<_> = asked
        .iter()
        .filter(|asked| asked.path == layer)
        .map(|asked| asked.header("range"))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=150000-")]);
}

#[test]
fn layers_that_are_not_what_was_asked_for_are_refused() {
    let image = image();
    let lies: [Lie; 8] = [
        ("their digest is", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= 1;
            Reply::ok(bytes)
        }),
        ("200001 bytes, where 200000 were announced", |bytes| {
            Reply::ok([bytes, b"x"].concat())
        }),
        ("199999 bytes, where 200000 were announced", |bytes| {
            Reply::ok(&bytes[1..])
        }),
        ("sent more than 200000 bytes", |bytes| {
            Reply::ok(bytes).endless()
        }),
        ("(BLOB_UNKNOWN: gone)", |_| {
            Reply::new(
                404,
                r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}"#,
            )
        }),
        ("answered 416", |_| Reply::new(416, "")),
        ("answered 503", |_| Reply::new(503, "<html>")),
        ("the connection broke 6 times", |bytes| {
            Reply::ok(bytes).cut(0)
        }),
    ];
    for (part, lie) in lies {
        let server = with_layer(&image, move |_, _, bytes| lie(bytes));
        let error = refused(&server, &image);
        assert!(error.contains(part), "{error}");
        let (store, _) = take(&server, image.digest);
        assert_eq!(store.size(image.layer).unwrap(), None);
    }
}

#[test]
fn manifests_that_are_not_what_was_asked_for_are_refused() {
    let image = image();
    let path = format!("/v2/app/manifests/{}", image.digest);
    let (_, whole) = image.answers[&path].clone();
    let half = whole[..whole.len() / 2].to_vec();
    let other = String::from_utf8(whole.clone())
        .unwrap()
        .replace("linux", "Linux")
        .replace("200000", "200001");
    let lies = [
        ("sent something else", Reply::ok(&half)),
        ("sent something else", Reply::ok(&other)),
        ("sent something else", Reply::ok("")),
        (
            "sent something else",
            Reply::ok("<html>please log in</html>"),
        ),
        (
            "which it calls sha256:0000",
            Reply::ok(&whole).with(
                "Docker-Content-Digest",
                format!("sha256:{}", "0".repeat(64)),
            ),
        ),
        ("sent more than 4194304 bytes", Reply::ok(&whole).endless()),
        (
            "sent more than 4194304 bytes",
            Reply {
                length: Some(5 << 20),
                ..Reply::ok(&whole)
            },
        ),
        (
            "calls itself `application/vnd.oci.image.manifest.v1+json`",
            Reply::ok(&whole).with("Content-Type", media::INDEX),
        ),
        (
            "Docker's schema 1",
            Reply::ok(&whole).with(
                "Content-Type",
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
            ),
        ),
        ("cannot reach", Reply::ok(&whole).cut(10)),
    ];
    for (part, lie) in lies {
        let server = Server::start(move |_, _| lie.clone());
        let error = refused(&server, &image);
        assert!(error.contains(part), "{part}: {error}");
        let (store, _) = take(&server, image.digest);
        assert_eq!(store.blobs().unwrap().len(), 0);
    }
}

#[test]
fn manifests_that_forge_does_not_take_are_refused_although_their_digest_is_right() {
    let layer = format!("\"{}\"", media::LAYER);
    for (part, from, to) in [
        (
            "Docker's schema 1",
            "\"schemaVersion\":2",
            "\"schemaVersion\":1",
        ),
        (
            "may not be distributed",
            layer.as_str(),
            "\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"",
        ),
        (
            "is not sha256",
            "\"layers\":[{\"mediaType\"",
            "\"layers\":[{\"digest\":\"sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e\",\"mediaType\":\"a/b\",\"size\":1},{\"mediaType\"",
        ),
        (
            "neither an image manifest nor an index",
            media::MANIFEST,
            "application/vnd.example+json",
        ),
        ("this is no image manifest", "\"config\"", "\"konfig\""),
    ] {
        let image = image_with(&[(from, to)]);
        let served = image.clone();
        let server = Server::start(move |asked, _| {
            let mut reply = served.answer(asked);
            reply.headers.clear();
            reply
        });
        let error = refused(&server, &image);
        assert!(error.contains(part), "{part}: {error}");
        assert_eq!(server.asked().len(), 1, "no layer is asked for");
    }
}

#[test]
fn an_index_may_not_lie_about_its_manifests() {
    let image = image();
    let manifest_size = image.answers[&format!("/v2/app/manifests/{}", image.digest)]
        .1
        .len();
    for (size, kind, fine) in [
        (manifest_size, media::MANIFEST, true),
        (manifest_size + 1, media::MANIFEST, false),
        (manifest_size, media::DOCKER_MANIFEST, false),
    ] {
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{kind}","digest":"{}","size":{size},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            media::INDEX,
            image.digest
        );
        let digest = ManifestDigest::of(&index);
        let mut served = image.clone();
        served.answers.insert(
            format!("/v2/app/manifests/{digest}"),
            (media::INDEX.to_owned(), index.into_bytes()),
        );
        let server = Server::start(move |asked, _| served.answer(asked));
        let (store, result) = take(&server, digest);
        assert_eq!(result.is_ok(), fine, "{result:?}");
        assert_eq!(store.blobs().unwrap().len(), if fine { 4 } else { 0 });
    }
}

#[test]
fn a_tag_becomes_a_digest_with_head_or_without() {
    let image = image();
    let digest = image.digest;
    let served = image.clone();
    let server =
        Server::start(move |asked, _| served.answer(asked).with("Docker-Content-Digest", digest));
    assert_eq!(
        client(&server).resolve(&repository(&server), "1").unwrap(),
        digest
    );
    assert_eq!(server.paths(), ["HEAD /v2/app/manifests/1"]);
    let server = Server::start(move |asked, _| match asked.method.as_str() {
        "HEAD" => Reply::new(405, ""),
        _ => image.answer(asked),
    });
    assert_eq!(
        client(&server).resolve(&repository(&server), "1").unwrap(),
        digest
    );
}

#[test]
fn refusals_say_what_to_do() {
    let image = image();
    let cases: [(u16, &str, &str); 3] = [
        (
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            "docker login",
        ),
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"\u001b[31mno"}]}"#,
            "(DENIED: \\u{1b}[31mno)",
        ),
        (
            404,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"x"}]}"#,
            "the repository or the tag does not exist",
        ),
    ];
    for (status, body, part) in cases {
        let server = Server::start(move |_, _| Reply::new(status, body));
        let error = refused(&server, &image);
        assert!(error.contains(part), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn limits_are_told_with_the_time_when_they_end() {
    let image = image();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    for (name, value, until) in [
        ("Retry-After", "21600", "2024-01-01T06:00:00Z"),
        (
            "Retry-After",
            "Mon, 01 Jan 2024 05:00:00 GMT",
            "2024-01-01T05:00:00Z",
        ),
        ("X-RateLimit-Reset", "1704070800", "2024-01-01T01:00:0"),
        ("X-Retry-After", "1704070800", "2024-01-01T01:00:0"),
    ] {
        let server = Server::start(move |_, _| {
            Reply::new(429, body)
                .with(name, value)
                .with("RateLimit-Limit", "100;w=21600")
                .with("RateLimit-Remaining", "0;w=21600")
        });
        let error = refused(&server, &image);
        for part in [
            "TOOMANYREQUESTS: You have reached",
            "it allows 100 requests in 6 h",
            &format!("try again after {until}"),
            "docker login",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(
            server.asked().len(),
            if name == "Retry-After" { 1 } else { 6 }
        );
    }
    // A short wait is waited.
    let served = image.clone();
    let server = Server::start(move |asked, before| match before {
        0 => Reply::new(429, body).with("Retry-After", 3),
        1 => Reply::new(429, body),
        2 => Reply::new(500, "oops"),
        _ => served.answer(asked),
    });
    let (http, clock) = http();
    let registry = Registry::new(
        http,
        sources(&server.host),
        Arc::new(FixedCredentials::default()),
    );
    let store = MemoryStore::default();
    pull(
        &registry,
        &store,
        &repository(&server),
        image.digest,
        Arch::Amd64,
        1,
        &Silent,
    )
    .unwrap();
    assert_eq!(
        clock.slept(),
        [
            Duration::from_secs(3),
            Duration::from_millis(500),
            Duration::from_secs(1)
        ]
    );
}

fn me() -> Credential {
    Credential::Password {
        user: "me".to_owned(),
        password: "hush".into(),
    }
}

#[test]
fn blobs_may_be_elsewhere_but_credentials_stay() {
    let image = image();
    let storage = Server::start(|asked, _| Reply::file(asked, &noise(SIZE)));
    let target = storage.url("/bucket/x?signature=secret");
    let served = image.clone();
    let server = Server::start(move |asked, _| {
        if asked.header("authorization").is_none() {
            return Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match asked.path.ends_with(&served.layer.to_string()) {
            true => Reply::new(307, "").with("Location", &target),
            false => served.answer(asked),
        }
    });
    let credentials = FixedCredentials(BTreeMap::from([(server.host.clone(), me())]));
    let registry = Registry::new(http().0, sources(&server.host), Arc::new(credentials));
    let store = MemoryStore::default();
    pull(
        &registry,
        &store,
        &repository(&server),
        image.digest,
        Arch::Amd64,
        2,
        &Silent,
    )
    .unwrap();
    assert_clean(&store);
    assert_eq!(storage.asked().len(), 1);
    assert_eq!(storage.asked()[0].header("authorization"), None);
}

#[test]
fn another_host_cannot_ask_for_credentials() {
    let image = image();
    let thief =
        Server::start(|_, _| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""));
    let target = thief.url("/x");
    let server = Server::start(move |_, _| Reply::new(302, "").with("Location", &target));
    let credentials = FixedCredentials(BTreeMap::from([
        (server.host.clone(), me()),
        (thief.host.clone(), me()),
    ]));
    let registry = Registry::new(http().0, sources(&server.host), Arc::new(credentials));
    let store = MemoryStore::default();
    let error = pull(
        &registry,
        &store,
        &repository(&server),
        image.digest,
        Arch::Amd64,
        2,
        &Silent,
    )
    .unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    let given = |server: &Server| {
        server
            .asked()
            .iter()
            .filter(|asked| asked.header("authorization").is_some())
            .count()
    };
    assert_eq!((given(&server), given(&thief)), (0, 0));
}

#[test]
fn a_redirect_loop_ends() {
    let image = image();
    let server = Server::start(|asked, _| Reply::new(302, "").with("Location", &asked.path));
    let error = refused(&server, &image);
    assert!(error.contains("redirects more than 10 times"), "{error}");
}

#[test]
fn token_servers_that_are_wrong_are_refused() {
    let image = image();
    for (status, body, part) in [
        (200, "{}", "its answer holds no token"),
        (200, "<html>", "its answer holds no token"),
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
            "(DENIED: no)",
        ),
        (404, "", "has no access to app"),
    ] {
        let tokens = Server::start(move |_, _| Reply::new(status, body));
        let challenge = format!("Bearer realm=\"{}\",service=\"s\"", tokens.url("/token"));
        let server =
            Server::start(move |_, _| Reply::new(401, "").with("WWW-Authenticate", &challenge));
        let error = refused(&server, &image);
        assert!(error.contains(part), "{part}: {error}");
        assert!(
            tokens.asked()[0]
                .path
                .contains("scope=repository%3Aapp%3Apull")
        );
    }
    let server = Server::start(|_, _| {
        Reply::new(401, "").with("WWW-Authenticate", "Bearer realm=\"nonsense\"")
    });
    assert!(refused(&server, &image).contains("no URL"));
    let server = Server::start(|_, _| {
        Reply::new(401, "").with("WWW-Authenticate", "Bearer realm=\"file:///etc/passwd\"")
    });
    assert!(refused(&server, &image).contains("refused"));
}

#[test]
fn mirrors_are_asked_first_and_believed_in_nothing() {
    let image = image();
    let served = image.clone();
    let origin = Server::start(move |asked, _| served.answer(asked));
    let mirrors: [Box<Handler>; 4] = [
        Box::new(|_, _| Reply::new(404, "")),
        Box::new(|_, _| Reply::new(502, "")),
        Box::new(|_, _| Reply::ok("something else")),
        Box::new(|_, _| Reply::ok("x").cut(0)),
    ];
    for mirror in mirrors {
        let mirror = Server::start(mirror);
        let mut all = sources(&origin.host);
        all.extend(sources(&mirror.host));
        all.get_mut(&origin.host).unwrap().mirrors = vec![mirror.url("/proxy/")];
        let registry = Registry::new(http().0, all, Arc::new(FixedCredentials::default()));
        let store = MemoryStore::default();
        let result = pull(
            &registry,
            &store,
            &repository(&origin),
            image.digest,
            Arch::Amd64,
            2,
            &Silent,
        );
        assert_eq!(result.unwrap().digest, image.digest.blob());
        assert_clean(&store);
        assert!(
            mirror
                .asked()
                .iter()
                .all(|asked| asked.path.starts_with("/v2/proxy/app/"))
        );
        assert!(!mirror.asked().is_empty());
    }
}

#[test]
fn plain_text_is_spoken_only_where_it_is_declared() {
    let image = image();
    let server = Server::start(|_, _| Reply::ok(""));
    let registry = Registry::new(
        http().0,
        BTreeMap::new(),
        Arc::new(FixedCredentials::default()),
    );
    let store = MemoryStore::default();
    let result = pull(
        &registry,
        &store,
        &repository(&server),
        image.digest,
        Arch::Amd64,
        2,
        &Silent,
    );
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("cannot reach https://")
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| !asked.path.starts_with("/v2"))
    );
}

#[test]
fn what_was_complete_before_a_failure_is_not_fetched_again() {
    // Blobs are fetched in the order of their digests, and the config's comes after the layer's.
    let image = image();
    let served = image.clone();
    let layer = format!("/v2/app/blobs/{}", image.layer);
    let failing = Server::start(move |asked, _| {
        match asked.path.contains("/blobs/") && asked.path != layer {
            true => Reply::new(404, ""),
            false => served.answer(asked),
        }
    });
    let store = MemoryStore::default();
    let take = |server: &Server| {
        let repository = repository(server);
        pull(
            &client(server),
            &store,
            &repository,
            image.digest,
            Arch::Amd64,
            1,
            &Silent,
        )
    };
    take(&failing).unwrap_err();
    assert_eq!(store.blobs().unwrap().len(), 1);
    let served = image.clone();
    let fine = Server::start(move |asked, _| served.answer(asked));
    take(&fine).unwrap();
    assert_eq!(fine.asked().len(), 2, "{:?}", fine.paths());
}

/// The only test that changes the environment of this process, and so the only one that uses `DockerCredentials`.
#[test]
fn credentials_are_those_of_docker_login() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-test");
    std::fs::write(
        &helper,
        "#!/bin/sh\nread -r host\ncase $host in\n  none*) echo 'credentials not found in native keychain'; exit 1;;\n  bad*) echo secret-in-output; exit 1;;\n\
         esac\necho '{\"ServerURL\":\"x\",\"Username\":\"helped\",\"Secret\":\"hush\"}'\n",
    )
    .unwrap();
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "credentials_in_another_process",
            "--nocapture",
        ])
        .env("DOCKER_CONFIG", folder.path())
        .env(
            "PATH",
            format!(
                "{}:{}",
                folder.path().display(),
                std::env::var("PATH").unwrap()
            ),
        )
        .output()
        .unwrap();
    let output =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

#[test]
#[ignore = "run by credentials_are_those_of_docker_login, with its environment"]
fn credentials_in_another_process() {
    let file =
        std::path::PathBuf::from(std::env::var_os("DOCKER_CONFIG").unwrap()).join("config.json");
    let shown = |login: &str| match DockerCredentials.of(login) {
        Ok(None) => "none".to_owned(),
        Ok(Some(Credential::Password { user, .. })) => user,
        Ok(Some(Credential::Token(_))) => "a token".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown("a.example"), "none");
    std::fs::write(
        &file,
        r#"{"auths":{"a.example":{"auth":"bWU6aHVzaA=="},"b.example":{"identitytoken":"t"},"https://index.docker.io/v1/":{"auth":"aHViOmh1c2g="}},
            "credHelpers":{"c.example":"test","none.example":"test","bad.example":"test"}}"#,
    )
    .unwrap();
    assert_eq!(shown("a.example"), "me");
    assert_eq!(shown("b.example"), "a token");
    assert_eq!(shown("https://index.docker.io/v1/"), "hub");
    assert_eq!(shown("c.example"), "helped");
    assert_eq!(shown("none.example"), "none");
    assert_eq!(shown("other.example"), "none");
    let error = shown("bad.example");
    assert!(
        error.contains("docker-credential-test") && !error.contains("secret-in-output"),
        "{error}"
    );
    std::fs::write(&file, "nonsense").unwrap();
    assert!(shown("a.example").contains("config.json"));
}

type Target = fn(&[u8]) -> Result<String, String>;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from(z >> 33).unwrap()
}

#[test]
fn whatever_a_registry_says_is_judged() {
    let image = image();
    let manifest = image.answers["/v2/app/manifests/1"].1.clone();
    let seeds: [(Target, Vec<u8>); 5] = [
        (fuzz::reference, format!("registry.example:5000/a/b__c:1.2@{}", image.digest).into_bytes()),
        (fuzz::reference, b"[::1]:5000/library/postgres".to_vec()),
        (fuzz::registry_answer, manifest),
        (fuzz::registry_answer, br#"{"errors":[{"code":"DENIED","message":"\u001b[0m","detail":{}}]}"#.to_vec()),
        (fuzz::registry_answer, br#"Basic realm="x", Bearer realm="https://a.example/t",service="s\"",scope="repository:a:pull""#.to_vec()),
    ];
    let mut state = 7;
    for (target, seed) in &seeds {
        target(seed).unwrap();
        for _ in 0..20_000 {
            let mut bytes = seed.clone();
            for _ in 0..=next(&mut state) % 4 {
                let at = next(&mut state) % bytes.len().max(1);
                match next(&mut state) % 4 {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(
                        at.min(bytes.len()),
                        u8::try_from(next(&mut state) % 256).unwrap(),
                    ),
                    2 if !bytes.is_empty() => {
                        bytes[at] = b"/:@.\"{}[],=\0\xff"[next(&mut state) % 13]
                    }
                    _ if !bytes.is_empty() => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            target(&bytes).unwrap();
        }
    }
}
