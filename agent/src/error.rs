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
    /// A binding cannot be installed.
    #[error("binding of address {address}: {cause}")]
    Binding {
        /// The address; the device is not named, since errors are logged.
        address: std::net::IpAddr,
        /// Why.
        cause: String,
    },
    /// Something of the operating system failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
}
