//! The machine, driven with resources that keep one file each, on a host in a temporary folder.

mod fakes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fakes::{Fault, NAMES, World};

use super::*;
use crate::edge::host::events;
use crate::edge::host::state::State;
use crate::pure::generation::{Outcome, Phase};
use crate::pure::protocol::{Ending, Event};

/// Steps that are no resources, in the order in which they run.
const STEPS: [&str; 3] = ["secrets", "preflight", "probes"];

#[test]
fn a_generation_is_activated_and_counts_when_it_is_confirmed() {
    let world = World::new();
    let one = world.generation("one");
    assert_eq!(one, 1);
    assert_eq!(world.current(), 0);
    let token = world.start(one);
    let ending = world.run().unwrap();
    assert_eq!(
        ending,
        Ending::AwaitingConfirmation {
            generation: 1,
            token: token.clone(),
            deadline: world.now() + 60,
        }
    );
    assert_eq!(world.told().last(), Some(&Event::Ended { ending }));
    assert_eq!(world.all_at(), Some("one".to_owned()));
    assert_eq!(world.current(), 0, "not before it is confirmed");
    assert_eq!(world.journal().unwrap().phase, Phase::AwaitingConfirmation);

    let error = confirm::confirm_with(&world.works, &world.host, "other").unwrap_err();
    assert!(matches!(error, HostError::Refused { .. }), "{error}");
    assert_eq!(world.current(), 0);
    for _ in 0..2 {
        let record = confirm::confirm_with(&world.works, &world.host, &token).unwrap();
        assert!(record.is_confirmed());
        assert_eq!(world.current(), 1);
        assert_eq!(world.journal(), None);
    }
    let calls = world.supervisor.calls();
    let program = world.host.paths.agent(world.agent);
    assert_eq!(
        calls,
        [
            "installed".to_owned(),
            format!("activation {}", program.display()),
            "armed 60".to_owned(),
            "to be confirmed within 120".to_owned(),
            "disarmed".to_owned(),
        ]
    );
    // Whoever attaches now reads how it ended.
    let last = events::follow(&world.host.paths, 0, Duration::ZERO, || false).last();
    assert!(matches!(
        last,
        Some(Event::Ended {
            ending: Ending::Confirmed { generation: 1, .. }
        })
    ));
    assert!(world.plan(1).is_nothing());
    let error = world.try_start(1).unwrap_err();
    assert!(error.to_string().contains("is current"), "{error}");
}

#[test]
fn what_fails_anywhere_goes_back_whole() {
    for name in NAMES.iter().chain(&STEPS) {
        let world = World::at_one();
        let two = world.generation("two");
        world.fail(Fault::Fail, name, "two");
        world.start(two);
        let ending = world.run().unwrap();
        let staged = ["secrets", "preflight"].contains(name);
        if staged {
            assert!(
                matches!(&ending, Ending::Refused { step, .. } if step == name),
                "{ending:?}"
            );
            assert_eq!(
                world.order(),
                [] as [&str; 0],
                "{name}: nothing was touched"
            );
        } else {
            assert!(
                matches!(&ending, Ending::RolledBack { generation: 1, step, why } if step == name && why.contains("planted")),
                "{ending:?}"
            );
            let tried = NAMES.iter().position(|other| other == name);
            let tried = tried.map_or(NAMES.len(), |at| at + 1);
            // Forward to the failure, and then all of it back, in order.
            let order: Vec<&str> = NAMES[..tried].iter().chain(NAMES).copied().collect();
            assert_eq!(world.order_without_again(), order, "{name}");
            let error = generations::failed_before(&world.host, world.bundle("two")).unwrap();
            assert!(error.unwrap().contains(name));
        }
        assert_eq!(world.all_at(), Some("one".to_owned()), "{name}");
        assert_eq!((world.current(), world.journal()), (1, None), "{name}");
        assert_eq!(world.told().last(), Some(&Event::Ended { ending }));
        assert!(!world.is_armed(), "{name}");
    }
}

