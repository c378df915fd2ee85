//! One agent a node: the claim that a running agent holds.
//!
//! An abstract Unix socket, `weir-node-<name>`, which the kernel gives to one process of a network namespace and
//! takes back when that process ends, however it ends. There is no file to be left behind.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use crate::Error;

/// The right to run a node, held until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _socket: UnixListener,
}

/// Claims `node` for this process, within this network namespace.
///
/// # Errors
/// [`Error::NodeRuns`] if another process has it, [`Error::Pins`] if the kernel gives no such socket.
pub fn claim(node: &str) -> Result<Claim, Error> {
    let refused = |cause: std::io::Error| Error::Pins {
        path: format!("@weir-node-{node}").into(),
        operation: "claiming the node's name",
        cause: cause.to_string(),
    };
    let address = SocketAddr::from_abstract_name(format!("weir-node-{node}")).map_err(refused)?;
    match UnixListener::bind_addr(&address) {
        Ok(socket) => Ok(Claim { _socket: socket }),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(Error::NodeRuns { node: node.to_owned(), process: holder(&address) })
        }
        Err(error) => Err(refused(error)),
    }
}

/// The process at the other end of a claim.
fn holder(address: &SocketAddr) -> Option<u32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    let credentials = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    Some(credentials.pid.as_raw_nonzero().get().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_node_is_refused_to_others_until_the_claim_is_dropped() {
        let name = format!("claimed-{}", std::process::id());
        let held = claim(&name).expect("nobody has it");
        let error = claim(&name).expect_err("taken");
        assert!(matches!(&error, Error::NodeRuns { process, .. } if *process == Some(std::process::id())));
        assert!(error.to_string().contains(&name), "{error}");
        claim(&format!("{name}-b")).expect("another node");
        drop(held);
        claim(&name).expect("free again");
    }

    #[test]
    fn a_name_too_long_to_claim_is_refused() {
        let error = claim(&"n".repeat(200)).expect_err("too long for a socket");
        assert!(matches!(error, Error::Pins { .. }), "{error:?}");
    }
}
