//! Service control (seed D): from an alarm to a decision that holds on every node.
//!
//! What this is: values in, values out. `ServiceControl::handle(input, now)` takes what a node, the HSS, the
//! PCRF or an operator said and returns what is to be asked, sent or told. What it must not do: open a
//! socket, read a clock, draw a random number, know a database. Waiting is an output (a query) and later an
//! input (its answer), never a blocked task. Read first: requirements R-D7 to R-D16.
//!
//! In the order in which an alarm meets them: `types` and `policy` (the contract with the server), `control` (the
//! door), `lifecycle` (the states), `decide` (an event's effect on a device) with `judge`, `outlook` and `gauge` (what
//! the policies say; pure functions), `alarm`, `device`, `counts`, `sub_windows`, `history` and `nodes` (what is
//! remembered), `publish` (who is told), `snapshot` (what people see). Where a million devices are kept: `register`, in
//! at most 256 bytes each while they are idle: `idle`, with `packed_id`, `packing`, `policies` and `shared`.

mod alarm;
mod config;
mod control;
mod counts;
mod decide;
mod device;
mod gauge;
mod history;
mod idle;
mod judge;
mod lifecycle;
mod nodes;
mod outlook;
mod packed_id;
mod packing;
mod policies;
mod policy;
mod publish;
mod register;
mod shared;
mod snapshot;
mod sub_windows;
mod types;
mod wording;

pub use config::Config;
pub use control::ServiceControl;
pub use policy::*;
pub use snapshot::{AlarmProgress, AlarmSnapshot, CountsSnapshot, DeviceSnapshot, RaisedAlarm};
pub use types::*;