#[test]
fn a_kill_anywhere_goes_back_at_the_boot_and_without_one() {
    for boot in [true, false] {
        for name in NAMES {
            let world = World::at_one();
            let two = world.generation("two");
            world.fail(Fault::Kill, name, "two");
            world.start(two);
            assert!(catch_unwind(AssertUnwindSafe(|| world.run())).is_err());
            assert_eq!(world.journal().unwrap().phase, Phase::Converging);
            assert!(world.is_armed());
            // And again on the way back.
            for name in NAMES {
                world.fail(Fault::Kill, name, "one");
                let killed = catch_unwind(AssertUnwindSafe(|| world.recover(boot)));
                assert!(killed.is_err(), "{name}");
                assert!(world.journal().is_some());
            }
            world.mend();
            let ending = world.recover(boot).unwrap();
            assert!(
                matches!(ending, Ending::RolledBack { generation: 1, .. }),
                "{ending:?}"
            );
            assert_eq!(world.all_at(), Some("one".to_owned()));
            assert_eq!((world.current(), world.journal()), (1, None));
            assert!(matches!(world.outcome(two), Outcome::Failed { .. }));
            assert_eq!(world.recover(boot), None, "once is enough");
        }
    }
}

#[test]
fn the_first_deploy_goes_back_to_the_host_as_it_was() {
    let world = World::new();
    let one = world.generation("one");
    world.fail(Fault::Fail, "services", "one");
    world.start(one);
    let ending = world.run().unwrap();
    assert!(
        matches!(ending, Ending::RolledBack { generation: 0, .. }),
        "{ending:?}"
    );
    assert_eq!(world.all_at(), Some("nothing".to_owned()));
    assert_eq!(world.supervisor.calls().last().unwrap(), "uninstalled");
}

#[test]
fn on_the_way_back_nothing_of_what_failed_returns_into_memory() {
    let world = World::new();
    let one = world.generation("one");
    world.fail(Fault::Kill, "units", "one");
    world.start(one);
    assert!(catch_unwind(AssertUnwindSafe(|| world.run())).is_err());
    // Containers of both may start with Docker.
    assert_eq!(world.at_boot(), "nothing one");
    // Docker starts once more when its configuration has gone, and the files have gone before.
    world.fail(Fault::Kill, "units", "nothing");
    assert!(catch_unwind(AssertUnwindSafe(|| world.recover(false))).is_err());
    assert_eq!(world.at_boot(), "nothing");
}

#[test]
fn the_deadline_takes_back_what_nobody_confirms() {
    let world = World::at_one();
    let two = world.generation("two");
    let token = world.start(two);
    world.run().unwrap();
    world.pass(59);
    assert_eq!(world.recover(false), None, "it has a second left");
    assert_eq!(world.all_at(), Some("two".to_owned()));
    world.pass(1);
    let error = confirm::confirm_with(&world.works, &world.host, &token).unwrap_err();
    assert!(error.to_string().contains("too late"), "{error}");
    let ending = world.recover(false).unwrap();
    assert!(
        matches!(&ending, Ending::RolledBack { generation: 1, step, .. } if step == "confirmation"),
        "{ending:?}"
    );
    assert_eq!(world.all_at(), Some("one".to_owned()));
    let error = confirm::confirm_with(&world.works, &world.host, &token).unwrap_err();
    assert!(error.to_string().contains("gone back"), "{error}");
    assert_eq!(world.current(), 1);
}

#[test]
fn the_deadline_stops_an_activation_that_hangs() {
    let world = World::at_one();
    let two = world.generation("two");
    world.start(two);
    world.fail(Fault::Kill, "services", "two");
    assert!(catch_unwind(AssertUnwindSafe(|| world.run())).is_err());
    world.mend();
    // Another process works on.
    world.hang();
    assert_eq!(world.recover(false), None, "it has time left");
    world.pass(60);
    let ending = world.recover(false).unwrap();
    assert!(
        matches!(&ending, Ending::RolledBack { why, .. } if why.contains("deadline")),
        "{ending:?}"
    );
    assert!(world.supervisor.calls().contains(&"stopped".to_owned()));
}

#[test]
fn a_reboot_before_the_confirmation_goes_back_and_after_the_commit_point_stays() {
    let world = World::at_one();
    let two = world.generation("two");
    world.start(two);
    world.run().unwrap();
    std::fs::remove_dir_all(world.host.paths.run()).unwrap();
    let ending = world.recover(true).unwrap();
    assert!(
        matches!(ending, Ending::RolledBack { generation: 1, .. }),
        "{ending:?}"
    );

    let token = world.start(two);
    world.run().unwrap();
    // The power is cut between the rename and what follows it.
    let state = State::open(&world.host.paths).unwrap();
    state.commit(two).unwrap();
    for _ in 0..2 {
        world.pass(100);
        let ending = world.recover(true);
        assert!(
            matches!(ending, None | Some(Ending::Confirmed { generation: 2, .. })),
            "{ending:?}"
        );
        assert_eq!((world.current(), world.journal()), (2, None));
        assert_eq!(world.all_at(), Some("two".to_owned()));
        assert!(matches!(world.outcome(two), Outcome::Confirmed { .. }));
    }
    confirm::confirm_with(&world.works, &world.host, &token).unwrap();
}

