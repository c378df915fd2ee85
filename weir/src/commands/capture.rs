//! `weir capture`: judged packets of the node that runs on this machine, as a pcapng.
//!
//! What this is: the command line. What it must not do: capture; that is `crate::capture`.

use crate::capture;

/// Write packets that the node on this machine judges to a pcapng, each with its verdict and reason as a comment.
///
/// The node goes on judging: no packet is held up or passes unjudged. There is one capture at a time; it ends with
/// Ctrl-C, after --count packets or --for a time. What is lost is counted and said at the end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir capture --write dropped.pcapng\n  weir capture --reason throttled --for 1m | tshark -r - -T fields -e frame.comment"
)]
pub struct Capture {
    #[command(flatten)]
    options: capture::Options,
}

impl Capture {
    /// Captures until the end.
    ///
    /// # Errors
    /// As [`capture::capture`].
    pub async fn run(self) -> anyhow::Result<()> {
        capture::capture(&self.options).await
    }
}
