//! The log: events of `tracing`, to standard error.
//!
//! What this is: plain text for people, or one JSON object a line for collectors. What it must not do: go
//! to standard output, which belongs to the commands' results, or take a device's identifier (R-X7).

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line of text, for people.
    Text,
    /// A JSON object in a line, for collectors.
    Json,
}

/// Starts the log, from `info` up unless `RUST_LOG` says otherwise.
///
/// # Errors
/// `RUST_LOG` cannot be understood.
pub fn start(format: Format) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG: write a level such as \"debug\", or \"weir_agent=debug,info\"")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let started = match format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log was started twice: {error}"))
}
