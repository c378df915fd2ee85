//! The stream to control: connect, lose, connect again.
//!
//! This task knows no message's meaning. It tells the run loop when a stream opens (with the sender for
//! what is to go up), passes on what comes down, and says when the stream is gone; then it waits, longer
//! each time that nothing was said, with some chance so that a thousand nodes do not return in the same
//! instant.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
};
use tokio_stream::Stream;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};
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

/// Where messages for control wait, in batches of any size: a greeting of ten thousand alarms takes one
/// place. Dropping it gives the stream up.
pub(crate) struct Sender {
    batches: mpsc::Sender<Vec<Up>>,
    _given_up_when_dropped: oneshot::Sender<()>,
}

/// How long to wait before connecting again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// After a stream on which something was said.
    pub first: Duration,
    /// At most, however often nothing came of it.
    pub longest: Duration,
}

/// The pauses between attempts.
struct Pauses {
    pace: Pace,
    next: Duration,
}

/// How a stream ended.
struct Conversation {
    /// Control has said something.
    said: bool,
    end: Result<(), Status>,
}

/// Batches that may wait for a control that does not take them.
const QUEUE: usize = 4096;
/// Silence after which control is asked for a sign of life, and how long it may take to give one.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10) }
    }
}

impl Sender {
    /// Queues messages that go up in this order. False if the stream is gone or control is too slow.
    pub(crate) fn send(&self, batch: Vec<Up>) -> bool {
        batch.is_empty() || self.batches.try_send(batch).is_ok()
    }

    /// Whether control is behind with taking what was sent: what can wait should.
    pub(crate) fn is_behind(&self) -> bool {
        self.batches.max_capacity() - self.batches.capacity() > QUEUE / 256
    }

    /// Resolves when half of the queue is free, or the stream gone: answers to a long snapshot must not leave
    /// an alarm without a place.
    pub(crate) async fn has_room(&self) {
        // The places are given back at once: only this task sends.
        let _ = self.batches.reserve_many(QUEUE / 2).await;
    }
}

impl Pauses {
    fn new(pace: Pace) -> Self {
        Self { pace, next: pace.first }
    }

    /// The next one: between half and all of twice the last.
    fn next(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(self.pace.longest);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn begin_anew(&mut self) {
        self.next = self.pace.first;
    }
}

/// Keeps a stream open for as long as somebody takes the events.
pub(crate) async fn keep_open(socket: PathBuf, pace: Pace, events: mpsc::Sender<Event>) {
    let (mut pauses, mut is_missed) = (Pauses::new(pace), false);
    loop {
        match connect(&socket).await {
            Ok(channel) => {
                is_missed = false;
                let conversation = converse(channel, &events).await;
                if events.send(Event::Lost).await.is_err() {
                    return;
                }
                if conversation.said {
                    pauses.begin_anew();
                }
                let why = conversation.end.as_ref().map_or_else(Status::message, |()| "it was ended");
                tracing::warn!("no stream to control, entries stay as they are: {why}");
            }
            Err(_) if events.is_closed() => return,
            Err(error) if is_missed => tracing::debug!("control is not there yet: {error}"),
            Err(error) => {
                is_missed = true;
                let socket = socket.display();
                tracing::warn!("no control at {socket}, this node goes on and keeps trying: {error}");
            }
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is a formality: the connector knows where to go.
    Endpoint::from_static("http://control.invalid")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .connect_with_connector(connector)
        .await
}

/// Until either side ends it.
async fn converse(channel: Channel, events: &mpsc::Sender<Event>) -> Conversation {
    let (batches, queue) = mpsc::channel(QUEUE);
    let (held, given_up) = oneshot::channel();
    let sender = Sender { batches, _given_up_when_dropped: held };
    // The run loop greets first; control answers the greeting, not the connection.
    if events.send(Event::Opened(sender)).await.is_err() {
        return Conversation { said: false, end: Ok(()) };
    }
    let mut said = false;
    let end = tokio::select! {
        end = listen(channel, queue, events, &mut said) => end,
        _ = given_up => Ok(()),
    };
    Conversation { said, end }
}

async fn listen(
    channel: Channel,
    queue: mpsc::Receiver<Vec<Up>>,
    events: &mpsc::Sender<Event>,
    said: &mut bool,
) -> Result<(), Status> {
    let up = Upward { queue, batch: Vec::new().into_iter() };
    let mut down = NodeStreamClient::new(channel).attach(up).await?.into_inner();
    while let Some(message) = down.message().await? {
        *said = true;
        if let Some(message) = message.message
            && events.send(Event::Said(message)).await.is_err()
        {
            break;
        }
    }
    Ok(())
}

/// The batches, one message after another.
struct Upward {
    queue: mpsc::Receiver<Vec<Up>>,
    batch: vec::IntoIter<Up>,
}

impl Stream for Upward {
    type Item = FromNode;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FromNode>> {
        loop {
            if let Some(message) = self.batch.next() {
                return Poll::Ready(Some(FromNode { message: Some(message) }));
            }
            match self.queue.poll_recv(context) {
                Poll::Ready(Some(batch)) => self.batch = batch.into_iter(),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests;
