//! systemd units: enabled, started, and started anew when their text has changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::generation::{Action, Change, Kind, Target, Unit};
use crate::pure::name::BlobDigest;

/// What `systemctl show` is asked of each unit.
pub const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result,Type,RemainAfterExit,\
    ConditionResult,ConditionTimestampMonotonic";

/// What systemd knows of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// One for each unit that was asked of, in the order of asking.
    pub fn parse(text: &str) -> Vec<Self> {
        text.split("\n\n")
            .filter(|block| !block.trim().is_empty())
            .map(|block| {
                let pairs = block.lines().filter_map(|line| line.split_once('='));
                Self(
                    pairs
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect(),
                )
            })
            .collect()
    }

    fn is(&self, property: &str, values: &[&str]) -> bool {
        self.0
            .get(property)
            .is_some_and(|value| values.contains(&value.as_str()))
    }

    pub fn get(&self, property: &str) -> &str {
        self.0.get(property).map(String::as_str).unwrap_or_default()
    }

    pub fn is_there(&self) -> bool {
        !self.0.is_empty() && !self.is("LoadState", &["not-found"])
    }

    pub fn is_active(&self) -> bool {
        self.is("ActiveState", &["active", "activating", "reloading"])
    }

    pub fn has_failed(&self) -> bool {
        self.is("ActiveState", &["failed"])
    }

    /// Also if there is nothing to enable in it.
    pub fn is_enabled(&self) -> bool {
        self.is(
            "UnitFileState",
            &[
                "enabled",
                "static",
                "indirect",
                "alias",
                "generated",
                "linked",
            ],
        )
    }

    pub fn needs_reload(&self) -> bool {
        self.is("NeedDaemonReload", &["yes"])
    }

    /// True if it is right that it is not active, once it was started: it has done its work, or its conditions do not hold.
    fn may_rest(&self) -> bool {
        let done = self.is("Type", &["oneshot"])
            && self.is("RemainAfterExit", &["no"])
            && self.is("ActiveState", &["inactive"])
            && self.is("Result", &["success"]);
        let skipped = self.is("ConditionResult", &["no"])
            && !matches!(self.get("ConditionTimestampMonotonic"), "" | "0")
            && self.is("ActiveState", &["inactive"]);
        done || skipped
    }
}

/// The digest of the text with which a unit was started last, by unit: kept durably.
pub type Started = BTreeMap<String, BlobDigest>;

/// What is done to a unit, beside what a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub change: Change,
    pub enable: bool,
    /// Started, or started anew.
    pub restart: bool,
    pub disable: bool,
}

/// The digest of a unit's text.
pub fn text_of(target: &Target, name: &str) -> Option<BlobDigest> {
    target
        .files
        .get(&format!("unit/{name}"))
        .map(|file| file.digest)
}

/// What differs of the units that are wanted.
pub fn plan(
    want: &BTreeMap<String, Unit>,
    text: &dyn Fn(&str) -> Option<BlobDigest>,
    have: &BTreeMap<String, State>,
    started: &Started,
) -> Vec<Step> {
    let nothing = State::default();
    let step = |name: &str, action, why: &str, enable, restart, disable| Step {
        change: Change::new(Kind::Unit, name, action, why),
        enable,
        restart,
        disable,
    };
    let mut steps = Vec::new();
    for (name, unit) in want {
        let state = have.get(name).unwrap_or(&nothing);
        let last = started.get(name);
        if !unit.enable {
            // Enabled by a person it stays enabled.
            if last.is_some() {
                let why = "no longer enabled";
                steps.push(step(name, Action::Stop, why, false, false, true));
            }
            continue;
        }
        let enable = !state.is_enabled();
        let (action, why, restart) = match last {
            None => (Action::Add, "new".to_owned(), true),
            Some(_) if !state.is_there() => (Action::Add, "its file is missing".to_owned(), true),
            Some(last) if text(name).is_some_and(|text| text != *last) => {
                (Action::Restart, "text changed".to_owned(), true)
            }
            Some(_) if state.has_failed() => (
                Action::Start,
                format!("failed: {}", state.get("Result")),
                true,
            ),
            Some(_) if !state.is_active() && !state.may_rest() => {
                (Action::Start, "not active".to_owned(), true)
            }
            Some(_) if enable => (Action::Change, "not enabled".to_owned(), false),
            Some(_) => continue,
        };
        steps.push(step(name, action, &why, enable, restart, false));
    }
    steps
}

/// The units that were forge's and are no longer wanted.
pub fn gone<'a>(
    want: &BTreeMap<String, Unit>,
    before: impl IntoIterator<Item = &'a Target>,
    started: &Started,
) -> BTreeSet<String> {
    before
        .into_iter()
        .flat_map(|target| target.units.keys())
        .chain(started.keys())
        .filter(|name| !want.contains_key(*name))
        .cloned()
        .collect()
}

