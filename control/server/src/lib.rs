//! The control server: the only place in control with sockets, clocks and randomness.
//!
//! What this is: the house around `weir-service-control`, which decides, and `weir-store`, which remembers.
//! What it must not do: decide about an access, or know a table of the database. In the order in which an
//! alarm meets them:
//!
//! | file | what it does |
//! |---|---|
//! | `stream` | the nodes' gRPC streams: Hello, alarms, counts and results come in |
//! | `translate` | between the wire's messages and service control's values |
//! | `brain` | the one task that owns service control and carries out what it wants |
//! | `peers` | HSS and PCRF: asked in tasks of their own, with a time-out |
//! | `directory`, `outbox` | the nodes, what waits to be sent to them, what became of it |
//! | `admin`, `api` | what operators may see and change; the shapes of it |
//! | `metrics` | what is counted |
//! | `server`, `config`, `clock` | starting, and ending |
//!
//! Invariant: a decision is durable before any node is sent it. Invariant: the brain waits for nobody but the
//! store. Invariant: device identifiers appear on the admin socket and the nodes' streams, nowhere else (R-X7).

pub mod api;

mod admin;
mod brain;
mod clock;
mod config;
mod directory;
mod error;
mod metrics;
mod outbox;
mod peers;
mod server;
mod stream;
mod subscription;
mod translate;

pub use config::Config;
pub use error::Error;
pub use peers::{Answer, Hss, Pcrf, Peers};
pub use server::{Server, serve};
