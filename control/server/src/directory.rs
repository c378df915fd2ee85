//! The nodes control knows, their streams, and what became of the updates sent to them.
//!
//! The directory never waits: it is called from the brain's task, which every device depends on. A node that
//! does not keep up loses its stream and is given a snapshot when it comes back (R-D15).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tonic::Status;
use weir_proto::v1::{AlarmReceived, UpdateResult, Welcome, to_node};
use weir_service_control::{AlarmId, CacheUpdate, DeviceId, NodeName};

use crate::api::{Node, NodeUpdates, Refusal};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::{clock, translate};

/// Updates beyond its snapshot that a node may leave without result.
const MAX_OUTSTANDING: usize = 65_536;

/// Tells the streams of one node apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// What a node says of itself when it attaches.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) node: NodeName,
    pub(crate) boot: String,
    pub(crate) abi_version: u32,
    pub(crate) kinds: Vec<String>,
}

/// All nodes seen since control started.
#[derive(Debug)]
pub(crate) struct Directory {
    nodes: Mutex<BTreeMap<NodeName, Record>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Record {
    shown: Node,
    live: Option<Live>,
}

/// An open stream. Nonces count up within it.
#[derive(Debug)]
struct Live {
    session: SessionId,
    outbox: Outbox,
    last_nonce: u64,
    outstanding: BTreeSet<u64>,
    snapshot_entries: usize,
}

impl Directory {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { nodes: Mutex::default(), metrics }
    }

    /// Takes a new stream of a node; an older one is closed.
    pub(crate) fn attach(&self, hello: &Hello, session: SessionId, outbox: Outbox) {
        let mut nodes = self.nodes.lock();
        let record = nodes.entry(hello.node.clone()).or_insert_with(|| Record::new(&hello.node));
        let live = Live { session, outbox, last_nonce: 0, outstanding: BTreeSet::new(), snapshot_entries: 0 };
        if let Some(older) = record.live.replace(live) {
            tracing::warn!(node = hello.node.0, "a second stream of this node replaces the first");
            older.outbox.close(Some(Status::aborted("a newer stream of this node has taken over")));
        }
        let streams = record.shown.streams + 1;
        record.shown = Node {
            boot: hello.boot.clone(),
            abi_version: hello.abi_version,
            kinds: hello.kinds.clone(),
            connected: true,
            since_ms: clock::now().0,
            streams,
            updates: NodeUpdates::default(),
            ..record.shown.clone()
        };
        self.count_connected(&nodes);
    }

    /// Forgets a stream that has ended, unless a newer one has replaced it.
    pub(crate) fn detach(&self, node: &NodeName, session: SessionId) {
        let mut nodes = self.nodes.lock();
        if let Some(record) = nodes.get_mut(node)
            && record.live.as_ref().is_some_and(|live| live.session == session)
        {
            record.hang_up(None);
        }
        self.count_connected(&nodes);
    }

    /// Sends all entries, announced by their number.
    pub(crate) fn snapshot(&self, node: &NodeName, entries: Vec<CacheUpdate>) {
        let count = entries.len();
        let snapshot_entries = u32::try_from(count).unwrap_or(u32::MAX);
        let server = format!("weir {}", env!("CARGO_PKG_VERSION"));
        let welcome = to_node::Message::Welcome(Welcome { server, snapshot_entries });
        self.send(node, |live| {
            live.snapshot_entries = count;
            let mut batch = vec![welcome];
            batch.extend(entries.into_iter().map(|entry| live.update(entry)));
            (batch, count)
        });
    }

    /// Sends one entry.
    pub(crate) fn update(&self, node: &NodeName, update: CacheUpdate) {
        self.send(node, |live| (vec![live.update(update)], 1));
    }

    /// Tells a node that its alarm has been understood.
    pub(crate) fn alarm_received(&self, node: &NodeName, id: AlarmId) {
        let received = AlarmReceived { id: Some(translate::alarm_id(id)) };
        self.send(node, |_| (vec![to_node::Message::Received(received)], 0));
    }

    /// `compose` makes a batch and says how many updates are in it. A node without a stream gets nothing: it
    /// will get a snapshot.
    fn send(&self, node: &NodeName, compose: impl FnOnce(&mut Live) -> (Vec<to_node::Message>, usize)) {
        let mut nodes = self.nodes.lock();
        let Some(record) = nodes.get_mut(node) else { return };
        let Some(live) = record.live.as_mut() else { return };
        let (batch, updates) = compose(live);
        let behind = live.outstanding.len() > live.snapshot_entries + MAX_OUTSTANDING;
        if !behind && live.outbox.send(batch).is_ok() {
            record.shown.updates.sent += updates as u64;
            self.metrics.updates.sent.inc_by(updates as u64);
            return;
        }
        tracing::warn!(node = node.0, "the node does not keep up; its stream is closed and it must resync");
        self.metrics.nodes_too_slow.inc();
        record.hang_up(Some(Status::resource_exhausted("too far behind with updates; attach again")));
        self.count_connected(&nodes);
    }

    /// Takes a node's word on an update. Results for other streams, or said twice, change nothing.
    pub(crate) fn result(&self, node: &NodeName, session: SessionId, result: &UpdateResult) {
        let mut nodes = self.nodes.lock();
        let Some(record) = nodes.get_mut(node) else { return };
        let live = record.live.as_mut().filter(|live| live.session == session);
        if !live.is_some_and(|live| live.outstanding.remove(&result.nonce)) {
            return;
        }
        if result.refused.is_empty() {
            record.shown.updates.acknowledged += 1;
            self.metrics.updates.acknowledged.inc();
            return;
        }
        let device = DeviceId(result.device.clone());
        let reason = without_device(&result.refused, &device);
        tracing::warn!(node = node.0, ?device, reason, "the node refused an update; what it had stands");
        record.shown.updates.refused += 1;
        self.metrics.updates.refused.inc();
        record.shown.last_refusal = Some(Refusal { at_ms: clock::now().0, device, reason });
    }

