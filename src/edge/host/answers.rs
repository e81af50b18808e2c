//! What programs have answered: `/run/forge/answers`, a file each. Only for questions whose answer depends on nothing but the programs, what
//! they read and the kernel that runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::paths::Paths;
use crate::edge::disk::Folder;
use crate::pure::name::BlobDigest;

/// As many are kept; then all are thrown away, and asked for anew as they are needed.
const MOST: usize = 64;

/// The answers of one host, since it was booted.
#[derive(Clone, Debug)]
pub struct Answers {
    folder: PathBuf,
}

impl Answers {
    pub fn of(paths: &Paths) -> Self {
        Self {
            folder: paths.run().join("answers"),
        }
    }

    /// What was answered before to the same question by the same programs, or what `ask` answers now, which is kept if it can be.
    ///
    /// # Errors
    /// Those of `ask`; nothing is kept then.
    pub fn answer<E>(
        &self,
        programs: &[&Path],
        question: &[&str],
        ask: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let Some(name) = name(programs, question) else {
            return ask();
        };
        if let Ok(known) = fs::read_to_string(self.folder.join(&name)) {
            return Ok(known);
        }
        let answer = ask()?;
        // A program was replaced while it was asked: whose answer is this?
        if self::name(programs, question).as_ref() == Some(&name) {
            self.keep(&name, &answer);
        }
        Ok(answer)
    }

    /// What cannot be kept is asked again: that costs time, and nothing else.
    fn keep(&self, name: &str, answer: &str) {
        let keep = || -> Result<(), crate::edge::disk::DiskError> {
            let folder = Folder::create(&self.folder)?;
            folder.make_private()?;
            let names = folder.names()?;
            if names.len() >= MOST {
                for name in names {
                    folder.remove(&name)?;
                }
            }
            folder.replace(name, &folder, answer.as_bytes())
        };
        let _ = keep();
    }
}

/// The digest of a question and of the files of those who answer it; none if one is not there.
fn name(programs: &[&Path], question: &[&str]) -> Option<String> {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for program in programs {
        let program = fs::canonicalize(program).ok()?;
        let file = fs::metadata(&program).ok()?;
        part(program.as_os_str().as_encoded_bytes());
        for number in [
            file.dev().cast_signed(),
            file.ino().cast_signed(),
            file.size().cast_signed(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ] {
            part(&number.to_be_bytes());
        }
    }
    for word in question {
        part(word.as_bytes());
    }
    Some(BlobDigest::from_hasher(hasher).hex())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    struct World {
        at: tempfile::TempDir,
        asked: Cell<u32>,
    }

    impl World {
        fn program(&self) -> PathBuf {
            self.at.path().join("program")
        }

        fn ask(&self, question: &[&str]) -> String {
            let answers = Answers::of(&Paths::below(self.at.path()));
            let ask = || {
                self.asked.set(self.asked.get() + 1);
                Ok::<_, Infallible>(format!("{question:?}"))
            };
            answers.answer(&[&self.program()], question, ask).unwrap()
        }
    }

    fn world() -> World {
        let world = World {
            at: tempfile::tempdir().unwrap(),
            asked: Cell::new(0),
        };
        fs::write(world.program(), "1").unwrap();
        world
    }

    #[test]
    fn is_asked_once_for_each_question_and_each_program() {
        let world = world();
        for _ in 0..3 {
            assert_eq!(world.ask(&["a", "b"]), "[\"a\", \"b\"]");
        }
        assert_eq!(world.asked.get(), 1);
        // Where one word ends and the next begins is part of the question.
        assert_eq!(world.ask(&["ab"]), "[\"ab\"]");
        assert_eq!(world.asked.get(), 2);
        // An upgrade puts another file in its place.
        fs::write(world.at.path().join("new"), "2").unwrap();
        fs::rename(world.at.path().join("new"), world.program()).unwrap();
        world.ask(&["a", "b"]);
        assert_eq!(world.asked.get(), 3);
        // A program that is not there has no answer that could be kept.
        fs::remove_file(world.program()).unwrap();
        world.ask(&["a", "b"]);
        world.ask(&["a", "b"]);
        assert_eq!(world.asked.get(), 5);
    }

    #[test]
    fn an_error_is_no_answer() {
        let world = world();
        let answers = Answers::of(&Paths::below(world.at.path()));
        let program = world.program();
        let failed = answers.answer(&[&program], &["a"], || Err("not now"));
        assert_eq!(failed, Err("not now"));
        assert_eq!(world.ask(&["a"]), "[\"a\"]");
        assert_eq!(world.asked.get(), 1);
    }

    #[test]
    fn there_are_never_more_than_some() {
        let world = world();
        for number in 0..3 * MOST {
            world.ask(&[&number.to_string()]);
        }
        let folder = world.at.path().join("run/forge/answers");
        assert!(fs::read_dir(folder).unwrap().count() <= MOST);
    }
}
