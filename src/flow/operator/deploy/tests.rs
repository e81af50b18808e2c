use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use super::conversation::Said;
use super::double::{Anna, Crates, Host, Session, bundle, digest, journal, record};
use super::*;
use crate::edge::patience::NoWaiting;
use crate::edge::reach::FixedReach;
use crate::flow::operator::remote;
use crate::pure::generation::{Action, Change, Journal, Kind, Phase};
use crate::pure::name::BundleDigest;
use crate::pure::protocol::{Ending, StatusReport};

fn plan(from: BundleDigest, to: BundleDigest, changes: usize) -> Plan {
    let change = Change::new(Kind::File, "/etc/motd", Action::Change, "edited by hand");
    Plan {
        host: "web".parse().unwrap(),
        from: 1,
        from_bundle: Some(from),
        to_bundle: Some(to),
        changes: vec![change; changes],
        notes: Vec::new(),
    }
}

fn the_plan() -> Plan {
    plan(bundle("old"), bundle("new"), 1)
}

/// The answer to an offer; these image blobs are missing, these images are nowhere.
fn offered_with(missing: &[&str], absent: &[&str]) -> Reply {
    Reply::Offered {
        plan: the_plan(),
        images: absent
            .iter()
            .map(|name| (name.parse().unwrap(), ImageState::Absent))
            .collect(),
        holding: Holding {
            missing: missing.iter().map(|name| digest(name)).collect(),
            ..Holding::default()
        },
        failed_before: None,
        refusals: Vec::new(),
    }
}

fn offered() -> Reply {
    offered_with(&[], &[])
}

fn ended(ending: Ending) -> Reply {
    Reply::Ended { ending }
}

fn waiting() -> Reply {
    ended(Ending::AwaitingConfirmation {
        generation: 2,
        token: "token".to_owned(),
        deadline: 300,
    })
}

fn confirmed() -> Reply {
    Reply::Confirmed {
        generation: 2,
        bundle: Some(bundle("new")),
    }
}

fn status(number: u64, of: &str) -> Reply {
    Reply::Status {
        status: Box::new(StatusReport {
            current: Some(record(number, Some(bundle(of)))),
            journal: None,
            lease: None,
            services: Vec::new(),
            drift: Vec::new(),
            failed_units: Vec::new(),
            secrets: BTreeMap::new(),
            free: 0,
            uptime: 0,
        }),
    }
}

fn back() -> Ending {
    Ending::RolledBack {
        generation: 1,
        step: "services".to_owned(),
        why: "postgres is unhealthy".to_owned(),
    }
}

fn no_reply(why: &str) -> Reply {
    Reply::Refused {
        why: why.to_owned(),
        hint: None,
    }
}

/// Offered, locked, kept, and then what the activation says.
fn activation(says: impl IntoIterator<Item = Reply>) -> Option<Session> {
    let before = [offered(), Reply::Done, Reply::Done];
    Some(Session::new(before.into_iter().chain(says)))
}

fn confirmation() -> Option<Session> {
    Some(Session::new([confirmed(), status(2, "new")]).with(journal("anna@laptop")))
}

fn cargo() -> Cargo {
    let image: ImageName = "postgres".parse().unwrap();
    let fetch = Fetch {
        image: image.clone(),
        repository: "docker.io/library/postgres".to_owned(),
        tag: "17".to_owned(),
        digest: digest("postgres").as_manifest(),
    };
    Cargo {
        bundle: bundle("new"),
        blobs: BTreeMap::from([
            (bundle("new").blob(), b"manifest".to_vec()),
            (digest("config"), b"config".to_vec()),
            (digest("part"), vec![7; WHOLE]),
        ]),
        head: BTreeSet::from([bundle("new").blob(), digest("config")]),
        images: BTreeMap::from([(image, fetch)]),
        closed: BTreeSet::from([5432]),
    }
}

struct Run {
    answer: Agreement,
    crates: Crates,
    open: Vec<u16>,
    retry: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            answer: Agreement::Go,
            crates: Crates::default(),
            open: Vec::new(),
            retry: false,
        }
    }
}

