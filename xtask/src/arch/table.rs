//! Who may use whom. To allow an edge, add it here, with the reason in the commit: this table is the architecture.

/// A folder of `src/` and the rooms that its code may name. Being in a room always includes the room itself, and no
/// other: neither the floor above nor the rooms within.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) path: &'static str,
    /// `floor/*` is every room below that floor.
    pub(crate) may: &'static [&'static str],
    /// Said when the code names anything else.
    pub(crate) why: &'static str,
}

const fn room(path: &'static str, may: &'static [&'static str], why: &'static str) -> Room {
    Room { path, may, why }
}

/// `src/lib.rs`: it only lists the floors.
pub(crate) const LIB: &str = "lib";
/// `src/main.rs`: a shim.
pub(crate) const MAIN: &str = "main";

const TEXT: &str = "pure/text";
const NAME: &str = "pure/name";
const CONFIG: &str = "pure/config";
const TEMPLATE: &str = "pure/template";
const PINS: &str = "pure/pins";
const SECRETS: &str = "pure/secrets";
const SYSTEM: &str = "pure/system";
const FILES: &str = "pure/files";
const OCI: &str = "pure/oci";
const IMAGES: &str = "pure/images";
const BUNDLE: &str = "pure/bundle";
const GENERATION: &str = "pure/generation";
const DELIVERY: &str = "pure/delivery";
const PROTOCOL: &str = "pure/protocol";

const PURE: &str = "pure is values and functions on them: it may use only the rooms of pure that come before it in the data flow";
const HOST: &str = "the host's side runs as root: it reaches neither the evaluator of TOML nor the operator's side";

pub(crate) const ROOMS: &[Room] = &[
    room(MAIN, &[LIB], "main.rs is a shim: it only calls forge::run"),
    room(
        LIB,
        &["cli", "flow", "edge", "pure"],
        "lib.rs only lists the floors",
    ),
    // cli draws what is pure and picks the adapters of edge that it hands to flow.
    room(
        "cli",
        &["flow", "flow/*", "edge", "pure/*"],
        "cli uses flow, edge and the rooms of pure",
    ),
    room(
        "flow",
        &["edge", "pure/*"],
        "flow uses edge and pure; what both sides share lies here, and knows neither of them",
    ),
    room(
        "flow/operator",
        &["flow", "edge", "pure/*"],
        "the operator's side uses flow, edge and pure, never the host's side",
    ),
    room(
        "flow/host",
        &[
            "flow", "edge", NAME, OCI, BUNDLE, GENERATION, DELIVERY, PROTOCOL,
        ],
        HOST,
    ),
    room(
        "edge",
        &["pure/*"],
        "edge uses pure alone: each port serves flow and knows nothing of it",
    ),
    // The order of the data flow: each room may use those before it, `oci` knows names alone.
    room(
        "pure",
        &[],
        "the floor itself holds no code, only its rooms",
    ),
    room(TEXT, &[], PURE),
    room(NAME, &[TEXT], PURE),
    room(CONFIG, &[TEXT, NAME], PURE),
    room(TEMPLATE, &[TEXT, NAME, CONFIG], PURE),
    room(PINS, &[TEXT, NAME, CONFIG], PURE),
    room(SECRETS, &[TEXT, NAME, CONFIG], PURE),
    room(SYSTEM, &[TEXT, NAME, CONFIG, TEMPLATE, PINS, SECRETS], PURE),
    room(
        FILES,
        &[TEXT, NAME, CONFIG, TEMPLATE, PINS, SECRETS, SYSTEM],
        PURE,
    ),
    room(OCI, &[NAME], PURE),
    room(IMAGES, &[TEXT, NAME, CONFIG, PINS, OCI], PURE),
    room(
        BUNDLE,
        &[TEXT, NAME, CONFIG, PINS, SECRETS, SYSTEM, FILES, OCI],
        PURE,
    ),
    // What laptop and host share: nothing of the evaluator is in it.
    room(GENERATION, &[NAME, OCI, BUNDLE], PURE),
    room(DELIVERY, &[NAME, OCI, BUNDLE], PURE),
    room(PROTOCOL, &[NAME, OCI, BUNDLE, GENERATION, DELIVERY], PURE),
];

/// Rooms whose value has one way of being made, in a file `from_<what it is made of>.rs`: `ls src/pure/*/from_*` prints the
/// data flow.
pub(crate) const MADE_FROM: &[&str] = &[CONFIG, SYSTEM, FILES, BUNDLE, GENERATION];

/// Where the bans of `clippy.toml` may be lifted: the rooms that meet the world.
pub(crate) const MAY_LIFT_BANS: &[&str] = &[MAIN, "cli", "edge"];

/// Lines of a file without its tests: from here it is told to split, from there it must.
pub(crate) const LONG: usize = 500;
pub(crate) const TOO_LONG: usize = 600;

/// The deepest room that holds a path of segments; `None` where nobody entered one.
pub(crate) fn room_of(segments: &[String]) -> Option<&'static Room> {
    let within = |room: &&Room| {
        let mut rest = segments.iter();
        room.path
            .split('/')
            .all(|part| rest.next().is_some_and(|segment| segment == part))
    };
    ROOMS
        .iter()
        .filter(|room| room.path != LIB && room.path != MAIN)
        .filter(within)
        // What lies in `pure` beside its rooms is in none.
        .filter(|room| room.path != "pure" || segments.len() == 1)
        .max_by_key(|room| room.path.len())
}

pub(crate) fn named(path: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.path == path)
}

impl Room {
    pub(crate) fn may_use(&self, other: &str) -> bool {
        let allowed = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(floor) => other.starts_with(floor),
            None => *pattern == other,
        };
        self.path == other || self.may.iter().any(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_that_a_room_may_use_is_in_the_table() {
        for room in ROOMS {
            for pattern in room.may {
                assert!(
                    ROOMS
                        .iter()
                        .any(|other| room.path != other.path && room.may_use(other.path)),
                    "{pattern}"
                );
                assert!(
                    pattern.ends_with('*') || named(pattern).is_some(),
                    "{} may use unknown {pattern}",
                    room.path
                );
            }
        }
    }

    #[test]
    fn operator_and_host_never_meet_and_the_host_evaluates_nothing() {
        let host = named("flow/host").unwrap();
        for forbidden in ["flow/operator", TEXT, CONFIG, SYSTEM, PINS, FILES, "cli"] {
            assert!(!host.may_use(forbidden), "{forbidden}");
        }
        assert!(!named("flow/operator").unwrap().may_use("flow/host"));
    }

    #[test]
    fn pure_reaches_pure_alone_and_never_in_a_circle() {
        let pure: Vec<&Room> = ROOMS
            .iter()
            .filter(|room| room.path.starts_with("pure/"))
            .collect();
        for room in &pure {
            for other in ROOMS
                .iter()
                .filter(|other| other.path != room.path && room.may_use(other.path))
            {
                assert!(
                    other.path.starts_with("pure/"),
                    "{} may use {}",
                    room.path,
                    other.path
                );
                assert!(
                    !other.may_use(room.path),
                    "{} and {} may use each other",
                    room.path,
                    other.path
                );
            }
        }
    }
}
