//! What control must not forget: subscribers, policies, decisions and entries, in one file.
//!
//! What this is: the only place in weir that knows a database (redb, embedded). What it must not do: decide
//! anything, or let a database's type out. Calls wait for the disk: asynchronous callers make them on a thread of
//! their own. Read first: architecture decision 11, R-D9, R-D10, R-D12.
//!
//! `open` opens the file and knows its layout, `subscription` is what HSS and PCRF know, `decision` what service
//! control has decided, `audit` what operators did past it, `record` and `policy_record` how all of it looks on disk.

mod audit;
mod decision;
mod error;
mod open;
mod policy_record;
mod record;
mod subscription;

pub use audit::{AuditLine, AuditWho};
pub use error::Error;
pub use open::{SCHEMA, Store};
pub use subscription::Subscriber;
