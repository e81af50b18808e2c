//! Images, networks and services of a host in a real Docker, with the real Compose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

#[path = "docker/daemon.rs"]
#[allow(dead_code)]
mod daemon;
mod host_docker_support;

use std::fs;
use std::time::Duration;

use forge::flow::host::resource::{Resource as _, Way};
use forge::flow::host::services::{self, LogOptions, Services, Streams};
use forge::flow::host::tell::{Kept, Silent};
use forge::flow::host::{HostError, images, networks::Networks, preflight, probes};
use forge::pure::generation::{Action, Check, Probe, Target};
use forge::pure::protocol::{Event, Health, ImageState};
use host_docker_support::{Spec, World, layer, programs};

const SERVE: &str = "echo serving; trap 'exit 0' TERM; while true; do sleep 0.2; done";

fn spec<'a>(name: &'a str, image: &'a forge::pure::bundle::ImagePin) -> Spec<'a> {
    Spec {
        name,
        image,
        conf: "one\n",
        script: SERVE,
        healthcheck: true,
        one_shot: false,
        network: None,
    }
}

fn said(kept: &Kept) -> String {
    let text = |event| match event {
        Event::Say { text } => Some(text),
        _ => None,
    };
    kept.events()
        .into_iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn images_are_loaded_once_without_what_docker_has_and_proven() {
    let world = World::new();
    let base = programs();
    let old = world.image("app", "1.0", &[&base, &layer("version", "1")]);
    let new = world.image("app", "1.1", &[&base, &layer("version", "2")]);
    let first = world.target(&[spec("web", &old)]);
    let second = world.target(&[spec("web", &new)]);
    let state = |target: &Target| {
        images::states(&world.host, target)
            .unwrap()
            .remove("app")
            .unwrap()
    };

    assert_eq!(state(&first), ImageState::Stored);
    world.apply(&images::Images, &first, &[]);
    assert_eq!(state(&first), ImageState::Loaded);
    let kept = Kept::default();
    assert!(
        images::ensure(&world.host, &first, &kept)
            .unwrap()
            .is_empty()
    );
    assert_eq!(kept.events(), []);

    // The second shares its lowest layer, which is not sent again.
    assert_eq!(
        world.plan(&images::Images, &second, &[&first]),
        [("app".to_owned(), Action::Add, "app 1.0 → 1.1".to_owned())]
    );
    let kept = Kept::default();
    assert_eq!(
        images::ensure(&world.host, &second, &kept).unwrap().len(),
        1
    );
    let text = said(&kept);
    assert!(text.contains("1 of its 2 layers are there"), "{text}");
    assert!(!text.contains("in full"), "{text}");

    // Docker lists an image of the tag that is another one: it is replaced.
    let (tag, other) = (Target::image_tag(&new), Target::image_tag(&old));
    world.daemon.ask(&["tag", &other, &tag]);
    assert_eq!(state(&second), ImageState::Stored);
    assert_eq!(
        images::ensure(&world.host, &second, &Silent).unwrap().len(),
        1
    );
    assert_eq!(state(&second), ImageState::Loaded);

    // Docker inspects what it cannot run: without the proof it is not believed, and not the record of another daemon.
    let proofs = world.path().join("var/lib/forge/docker.json");
    let text = fs::read_to_string(&proofs).unwrap();
    let id = world.daemon.ask(&["info", "--format", "{{.ID}}"]);
    fs::write(&proofs, text.replace(id.trim(), "ANOTHER")).unwrap();
    assert_eq!(state(&second), ImageState::Stored);
    let aside = |field: &str| {
        let format = format!("{{{{.GraphDriver.Data.{field}}}}}");
        let diff = world
            .daemon
            .ask(&["image", "inspect", "--format", &format, &tag]);
        let layer = std::path::Path::new(diff.trim()).parent().unwrap();
        fs::rename(layer, layer.with_extension("aside")).unwrap();
        assert!(!world.daemon.docker(&["create", &tag, "/"]).status.success());
    };
    aside("UpperDir");
    assert_eq!(
        images::ensure(&world.host, &second, &Silent).unwrap().len(),
        1
    );
    assert_eq!(state(&second), ImageState::Loaded);

    // A layer that another image holds, too, is not replaced by a load: it cannot be mended, and nothing that lies stays.
    fs::remove_file(&proofs).unwrap();
    aside("LowerDir");
    world.daemon.ask(&["image", "inspect", &tag]);
    let error = images::ensure(&world.host, &second, &Silent).unwrap_err();
    assert!(matches!(error, HostError::Thing { .. }), "{error}");
    assert!(
        !world
            .daemon
            .docker(&["image", "inspect", &tag])
            .status
            .success()
    );
    assert_eq!(world.daemon.ask(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn exactly_what_changed_is_started_anew_and_a_failure_is_told_with_its_log() {
    let world = World::new();
    let base = programs();
    let old = world.image("app", "1.0", &[&base, &layer("version", "1")]);
    let new = world.image("app", "1.1", &[&base, &layer("version", "2")]);
    let web = spec("web", &old);
    let worker = Spec {
        healthcheck: false,
        ..spec("worker", &old)
    };
    let job = Spec {
        script: "echo done",
        healthcheck: false,
        one_shot: true,
        ..spec("job", &old)
    };
    let networked = Spec {
        network: Some("back"),
        ..spec("net", &old)
    };
    let first = world.target(&[web, worker, job, networked]);
    images::ensure(&world.host, &first, &Silent).unwrap();
    world.apply(&Networks, &first, &[]);
    let text = world.daemon.ask(&["network", "inspect", "forge-back"]);
    assert!(
        text.contains("\"fg-back\"") && text.contains("10.213.7.0/24"),
        "{text}"
    );
    assert_eq!(world.plan(&Services, &first, &[]).len(), 4);
    world.apply(&Services, &first, &[]);
    let before = world.ids();

    // Nothing changed: the same containers, the job not run again.
    Services
        .apply(
            &world.host,
            Way {
                want: &first,
                before: &[&first],
            },
            &Silent,
        )
        .unwrap();
    assert_eq!(world.ids(), before);
    let status = services::status(&world.host, &first).unwrap();
    let health: Vec<_> = status
        .iter()
        .map(|one| (one.name.as_str(), one.health))
        .collect();
    assert_eq!(
        health,
        [
            ("job", Health::Completed),
            ("net", Health::Healthy),
            ("web", Health::Healthy),
            ("worker", Health::Running)
        ]
    );

    // One file: its reader alone.
    let second = world.target(&[
        Spec {
            conf: "two\n",
            ..web
        },
        worker,
        job,
        networked,
    ]);
    assert_eq!(
        world.plan(&Services, &second, &[&first]),
        [(
            "web".to_owned(),
            Action::Restart,
            "file web/conf changed".to_owned()
        )]
    );
    world.apply(&Services, &second, &[&first]);
    let after = world.ids();
    for (service, id) in &before {
        assert_eq!(after[service] == *id, service != "web", "{service}");
    }

    let name = |text: &str| text.parse().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams {
        stdin: None,
        stdout: &mut out,
        stderr: &mut err,
    };
    let words = ["/bin/cat", "/conf"].map(str::to_owned);
    let limit = Duration::from_secs(60);
    let ended = services::exec(&world.host, &name("web"), &words, None, limit, streams).unwrap();
    assert_eq!((ended.code, out.as_slice()), (Some(0), &b"two\n"[..]));
    let mut log = Vec::new();
    services::logs(
        &world.host,
        &name("web"),
        &LogOptions::default(),
        &mut log,
        &mut err,
    )
    .unwrap();
    assert_eq!(log, b"serving\n");

    // Somebody stopped one.
    world.daemon.ask(&["stop", &after["worker"][..12]]);
    let plan = world.plan(&Services, &second, &[&second]);
    assert_eq!((plan.len(), plan[0].1), (1, Action::Start), "{plan:?}");
    world.apply(&Services, &second, &[&second]);
    assert_eq!(world.ids()["worker"], after["worker"]);

    // What never gets healthy is an error with its log, and the way back is the same step.
    let sick = world.target(&[
        Spec {
            conf: "sick\n",
            ..web
        },
        worker,
        job,
        networked,
    ]);
    let error = Services
        .apply(
            &world.host,
            Way {
                want: &sick,
                before: &[&second],
            },
            &Silent,
        )
        .unwrap_err();
    match error {
        HostError::Service { service, why, log } => {
            assert_eq!(service, "web");
            assert!(why.contains("unhealthy"), "{why}");
            assert_eq!(log, "serving\n");
        }
        other => panic!("{other}"),
    }
    world.apply(&Services, &second, &[&sick]);
    let ends = world.target(&[
        Spec {
            script: "echo why; exit 3",
            healthcheck: false,
            ..web
        },
        worker,
        job,
        networked,
    ]);
    let error = Services
        .apply(
            &world.host,
            Way {
                want: &ends,
                before: &[&second],
            },
            &Silent,
        )
        .unwrap_err();
    assert!(
        matches!(&error, HostError::Service { why, log, .. } if why == "it ended with 3" && log == "why\n"),
        "{error:?}"
    );
    world.apply(&Services, &second, &[&ends]);
    assert_eq!(world.ids()["worker"], after["worker"]);

    // An interrupted recreation leaves a container of another name.
    let tag = Target::image_tag(&old);
    world.daemon.ask(&[
        "create",
        "--name",
        "0123456789ab_forge-web-1",
        "--network",
        "none",
        "--label",
        "com.docker.compose.project=forge",
        "--label",
        "com.docker.compose.service=web",
        "--label",
        "com.docker.compose.oneoff=False",
        &tag,
        "/bin/sh",
    ]);
    world.apply(&Services, &second, &[&second]);
    assert_eq!(world.ids().len(), 4);

    // Another image, and services that are gone; their network with them.
    let third = world.target(&[Spec { image: &new, ..web }]);
    images::ensure(&world.host, &third, &Silent).unwrap();
    let plan = world.plan(&Services, &third, &[&second]);
    assert_eq!(plan.len(), 4, "{plan:?}");
    let of_web = plan.iter().find(|change| change.0 == "web").unwrap();
    assert_eq!(of_web.2, "image app 1.0 → 1.1, file web/conf changed");
    Services
        .apply(
            &world.host,
            Way {
                want: &third,
                before: &[&second],
            },
            &Silent,
        )
        .unwrap();
    assert_eq!(world.ids().into_keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(world.plan(&Networks, &third, &[&second]), []);
    world.apply(&Services, &Target::nothing(), &[&third]);
    assert!(world.ids().is_empty());
}

#[test]
fn checks_are_run_alone_and_probes_until_they_are_true() {
    let world = World::new();
    let image = world.image("app", "1.0", &[&programs(), &layer("version", "1")]);
    // The network is made later, and is not wanted by a check.
    let web = Spec {
        network: Some("front"),
        ..spec("web", &image)
    };
    let mut target = world.target(&[web]);
    images::ensure(&world.host, &target, &Silent).unwrap();
    let check = |script: &str| Check {
        service: "web".parse().unwrap(),
        exec: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
    };
    let good = "read x < /conf; test \"$x\" = one";
    target.checks.insert("conf".to_owned(), check(good));
    preflight::check(&world.host, &target, &Silent).unwrap();
    target.checks.insert(
        "conf".to_owned(),
        check("echo on stdout; echo the reason >&2; exit 7"),
    );
    let error = preflight::check(&world.host, &target, &Silent).unwrap_err();
    match error {
        HostError::Check {
            check,
            service,
            why,
        } => {
            assert_eq!((check.as_str(), service.as_str()), ("conf", "web"));
            assert!(
                why.contains("exit status: 7")
                    && why.contains("the reason")
                    && why.contains("on stdout"),
                "{why}"
            );
        }
        other => panic!("{other}"),
    }
    assert!(world.ids().is_empty());
    assert!(!world.daemon.ask(&["network", "ls"]).contains("forge"));

    world.apply(&Networks, &target, &[]);
    world.apply(&Services, &target, &[]);
    let probe = |script: &str, seconds| Probe {
        url: None,
        tcp: None,
        exec: Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
        service: Some("web".parse().unwrap()),
        timeout: Duration::from_secs(seconds),
    };
    target.probes.insert("conf".to_owned(), probe(good, 30));
    // Not true at once: the third try is.
    let third =
        "if test -e /b; then exit 0; fi; if test -e /a; then : > /b; else : > /a; fi; exit 1";
    target.probes.insert("later".to_owned(), probe(third, 60));
    probes::check(&world.host, &target, &Silent).unwrap();
    target
        .probes
        .insert("conf".to_owned(), probe("echo not yet; exit 5", 0));
    let error = probes::check(&world.host, &target, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("exit status: 5: not yet"), "{error}");
    let port = Probe {
        tcp: Some(81),
        exec: None,
        ..probe("", 0)
    };
    target.probes.insert("conf".to_owned(), port);
    let error = probes::check(&world.host, &target, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("port 81 of service web: "), "{error}");

    // A network that differs is made anew, and its containers with it.
    let before = world.ids();
    let mut other = target.clone();
    other.networks.get_mut("front").unwrap().subnet = Some("10.213.8.128/25".to_owned());
    let plan = world.plan(&Services, &other, &[&target]);
    assert_eq!(plan[0].2, "network front is made anew");
    world.apply(&Networks, &other, &[&target]);
    Services
        .apply(
            &world.host,
            Way {
                want: &other,
                before: &[&target],
            },
            &Silent,
        )
        .unwrap();
    assert_ne!(world.ids()["web"], before["web"]);
}
