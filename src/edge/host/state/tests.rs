use super::*;
use crate::edge::disk::Step;
use crate::pure::generation::machine::{Decision, Situation, decide};
use crate::pure::generation::{Outcome, Phase};
use crate::pure::name::BundleDigest;

fn record(number: u64) -> Record {
    Record {
        version: Record::VERSION,
        number,
        bundle: (number > 0).then(|| BundleDigest::of(number.to_string())),
        agent: BlobDigest::of("agent"),
        created: 10,
        by: "anna@laptop".to_owned(),
        revision: None,
        outcome: Outcome::Unconfirmed,
    }
}

fn journal(phase: Phase) -> Journal {
    Journal {
        version: Journal::VERSION,
        from: 1,
        to: 2,
        phase,
        deadline: 100,
        started: 10,
        by: "anna@laptop".to_owned(),
        token: "t".to_owned(),
    }
}

/// A first deploy, then a second one, as far as the power lasts: every write of the state that there is.
fn live(paths: &Paths, power: &Power) -> Result<(), StateError> {
    let state = State::open_with(paths, power.clone())?;
    state.create(&record(0))?;
    state.commit(0)?;
    state.create(&record(1))?;
    state.write_journal(&Journal {
        from: 0,
        to: 1,
        ..journal(Phase::Converging)
    })?;
    state.commit(1)?;
    state.remove_journal()?;
    let to = state.next_number()?;
    state.create(&record(to))?;
    state.write_journal(&Journal {
        to,
        ..journal(Phase::Converging)
    })?;
    state.write_journal(&Journal {
        to,
        ..journal(Phase::AwaitingConfirmation)
    })?;
    state.commit(to)?;
    state.rewrite(&Record {
        outcome: Outcome::Confirmed { at: 20 },
        ..record(to)
    })?;
    state.remove_journal()?;
    Ok(())
}

#[test]
fn wherever_the_power_is_cut_the_host_is_at_a_generation_that_is_there() {
    let mut before = 0;
    for steps in 0.. {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        let done = live(&paths, &Power::for_steps(steps)).is_ok();

        let state = State::open(&paths).unwrap();
        let (journal, current) = (state.journal().unwrap(), state.current().unwrap());
        // Committed in order, and never back.
        let reached = current.map_or(0, |number| number + 1);
        assert!(reached >= before, "{steps}");
        before = reached;
        let decision = decide(Situation {
            journal: journal.as_ref(),
            current,
            now: 50,
            running: false,
            boot: true,
        });
        let goal = match decision {
            Decision::Idle => current,
            Decision::FinishCommit { generation } => Some(generation),
            Decision::GoBack { to, .. } => Some(to),
            other => panic!("{steps}: {other:?}"),
        };
        match goal {
            Some(goal) => {
                assert_eq!(Some(goal), current, "{steps}");
                assert!(state.record(goal).unwrap().is_some(), "{steps}");
                // Both units of the boot run the program of the current generation.
                let agent = std::fs::read_link(paths.current().join("agent")).unwrap();
                let program = Path::new("../../bin").join(BlobDigest::of("agent").hex());
                assert_eq!(agent, program);
            }
            // Forge has never been here.
            None => assert!(journal.is_none() && current.is_none(), "{steps}"),
        }
        // Whatever is a generation has its program.
        for record in state.records().unwrap() {
            let agent = paths.generation(record.number).join("agent");
            assert!(agent.is_symlink(), "{steps}: {}", record.number);
        }
        if let Some(journal) = &journal {
            assert!(state.record(journal.to).unwrap().is_some(), "{steps}");
        }
        // What is left over is in nobody's way.
        live(&paths, &Power::default()).unwrap();
        assert_eq!(State::open(&paths).unwrap().journal().unwrap(), None);
        if done {
            assert!(steps > 40, "only {steps} steps");
            return;
        }
    }
}

#[test]
fn the_commit_point_is_one_rename_and_durable_when_it_has_returned() {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    State::open(&paths).unwrap().create(&record(1)).unwrap();
    let power = Power::for_steps(100);
    let state = State::open_with(&paths, power.clone()).unwrap();
    state.commit(1).unwrap();
    let steps: Vec<(Step, PathBuf)> = power.steps();
    let kinds: Vec<Step> = steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(kinds, [Step::Create, Step::Rename, Step::SyncFolder]);
    assert_eq!(steps[1].1, paths.current());
    assert_eq!(steps[2].1, paths.state());
    assert_eq!(state.current().unwrap(), Some(1));
}

#[test]
fn only_what_is_there_is_committed() {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    let state = State::open(&paths).unwrap();
    let error = state.commit(3).unwrap_err();
    assert!(matches!(error, StateError::NoGeneration(3)), "{error}");
    assert_eq!(state.current().unwrap(), None);
    std::os::unix::fs::symlink("/etc", paths.current()).unwrap();
    assert!(matches!(state.current(), Err(StateError::Damaged { .. })));
}

#[test]
fn a_number_is_given_once() {
    let at = tempfile::tempdir().unwrap();
    let state = State::open(&Paths::below(at.path())).unwrap();
    assert_eq!(state.next_number().unwrap(), 1);
    for number in [0, 1, 2] {
        state.create(&record(number)).unwrap();
    }
    state.commit(2).unwrap();
    state.forget(&[1, 2]).unwrap();
    let numbers: Vec<u64> = state.records().unwrap().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [0, 2], "what is current stays");
    state.commit(0).unwrap();
    state.forget(&[2]).unwrap();
    assert_eq!(state.next_number().unwrap(), 3);
}

#[test]
fn another_version_is_named_and_damage_too() {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    let state = State::open(&paths).unwrap();
    std::fs::write(paths.journal(), "{\"version\": 9, \"news\": 1}").unwrap();
    let error = state.journal().unwrap_err();
    assert!(
        matches!(error, StateError::Version { found: 9, .. }),
        "{error}"
    );
    std::fs::write(paths.journal(), "{\"version\": 1}").unwrap();
    let error = state.journal().unwrap_err();
    assert!(error.to_string().contains("journal.json"), "{error}");
}

#[test]
fn the_lock_is_held_by_one() {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    let (one, two) = (State::open(&paths).unwrap(), State::open(&paths).unwrap());
    let held = one.lock(Duration::ZERO).unwrap();
    assert!(matches!(two.lock(Duration::ZERO), Err(StateError::Busy(_))));
    drop(held);
    assert!(two.lock(Duration::ZERO).is_ok());
}

#[test]
fn a_request_lies_where_a_reboot_forgets_it() {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    let state = State::open(&paths).unwrap();
    assert_eq!(state.request().unwrap(), None);
    let request = ActivationRequest {
        version: ActivationRequest::VERSION,
        to: 2,
        plan: BlobDigest::of("plan"),
        deadline: 60,
        by: "anna@laptop".to_owned(),
        token: "t".to_owned(),
    };
    state.write_request(&request).unwrap();
    assert_eq!(state.request().unwrap(), Some(request));
    std::fs::remove_dir_all(paths.run()).unwrap();
    assert_eq!(state.request().unwrap(), None);
}
