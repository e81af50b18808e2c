//! What the activation says: `/run/forge/activation/events.jsonl`, one event a line, so that any connection can follow it from the
//! first event, and none is needed for it to go on.
//!
//! The first line is a header with the activation's generation and token. A line counts once its newline is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};
use crate::pure::protocol::Event;

const FILE: &str = "events.jsonl";
/// Between two looks at the file.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two questions whether the activation still runs.
const ASK: Duration = Duration::from_secs(2);
const SILENT: u32 = 3;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Of the format.
    pub version: u32,
    pub generation: u64,
    pub token: String,
}

impl Header {
    pub const VERSION: u32 = 1;

    pub fn new(generation: u64, token: &str) -> Self {
        Self {
            version: Self::VERSION,
            generation,
            token: token.to_owned(),
        }
    }
}

fn path(paths: &Paths) -> PathBuf {
    paths.activation().join(FILE)
}

fn failed(operation: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError {
        operation,
        path,
        source,
    }
}

/// Where the activation writes. May be used from several threads.
#[derive(Debug)]
pub struct EventLog {
    file: Mutex<File>,
}

impl EventLog {
    /// Begins the stream of an activation: that of the one before is replaced whole.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn create(paths: &Paths, header: &Header) -> Result<Self, DiskError> {
        let folder = Folder::create(&paths.activation())?;
        // Logs of services and differences of files are nobody else's business.
        folder.make_private()?;
        let line = line(header).map_err(failed("write", path(paths)))?;
        folder.replace(FILE, &folder, &line)?;
        Self::append_to(paths)
    }

    /// Goes on with the stream, as recovery does; begins it if there is none, as after a reboot.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn go_on(paths: &Paths, header: &Header) -> Result<Self, DiskError> {
        if path(paths).is_file() {
            Self::append_to(paths)
        } else {
            Self::create(paths, header)
        }
    }

    fn append_to(paths: &Paths) -> Result<Self, DiskError> {
        let path = path(paths);
        let mut file = OpenOptions::new()
            .append(true)
            .read(true)
            .open(&path)
            .map_err(failed("open", path.clone()))?;
        // A writer that was killed in a line left it without its end: what follows must not be taken for the rest of it.
        let mut last = [b'\n'];
        let torn = file.seek(SeekFrom::End(-1)).is_ok()
            && file.read_exact(&mut last).is_ok()
            && last != [b'\n'];
        if torn {
            file.write_all(b"\n").map_err(failed("write", path))?;
        }
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Adds an event. It cannot fail: that nobody can be told must not end what is told about.
    pub fn append(&self, event: &Event) {
        if let Ok(line) = line(event) {
            let mut file = self
                .file
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = file.write_all(&line);
        }
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// How many bytes the stream has now: what happens later is followed from there. 0 if there is none.
pub fn length(paths: &Paths) -> u64 {
    std::fs::metadata(path(paths)).map_or(0, |metadata| metadata.len())
}

/// Whose stream it is; none if there is none.
pub fn header(paths: &Paths) -> Option<Header> {
    let text = std::fs::read_to_string(path(paths)).ok()?;
    serde_json::from_str(text.lines().next()?).ok()
}

/// Follows the stream from the byte `from` (0: from the first event) until its last event is [`Event::Ended`], until `runs` says that
/// nobody writes any more and all has been read, or until `limit` is over.
pub fn follow<'a>(
    paths: &Paths,
    from: u64,
    limit: Duration,
    runs: impl FnMut() -> bool + Send + 'a,
) -> Follow<'a> {
    Follow {
        path: path(paths),
        at: from,
        rest: Vec::new(),
        runs: Box::new(runs),
        ended: false,
        started: Instant::now(),
        asked: None,
        silent: 0,
        limit,
    }
}

