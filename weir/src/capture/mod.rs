//! `weir capture`: judged packets of a running node, as a pcapng.
//!
//! In the order in which a packet meets them: [`options`] says which packets the node is asked for, [`client`] hears
//! them on the node's socket, [`comment`] says in words what was decided about each, [`pcapng`] writes them; [`run`]
//! joins these and ends them. What this must not do: judge, or write a device's identifier that nobody asked for
//! (R-X7). Read first: `agent/src/capture.rs`, the other end.

mod client;
mod comment;
mod options;
mod pcapng;
mod run;

pub use options::Options;
pub use run::capture;
