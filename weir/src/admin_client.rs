//! Where control's admin API is, as every command that asks it is told.

use std::path::PathBuf;

pub use weir_socket::encoded as segment;

use crate::socket_client::{Party, SocketClient};

/// Where control's admin socket is unless configured.
const DEFAULT_SOCKET: &str = "/run/weir/admin.sock";
/// Who listens there.
pub const CONTROL: Party = Party { name: "control", key: "control.admin_socket", option: "--socket" };

/// What every command that asks control takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// Control's admin socket.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON as control says it, for programs.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Access {
    /// The client of that socket.
    pub fn client(&self) -> SocketClient {
        SocketClient::new(CONTROL, &self.socket)
    }
}
