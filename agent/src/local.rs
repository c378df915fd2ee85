//! The node's local socket: what an operator on this machine can see and do without control (R-X8).
//!
//! What this is: HTTP and JSON on a Unix socket that owner and group may open. A request becomes a
//! [`LocalRequest`] in the channel of the agent's one task, which answers it, so nothing here shares anything
//! with the core. What it must not do: change a policy or a limit; that is control's. In the order of a request:
//!
//! | file | what it does |
//! |---|---|
//! | `api` | the shapes |
//! | `routes` | paths to requests, answers to responses |
//! | `request` | what reaches the agent's task |
//! | `desk` | the agent's side: break-glass, its audit, its end |
//!
//! | path under `/v1` | methods |
//! |---|---|
//! | `status` | GET |
//! | `bypass` | PUT, DELETE |
//! | `devices/{device}/exemption` | PUT, DELETE |
//! | `audit` | GET: lines that control does not have yet |
//! | `capture` | GET: packets as they are judged, see [`crate::capture`] |

pub mod api;
mod desk;
mod request;
mod routes;

pub use desk::{Desk, Surroundings};
pub use request::{Answer, LocalRequest, Refusal, requests};
pub use routes::{LocalSocket, routes};
