//! `weir doctor`: is this machine fit to judge packets, and what is to be done if not?
//!
//! What this is: in the order of work, [`intent`] says what the machine is to do, [`machine`] gathers facts
//! (with `weir_dataplane::netlink` and [`ethtool`] for what only the kernel knows of an interface), [`findings`] judges the
//! facts by the intent, [`print`](mod@print) shows what was found. What it must not do: change anything on the machine, or
//! attach a program to try it out.
//!
//! Facts and findings are apart so that every rule can be tested on machines nobody has.

mod ethtool;
pub mod findings;
pub mod intent;
pub mod machine;
pub mod print;

pub use findings::{Severity, examine};
pub use intent::Intent;
pub use machine::gather;
