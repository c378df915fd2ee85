//! The node's end of a capture: one question on its local socket, and an answer that goes on until somebody ends it.

use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request as HttpRequest, header};
use hyper_util::rt::TokioIo;
use weir_agent::capture::{Decoder, Message, Request};
use weir_server::api::Problem;

use crate::local_client;

/// What a node says while it captures. Dropping it ends the capture.
pub struct Heard {
    body: Incoming,
    decoder: Decoder,
    /// Kept: without it the connection ends.
    _sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
}

impl Heard {
    /// Asks the node at `socket`.
    ///
    /// # Errors
    /// It cannot be reached, or says why not.
    pub async fn ask(socket: &Path, request: &Request) -> anyhow::Result<Self> {
        let stream = local_client::node(socket, "--socket").connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong on the connection shows in the body.
        tokio::spawn(connection);
        let question = HttpRequest::get(format!("/v1/capture?{}", request.query()))
            .header(header::HOST, "weir")
            .body(Empty::new())?;
        let answer = sender.send_request(question).await;
        let answer = answer.with_context(|| format!("the node broke off at {}", socket.display()))?;
        let status = answer.status();
        let body = answer.into_body();
        if status.is_success() {
            return Ok(Self { body, decoder: Decoder::default(), _sender: sender });
        }
        match serde_json::from_slice::<Problem>(&body.collect().await?.to_bytes()) {
            Ok(problem) => bail!("{problem}"),
            Err(_) => bail!("the node answered {status}; is it of another version?"),
        }
    }

    /// The next message that has come already.
    ///
    /// # Errors
    /// The node says what is not understood.
    pub fn at_hand(&mut self) -> anyhow::Result<Option<Message>> {
        self.decoder.message().context("the node's packets are not understood")
    }

    /// Waits for more. False if nothing follows. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn more(&mut self) -> anyhow::Result<bool> {
        let Some(frame) = self.body.frame().await else { return Ok(false) };
        if let Some(piece) = frame.context("the connection to the node broke")?.data_ref() {
            self.decoder.push(piece);
        }
        Ok(true)
    }
}
