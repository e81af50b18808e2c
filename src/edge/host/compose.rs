//! Docker Compose v2 on the host: `docker compose`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engine::{Engine, EngineError};
use crate::edge::program::Ended;
use crate::pure::name::BlobDigest;

const ASK: Duration = Duration::from_secs(60);

/// Compose, told a file's text on its input: it is the same before and after the file is on the disk.
#[derive(Clone, Debug)]
pub struct Compose<'a> {
    engine: &'a Engine,
    project: &'a str,
}

impl<'a> Compose<'a> {
    pub fn new(engine: &'a Engine, project: &'a str) -> Self {
        Self { engine, project }
    }

    /// The words before the command. No `.env` is read, wherever it is run.
    fn words<'w>(&'w self, file: &'w str, rest: &[&'w str]) -> Vec<&'w str> {
        let mut words = vec![
            "--project-name",
            self.project,
            "--env-file",
            "/dev/null",
            "--file",
            file,
        ];
        words.extend(rest);
        words
    }

    /// True if there is Compose v2.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be run though it is there.
    pub fn present(&self) -> Result<bool, EngineError> {
        let call = self.engine.compose(&["version", "--short"], ASK);
        Ok(call
            .judge(|_| {})?
            .is_some_and(|(ended, _)| ended.is_success()))
    }

    /// As [`Self::hashes`]; none if there is no Compose v2. It is asked for only where there are no hashes: each program that is run
    /// takes its time.
    ///
    /// # Errors
    /// [`EngineError`] if Compose does not take the file.
    pub fn hashes_if_present(
        &self,
        text: &[u8],
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        match self.hashes(text) {
            Ok(hashes) => Ok(Some(hashes)),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => match self.present()? {
                true => Err(error),
                false => Ok(None),
            },
        }
    }

    /// The hash of each service's configuration: what Compose compares with the label of its container.
    ///
    /// # Errors
    /// [`EngineError`] if Compose does not take the file.
    pub fn hashes(&self, text: &[u8]) -> Result<BTreeMap<String, String>, EngineError> {
        let words = self.words("-", &["config", "--hash", "*"]);
        let digest = BlobDigest::of(text).to_string();
        let question: Vec<&str> = words.iter().copied().chain([digest.as_str()]).collect();
        let said = self.engine.compose_answer(&question, || {
            let said = self.engine.compose(&words, ASK).feed(|to| {
                // One that does not read it to its end says why.
                let _ = to.write_all(text);
            })?;
            said.ok_or(EngineError::Missing("docker"))
        })?;
        Ok(said
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(service, hash)| (service.to_owned(), hash.trim().to_owned()))
            .collect())
    }

    /// Creates and starts these services, and recreates those whose configuration differs; no others. Gives what it said.
    ///
    /// # Errors
    /// [`EngineError`]. That it failed is an answer: some may have been started.
    pub fn up(
        &self,
        path: &str,
        services: &[&str],
        limit: Duration,
    ) -> Result<(Ended, String), EngineError> {
        let mut rest = vec![
            "up",
            "--detach",
            "--no-build",
            "--no-deps",
            "--pull",
            "never",
            "--remove-orphans",
        ];
        rest.extend(services);
        let mut words = self.words(path, &rest);
        // An option of Compose itself, not of `up`.
        words.splice(0..0, ["--ansi", "never", "--progress", "plain"]);
        self.engine
            .compose(&words, limit)
            .judge(|_| {})?
            .ok_or(EngineError::Missing("docker"))
    }

    /// Runs a service of this file once, alone, and removes its container. Gives how it ended and the end of what it said.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn run_once(
        &self,
        text: &[u8],
        service: &str,
        limit: Duration,
    ) -> Result<(Ended, String), EngineError> {
        let rest = [
            "run",
            "--rm",
            "--no-deps",
            "--no-TTY",
            "--interactive=false",
            service,
        ];
        let mut words = self.words("-", &rest);
        words.splice(0..0, ["--ansi", "never", "--progress", "quiet"]);
        self.engine
            .compose(&words, limit)
            .judge(|to| {
                let _ = to.write_all(text);
            })?
            .ok_or(EngineError::Missing("docker"))
    }
}
