//! The `weir` binary: one program for control, nodes and the people who look after them.
//!
//! What this is: the command line and the log, nothing else; each subcommand stands in its own file under
//! `commands`. What it must not do: decide anything about a packet or a device.

mod admin_client;
mod capture;
mod commands;
mod config;
mod daemon;
mod doctor;
mod load;
mod local_client;
mod log;
mod replay;
mod socket_client;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{alarm, audit, check, control, device, inspect, node, policy, subscriber, up};

/// Packet-path admission for machine traffic in operator networks.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true)]
struct Weir {
    /// How the log is written, to standard error; RUST_LOG chooses what is logged.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
    #[command(subcommand)]
    command: Command,
}

/// A line for each subcommand, in the order of the help text.
#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Control(control::Control),
    Node(node::Node),
    Device(device::Device),
    Policy(policy::Policy),
    Subscriber(subscriber::Subscriber),
    Alarm(alarm::Alarm),
    Capture(commands::capture::Capture),
    Audit(audit::Audit),
    Check(check::Check),
    Doctor(commands::doctor::Doctor),
    Inspect(inspect::Inspect),
    Load(commands::load::Load),
    Replay(commands::replay::Replay),
    Reasons(commands::reasons::Reasons),
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up(up) => up.run(),
            Self::Control(control) => control.run(),
            Self::Node(node) => node.run(),
            Self::Device(device) => ask(device.run()),
            Self::Policy(policy) => ask(policy.run()),
            Self::Subscriber(subscriber) => ask(subscriber.run()),
            Self::Alarm(alarm) => ask(alarm.run()),
            Self::Capture(capture) => ask(capture.run()),
            Self::Audit(audit) => ask(audit.run()),
            Self::Check(check) => check.run(),
            Self::Doctor(doctor) => doctor.run(),
            Self::Inspect(inspect) => inspect.run(),
            Self::Load(load) => load.run(),
            Self::Replay(replay) => replay.run(),
            Self::Reasons(reasons) => reasons.run(),
        }
    }
}

/// Runs a command that asks control: one question, one thread.
fn ask(question: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(question).map(|()| ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let weir = Weir::parse();
    match log::start(weir.log_format).and_then(|()| weir.command.run()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: most errors of weir's crates name their cause themselves.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// Whoever read our output has read enough (`weir … | head`): no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_an_error_names_itself_is_said_once() {
        let error = anyhow::anyhow!("port taken").context("cannot listen: port taken; is it another weir?");
        assert_eq!(
            in_words(&error.context("control ended")),
            "control ended: cannot listen: port taken; is it another weir?"
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Weir::command().debug_assert();
    }
}
