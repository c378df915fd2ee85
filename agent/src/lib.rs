//! The node agent: alarms and counts up, cache updates down.
//!
//! In the order of a packet's consequences: the kernel raises an alarm ([`alarms`]), the agent sends it up
//! (`stream`) with the device's counts ([`counts`]); the answer comes down and is compiled into a profile
//! ([`profile`], [`profiles`]) and written into the device's entry by one compare-and-swap ([`entry`]); the
//! held frame is injected. What was accepted is kept on disk ([`known_good`]) for the next start. [`core::Core`] joins
//! these without I/O; `start` takes over what an earlier agent left, and [`mod@run`] puts sockets, timers and the
//! loaded program around it.
//!
//! The agent decides about no device. Without control it goes on enforcing what the entries say, and what
//! becomes of unanswered alarms is configured (`on_outage`). An operator on this machine may suspend the law for a
//! while ([`local`], [`glass`]); the audit of that waits on disk for control ([`audit`]).

pub mod alarms;
pub mod audit;
pub mod capture;
pub mod config;
pub mod core;
pub mod counts;
pub mod devices;
pub mod entry;
mod error;
pub mod glass;
mod interfaces;
mod kernel;
pub mod known_good;
mod ledger;
pub mod local;
mod metrics;
pub mod profile;
pub mod profiles;
pub mod run;
mod shadows;
mod start;
pub mod strangers;
mod stream;
pub mod tables;
pub mod time;
mod translate;

pub use config::Config;
pub use error::Error;
pub use run::run;
