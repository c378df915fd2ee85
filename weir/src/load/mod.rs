//! `weir load packets`: generated packets out of an interface, bounded in rate, number and time.
//!
//! What this is: two ways to send. `flood` lets the kernel generate frames by the million; `latency` sends each
//! frame from user space with the time in its payload and reads it on another interface. What it must not do: send
//! more or longer than it was told to, or anywhere but out of the interface it was given.

mod flood;
mod latency;
mod options;
mod pace;

pub use options::Options;

/// Sends, measures if asked to, and prints what was done.
///
/// # Errors
/// Rights that are missing, interfaces that do not exist, packets that cannot be made.
pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.receive {
        None => flood::run(options),
        Some(receiver) => latency::run(options, receiver),
    }
}
