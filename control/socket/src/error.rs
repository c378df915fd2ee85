//! Why a socket could not be listened on.

use std::{io, path::PathBuf};

/// Everything that can go wrong with a socket's file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else answers on the socket.
    #[error(
        "socket {0} is in use: another weir of the same role is running; stop it, or give this one other sockets"
    )]
    InUse(PathBuf),
    /// The path is taken by something that is no socket; it is left alone.
    #[error("{0} exists and is not a socket; remove it or choose another path")]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot listen on socket {path}: {source}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
