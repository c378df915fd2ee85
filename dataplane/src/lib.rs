//! The user half of the data plane: everything between the shared law and the agent.
//!
//! It loads the XDP program ([`gate`]), maps its entries as memory ([`entries`]), knows which address is
//! which entry ([`layout`]), reads alarms ([`ring`]), and runs a private copy of the program over captures
//! ([`replay`]). For load and measurement there are packets ([`traffic`]), a generator ([`generator`])
//! and timed runs ([`measure`]). It decides nothing about devices: verdicts are the law's, updates are the agent's.
//!
//! Needs Linux 5.18, `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`, and nothing of the kind to compile.

mod answers;
pub mod capture;
pub mod clock;
pub mod entries;
mod error;
pub mod gate;
pub mod generator;
pub mod layout;
pub mod measure;
pub mod netlink;
mod object;
pub mod pins;
pub mod raw;
pub mod replay;
pub mod ring;
pub mod running;
pub mod tables;
pub mod traffic;

pub use error::Error;
pub use gate::{Gate, Mode};
pub use layout::Layout;
pub use pins::{Found, Pins};