/// The events, as they come.
pub struct Follow<'a> {
    path: PathBuf,
    at: u64,
    /// What has been read and not yet given, from the beginning of a line.
    rest: Vec<u8>,
    runs: Box<dyn FnMut() -> bool + Send + 'a>,
    /// The event that was given last is the end, unless another follows at once.
    ended: bool,
    started: Instant,
    asked: Option<Instant>,
    /// So often, one after the other, nobody was at work.
    silent: u32,
    limit: Duration,
}

impl std::fmt::Debug for Follow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("path", &self.path)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Follow<'_> {
    fn read_on(&mut self) -> bool {
        let mut read = || -> io::Result<usize> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut self.rest)
        };
        match read() {
            Ok(count) => {
                self.at += count as u64;
                count > 0
            }
            Err(_) => false,
        }
    }

    /// The next whole line that is an event; the header and what was torn are passed over.
    fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Ok(event) = serde_json::from_slice(&line) {
                return Some(event);
            }
        }
        None
    }
}

impl Iterator for Follow<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_event() {
                self.ended = matches!(event, Event::Ended { .. });
                return Some(event);
            }
            if self.read_on() {
                continue;
            }
            if self.ended || self.started.elapsed() >= self.limit {
                return None;
            }
            if self.asked.is_none_or(|asked| asked.elapsed() >= ASK) {
                self.asked = Some(Instant::now());
                let runs = (self.runs)();
                // What it wrote before it ended is read before this ends.
                if runs || self.read_on() {
                    self.silent = 0;
                } else {
                    // Between one unit that ends and another that goes on, nobody is at work for a moment.
                    self.silent += 1;
                    if self.silent >= SILENT {
                        return None;
                    }
                }
                continue;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::protocol::Ending;

    const LONG: Duration = Duration::from_secs(60);

    fn step(step: &str) -> Event {
        Event::Step {
            step: step.to_owned(),
        }
    }

    fn ended(generation: u64) -> Event {
        Event::Ended {
            ending: Ending::Confirmed {
                generation,
                bundle: None,
            },
        }
    }

    #[test]
    fn is_followed_from_the_first_event_to_the_end() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        let log = EventLog::create(&paths, &Header::new(3, "t")).unwrap();
        let mode = std::fs::metadata(paths.activation()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(header(&paths).unwrap(), Header::new(3, "t"));
        log.append(&step("packages"));
        let all = std::thread::scope(|scope| {
            let reader = scope.spawn(|| follow(&paths, 0, LONG, || true).collect::<Vec<_>>());
            log.append(&step("services"));
            log.append(&ended(3));
            reader.join().unwrap()
        });
        assert_eq!(all, [step("packages"), step("services"), ended(3)]);
        // What recovery adds after an end belongs to it, and can be followed alone.
        let from = length(&paths);
        let log = EventLog::go_on(&paths, &Header::new(3, "t")).unwrap();
        log.append(&ended(2));
        assert_eq!(follow(&paths, 0, LONG, || true).count(), 4);
        let rest: Vec<_> = follow(&paths, from, LONG, || true).collect();
        assert_eq!(rest, [ended(2)]);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_a_dead_writer_not_waited_for() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        let log = EventLog::create(&paths, &Header::new(3, "t")).unwrap();
        log.append(&step("packages"));
        let mut file = OpenOptions::new().append(true).open(path(&paths)).unwrap();
        file.write_all(b"{\"event\":\"st").unwrap();
        let seen: Vec<_> = follow(&paths, 0, LONG, || false).collect();
        assert_eq!(seen, [step("packages")]);
        let log = EventLog::go_on(&paths, &Header::new(3, "t")).unwrap();
        log.append(&ended(2));
        let seen: Vec<_> = follow(&paths, 0, LONG, || true).collect();
        assert_eq!(seen, [step("packages"), ended(2)]);
    }

    #[test]
    fn nothing_is_waited_for_no_longer_than_the_limit() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        assert_eq!(follow(&paths, 0, LONG, || false).count(), 0);
        assert_eq!(follow(&paths, 0, Duration::ZERO, || true).count(), 0);
        assert_eq!(header(&paths), None);
    }
}
