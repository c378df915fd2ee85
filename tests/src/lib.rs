//! Worlds of network namespaces in which the real `weir` binary is tested and shown.
//!
//! ```text
//!  devices ──access0┤ node A ├network0── internet
//!     └─────access0┤ node B ├network0──────┘
//! ```
//!
//! Every box is a network namespace, every line a veth pair with both ends in namespaces made here. Frames
//! are built and read as raw bytes at the far ends; what is tested between them is a real process, a
//! real XDP program and the kernel's own forwarding.
//!
//! It must not leave anything behind (see [`remains`]), must not touch what another living process made, and
//! must not send a packet outside the namespaces it made. Linux and root only; tests that use it are
//! `#[ignore]`d and begin with [`story::tell`] or [`rights::require`]. Read `README.md`'s two commands first.

pub mod addresses;
pub mod admin;
pub mod cable;
pub mod deployment;
pub mod draw;
pub mod examples;
pub mod forecast;
pub mod gate_view;
pub mod http;
pub mod metrics;
pub mod mount;
pub mod names;
pub mod namespace;
pub mod packet;
pub mod port;
pub mod process;
pub mod remains;
pub mod rights;
mod spawner;
pub mod stage;
pub mod story;
pub mod world;
