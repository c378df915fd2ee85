//! The nodes' end of control: one gRPC stream per node, on a Unix socket.
//!
//! A call is a session: Hello first, then alarms, counts and results up, a snapshot and updates down. A
//! message that cannot be understood is counted and passed over, because a node would send it again on every
//! new stream and so never get one. Read first: `control/proto/proto/weir/v1/node.proto`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::v1::node_stream_server::{NodeStream, NodeStreamServer};
use weir_proto::v1::{AuditLines, AuditReceived, FromNode, from_node, to_node};
use weir_service_control::{Input, NodeName};
use weir_store::Store;

use crate::brain::{BrainHandle, Gone};
use crate::directory::{Directory, Hello, SessionId};
use crate::metrics::Metrics;
use crate::outbox::{Outbox, OutboxStream, outbox};
use crate::translate::{self, Malformed};
use crate::{Error, clock};

/// How long a node may take to say Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that answers no ping for `PING_TIMEOUT` is closed; pings are sent after this silence.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// See [`PING_INTERVAL`].
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest message of a node: a report on some 100,000 devices.
const MAX_MESSAGE: usize = 16 << 20;
/// The longest node or boot name.
const MAX_NAME: usize = 64;

/// What all sessions share.
#[derive(Clone, Debug)]
pub(crate) struct NodeStreams {
    pub(crate) brain: BrainHandle,
    pub(crate) store: Arc<Store>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) sessions: Arc<AtomicU64>,
}

/// Serves nodes until shutdown, when every stream is ended with "unavailable".
pub(crate) async fn serve(streams: NodeStreams, listener: UnixListener) -> Result<(), Error> {
    let shutdown = streams.shutdown.clone();
    let service = NodeStreamServer::new(streams).max_decoding_message_size(MAX_MESSAGE);
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown.cancelled_owned())
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl NodeStream for NodeStreams {
    type AttachStream = OutboxStream;

    async fn attach(
        &self,
        request: Request<Streaming<FromNode>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outbox, stream) = outbox();
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(self.clone().converse(request.into_inner(), session, outbox));
        Ok(Response::new(stream))
    }
}

impl NodeStreams {
    async fn converse(self, mut messages: Streaming<FromNode>, session: SessionId, outbox: Outbox) {
        let end = tokio::select! {
            () = outbox.closed() => return,
            () = self.shutdown.cancelled() => Err(Gone.into()),
            hello = timeout(HELLO_TIMEOUT, hello(&mut messages)) => {
                hello.unwrap_or_else(|_| Err(Status::deadline_exceeded("no Hello")))
            }
        };
        let hello = match end {
            Ok(hello) => hello,
            Err(status) => return outbox.close(Some(status)),
        };
        let (node, boot) = (hello.node.clone(), hello.boot.clone());
        let session = Session { node, boot, id: session, outbox: outbox.clone() };
        tracing::info!(node = hello.node.0, boot = hello.boot, abi = hello.abi_version, "node attached");
        if self.brain.attach(hello, session.id, outbox.clone()).await.is_err() {
            return outbox.close(Some(Gone.into()));
        }
        let end = tokio::select! {
            () = outbox.closed() => Ok(()),
            () = self.shutdown.cancelled() => Err(Gone.into()),
            end = self.listen(&mut messages, &session) => end,
        };
        tracing::info!(
            node = session.node.0,
            reason = end.as_ref().err().map(Status::message),
            "node detached"
        );
        outbox.close(end.err());
        // A brain that has gone needs no telling.
        let _ = self.brain.detach(session.node, session.id).await;
    }

    /// Hears a node out until it or the connection ends.
    async fn listen(&self, messages: &mut Streaming<FromNode>, session: &Session) -> Result<(), Status> {
        // An error of the connection is the node's leaving, not its fault.
        while let Ok(Some(message)) = messages.message().await {
            match self.hear(message, session).await {
                Ok(()) => {}
                Err(Fault::Senseless(Malformed(what))) => {
                    tracing::warn!(node = session.node.0, what, "passed over a message that makes no sense");
                    self.metrics.malformed_messages.inc();
                }
                Err(Fault::Ends(status)) => return Err(status),
            }
        }
        Ok(())
    }

    async fn hear(&self, message: FromNode, session: &Session) -> Result<(), Fault> {
        let input = match message.message.ok_or(Malformed("empty message"))? {
            from_node::Message::Hello(_) => {
                return Err(Fault::Ends(Status::failed_precondition("a second Hello on one stream")));
            }
            from_node::Message::Result(result) => {
                self.directory.result(&session.node, session.id, &result);
                return Ok(());
            }
            from_node::Message::Audit(lines) => return self.keep(lines, session).await,
            from_node::Message::Alarm(alarm) => Input::AlarmRaised(translate::alarm(alarm, &session.node)?),
            from_node::Message::Counts(report) => Input::CountsReported {
                node: session.node.clone(),
                boot: session.boot.clone(),
                devices: translate::report(report)?,
            },
        };
        self.brain.hear(&session.node, session.id, input).await.map_err(|gone| Fault::Ends(gone.into()))
    }

    /// Writes down what operators did on a node, and only then lets the node forget it. Not an affair of the
    /// brain: nothing is decided upon it.
    async fn keep(&self, lines: AuditLines, session: &Session) -> Result<(), Fault> {
        let node = &session.node;
        let lines = translate::audit(lines, node, clock::now())?;
        let Some(last) = lines.iter().map(|line| line.sequence).max() else { return Ok(()) };
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || store.audit(&lines)).await;
        let new = match written {
            Ok(Ok(new)) => new,
            failed => {
                tracing::error!(node = node.0, ?failed, "a node's audit lines could not be written down");
                // The node says them again on its next stream.
                return Err(Fault::Ends(Status::unavailable("the store failed")));
            }
        };
        if new > 0 {
            tracing::warn!(
                node = node.0,
                new,
                "operators acted on the node past control, see `weir audit list`"
            );
        }
        self.metrics.audit_lines.inc_by(new as u64);
        let received = to_node::Message::AuditReceived(AuditReceived { up_to_sequence: last });
        // A stream without room is about to be closed; the node says the lines again on its next one.
        let _ = session.outbox.send(vec![received]);
        Ok(())
    }
}

/// Who speaks on a stream.
struct Session {
    node: NodeName,
    boot: String,
    id: SessionId,
    outbox: Outbox,
}

/// What can be wrong with a message.
enum Fault {
    /// It is passed over.
    Senseless(Malformed),
    /// It ends the stream.
    Ends(Status),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Senseless(malformed)
    }
}

/// Waits for the first message, which must say who is speaking.
async fn hello(messages: &mut Streaming<FromNode>) -> Result<Hello, Status> {
    let first = messages.message().await?.and_then(|message| message.message);
    let Some(from_node::Message::Hello(hello)) = first else {
        return Err(Status::failed_precondition("the first message must be Hello"));
    };
    for (what, name) in [("node", &hello.node), ("boot", &hello.boot)] {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let detail = format!("Hello: {what} must have 1 to {MAX_NAME} characters, none of them control");
            return Err(Status::invalid_argument(detail));
        }
    }
    let node = NodeName(hello.node);
    Ok(Hello { node, boot: hello.boot, abi_version: hello.abi_version, kinds: hello.kinds })
}

impl From<Gone> for Status {
    fn from(gone: Gone) -> Self {
        Self::unavailable(gone.to_string())
    }
}
