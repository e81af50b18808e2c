//! Single questions to a host: each one request and its answer.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::deploy::conversation::{Conversation, Said, TalkError, unexpected};
use crate::pure::bundle::{OpenError, Opened};
use crate::pure::name::BundleDigest;
use crate::pure::protocol::{
    GcReport, GenerationLine, Reply, Request, StatusReport, VerifyProblem,
};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error(transparent)]
    Talk(#[from] TalkError),
    #[error("{why}")]
    Refused { why: String, hint: Option<String> },
    #[error("{step}: {why}")]
    Failed { step: String, why: String },
    #[error("what the host gave cannot be written: {0}")]
    Write(std::io::Error),
    #[error(transparent)]
    Bundle(#[from] OpenError<TalkError>),
}

fn no(reply: Reply) -> RemoteError {
    match reply {
        Reply::Refused { why, hint } => RemoteError::Refused { why, hint },
        Reply::Failed { step, why, .. } => RemoteError::Failed { step, why },
        reply => unexpected(&reply).into(),
    }
}

/// # Errors
/// [`RemoteError`].
pub fn status(talk: &mut dyn Conversation) -> Result<StatusReport, RemoteError> {
    match talk.ask_only(&Request::Status)? {
        Reply::Status { status } => Ok(*status),
        reply => Err(no(reply)),
    }
}

/// # Errors
/// [`RemoteError`].
pub fn history(talk: &mut dyn Conversation) -> Result<Vec<GenerationLine>, RemoteError> {
    match talk.ask_only(&Request::History)? {
        Reply::History { generations } => Ok(generations),
        reply => Err(no(reply)),
    }
}

/// # Errors
/// [`RemoteError`].
pub fn gc(talk: &mut dyn Conversation, keep: u32, dry_run: bool) -> Result<GcReport, RemoteError> {
    match talk.ask_only(&Request::Gc { keep, dry_run })? {
        Reply::Collected { report } => Ok(report),
        reply => Err(no(reply)),
    }
}

/// What is wrong, how many blobs were read, how many bytes.
///
/// # Errors
/// [`RemoteError`].
pub fn verify(talk: &mut dyn Conversation) -> Result<(Vec<VerifyProblem>, u64, u64), RemoteError> {
    match talk.ask_only(&Request::Verify)? {
        Reply::Verified {
            problems,
            blobs,
            bytes,
        } => Ok((problems, blobs, bytes)),
        reply => Err(no(reply)),
    }
}

/// # Errors
/// [`RemoteError::Refused`] if the lease is held by somebody who is at work, and not forced.
pub fn unlock(talk: &mut dyn Conversation, force: bool) -> Result<(), RemoteError> {
    match talk.ask_only(&Request::Unlock { force })? {
        Reply::Done => Ok(()),
        reply => Err(no(reply)),
    }
}

/// The bundle of a generation, without its images; nothing of generation 0.
///
/// # Errors
/// [`RemoteError`].
pub fn bundle(
    talk: &mut dyn Conversation,
    generation: Option<u64>,
) -> Result<Option<(BundleDigest, Opened)>, RemoteError> {
    let (digest, blobs) = match talk.ask_only(&Request::Bundle { generation })? {
        Reply::Bundle { bundle, blobs } => (bundle, blobs),
        reply => return Err(no(reply)),
    };
    let Some(digest) = digest else {
        return Ok(None);
    };
    let opened = Opened::read(digest, |blob, _| {
        blobs
            .get(&blob)
            .cloned()
            .ok_or_else(|| TalkError::Nonsense(format!("{blob} is missing")))
    })?;
    Ok(Some((digest, opened)))
}

/// Writes a service's log to `to` as it comes.
///
/// # Errors
/// [`RemoteError`].
pub fn logs(
    talk: &mut dyn Conversation,
    request: &Request,
    to: &mut dyn Write,
) -> Result<(), RemoteError> {
    talk.send(request)?;
    loop {
        match talk.next()? {
            Said::Data(bytes) => {
                to.write_all(&bytes)
                    .and_then(|()| to.flush())
                    .map_err(RemoteError::Write)?;
            }
            Said::Reply(reply) => match *reply {
                Reply::Done => return Ok(()),
                Reply::Event { .. } => {}
                reply => return Err(no(reply)),
            },
        }
    }
}

/// How often is looked whether a command has ended while nothing is typed.
const LOOK: Duration = Duration::from_millis(100);
const STDERR: u8 = 2;

/// Runs a command in a service's container; `input` is its stdin, whose end is the end of the channel. Gives its exit code.
///
/// # Errors
/// [`RemoteError`].
pub fn exec(
    talk: &mut dyn Conversation,
    request: &Request,
    input: &Receiver<Vec<u8>>,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
) -> Result<i32, RemoteError> {
    let (mut speak, mut hear) = talk.halves();
    speak.send(request)?;
    let ended = AtomicBool::new(false);
    let mut listen = || loop {
        match hear.next()? {
            Said::Data(bytes) => {
                let Some((stream, bytes)) = bytes.split_first() else {
                    continue;
                };
                let to: &mut dyn Write = if *stream == STDERR { stderr } else { stdout };
                to.write_all(bytes)
                    .and_then(|()| to.flush())
                    .map_err(RemoteError::Write)?;
            }
            Said::Reply(reply) => match *reply {
                Reply::Exited { code } => return Ok(code),
                Reply::Event { .. } => {}
                reply => return Err(no(reply)),
            },
        }
    };
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let result = listen();
            ended.store(true, Ordering::Release);
            result
        });
        // Whatever keeps this side from sending, the other says how it ended.
        let mut open = true;
        while open && !ended.load(Ordering::Acquire) {
            open = match input.recv_timeout(LOOK) {
                Ok(bytes) if bytes.is_empty() => true,
                Ok(bytes) => speak.send_data(&bytes).and_then(|()| speak.flush()).is_ok(),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = speak.send_data(&[]).and_then(|()| speak.flush());
                    false
                }
            };
        }
        listening
            .join()
            .unwrap_or_else(|_| Err(TalkError::Nonsense("the listener ended".to_owned()).into()))
    })
}
