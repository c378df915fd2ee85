//! What can keep an agent from starting or going on.

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side failed.
    #[error(transparent)]
    Dataplane(#[from] weir_dataplane::Error),
    /// Metrics cannot be served.
    #[error(transparent)]
    Observe(#[from] weir_observe::Error),
    /// The local socket cannot be listened on.
    #[error(transparent)]
    LocalSocket(#[from] weir_socket::Error),
    /// A binding cannot be installed.
    #[error("binding of address {address}: {cause}")]
    Binding {
        /// The address; the device is not named, since errors are logged.
        address: std::net::IpAddr,
        /// Why.
        cause: String,
    },
    /// The last-known-good cache is another agent's.
    #[error(transparent)]
    KnownGood(#[from] crate::known_good::Error),
    /// What is in the maps cannot be taken up.
    #[error("the kernel's maps cannot be taken up: {0}")]
    Inherit(String),
    /// Something of the operating system failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
}