/// Those of them that must be stopped and disabled before their file goes.
pub fn plan_gone(gone: &BTreeSet<String>, have: &BTreeMap<String, State>) -> Vec<Change> {
    let matters = |state: &State| {
        state.is_there()
            && (state.is_active()
                || state.has_failed()
                || state.is("UnitFileState", &["enabled", "enabled-runtime"]))
    };
    gone.iter()
        .filter(|name| have.get(*name).is_some_and(matters))
        .map(|name| Change::new(Kind::Unit, name, Action::Remove, "no longer declared"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> State {
        State(
            text.split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    const RUNS: &str = "LoadState=loaded ActiveState=active UnitFileState=enabled Type=simple";

    /// What is planned for one enabled unit `a.service` whose text is `new`.
    fn one(started: Option<&str>, have: &str) -> Option<(Action, String, bool, bool)> {
        let want = BTreeMap::from([("a.service".to_owned(), Unit { enable: true })]);
        let started: Started = started
            .map(|text| ("a.service".to_owned(), BlobDigest::of(text)))
            .into_iter()
            .collect();
        let have = BTreeMap::from([("a.service".to_owned(), state(have))]);
        let mut steps = plan(&want, &|_| Some(BlobDigest::of("new")), &have, &started);
        assert!(steps.len() <= 1);
        let step = steps.pop()?;
        assert!(!step.disable);
        Some((
            step.change.action,
            step.change.why,
            step.enable,
            step.restart,
        ))
    }

    fn some(
        action: Action,
        why: &str,
        enable: bool,
        restart: bool,
    ) -> Option<(Action, String, bool, bool)> {
        Some((action, why.to_owned(), enable, restart))
    }

    #[test]
    fn a_unit_is_started_with_its_text_and_then_left_alone() {
        assert_eq!(
            one(None, "LoadState=not-found ActiveState=inactive"),
            some(Action::Add, "new", true, true)
        );
        assert_eq!(one(Some("new"), RUNS), None);
        assert_eq!(
            one(Some("old"), RUNS),
            some(Action::Restart, "text changed", false, true)
        );
    }

    #[test]
    fn what_does_not_run_is_started() {
        let with = |active: &str| RUNS.replace("ActiveState=active", active);
        assert_eq!(
            one(Some("new"), &with("ActiveState=inactive")),
            some(Action::Start, "not active", false, true)
        );
        assert_eq!(
            one(Some("new"), &with("ActiveState=failed Result=exit-code")),
            some(Action::Start, "failed: exit-code", false, true)
        );
        assert_eq!(
            one(
                Some("new"),
                &RUNS.replace("UnitFileState=enabled", "UnitFileState=disabled")
            ),
            some(Action::Change, "not enabled", true, false)
        );
    }

    #[test]
    fn what_has_done_its_work_is_at_rest() {
        let done = "LoadState=loaded ActiveState=inactive UnitFileState=enabled Type=oneshot Result=success RemainAfterExit=no \
                    ConditionResult=yes ConditionTimestampMonotonic=5";
        assert_eq!(one(Some("new"), done), None);
        let stays = done.replace("RemainAfterExit=no", "RemainAfterExit=yes");
        assert_eq!(
            one(Some("new"), &stays),
            some(Action::Start, "not active", false, true)
        );
        let skipped = stays.replace("ConditionResult=yes", "ConditionResult=no");
        assert_eq!(one(Some("new"), &skipped), None);
        let never = skipped.replace("Monotonic=5", "Monotonic=0");
        assert!(one(Some("new"), &never).is_some());
    }

    #[test]
    fn a_unit_for_others_to_start_is_disabled_only_if_forge_enabled_it() {
        let want = BTreeMap::from([("a.service".to_owned(), Unit { enable: false })]);
        let have = BTreeMap::from([("a.service".to_owned(), state(RUNS))]);
        let text = |_: &str| Some(BlobDigest::of("new"));
        assert!(plan(&want, &text, &have, &Started::new()).is_empty());
        let started = Started::from([("a.service".to_owned(), BlobDigest::of("new"))]);
        let steps = plan(&want, &text, &have, &started);
        assert_eq!(steps[0].change.action, Action::Stop);
        assert!(steps[0].disable);
    }

    #[test]
    fn what_is_gone_is_stopped_if_anything_of_it_is_left() {
        let mut before = Target::nothing();
        for name in ["a.service", "b.timer", "c.service"] {
            before.units.insert(name.to_owned(), Unit { enable: true });
        }
        let started = Started::from([("d.service".to_owned(), BlobDigest::of("x"))]);
        let want = BTreeMap::from([("c.service".to_owned(), Unit { enable: true })]);
        let gone = gone(&want, [&before], &started);
        assert_eq!(
            gone.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a.service", "b.timer", "d.service"]
        );
        let have = BTreeMap::from([
            ("a.service".to_owned(), state(RUNS)),
            (
                "b.timer".to_owned(),
                state("LoadState=loaded ActiveState=inactive UnitFileState=disabled"),
            ),
            ("d.service".to_owned(), state("LoadState=not-found")),
        ]);
        let plan = plan_gone(&gone, &have);
        assert_eq!(
            plan,
            [Change::new(
                Kind::Unit,
                "a.service",
                Action::Remove,
                "no longer declared"
            )]
        );
    }

    #[test]
    fn reads_what_systemctl_shows() {
        let text = "Type=oneshot\nId=a.service\nLoadState=loaded\nNeedDaemonReload=yes\n\nId=b.timer\nLoadState=not-found\n";
        let states = State::parse(text);
        assert_eq!(states.len(), 2);
        assert!(states[0].is_there() && states[0].needs_reload());
        assert!(!states[1].is_there() && !states[1].needs_reload());
    }
}
