//! `weir replay` and `weir inspect`: what weir would have said to a capture (R-X5).
//!
//! In the order in which a packet meets them: [`capture`] reads it ([`block`] the blocks of pcapng),
//! [`clock`] makes its time fit for an entry, [`world`] knows whose it is (and [`policies`] what its
//! device may do), [`judge`] judges it, in user space or by a private copy of the loaded program, [`line`](mod@line) says
//! what was decided, [`tally`] what it all came to, and [`printer`] writes both, in [`columns`] for people.
//! [`run`] is the loop. What this must not do: judge by rules of its own, or ask service control: an alarm
//! that a packet raises stays active.

mod block;
mod capture;
mod clock;
mod columns;
mod judge;
mod line;
mod policies;
mod printer;
mod run;
mod tally;
mod world;

#[cfg(test)]
pub use capture::{Capture, Frame};
pub use run::{HELP, Options, inspect, replay};
