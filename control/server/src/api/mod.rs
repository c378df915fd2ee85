//! What the admin API, the command line and the configuration file say: one shape each, one check each.
//!
//! What this is: serde shapes and the checks on them. JSON over the admin socket and TOML in `weir.toml` are
//! the same shapes, so that a policy written for one can be given to the other. What it must not do: decide
//! about an access, touch a socket or the store. Unknown fields are refused everywhere: a mistyped limit
//! must not become no limit. Read first: R-D2, R-D3, and `deploy/examples/weir.toml`.

mod audit;
pub mod duration;
mod invalid;
mod limits;
mod nodes;
mod policy;
mod policy_words;
mod rate;
mod shown;
mod subscriber;
mod views;

pub use audit::{AuditLine, AuditWho};
pub use invalid::Invalid;
pub use limits::{
    EXACT_PERMITTED, MAX_PERMITTED, MAX_POLICIES_PER_DEVICE, MAX_REQUESTS_PERMITTED, MAX_WINDOW, MIN_WINDOW,
    check_device_policies, check_limit, check_one_history, check_protocols, request_room_taken,
};
pub use nodes::{Node, NodeUpdates, Refusal};
pub use policy::{Action, Comparison, Counted, Kind, Limit, Policy, Scope, Throttle};
pub use rate::{DEFAULT_BURST, Direction, Rate};
pub use subscriber::{Subscriber, check_device_id};
pub use views::{
    Alarm, AlarmId, AlarmState, Condition, Counts, Decision, Device, DeviceSummary, Fate, RaisedAlarm,
    Status, Until,
};
pub use weir_socket::Problem;
