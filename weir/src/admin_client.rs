//! The client of control's admin API: HTTP over its Unix socket, one connection per question.
//!
//! What this is: paths and shapes in, shapes or a sentence for people out. What it must not do: know what is
//! on the screen; the commands do. Read first: `control/server/src/admin/mod.rs`, the table of paths.

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

/// Where control's admin socket is unless configured.
const DEFAULT_SOCKET: &str = "/run/weir/admin.sock";
/// Control answers from memory or its own disk; what takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every command that asks control takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// Control's admin socket.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON as control says it, for programs.
    #[arg(long, global = true)]
    pub json: bool,
}

/// A client; it connects when it is asked something.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: PathBuf,
}

impl Access {
    /// The client of that socket.
    pub fn client(&self) -> AdminClient {
        AdminClient { socket: self.socket.clone() }
    }
}

impl AdminClient {
    /// The client of the admin API at `socket`.
    #[cfg(test)]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Reads what is at `path`, below `/v1/`.
    ///
    /// # Errors
    /// Control cannot be reached, or says why not.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parse(&self.ask(Method::GET, path, Bytes::new()).await?)
    }

    /// Puts `value` at `path`; returns it as control keeps it.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn put<T: Serialize + DeserializeOwned>(&self, path: &str, value: &T) -> anyhow::Result<T> {
        let body = serde_json::to_vec(value)?;
        parse(&self.ask(Method::PUT, path, body.into()).await?)
    }

    /// Removes what is at `path`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Has done what `path` names.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn post(&self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::POST, path, Bytes::new()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&self.socket, &error))?;
        let answer = timeout(PATIENCE, exchange(stream, method, path, body));
        let (status, body) = answer
            .await
            .map_err(|_| anyhow!("control has not answered within {} s", PATIENCE.as_secs()))?
            .with_context(|| format!("control broke off at {}", self.socket.display()))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!("{problem}"),
            Err(_) => bail!("control answered {status}"),
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

fn parse<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("control's answer is not understood; is it of another version?")
}

/// Says what most likely is the matter.
fn unreachable(socket: &Path, error: &std::io::Error) -> anyhow::Error {
    let at = socket.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "control is not running, or its admin socket is elsewhere: there is none at {at} \
             (see control.admin_socket in its configuration, and give --socket PATH)"
        ),
        ErrorKind::ConnectionRefused => {
            anyhow!(
                "control is not running: nobody answers at {at}, a socket left behind; start control again"
            )
        }
        ErrorKind::PermissionDenied => {
            anyhow!("not allowed to open {at}: become root or a member of the socket's group")
        }
        _ => anyhow!("cannot connect to {at}: {error}"),
    }
}

/// One segment of a path, with everything encoded that could end it.
pub fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use weir_server::api::Node;

    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("001010000000001"), "001010000000001");
        assert_eq!(segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
    }

    #[tokio::test]
    async fn an_absent_socket_says_that_control_is_not_running() {
        let directory = tempfile::tempdir().unwrap();
        let client = AdminClient::new(&directory.path().join("admin.sock"));
        let error = client.get::<Vec<Node>>("nodes").await.unwrap_err().to_string();
        assert!(error.starts_with("control is not running, or "), "{error}");
        assert!(error.contains("--socket"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_left_behind_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = AdminClient::new(&path).get::<Vec<Node>>("nodes").await.unwrap_err().to_string();
        assert!(error.contains("left behind"), "{error}");
    }
}
