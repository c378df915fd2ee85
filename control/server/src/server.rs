//! Putting control together: what is opened in which order, and how it ends.
//!
//! Everything that can fail at a start fails before anybody is served: addresses, store, seeds, sockets. One
//! token ends all parts; a part that ends by itself takes the others with it, because half a control server is
//! worse than none (nodes go on by themselves, R-X4, and attach again).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_observe::Readiness;
use weir_service_control::{PolicyId, ServiceControl};
use weir_socket::SocketFile;
use weir_store::Store;

use crate::admin::{self, Admin};
use crate::brain::{Brain, BrainHandle};
use crate::config::{Config, seed_error};
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::peers::{Peers, Questions};
use crate::stream::{self, NodeStreams};
use crate::{Error, clock};

/// How long open connections may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// A control server that listens and does not answer yet.
pub struct Server {
    config: Config,
    store: Arc<Store>,
    peers: Peers,
    metrics: Metrics,
    readiness: Readiness,
    observe: weir_observe::Listener,
    nodes: (UnixListener, SocketFile),
    admin: (UnixListener, SocketFile),
}

/// Runs control until `shutdown` is cancelled, with HSS and PCRF embedded in the store.
///
/// # Errors
/// Whatever keeps control from starting or makes it stop; see [`Error`].
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    Server::bind(config).await?.run(shutdown).await
}

impl Server {
    /// Opens the store, seeds it, and binds all listeners.
    ///
    /// # Errors
    /// Whatever cannot be opened; nothing is left behind then but the store.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let readiness = Readiness::default();
        let opened = readiness.condition("store open");
        let nodes_bound = readiness.condition("node stream listening");
        let admin_bound = readiness.condition("admin API listening");
        let observe = weir_observe::Listener::bind(config.metrics).await?;
        let store = Arc::new(open_store(&config)?);
        opened.set(true);
        let nodes = weir_socket::bind(&config.stream_socket).await?;
        nodes_bound.set(true);
        let admin = weir_socket::bind(&config.admin_socket).await?;
        admin_bound.set(true);
        let (peers, metrics) = (Peers::embedded(&store), Metrics::new()?);
        Ok(Self { config, store, peers, metrics, readiness, observe, nodes, admin })
    }

    /// The same, asking other peers than those embedded in the store.
    #[must_use]
    pub fn with_peers(mut self, peers: impl FnOnce(Peers) -> Peers) -> Self {
        self.peers = peers(self.peers);
        self
    }

    /// Where metrics and health are shown.
    pub fn metrics_address(&self) -> SocketAddr {
        self.observe.address()
    }

    /// Serves until `shutdown` is cancelled.
    ///
    /// # Errors
    /// The first thing that made control stop by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        // A child, because a failing part ends the others and nobody else.
        let shutdown = shutdown.child_token();
        // Open streams end as well if this future is dropped.
        let _ended = shutdown.clone().drop_guard();
        let metrics = Arc::new(self.metrics);
        let directory = Arc::new(Directory::new(metrics.clone()));
        let (handle, inbox) = BrainHandle::new();
        let brain = brain(&self.config, &self.store, self.peers, &directory, &metrics)?;
        let streams = NodeStreams {
            brain: handle.clone(),
            store: self.store.clone(),
            directory: directory.clone(),
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
            sessions: Arc::new(AtomicU64::new(0)),
        };
        let admin = Admin { brain: handle, store: self.store, directory, changing: Arc::default() };
        // The files go last, when nobody is served any more.
        let ((nodes, _nodes_file), (admin_listener, _admin_file)) = (self.nodes, self.admin);
        let (registry, stopped) = (metrics.registry.clone(), shutdown.clone().cancelled_owned());
        let mut parts = JoinSet::new();
        parts.spawn(brain.run(inbox, shutdown.clone()));
        parts.spawn(stream::serve(streams, nodes));
        parts.spawn(admin::serve(admin, admin_listener, shutdown.clone()));
        let (observe, readiness) = (self.observe, self.readiness);
        parts.spawn(async move { Ok(observe.serve(registry, readiness, stopped).await?) });
        tracing::info!(
            nodes = %self.config.stream_socket.display(),
            admin = %self.config.admin_socket.display(),
            "control is ready"
        );
        end(parts, &shutdown).await
    }
}

/// Opens the store and gives it the seeds it does not know yet, all of them checked.
fn open_store(config: &Config) -> Result<Store, Error> {
    let policies = config.seed_policies()?;
    let store = Store::open(&config.store)?;
    let kept = store.policies()?;
    let find = |id| kept.iter().chain(&policies).find(|policy| policy.id == PolicyId(id)).cloned();
    for (number, subscriber) in config.subscribers.iter().enumerate() {
        let known = store.subscriber(&subscriber.device)?.is_some();
        let invalid = if known { Vec::new() } else { subscriber.check_against(find) };
        if !invalid.is_empty() {
            return Err(seed_error(format!("subscriber number {}", number + 1), invalid));
        }
    }
    let subscribers: Vec<_> = config.subscribers.iter().cloned().map(Into::into).collect();
    store.seed(&subscribers, &policies)?;
    Ok(store)
}

/// Service control as it was when control last ran, and what carries out its outputs.
fn brain(
    config: &Config,
    store: &Arc<Store>,
    peers: Peers,
    directory: &Arc<Directory>,
    metrics: &Arc<Metrics>,
) -> Result<Brain, Error> {
    let mut control = ServiceControl::new(config.service_control());
    let now = clock::now();
    store.each_entry(|entry| control.restore([entry], now))?;
    metrics.count_devices(&control);
    let questions = Questions { peers, timeout: config.query_timeout, metrics: metrics.clone() };
    Ok(Brain {
        control,
        store: store.clone(),
        directory: directory.clone(),
        questions,
        metrics: metrics.clone(),
        sessions: HashMap::new(),
        answers: JoinSet::new(),
    })
}

/// Waits for shutdown or for a part to fail, then for all others to end.
async fn end(mut parts: JoinSet<Result<(), Error>>, shutdown: &CancellationToken) -> Result<(), Error> {
    let mut outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = parts.join_next() => ended.map_err(Error::from).flatten(),
    };
    shutdown.cancel();
    let drained = timeout(DRAIN, async {
        while let Some(ended) = parts.join_next().await {
            outcome = std::mem::replace(&mut outcome, Ok(())).and(ended.map_err(Error::from).flatten());
        }
    });
    if drained.await.is_err() {
        tracing::warn!("some connections have not ended in time and are cut");
    }
    outcome
}
