//! What every weir role shows of itself: `/metrics`, `/healthz` and `/readyz`, read-only, on loopback.
//!
//! What this is: a small HTTP listener that the control server and the node agent both run, so that they
//! look alike to whoever watches them. What it must not do: accept an address outside the machine (there
//! is no authentication here), change anything, or know what its owner does. The owner brings a
//! `prometheus::Registry` and a [`Readiness`]. Identifiers of devices never become label values (R-X7).

mod error;
mod listener;
mod readiness;
mod routes;

pub use error::Error;
pub use listener::{Listener, require_loopback};
pub use readiness::{Condition, Readiness, Remark};
pub use routes::routes;
