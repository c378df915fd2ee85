//! The socket under the pages.

use std::future::Future;
use std::net::SocketAddr;

use prometheus::Registry;
use tokio::net::TcpListener;

use crate::{Error, Readiness, routes};

/// A bound listener that does not answer yet: binding early lets a start fail before anything else happened.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Refuses an address that is reachable from outside the machine.
///
/// # Errors
/// [`Error::NotLoopback`].
pub fn require_loopback(address: SocketAddr) -> Result<(), Error> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(Error::NotLoopback(address)) }
}

impl Listener {
    /// Binds; port 0 takes any free one, see [`Listener::address`].
    ///
    /// # Errors
    /// [`Error::NotLoopback`], or [`Error::Listen`] where the system refuses.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        require_loopback(address)?;
        let listen = |source| Error::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        Ok(Self { socket, address })
    }

    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves.
    ///
    /// # Errors
    /// [`Error::Serve`] if the listener itself fails.
    pub async fn serve(
        self,
        registry: Registry,
        readiness: Readiness,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        axum::serve(self.socket, routes(registry, readiness))
            .with_graceful_shutdown(shutdown)
            .await
            .map_err(Error::Serve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_outside_loopback_is_refused() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9180", "[2001:db8::1]:9180"] {
            let error = Listener::bind(address.parse().unwrap()).await.unwrap_err();
            assert!(matches!(error, Error::NotLoopback(_)), "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named_in_the_error() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Listener::bind(first.address()).await.unwrap_err();
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
