//! Where this machine's node listens, as the commands that work without control are told.

use std::path::Path;

use crate::socket_client::{Party, SocketClient};

/// Where a node's local socket is unless configured.
pub const DEFAULT_SOCKET: &str = "/run/weir/node.sock";

/// The client of the node at `socket`, which the command is told with `option`.
pub fn node(socket: &Path, option: &'static str) -> SocketClient {
    SocketClient::new(Party { name: "the node", key: "node.local_socket", option }, socket)
}
