//! The node agent: alarms and counts up, cache updates down.
//!
//! In the order of a packet's consequences: the kernel raises an alarm ([`alarms`]), the agent sends it up
//! (`stream`) with the device's counts ([`counts`]); the answer comes down and is compiled into a profile
//! ([`profile`], [`profiles`]) and written into the device's entry by one compare-and-swap ([`entry`]); the
//! held frame is injected. [`core::Core`] joins these without I/O; [`mod@run`] puts sockets, timers and the
//! loaded program around it.
//!
//! The agent decides about no device. Without control it goes on enforcing what the entries say, and what
//! becomes of unanswered alarms is configured (`on_outage`).

pub mod alarms;
pub mod config;
pub mod core;
pub mod counts;
pub mod devices;
pub mod entry;
mod error;
mod kernel;
mod metrics;
pub mod profile;
pub mod profiles;
pub mod run;
mod stream;
pub mod time;
mod translate;

pub use config::Config;
pub use error::Error;
pub use run::run;
