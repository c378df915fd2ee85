//! Why control could not start or had to stop.

use std::io;

use crate::api::Invalid;

/// Everything that ends control.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket cannot be listened on.
    #[error(transparent)]
    Socket(#[from] weir_socket::Error),
    /// A seed policy or subscriber that no node could hold.
    #[error("{what}: {invalid}")]
    Seed {
        /// Which one, e.g. `policy 3`.
        what: String,
        /// What is wrong with it.
        invalid: Invalid,
    },
    /// The store cannot be opened, read or written. Control stops rather than send what it could not write
    /// down; nodes go on enforcing what they have.
    #[error(transparent)]
    Store(#[from] weir_store::Error),
    /// Metrics and health cannot be shown.
    #[error(transparent)]
    Observe(#[from] weir_observe::Error),
    /// The metrics cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The nodes' stream failed.
    #[error("node stream failed: {0}")]
    Stream(#[from] tonic::transport::Error),
    /// The admin API failed.
    #[error("admin API failed: {0}")]
    Admin(#[source] io::Error),
    /// A part of control panicked.
    #[error("a part of control stopped unexpectedly: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}
