//! What a role needs to be spoken to on its own machine: HTTP and JSON on a Unix socket.
//!
//! What this is: the socket's file, whose mode is the only guard; who is calling, as the kernel says; and the
//! one shape in which an answer says no. Control's admin API and a node's local API stand on it, so that they
//! look alike to whoever operates them. What it must not do: know a path, or listen on TCP, where there is no
//! authentication yet.

mod caller;
mod encoding;
mod error;
mod file;
mod problem;
mod refused;

pub use caller::Caller;
pub use encoding::encoded;
pub use error::Error;
pub use file::{SocketFile, bind};
pub use problem::Problem;
pub use refused::{Refused, read};
