//! Content on its way to a host: pushes that go on where they were cut, and what the host fetches itself.

#[path = "../registry_support/mod.rs"]
mod registry_support;

use forge::pure::name::BlobDigest;
use forge::pure::oci::media;
use registry_support::real::{Auth, RealRegistry, raw, succeed};
use registry_support::server::{Reply, Server};

use crate::host::Project;
use crate::link::Link;
use crate::{changed, current, lab, status_until};

/// A service whose image the host lacks: `image` is that image's TOML.
fn add_service(project: &Project, name: &str, image: &str) {
    let folder = project.folder.path().join("images").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("image.toml"), image).unwrap();
    project.append(
        "hosts/lab.toml",
        &format!(
            r#"
[[service]]
name = "{name}"
image = "{name}"
user = "10003:10003"
command = ["/usr/bin/sleep", "infinity"]
read_only = true
limits = {{ memory = "64MiB", cpus = "0.5" }}
healthcheck = {{ exec = ["/usr/bin/test", "-e", "/usr/bin/sleep"] }}
"#
        ),
    );
}

#[test]
fn a_push_that_was_cut_goes_on_where_it_was() {
    let vm = lab("push");
    let project = Project::new();
    let before = vm.containers();
    let recipe = r#"
[image]
summary = "What is long on its way"
arch = ["amd64"]
base = "debug"

[[file]]
path = "/noise"
source = "noise"
"#;
    add_service(&project, "big", recipe);
    let noise = registry_support::noise(12_000_000);
    std::fs::write(project.folder.path().join("images/big/noise"), noise).unwrap();
    project.local(&["lock"]);

    let link = Link::to(&vm);
    let told = project
        .forge_at(link.port, &["deploy", "--plan", "--json"])
        .ends(0)
        .json();
    let planned = told["planned_bytes"].as_u64().unwrap();
    assert!(planned > 12_000_000, "{planned}");
    assert_eq!(told["sent_bytes"], 0, "a plan sends nothing");

    // Cut when the half of it is on the host: nothing has been changed there, and the program says so.
    link.cut_after(planned / 2);
    let ran = project.forge_at(link.port, &["deploy", "--yes", "--json"]);
    let told = ran.ends(3).json();
    assert_eq!(told["outcome"], "failed", "{told}");
    assert_eq!(told["planned_bytes"], planned, "{told}");
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());
    assert_eq!(current(&vm), "generations/1");
    link.mend();

    // The host notices that nobody is there any more, and its lock is free.
    status_until(&project, &vm, |status| status["lease"].is_null());

    // Only the rest is sent, and to the byte what the plan says.
    let told = project
        .forge_at(link.port, &["deploy", "--yes", "--json"])
        .ends(0)
        .json();
    let rest = told["planned_bytes"].as_u64().unwrap();
    assert_eq!(told["sent_bytes"], rest, "{told}");
    // What was under way between the two when it was cut is lost.
    let slack = 3_000_000;
    assert!(rest < planned / 2 + slack, "{rest} of {planned}");
    let total = told["total_bytes"].as_u64().unwrap();
    assert!(
        (rest..rest + (256 << 10)).contains(&total),
        "{total} in all, {rest} of them images"
    );
    assert_eq!(changed(&before, &vm.containers()), ["big"]);
    vm.ssh("docker exec forge-big-1 /usr/bin/test -s /noise");
}

/// Pins an image of a registry by hand: this machine cannot ask the registry by the name that the host knows it by.
fn pin(project: &Project, name: &str, repository: &str, digest: &str) {
    project.append(
        "forge.lock",
        &format!(
            "[[image]]\nname = \"{name}\"\nrepository = \"{repository}\"\ntag = \"1\"\ndigest = \"{digest}\""
        ),
    );
}

/// The laptop as the host sees it.
const LAPTOP: &str = "10.0.2.2";

fn registry_image(project: &Project, name: &str, port: &str, mirrors: &str, digest: &str) {
    project.append(
        "forge.toml",
        &format!(
            "[sources.registry.\"{LAPTOP}:{port}\"]\nplain_http = true\nmirrors = [{mirrors}]"
        ),
    );
    let repository = format!("{LAPTOP}:{port}/team/{name}");
    let image = format!(
        "[image]\nsummary = \"Of a registry\"\n\n[registry]\nrepository = \"{repository}\"\ntag = \"1\"\n"
    );
    add_service(project, name, &image);
    pin(project, name, &repository, digest);
}