#[test]
fn a_way_back_that_fails_is_incomplete_and_goes_on_later() {
    let world = World::at_one();
    let two = world.generation("two");
    world.start(two);
    world.run().unwrap();
    world.pass(60);
    world.fail(Fault::Fail, "files", "one");
    for _ in 0..2 {
        let ending = world.recover(false).unwrap();
        let Ending::Incomplete {
            generation: 1,
            left,
            ..
        } = ending
        else {
            panic!("{ending:?}");
        };
        assert_eq!(left.len(), 2, "the failure, and what it left: {left:?}");
        let journal = world.journal().unwrap();
        assert!(journal.is_stuck());
        assert!(journal.told().contains(&left[1]), "{}", journal.told());
    }
    // All that could go back has.
    assert_eq!(world.all_at(), None);
    assert_eq!(world.at("services"), "one");
    let error = world.try_start(two).unwrap_err();
    assert!(error.to_string().contains("what is left"), "{error}");
    assert!(
        matches!(&error, HostError::Refused { hint: Some(hint), .. } if hint.contains("forge unlock --force"))
    );
    // Sending it on its way again does not change why.
    let token = world.journal().unwrap().token;
    confirm::abandon_with(&world.works, &world.host, &token, "again").unwrap();
    assert!(matches!(world.outcome(two), Outcome::Failed { step, .. } if step == "confirmation"));
    assert!(!world.journal().unwrap().is_stuck(), "it is on its way");
    world.mend();
    let ending = world.recover(true).unwrap();
    assert!(
        matches!(ending, Ending::RolledBack { generation: 1, .. }),
        "{ending:?}"
    );
    assert_eq!(world.all_at(), Some("one".to_owned()));
}

#[test]
fn what_cannot_go_back_can_be_taken_as_it_is() {
    let world = World::at_one();
    assert!(!recover::accept_with(&world.works, &world.host).unwrap());
    let two = world.generation("two");
    world.start(two);
    world.run().unwrap();
    assert!(recover::accept_with(&world.works, &world.host).is_err());
    world.pass(60);
    world.fail(Fault::Fail, "files", "one");
    world.recover(false).unwrap();
    assert!(recover::accept_with(&world.works, &world.host).unwrap());
    world.mend();
    // A new deploy starts from what is there.
    let three = world.generation("three");
    world.start(three);
    let ending = world.run().unwrap();
    assert!(matches!(
        ending,
        Ending::AwaitingConfirmation { generation: 3, .. }
    ));
}

#[test]
fn a_plan_that_is_no_longer_true_is_refused() {
    let world = World::at_one();
    let two = world.generation("two");
    world.start(two);
    // Somebody edits by hand what the plan left alone.
    world.put("files", "two");
    let ending = world.run().unwrap();
    assert!(
        matches!(&ending, Ending::Refused { step, .. } if step == "plan"),
        "{ending:?}"
    );
    assert_eq!((world.journal(), world.is_armed()), (None, false));
    assert_eq!(world.order(), [] as [&str; 0]);
    assert_eq!(
        world.outcome(two),
        Outcome::Unconfirmed,
        "it has not failed"
    );
}

#[test]
fn another_program_is_not_trusted_with_its_own_recovery() {
    let mut world = World::at_one();
    world.agent = crate::pure::name::BlobDigest::of("a newer program");
    let two = world.generation("two");
    world.fail(Fault::Fail, "units", "two");
    world.start(two);
    assert_eq!(world.run(), None);
    let program = world.host.paths.current().join("agent/forge");
    let last = world.supervisor.calls().pop().unwrap();
    assert_eq!(last, format!("recovery {}", program.display()));
    assert!(world.is_armed(), "until the host is back");
    let ending = world.recover(false).unwrap();
    assert!(
        matches!(&ending, Ending::RolledBack { generation: 1, step, .. } if step == "units"),
        "{ending:?}"
    );
    assert_eq!(world.all_at(), Some("one".to_owned()));
}

