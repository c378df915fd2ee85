//! The subcommands of `weir`, one file each.
//!
//! Each file holds the command's arguments as a `clap` struct and a `run` that does it and says how the
//! process ends. What a command must not do: parse configuration by itself; that is `crate::config`.

pub mod alarm;
pub mod audit;
pub mod capture;
pub mod check;
pub mod control;
pub mod device;
pub mod doctor;
pub mod inspect;
pub mod load;
pub mod node;
pub mod policy;
pub mod reasons;
pub mod replay;
mod show;
pub mod subscriber;
mod suspend;
pub mod up;