impl Run {
    fn with<T>(
        &mut self,
        host: &Host,
        story: impl FnOnce(&mut Site<'_>, &mut Crates) -> T,
    ) -> (T, Anna, Duration) {
        let mut anna = Anna::saying(self.answer.clone());
        let patience = NoWaiting::default();
        let reach = FixedReach(self.open.clone());
        let mut site = Site {
            name: Some("web".to_owned()),
            connect: host,
            patience: &patience,
            reach: &reach,
            person: &mut anna,
            deadline: Duration::from_secs(300),
        };
        let result = story(&mut site, &mut self.crates);
        let waited = patience.elapsed();
        (result, anna, waited)
    }

    fn deploy(mut self, host: &Host) -> Outcome {
        let retry = self.retry;
        self.with(host, |site, crates| deploy(site, &cargo(), crates, retry))
            .0
    }
}

fn deploy_to(host: &Host) -> Outcome {
    Run::default().deploy(host)
}

#[test]
fn what_is_agreed_to_is_activated_confirmed_anew_and_read_back() {
    let host = Host::new([activation([waiting()]), confirmation()]);
    assert_eq!(
        deploy_to(&host),
        Outcome::Done {
            generation: 2,
            bundle: Some(bundle("new"))
        }
    );
    assert_eq!(
        host.log(),
        "open offer lock keep activate open confirm status"
    );
    let activate = host.asked().into_iter().nth(3).unwrap();
    let wanted = Request::Activate {
        plan: the_plan().digest(),
        deadline: 300,
        retry: false,
    };
    assert_eq!(activate, wanted);
}

#[test]
fn an_unchanged_host_is_asked_once_and_sent_nothing() {
    let same = Reply::Offered {
        plan: plan(bundle("new"), bundle("new"), 0),
        images: BTreeMap::new(),
        holding: Holding::default(),
        failed_before: None,
        refusals: Vec::new(),
    };
    let session = Session::new([same]).at(Some(record(1, Some(bundle("new")))));
    let host = Host::new([Some(session)]);
    assert_eq!(deploy_to(&host), Outcome::NothingToDo { generation: 1 });
    assert_eq!(host.log(), "open offer");
    assert!(matches!(&host.asked()[0], Request::Offer(offer) if offer.blobs.len() == 2));
}

#[test]
fn a_small_bundle_is_offered_whole() {
    let mut cargo = cargo();
    cargo.blobs.insert(digest("part"), vec![7; 100]);
    let host = Host::new([Some(Session::new([no_reply("wrong system")]))]);
    let run = &mut Run::default();
    let (outcome, ..) = run.with(&host, |site, crates| deploy(site, &cargo, crates, false));
    assert!(matches!(outcome, Outcome::Refused { why, .. } if why == "wrong system"));
    assert!(matches!(&host.asked()[0], Request::Offer(offer) if offer.blobs.len() == 3));
}

#[test]
fn parts_are_sent_when_they_are_wanted() {
    let wanted = Reply::Wanted {
        parts: BTreeSet::from([digest("part")]),
    };
    let run = Run {
        answer: Agreement::OnlyPlan,
        ..Run::default()
    };
    let host = Host::new([Some(Session::new([wanted.clone(), offered()]))]);
    assert_eq!(run.deploy(&host), Outcome::Planned);
    let counts: Vec<usize> = host
        .asked()
        .iter()
        .filter_map(|asked| match asked {
            Request::Offer(offer) => Some(offer.blobs.len()),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [2, 1]);
    // Wanted again and again: that host is never satisfied.
    let host = Host::new([Some(Session::new([wanted.clone(), wanted]))]);
    assert!(matches!(deploy_to(&host), Outcome::Failed { .. }));
}

#[test]
fn a_no_changes_nothing() {
    let no = Agreement::No {
        why: "not confirmed".to_owned(),
        hints: vec!["use --yes".to_owned()],
    };
    let host = Host::new([Some(Session::new([offered()]))]);
    let run = Run {
        answer: no,
        ..Run::default()
    };
    let outcome = run.deploy(&host);
    assert!(
        matches!(outcome, Outcome::Refused { step, hints, .. } if step == "plan" && hints == ["use --yes"])
    );
    assert_eq!(host.log(), "open offer");
}

#[test]
fn refusals_are_told_and_nothing_is_agreed_to() {
    let mut reply = offered();
    if let Reply::Offered { refusals, .. } = &mut reply {
        refusals.extend(["no space".to_owned(), "it would lock you out".to_owned()]);
    }
    let host = Host::new([Some(Session::new([reply]))]);
    let outcome = deploy_to(&host);
    assert!(
        matches!(outcome, Outcome::Refused { why, .. } if why == "no space\nit would lock you out")
    );
    assert_eq!(host.log(), "open offer");
}

#[test]
fn what_failed_before_is_activated_only_when_that_is_asked_for() {
    let failed = || {
        let mut reply = offered();
        if let Reply::Offered { failed_before, .. } = &mut reply {
            *failed_before = Some("postgres is unhealthy".to_owned());
        }
        reply
    };
    let host = Host::new([Some(Session::new([failed()]))]);
    let outcome = deploy_to(&host);
    assert!(matches!(outcome, Outcome::Refused { hints, .. } if hints[0].contains("--retry")));
    assert_eq!(host.log(), "open offer");

    let session = Session::new([failed(), Reply::Done, Reply::Done, ended(back())]);
    let host = Host::new([Some(session)]);
    let run = Run {
        retry: true,
        ..Run::default()
    };
    run.deploy(&host);
    assert!(matches!(
        host.asked().last(),
        Some(Request::Activate { retry: true, .. })
    ));
}

#[test]
fn a_host_that_is_held_or_in_the_middle_of_something_is_left_alone() {
    let host = Host::new([Some(Session::new([offered(), no_reply("held by bob")]))]);
    let outcome = deploy_to(&host);
    assert!(
        matches!(&outcome, Outcome::Refused { step, hints, .. } if step == "lock" && hints[0].contains("forge unlock --host web"))
    );
    assert_eq!(host.log(), "open offer lock");

    let host = Host::new([Some(Session::new([]).with(journal("bob@desk")))]);
    let outcome = deploy_to(&host);
    assert!(
        matches!(&outcome, Outcome::Refused { why, hints, .. } if why.contains("bob@desk") && hints[0].contains("forge attach --host web"))
    );
    assert_eq!(host.log(), "open offer");
}

fn stuck() -> Journal {
    Journal {
        phase: Phase::Recovering {
            why: "services: postgres is unhealthy".to_owned(),
            left: vec!["files: /etc/motd".to_owned()],
        },
        ..journal("bob@desk")
    }
}

#[test]
fn a_host_that_has_not_come_back_whole_says_what_is_left_and_what_can_be_done() {
    let host = Host::new([Some(Session::new([]).with(stuck()))]);
    let Outcome::Refused { why, hints, .. } = deploy_to(&host) else {
        panic!("it is refused");
    };
    assert!(why.contains("postgres is unhealthy") && why.contains("files: /etc/motd"));
    assert!(
        hints[0].contains("`forge rollback --host web`"),
        "{hints:?}"
    );
    assert!(
        hints[1].contains("`forge unlock --force --host web`"),
        "{hints:?}"
    );
    assert_eq!(host.log(), "open offer");
}

#[test]
fn a_rollback_ends_what_is_unfinished_and_reads_the_host_back() {
    let go = |host: &Host, to, answer| {
        let mut run = Run {
            answer,
            ..Run::default()
        };
        run.with(host, |site, _| rollback(site, to)).0
    };
    let sessions = || {
        let first = Session::new([ended(back())]).with(stuck());
        [Some(first), Some(Session::new([status(1, "old")]))]
    };
    for to in [None, Some(1)] {
        let host = Host::new(sessions());
        let done = Outcome::Done {
            generation: 1,
            bundle: Some(bundle("old")),
        };
        assert_eq!(go(&host, to, Agreement::Go), done);
        assert_eq!(host.log(), "open abandon look status");
        assert!(matches!(&host.asked()[0], Request::Abandon { token, .. } if token == "token"));
    }
    let host = Host::new(sessions());
    assert_eq!(go(&host, None, Agreement::OnlyPlan), Outcome::Planned);
    assert_eq!(
        go(&Host::new(sessions()), Some(7), Agreement::Go).word(),
        "refused"
    );
    assert_eq!(host.log(), "open");
    // Again not whole.
    let again = ended(Ending::Incomplete {
        generation: 1,
        step: "services".to_owned(),
        why: "x".to_owned(),
        left: vec!["files: /etc/motd".to_owned()],
    });
    let host = Host::new([Some(Session::new([again]).with(stuck()))]);
    assert_eq!(go(&host, None, Agreement::Go).word(), "incomplete");
}

#[test]
fn before_the_activation_a_lost_connection_leaves_the_host_as_it_was() {
    let host = Host::new([None]);
    let outcome = deploy_to(&host);
    assert!(matches!(outcome, Outcome::Failed { hints, .. } if hints == ["is sshd running?"]));
    for replies in [vec![], vec![offered()], vec![offered(), Reply::Done]] {
        let host = Host::new([Some(Session::new(replies))]);
        let outcome = deploy_to(&host);
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert!(!host.log().contains("activate"));
    }
}

#[test]
fn what_the_host_lacks_is_sent_and_what_it_cannot_fetch_too() {
    let crates = || Crates {
        here: BTreeMap::from([("web".parse().unwrap(), 10)]),
        elsewhere: BTreeSet::from(["postgres".parse().unwrap()]),
        ..Crates::default()
    };
    let failed = BTreeMap::from([("postgres".parse().unwrap(), "no route to host".to_owned())]);
    let says = |again: Reply| {
        Session::new([
            offered_with(&["web"], &["postgres"]),
            Reply::Done,
            Reply::Fetched {
                failed: failed.clone(),
            },
            again,
            Reply::Done,
            ended(back()),
        ])
    };
    let host = Host::new([Some(says(offered_with(&["postgres"], &["postgres"])))]);
    let mut run = Run {
        crates: crates(),
        ..Run::default()
    };
    let (_, anna, _) = run.with(&host, |site, crates| deploy(site, &cargo(), crates, false));
    assert_eq!(
        host.log(),
        "open offer lock data:10 fetch offer data:1000 keep activate"
    );
    assert_eq!(anna.shown[0].bytes, 10);
    assert_eq!(anna.sent, 10 + 1000, "what was sent, not what was planned");
    assert_eq!(anna.shown[0].fetched, ["postgres".parse().unwrap()]);
    assert!(matches!(&anna.events[0], Event::Warn { text } if text.contains("no route to host")));

    // The host has changed while it fetched.
    let mut other = offered();
    if let Reply::Offered { plan, .. } = &mut other {
        plan.changes.clear();
    }
    let host = Host::new([Some(says(other))]);
    let run = Run {
        crates: crates(),
        ..Run::default()
    };
    assert!(matches!(run.deploy(&host), Outcome::Refused { step, .. } if step == "fetch"));
    assert!(!host.log().contains("keep"));
}

#[test]
fn every_ending_of_an_activation_is_told_apart() {
    let run = |reply: Reply| deploy_to(&Host::new([activation([reply])]));
    let refused = Ending::Refused {
        step: "preflight".to_owned(),
        why: "caddy validate".to_owned(),
    };
    assert_eq!(run(ended(refused)).word(), "refused");
    assert_eq!(
        run(ended(back())),
        Outcome::RolledBack {
            generation: 1,
            step: "services".to_owned(),
            why: "postgres is unhealthy".to_owned()
        }
    );
    let incomplete = Ending::Incomplete {
        generation: 1,
        step: "firewall".to_owned(),
        why: "ufw".to_owned(),
        left: vec!["service web".to_owned()],
    };
    let outcome = run(ended(incomplete));
    assert!(matches!(outcome, Outcome::Incomplete { left, .. } if left == ["service web"]));
    assert_eq!(run(no_reply("the plan is another")).word(), "refused");
    let failed = |touched| Reply::Failed {
        step: "start".to_owned(),
        why: "systemd-run".to_owned(),
        touched,
    };
    assert_eq!(run(failed(false)).word(), "failed");
    assert_eq!(run(failed(true)).word(), "incomplete");
}

#[test]
fn a_lost_connection_is_found_again() {
    let again = Session::new([waiting()]).with(journal("anna@laptop"));
    let host = Host::new([activation([]), None, None, Some(again), confirmation()]);
    assert_eq!(deploy_to(&host).word(), "done");
    assert_eq!(
        host.log(),
        "open offer lock keep activate open attach open confirm status"
    );
    // Lost again while the confirmation is on its way: it was heard.
    let there = record(2, Some(bundle("new")));
    let host = Host::new([
        activation([waiting()]),
        Some(Session::new([]).with(journal("anna@laptop"))),
        Some(Session::new([]).at(Some(there.clone()))),
        Some(Session::new([status(2, "new")]).at(Some(there))),
    ]);
    assert_eq!(deploy_to(&host).word(), "done");
}

#[test]
fn contact_that_stays_lost_ends_after_the_deadline_as_unknown() {
    let host = Host::new([activation([waiting()])]);
    let mut run = Run::default();
    let (outcome, _, waited) =
        run.with(&host, |site, crates| deploy(site, &cargo(), crates, false));
    assert!(
        matches!(outcome, Outcome::Unknown { hints, .. } if hints[0].contains("forge attach --host web"))
    );
    assert!(waited >= Duration::from_secs(300), "{waited:?}");
}

#[test]
fn a_host_that_was_started_anew_is_back() {
    let host = Host::new([activation([]), Some(Session::new([no_reply("no events")]))]);
    let outcome = deploy_to(&host);
    assert!(
        matches!(outcome, Outcome::RolledBack { generation: 1, .. }),
        "{outcome:?}"
    );
}

#[test]
fn the_news_of_an_older_activation_are_not_taken_for_ours() {
    for old in [
        waiting(),
        ended(Ending::Confirmed {
            generation: 1,
            bundle: Some(bundle("old")),
        }),
    ] {
        let host = Host::new([activation([]), Some(Session::new([old]))]);
        let outcome = deploy_to(&host);
        assert!(
            matches!(outcome, Outcome::RolledBack { generation: 1, .. }),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_port_that_answers_and_is_declared_closed_undoes_it() {
    let abandoned = Some(Session::new([ended(back())]).with(journal("anna@laptop")));
    let host = Host::new([activation([waiting()]), abandoned]);
    let run = Run {
        open: vec![5432, 22],
        ..Run::default()
    };
    assert_eq!(run.deploy(&host).word(), "rolled_back");
    assert!(
        matches!(host.asked().last(), Some(Request::Abandon { why, .. }) if why.contains("5432") && !why.contains("22"))
    );
}

#[test]
fn a_confirmation_that_comes_too_late_tells_how_it_ended() {
    let late = Some(Session::new([no_reply("the deadline has passed")]));
    let host = Host::new([
        activation([waiting()]),
        late,
        Some(Session::new([ended(back())])),
    ]);
    assert_eq!(deploy_to(&host).word(), "rolled_back");
    assert!(host.log().ends_with("open confirm open attach"));
}

#[test]
fn done_is_not_said_of_a_host_that_says_otherwise() {
    for says in [status(2, "other"), status(1, "new")] {
        let session = Some(Session::new([confirmed(), says]));
        let host = Host::new([activation([waiting()]), session]);
        assert_eq!(deploy_to(&host).word(), "unknown");
    }
}

#[test]
fn a_rollback_is_planned_and_confirmed_as_a_deploy_is() {
    let planned = |plan: Plan, to, refusals| Reply::Planned { plan, to, refusals };
    let there = the_plan();
    let says = [planned(there.clone(), 2, vec![]), Reply::Done, waiting()];
    let host = Host::new([Some(Session::new(says)), confirmation()]);
    let go = |host: &Host, to| Run::default().with(host, |site, _| rollback(site, to)).0;
    assert_eq!(go(&host, Some(2)).word(), "done");
    assert_eq!(
        host.log(),
        "open plan_rollback lock rollback open confirm status"
    );

    let same = plan(bundle("old"), bundle("old"), 0);
    let host = Host::new([Some(Session::new([planned(same, 1, vec![])]))]);
    assert_eq!(go(&host, None).word(), "nothing_to_do");

    let host = Host::new([Some(Session::new([planned(
        there,
        7,
        vec!["7 is not kept".to_owned()],
    )]))]);
    assert_eq!(go(&host, Some(7)).word(), "refused");
    assert_eq!(host.log(), "open plan_rollback");
}

#[test]
fn who_attaches_confirms_only_what_is_their_own() {
    let watch = |host: &Host| {
        Run::default()
            .with(host, |site, _| attach(site, "anna@laptop"))
            .0
    };
    let mine = Some(Session::new([waiting()]).with(journal("anna@laptop")));
    let host = Host::new([mine, confirmation()]);
    assert_eq!(watch(&host).word(), "done");

    let others = Some(Session::new([waiting()]).with(journal("bob@desk")));
    let host = Host::new([others]);
    assert!(matches!(watch(&host), Outcome::Refused { why, .. } if why.contains("bob@desk")));
    assert_eq!(host.log(), "open attach");

    let host = Host::new([Some(Session::new([no_reply("there was none")]))]);
    assert_eq!(watch(&host).word(), "refused");
}

#[test]
fn a_command_is_given_its_input_and_gives_its_output_and_code() {
    let says = [
        Said::Data(b"\x01out".to_vec()),
        Said::Data(b"\x02err".to_vec()),
        Said::Reply(Box::new(Reply::Exited { code: 7 })),
    ];
    let host = Host::new([Some(Session::saying(says))]);
    let mut talk = host.open(Purpose::Ask).unwrap();
    let (sender, input) = mpsc::channel();
    sender.send(b"typed".to_vec()).unwrap();
    drop(sender);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let request = Request::Exec {
        service: "web".to_owned(),
        command: vec!["cat".to_owned()],
        user: None,
    };
    let code = remote::exec(&mut *talk, &request, &input, &mut out, &mut err).unwrap();
    assert_eq!(
        (code, out.as_slice(), err.as_slice()),
        (7, &b"out"[..], &b"err"[..])
    );
}

#[test]
fn logs_are_written_as_they_come_and_a_no_is_told() {
    let request = Request::Logs {
        service: "web".to_owned(),
        tail: None,
        follow: false,
        since: None,
    };
    let says = [
        Said::Data(b"a\n".to_vec()),
        Said::Data(b"b\n".to_vec()),
        Said::Reply(Box::new(Reply::Done)),
    ];
    let host = Host::new([
        Some(Session::saying(says)),
        Some(Session::new([no_reply("no such service")])),
    ]);
    let mut out = Vec::new();
    let mut talk = host.open(Purpose::Ask).unwrap();
    remote::logs(&mut *talk, &request, &mut out).unwrap();
    assert_eq!(out, b"a\nb\n");
    let mut talk = host.open(Purpose::Ask).unwrap();
    let error = remote::logs(&mut *talk, &request, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "no such service");
}

#[test]
fn events_that_come_again_after_a_loss_are_told_once() {
    let event = |text: &str| Reply::Event {
        event: Event::Say {
            text: text.to_owned(),
        },
    };
    let again = [event("a"), event("b"), event("c"), ended(back())];
    let host = Host::new([
        activation([event("a"), event("b")]),
        Some(Session::new([event("a")]).with(journal("anna@laptop"))),
        Some(Session::new(again).with(journal("anna@laptop"))),
    ]);
    let mut run = Run::default();
    let (outcome, anna, _) = run.with(&host, |site, crates| deploy(site, &cargo(), crates, false));
    assert_eq!(outcome.word(), "rolled_back");
    let told: Vec<&str> = anna
        .events
        .iter()
        .map(|event| match event {
            Event::Say { text } => text.as_str(),
            _ => "?",
        })
        .collect();
    assert_eq!(told, ["a", "b", "c"]);
}