#[test]
fn checks_wait_for_a_docker_that_is_yet_to_come() {
    let mut world = World::new();
    world.works.steps.docker_is_there = |_| false;
    let one = world.generation("one");
    world.start(one);
    world.run().unwrap();
    let steps = world.steps();
    let at = |name: &str| steps.iter().position(|step| step == name).unwrap();
    assert!(at("secrets") < at("packages"), "{steps:?}");
    assert!(at("packages") < at("preflight"), "{steps:?}");
    assert!(at("preflight") < at("services"), "{steps:?}");
    // Docker's chains are there only now.
    let firewall = steps.iter().filter(|step| *step == "firewall").count();
    assert_eq!(firewall, 2);

    // And a check that fails then goes back.
    let mut world = World::new();
    world.works.steps.docker_is_there = |_| false;
    let one = world.generation("one");
    world.fail(Fault::Fail, "preflight", "one");
    world.start(one);
    let ending = world.run().unwrap();
    assert!(
        matches!(ending, Ending::RolledBack { generation: 0, .. }),
        "{ending:?}"
    );
}

#[test]
fn an_activation_is_given_up_by_whoever_began_it() {
    let world = World::at_one();
    let two = world.generation("two");
    let token = world.start(two);
    world.run().unwrap();
    let give_up = |token| confirm::abandon_with(&world.works, &world.host, token, "it looks wrong");
    assert!(give_up("other").is_err());
    let from = give_up(&token).unwrap();
    let ending = world.recover(false).unwrap();
    let expected = Ending::RolledBack {
        generation: 1,
        step: "abandoned".to_owned(),
        why: "it looks wrong".to_owned(),
    };
    assert_eq!(ending, expected);
    let first = events::follow(&world.host.paths, from, Duration::ZERO, || false).next();
    assert!(matches!(first, Some(Event::Failed { step, .. }) if step == "abandoned"));
    assert!(confirm::confirm_with(&world.works, &world.host, &token).is_err());
}

#[test]
fn an_activation_that_ended_is_not_given_up_and_one_that_was_not_begun_is_refused() {
    let world = World::at_one();
    let two = world.generation("two");
    let token = world.start(two);
    let give_up = |token: &str| confirm::abandon_with(&world.works, &world.host, token, "no");
    // Its process waits for the lock, or works before the journal.
    world.hang();
    let from = give_up(&token).unwrap();
    let last = events::follow(&world.host.paths, from, Duration::ZERO, || false).last();
    let Some(Event::Ended { ending }) = last else {
        panic!("{last:?}");
    };
    assert!(matches!(ending, Ending::Refused { .. }), "{ending:?}");
    assert!(give_up(&token).is_err(), "it has ended");
    let token = world.start(two);
    world.run().unwrap();
    confirm::confirm_with(&world.works, &world.host, &token).unwrap();
    let error = give_up(&token).unwrap_err();
    assert!(error.to_string().contains("is confirmed"), "{error}");
}

#[test]
fn a_rollback_is_an_activation_of_an_older_generation() {
    let world = World::at_one();
    let two = world.activated("two");
    let before = generations::last_confirmed_before(&world.host, two).unwrap();
    assert_eq!(before.unwrap().number, 1);
    assert_eq!(
        generations::last_confirmed_before(&world.host, 1).unwrap(),
        None
    );
    world.confirmed(1);
    assert_eq!(
        (world.current(), world.all_at()),
        (1, Some("one".to_owned()))
    );
    world.confirmed(0);
    assert_eq!(
        (world.current(), world.all_at()),
        (0, Some("nothing".to_owned()))
    );
    assert_eq!(world.supervisor.calls().last().unwrap(), "uninstalled");
    assert!(
        world
            .supervisor
            .calls()
            .iter()
            .filter(|call| *call == "installed")
            .count()
            >= 4
    );
}

#[test]
fn a_generation_needs_its_bundle_in_the_store_and_keeps_it_there() {
    let world = World::at_one();
    let absent = generations::New {
        bundle: crate::pure::name::BundleDigest::of("never sent"),
        agent: world.agent,
        by: "anna@laptop".to_owned(),
        revision: None,
    };
    let error = generations::create(&world.host, absent).unwrap_err();
    assert!(error.to_string().contains("not on this host"), "{error}");
    // Another generation of the same bundle keeps it too, with no offer in between.
    world.forget_offer();
    let again = world.generation_of("one");
    assert_eq!(again, 2);
    let kept = generations::ref_name(again).unwrap();
    let found = crate::edge::store::find_bundle(&world.host.store, &kept).unwrap();
    assert_eq!(found, Some(world.bundle("one")));
}
