//! The stream to control: connect, lose, connect again.
//!
//! This task knows no message's meaning. It tells the run loop when a stream opens (with the sender for
//! what is to go up), passes on what comes down, and says when the stream is gone; then it waits, longer
//! each time, with some chance so that a thousand nodes do not return in the same instant.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use weir_proto::v1::{
    FromNode, from_node::Message as Up, node_stream_client::NodeStreamClient, to_node::Message as Down,
};

/// What the stream tells the run loop.
pub(crate) enum Event {
    /// A stream is open; what is sent here goes up.
    Opened(Sender),
    /// Control said something.
    Said(Down),
    /// The stream is gone.
    Lost,
}

/// Messages for control wait here; a control that does not take them loses the stream.
#[derive(Clone)]
pub(crate) struct Sender(mpsc::Sender<FromNode>);

const QUEUE: usize = 4096;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Sender {
    /// False if the stream is gone or control is too slow.
    pub(crate) fn send(&self, message: Up) -> bool {
        self.0.try_send(FromNode { message: Some(message) }).is_ok()
    }
}

/// Keeps a stream open for as long as somebody takes the events.
pub(crate) async fn keep_open(socket: PathBuf, events: mpsc::Sender<Event>) {
    let mut wait = FIRST_WAIT;
    loop {
        match connect(&socket).await {
            Ok(channel) => {
                let outcome = converse(channel, &events).await;
                if events.send(Event::Lost).await.is_err() {
                    return;
                }
                match outcome {
                    Ok(()) => wait = FIRST_WAIT,
                    Err(status) => tracing::warn!("stream to control lost: {}", status.message()),
                }
            }
            Err(error) => tracing::debug!("control is not there yet: {error}"),
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is a formality: the connector knows where to go.
    Endpoint::from_static("http://control.invalid").connect_with_connector(connector).await
}

/// Until either side ends it. `Ok` means that something was said, so the next try may be soon.
async fn converse(channel: Channel, events: &mpsc::Sender<Event>) -> Result<(), tonic::Status> {
    let (up, queue) = mpsc::channel(QUEUE);
    // The run loop greets first; control answers the greeting, not the connection.
    if events.send(Event::Opened(Sender(up))).await.is_err() {
        return Ok(());
    }
    let mut client = NodeStreamClient::new(channel);
    let mut down = client.attach(ReceiverStream::new(queue)).await?.into_inner();
    while let Some(message) = down.message().await? {
        if let Some(message) = message.message
            && events.send(Event::Said(message)).await.is_err()
        {
            break;
        }
    }
    Ok(())
}
