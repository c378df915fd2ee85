//! Why observation could not begin or go on.

use std::net::SocketAddr;

/// Everything that can go wrong here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is reachable from outside the machine.
    #[error(
        "metrics address {0} is not a loopback address; use 127.0.0.1 or [::1], and a proxy to go further"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on metrics address {address}: {source}; is another weir running there?")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Serving ended by itself.
    #[error("metrics listener failed: {0}")]
    Serve(#[source] std::io::Error),
}