    /// The nodes, by name.
    pub(crate) fn list(&self) -> Vec<Node> {
        self.nodes.lock().values().map(|record| record.shown.clone()).collect()
    }

    fn count_connected(&self, nodes: &BTreeMap<NodeName, Record>) {
        let connected = nodes.values().filter(|record| record.live.is_some()).count();
        self.metrics.nodes_connected.set(i64::try_from(connected).unwrap_or(i64::MAX));
    }
}

impl Record {
    fn new(node: &NodeName) -> Self {
        let shown = Node {
            name: node.0.clone(),
            boot: String::new(),
            abi_version: 0,
            kinds: Vec::new(),
            connected: false,
            since_ms: 0,
            streams: 0,
            updates: NodeUpdates::default(),
            last_refusal: None,
        };
        Self { shown, live: None }
    }

    fn hang_up(&mut self, reason: Option<Status>) {
        if let Some(live) = self.live.take() {
            live.outbox.close(reason);
        }
        self.shown.connected = false;
        self.shown.since_ms = clock::now().0;
    }
}

impl Live {
    fn update(&mut self, update: CacheUpdate) -> to_node::Message {
        self.last_nonce += 1;
        self.outstanding.insert(self.last_nonce);
        to_node::Message::Update(translate::update(update, self.last_nonce))
    }
}

/// A node's words go into logs, so the identifier it may have repeated in them is replaced (R-X7).
fn without_device(reason: &str, device: &DeviceId) -> String {
    if device.0.is_empty() { reason.to_owned() } else { reason.replace(&device.0, &format!("{device:?}")) }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use weir_service_control::{AlarmFate, Status as EntryStatus};

    use super::*;
    use crate::outbox::outbox;

    fn entry() -> CacheUpdate {
        CacheUpdate {
            revision: 1,
            device: DeviceId("001010000000001".to_owned()),
            cached: true,
            policies: Vec::new(),
            status: EntryStatus::default(),
            not_m2m: false,
            release_session: false,
            answers: None,
            alarm: AlarmFate::Unchanged,
            explanation: String::new(),
        }
    }

    fn directory() -> (Directory, Hello) {
        let (node, boot) = (NodeName("pgw-1".to_owned()), "boot-1".to_owned());
        let metrics = Arc::new(Metrics::new().unwrap());
        (Directory::new(metrics), Hello { node, boot, abi_version: 1, kinds: Vec::new() })
    }

    fn applied(nonce: u64) -> UpdateResult {
        UpdateResult { nonce, device: "001010000000001".to_owned(), refused: String::new() }
    }

    #[tokio::test]
    async fn a_node_that_does_not_keep_up_loses_its_stream_and_is_counted() {
        let (directory, hello) = directory();
        let (outbox, mut stream) = outbox();
        directory.attach(&hello, SessionId(1), outbox);
        directory.snapshot(&hello.node, vec![entry(); 10_000]);
        assert!(directory.list()[0].connected, "a snapshot of any size is no reason");
        while directory.list()[0].connected {
            directory.update(&hello.node, entry());
        }
        assert_eq!(directory.metrics.nodes_too_slow.get(), 1);
        assert_eq!(directory.metrics.nodes_connected.get(), 0);
        let end = stream.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), tonic::Code::ResourceExhausted);
        directory.update(&hello.node, entry());
        assert_eq!(directory.metrics.nodes_too_slow.get(), 1, "nothing is sent to a node without a stream");
    }

    #[tokio::test]
    async fn a_node_that_takes_updates_and_never_says_what_became_of_them_loses_its_stream() {
        let (directory, hello) = directory();
        let (outbox, mut stream) = outbox();
        directory.attach(&hello, SessionId(1), outbox);
        for _ in 0..MAX_OUTSTANDING {
            directory.update(&hello.node, entry());
            stream.next().await.unwrap().unwrap();
        }
        assert!(directory.list()[0].connected);
        directory.update(&hello.node, entry());
        assert!(!directory.list()[0].connected);
    }

    #[tokio::test]
    async fn results_of_an_older_stream_say_nothing_about_the_newer_one() {
        let (directory, hello) = directory();
        directory.attach(&hello, SessionId(1), outbox().0);
        let (newer, _stream) = outbox();
        directory.attach(&hello, SessionId(2), newer);
        directory.update(&hello.node, entry());
        directory.result(&hello.node, SessionId(1), &applied(1));
        directory.result(&hello.node, SessionId(2), &applied(9));
        assert_eq!(directory.list()[0].updates, NodeUpdates { sent: 1, acknowledged: 0, refused: 0 });
        directory.result(&hello.node, SessionId(2), &applied(1));
        assert_eq!(directory.list()[0].updates.acknowledged, 1);
        directory.detach(&hello.node, SessionId(1));
        assert!(directory.list()[0].connected, "the older stream's end is not the newer one's");
    }

    #[test]
    fn an_identifier_in_a_nodes_words_is_not_repeated() {
        let device = DeviceId("001010000000001".to_owned());
        let reason = without_device("no room for 001010000000001", &device);
        assert!(!reason.contains("0010100000"), "{reason}");
    }
}
