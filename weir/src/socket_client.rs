//! A client of a role's Unix socket: HTTP and JSON, one connection per question.
//!
//! What this is: paths and shapes in, shapes or a sentence for people out. What it must not do: know what is
//! on the screen; the commands do. Read first: the tables of paths in `control/server/src/admin/mod.rs` and
//! `agent/src/local.rs`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;
use weir_server::api::Problem;

/// A role answers from memory or its own disk; what takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who listens on a socket, as errors say it.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    /// What it is called.
    pub name: &'static str,
    /// The key of its configuration that says where it listens.
    pub key: &'static str,
    /// The option with which a command is told.
    pub option: &'static str,
}

/// A client; it connects when it is asked something.
#[derive(Clone, Debug)]
pub struct SocketClient {
    party: Party,
    socket: PathBuf,
}

impl SocketClient {
    /// The client of whoever listens at `socket`.
    pub fn new(party: Party, socket: &Path) -> Self {
        Self { party, socket: socket.to_owned() }
    }

    /// Reads what is at `path`, below `/v1/`.
    ///
    /// # Errors
    /// The role cannot be reached, or says why not.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.parse(&self.ask(Method::GET, path, Bytes::new()).await?)
    }

    /// Puts `value` at `path`; returns what the role says of it.
    ///
    /// # Errors
    /// As [`SocketClient::get`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, value: &impl Serialize) -> anyhow::Result<T> {
        let body = serde_json::to_vec(value)?;
        self.parse(&self.ask(Method::PUT, path, body.into()).await?)
    }

    /// Removes what is at `path`.
    ///
    /// # Errors
    /// As [`SocketClient::get`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Removes what is at `path`; returns what the role says of that.
    ///
    /// # Errors
    /// As [`SocketClient::get`].
    pub async fn end<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.parse(&self.ask(Method::DELETE, path, Bytes::new()).await?)
    }

    /// Has done what `path` names.
    ///
    /// # Errors
    /// As [`SocketClient::get`].
    pub async fn post(&self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::POST, path, Bytes::new()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let (party, stream) = (self.party.name, self.connect().await?);
        let answer = timeout(PATIENCE, exchange(stream, method, path, body));
        let (status, body) = answer
            .await
            .map_err(|_| anyhow!("{party} has not answered within {} s", PATIENCE.as_secs()))?
            .with_context(|| format!("{party} broke off at {}", self.socket.display()))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!("{problem}"),
            Err(_) => bail!("{party} answered {status}"),
        }
    }

    /// A connection, for questions that this client cannot ask.
    ///
    /// # Errors
    /// What most likely is the matter.
    pub async fn connect(&self) -> anyhow::Result<UnixStream> {
        let connected = UnixStream::connect(&self.socket).await;
        connected.map_err(|error| self.unreachable(&error))
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> anyhow::Result<T> {
        let party = self.party.name;
        serde_json::from_slice(body)
            .with_context(|| format!("{party}'s answer is not understood; is it of another version?"))
    }

    /// Says what most likely is the matter.
    fn unreachable(&self, error: &std::io::Error) -> anyhow::Error {
        let (at, Party { name, key, option }) = (self.socket.display(), self.party);
        match error.kind() {
            ErrorKind::NotFound => anyhow!(
                "{name} is not running, or its socket is elsewhere: there is none at {at} \
                 (see {key} in its configuration, and give {option} PATH)"
            ),
            ErrorKind::ConnectionRefused => anyhow!(
                "{name} is not running: nobody answers at {at}, a socket left behind; start {name} again"
            ),
            ErrorKind::PermissionDenied => {
                anyhow!("not allowed to open {at}: become root or a member of the socket's group")
            }
            _ => anyhow!("cannot connect to {at}: {error}"),
        }
    }
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the answer; what goes wrong on it shows at the sender.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/{path}"))
        .header(header::HOST, "weir")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use weir_server::api::Node;

    use super::*;
    use crate::admin_client::CONTROL;

    #[tokio::test]
    async fn an_absent_socket_says_that_its_role_is_not_running() {
        let directory = tempfile::tempdir().unwrap();
        let client = SocketClient::new(CONTROL, &directory.path().join("admin.sock"));
        let error = client.get::<Vec<Node>>("nodes").await.unwrap_err().to_string();
        assert!(error.starts_with("control is not running, or "), "{error}");
        assert!(error.contains("control.admin_socket") && error.contains("--socket"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_left_behind_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error =
            SocketClient::new(CONTROL, &path).get::<Vec<Node>>("nodes").await.unwrap_err().to_string();
        assert!(error.contains("left behind"), "{error}");
    }
}
