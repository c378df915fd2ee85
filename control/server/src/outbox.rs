//! What waits to be sent to one node: bounded, and closed with a reason.
//!
//! The queue holds batches, so that a snapshot of any size is one place in it and only updates can fill it.
//! Nothing here waits: the brain must never be held up by a node (see `brain.rs`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use weir_proto::v1::{ToNode, to_node};

/// Batches a node may be behind before its stream is closed.
const CAPACITY: usize = 4096;

/// The sending end; clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Vec<to_node::Message>>,
    end: Arc<Mutex<Option<oneshot::Sender<Option<Status>>>>>,
    closed: CancellationToken,
}

/// The receiving end, as the response stream of a node's call.
#[derive(Debug)]
pub(crate) struct OutboxStream {
    queue: mpsc::Receiver<Vec<to_node::Message>>,
    batch: VecDeque<to_node::Message>,
    end: oneshot::Receiver<Option<Status>>,
    ended: bool,
}

/// The queue is full or closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// A new, empty outbox and the stream that empties it.
pub(crate) fn outbox() -> (Outbox, OutboxStream) {
    let (queue, receiver) = mpsc::channel(CAPACITY);
    let (end, ended) = oneshot::channel();
    let outbox = Outbox { queue, end: Arc::new(Mutex::new(Some(end))), closed: CancellationToken::new() };
    (outbox, OutboxStream { queue: receiver, batch: VecDeque::new(), end: ended, ended: false })
}

impl Outbox {
    /// Queues messages that go out together and in this order.
    pub(crate) fn send(&self, batch: Vec<to_node::Message>) -> Result<(), NoRoom> {
        self.queue.try_send(batch).map_err(|_| NoRoom)
    }

    /// Ends the stream, with what is still queued unsent. Only the first reason counts; `None` is none.
    pub(crate) fn close(&self, reason: Option<Status>) {
        if let Some(end) = self.end.lock().take() {
            // The stream may be gone already, which is as good.
            let _ = end.send(reason);
        }
        self.closed.cancel();
    }

    /// Resolves once the outbox is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

impl Stream for OutboxStream {
    type Item = Result<ToNode, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(reason) = Pin::new(&mut self.end).poll(context) {
            self.ended = true;
            return Poll::Ready(reason.ok().flatten().map(Err));
        }
        loop {
            if let Some(message) = self.batch.pop_front() {
                return Poll::Ready(Some(Ok(ToNode { message: Some(message) })));
            }
            match self.queue.poll_recv(context) {
                Poll::Ready(Some(batch)) => self.batch = batch.into(),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use weir_proto::v1::AlarmReceived;

    use super::*;

    fn message() -> to_node::Message {
        to_node::Message::Received(AlarmReceived { id: None })
    }

    #[tokio::test]
    async fn a_snapshot_of_any_size_takes_one_place() {
        let (outbox, mut stream) = outbox();
        outbox.send(vec![message(); 3 * CAPACITY]).unwrap();
        for _ in 0..3 * CAPACITY {
            stream.next().await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_node_that_does_not_read_fills_its_queue() {
        let (outbox, _stream) = outbox();
        for _ in 0..CAPACITY {
            outbox.send(vec![message()]).unwrap();
        }
        assert_eq!(outbox.send(vec![message()]), Err(NoRoom));
    }

    #[tokio::test]
    async fn closing_overtakes_the_queue_and_gives_the_first_reason() {
        let (outbox, mut stream) = outbox();
        outbox.send(vec![message()]).unwrap();
        outbox.close(Some(Status::aborted("first")));
        outbox.close(Some(Status::unavailable("second")));
        outbox.closed().await;
        assert_eq!(stream.next().await.unwrap().unwrap_err().message(), "first");
        assert!(stream.next().await.is_none());
    }
}