/// A project with a service whose image is at a registry that serves `lie` under the digest of `layer`, which is the last.
fn lying(layer: Vec<u8>, lie: Vec<u8>) -> (Project, Server, BlobDigest) {
    let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
        media::MANIFEST,
        media::IMAGE_CONFIG,
        BlobDigest::of(&config),
        config.len(),
        media::LAYER,
        BlobDigest::of(&layer),
        layer.len()
    )
    .into_bytes();
    let digest = BlobDigest::of(&manifest).to_string();
    let wrong = BlobDigest::of(&layer);
    let liar = Server::start(move |asked, _| {
        let is = |digest: BlobDigest| asked.path.ends_with(&digest.to_string());
        if is(BlobDigest::of(&manifest)) {
            Reply::ok(&manifest).with("Content-Type", media::MANIFEST)
        } else if is(BlobDigest::of(&config)) {
            Reply::file(asked, &config)
        } else if is(wrong) {
            Reply::file(asked, &lie)
        } else {
            Reply::new(404, "{}")
        }
    });
    let project = Project::new();
    let mirror = format!("\"http://127.0.0.1:{}\"", liar.port);
    registry_image(&project, "lie", &liar.port.to_string(), &mirror, &digest);
    (project, liar, wrong)
}

#[test]
fn the_host_fetches_by_digest_and_believes_nobody() {
    let vm = lab("fetch");
    let before = vm.containers();

    // A registry that serves other bytes under a digest: refused by the host, and by the laptop that it asks then.
    let (project, _liar, wrong) = lying(registry_support::noise(200_000), vec![7; 200_000]);
    let ran = project.forge(&vm, &["deploy", "--yes"]).ends(3);
    assert!(
        ran.err.contains("the host cannot fetch `lie`"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("nothing was changed"), "{}", ran.err);
    assert!(
        ran.err.contains("digest") || ran.err.contains("sha256"),
        "{}",
        ran.err
    );
    assert_eq!(changed(&before, &vm.containers()), Vec::<String>::new());
    assert_eq!(current(&vm), "generations/1");
    let store = format!("find /var/lib/forge -name '*{}*'", hex(&wrong));
    assert_eq!(vm.ssh(&store), "", "unverified bytes stay nowhere");
    project.forge(&vm, &["status"]).ends(0);

    // A real one, under a name by which the laptop itself does not reach it.
    let registry = RealRegistry::start(&Auth::Anonymous);
    let port = registry.host.split(':').nth(1).unwrap().to_owned();
    let folder = registry.folder.path();
    let project = Project::new();
    project.local(&["image", "build", "debug"]);
    let layout = folder.join("debug");
    let layout = layout.to_str().unwrap();
    project.local(&["image", "export", "debug", "--out", layout]);
    // Another image than the one in the laptop's store: it would be sent from there.
    let to = format!("docker://{}/team/tools:1", registry.host);
    succeed(
        folder,
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-compress-format=gzip",
            &format!("oci:{layout}"),
            &to,
        ],
    );
    let digest = BlobDigest::of(raw(&registry.host, "team/tools:1")).to_string();
    registry_image(&project, "tools", &port, "", &digest);
    let told = project
        .forge(&vm, &["deploy", "--yes", "--json"])
        .ends(0)
        .json();
    assert_eq!(told["outcome"], "done", "{told}");
    assert_eq!(told["fetched"], serde_json::json!(["tools"]), "{told}");
    assert_eq!(told["planned_bytes"], 0, "{told}");
    assert_eq!(told["sent_bytes"], 0, "{told}");
    let total = told["total_bytes"].as_u64().unwrap();
    assert!(total < 256 << 10, "{total}");
    assert_eq!(changed(&before, &vm.containers()), ["tools"]);
    assert_eq!(
        vm.ssh("docker exec forge-tools-1 /usr/bin/printf %s works"),
        "works"
    );
}

fn hex(digest: &BlobDigest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}
