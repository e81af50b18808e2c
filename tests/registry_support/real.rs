//! The real registry, Debian's `docker-registry`, on loopback; and the programs that fill it and read it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use forge::edge::registry::{FixedCredentials, Registry};
use forge::pure::config::sources::RegistrySource;
use forge::pure::name::{BlobDigest, ManifestDigest};
use forge::pure::oci::{Link, Repository, media};
use tempfile::TempDir;

/// Runs a tool with nothing of the user's settings; says what to install if it is not there.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let result = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("DOCKER_CONFIG")
        .output();
    match result {
        Ok(output) => output,
        Err(error) => panic!(
            "this test runs the real `{program}`, which does not start ({error}): `cargo xtask tools` installs it"
        ),
    }
}

/// Runs a tool that must succeed, and gives what it printed.
pub(crate) fn succeed(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {error}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How somebody is recognised.
pub(crate) enum Auth {
    Anonymous,
    /// With `htpasswd`.
    Basic {
        user: &'static str,
        password: &'static str,
    },
    /// By tokens of a server at this URL, signed with the key of this certificate.
    Token {
        realm: String,
        certificate: PathBuf,
    },
}

/// A registry; it ends when this is dropped.
pub(crate) struct RealRegistry {
    pub(crate) host: String,
    pub(crate) folder: TempDir,
    child: Child,
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RealRegistry {
    pub(crate) fn start(auth: &Auth) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let auth = match auth {
            Auth::Anonymous => String::new(),
            Auth::Basic { user, password } => {
                let file = succeed(at, "htpasswd", &["-Bbn", "-C", "5", user, password]);
                std::fs::write(at.join("htpasswd"), file).unwrap();
                let path = at.join("htpasswd").display().to_string();
                format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}\n")
            }
            Auth::Token { realm, certificate } => format!(
                "auth:\n  token:\n    realm: {realm}\n    service: test-registry\n    issuer: test-issuer\n    rootcertbundle: {}\n",
                certificate.display()
            ),
        };
        // A port that was free a moment ago: another test may be faster, and then the registry ends at once.
        for _ in 0..10 {
            let port = {
                let free = TcpListener::bind("127.0.0.1:0").unwrap();
                free.local_addr().unwrap().port()
            };
            let root = at.join("data").display().to_string();
            let config = format!(
                "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {root}\n  delete:\n    enabled: true\n\
                 http:\n  addr: 127.0.0.1:{port}\n  secret: test\n{auth}"
            );
            std::fs::write(at.join("config.yml"), config).unwrap();
            let child = Command::new("docker-registry")
                .args(["serve", "config.yml"])
                .current_dir(at)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) => panic!(
                    "this test runs the real `docker-registry`, which does not start ({error}): `cargo xtask tools` installs it"
                ),
            };
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let listens = lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line.contains("listening on"));
            if listens {
                // Read on, so that it never waits for somebody to do so.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Self {
                    host: format!("127.0.0.1:{port}"),
                    folder,
                    child,
                };
            }
            let _ = child.wait();
        }
        panic!("docker-registry found no port");
    }
}

/// An OCI layout with an image of this architecture, made by `umoci`; gives its path.
pub(crate) fn make_image(folder: &Path, name: &str, arch: &str, content: &[u8]) -> PathBuf {
    let layout = folder.join(name);
    let path = layout.display().to_string();
    let image = format!("{path}:latest");
    succeed(folder, "umoci", &["init", "--layout", &path]);
    succeed(folder, "umoci", &["new", "--image", &image]);
    let file = folder.join(format!("{name}.content"));
    std::fs::write(&file, content).unwrap();
    let file = file.display().to_string();
    succeed(
        folder,
        "umoci",
        &["insert", "--rootless", "--image", &image, &file, "/content"],
    );
    succeed(
        folder,
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--architecture",
            arch,
            "--os",
            "linux",
        ],
    );
    layout
}

/// Copies an image from a layout to a registry, with these arguments.
pub(crate) fn copy_to(folder: &Path, layout: &Path, to: &str, arguments: &[&str]) {
    let from = format!("oci:{}:latest", layout.display());
    let to = format!("docker://{to}");
    let mut all = vec!["copy", "--insecure-policy", "--dest-tls-verify=false"];
    all.extend(arguments);
    all.extend([from.as_str(), to.as_str()]);
    succeed(folder, "skopeo", &all);
}

/// The bytes of a manifest, as the registry has them.
pub(crate) fn raw(host: &str, what: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{host}/{what}");
    let output = run(
        folder.path(),
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &from],
    );
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    output.stdout
}

/// Pushes an index of images for these architectures; gives its digest. The images' contents have the tag in them.
pub(crate) fn push_index(
    real: &RealRegistry,
    path: &str,
    tag: &str,
    archs: &[&str],
) -> ManifestDigest {
    let folder = real.folder.path();
    let source = RegistrySource {
        mirrors: Vec::new(),
        plain_http: true,
    };
    let sources = BTreeMap::from([(real.host.clone(), source)]);
    let registry = Registry::new(
        super::http().0,
        sources,
        Arc::new(FixedCredentials::default()),
    );
    let repository: Repository = format!("{}/{path}", real.host).parse().unwrap();
    let mut entries = Vec::new();
    for arch in archs {
        let content = format!("{tag} for {arch}");
        let name = format!("{}-{tag}-{arch}", path.replace('/', "-"));
        let layout = make_image(folder, &name, arch, content.as_bytes());
        let to = format!("{}/{path}:{arch}", real.host);
        copy_to(folder, &layout, &to, &[]);
        let bytes = raw(&real.host, &format!("{path}:{arch}"));
        entries.push(format!(
            r#"{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#,
            media::MANIFEST,
            BlobDigest::of(&bytes),
            bytes.len()
        ));
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        media::INDEX,
        entries.join(",")
    );
    let link = Link::to(media::INDEX, index.as_bytes());
    registry
        .push_manifest(&repository, Some(tag), &link, index.as_bytes())
        .unwrap();
    link.digest.as_manifest()
}
