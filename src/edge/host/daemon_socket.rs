//! Questions to Docker's daemon over its socket: no process for each of them, and so hundreds of them in a second.
//!
//! Only questions: what changes something is left to Docker's own program, and its care.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

/// An answer is not larger.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it answers with {status}: {said}")]
    Status { status: u16, said: String },
    #[error("it answers with what is no such answer: {0}")]
    Answer(#[from] serde_json::Error),
}

impl SocketError {
    /// What was asked for is not there, or no longer.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }
}

/// The socket of a daemon.
#[derive(Clone, Debug)]
pub(super) struct DaemonSocket {
    path: PathBuf,
}

impl DaemonSocket {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The answer to `GET PATH`, as it comes. The path must be one that needs no encoding.
    ///
    /// # Errors
    /// [`SocketError`]; also of every status but 200, and if a pause is longer than `limit`.
    pub(super) fn get(&self, path: &str, limit: Duration) -> Result<Vec<u8>, SocketError> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        // 1.0: the answer comes in one piece, and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        parse(&answer)
    }

    /// As [`Self::get`], read as JSON.
    ///
    /// # Errors
    /// [`SocketError`].
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, SocketError> {
        Ok(serde_json::from_slice(&self.get(path, limit)?)?)
    }
}

fn parse(answer: &[u8]) -> Result<Vec<u8>, SocketError> {
    let broken = |why: &str| SocketError::Io(io::Error::new(ErrorKind::InvalidData, why));
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .ok_or_else(|| broken("its answer ends within the head"))?;
    let (head, body) = answer.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| broken("it does not speak HTTP"))?;
    let fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let field = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| *value)
    };
    // Nobody may answer 1.0 so; taken for JSON it would be a riddle.
    if field("transfer-encoding").is_some() {
        return Err(broken("its answer comes in pieces"));
    }
    if let Some(length) = field("content-length")
        && length.parse() != Ok(body.len())
    {
        return Err(broken("its answer ends early"));
    }
    if status != 200 {
        let said = String::from_utf8_lossy(body);
        return Err(SocketError::Status {
            status,
            said: said.trim().chars().take(500).collect(),
        });
    }
    Ok(body.to_vec())
}

/// A filter of a listing, as it stands in a path.
pub(super) fn filter(name: &str, values: &[&str]) -> String {
    let json = serde_json::json!({ name: values }).to_string();
    let mut text = String::from("filters=");
    for byte in json.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn an_answer_is_its_body_and_anything_else_an_error() {
        let good = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(good).unwrap(), b"{}");
        let open = b"HTTP/1.0 200 OK\r\nServer: Docker\r\n\r\n[1]";
        assert_eq!(parse(open).unwrap(), b"[1]");
        let missing = b"HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"No such image\"}";
        let error = parse(missing).unwrap_err();
        assert!(error.is_missing(), "{error}");
        assert!(error.to_string().contains("No such image"), "{error}");
        for wrong in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
            b"SSH-2.0-x\r\n\r\n",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(!error.is_missing(), "{error}");
        }
    }

    #[test]
    fn a_daemon_is_asked_over_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let limit = Duration::from_secs(10);
        let socket = DaemonSocket::at(path.clone());
        assert!(socket.get("/_ping", limit).is_err());
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 64];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n[7]").unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        assert_eq!(socket.read::<Vec<u8>>("/x", limit).unwrap(), [7]);
        assert!(daemon.join().unwrap().starts_with("GET /x HTTP/1.0\r\n"));
    }

    #[test]
    fn filters_are_encoded() {
        assert_eq!(
            filter("label", &["a=b"]),
            "filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D"
        );
    }
}
