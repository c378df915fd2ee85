//! What `weir node bypass` and `weir device exempt` share: for how long and why, asked of the node itself (R-X8).
//!
//! What it must not do: ask control. It works while control is away, and control learns of it by the audit.

use std::time::Duration;

use anyhow::{Context, bail};
use weir_agent::local::api::{Done, Suspend};
use weir_server::api::duration;

use super::show::{instant, print};
use crate::socket_client::SocketClient;

/// For how long, and why; or no longer.
#[derive(Debug, clap::Args)]
pub struct Terms {
    /// For how long, at most 24h, e.g. "10m". Required: it ends by itself, whatever happens to this machine's agent.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    length: Option<Duration>,
    /// Why, for the audit. Required.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End it now.
    #[arg(long, conflicts_with_all = ["length", "reason"])]
    end: bool,
}

impl Terms {
    /// Asks the node and says what came of it; `what` it is about begins the sentence.
    ///
    /// # Errors
    /// Length or reason is missing; the node cannot be reached, or says why not.
    pub async fn ask(&self, node: &SocketClient, path: &str, what: &str, json: bool) -> anyhow::Result<()> {
        if self.end {
            let done: Done = node.end(path).await?;
            return print(json, &done, |done| format!("{what} is judged again; {}\n", audit(done)));
        }
        let done: Done = node.put(path, &self.suspend()?).await?;
        print(json, &done, |done| {
            format!("every packet of {what} passes until {}; {}\n", instant(done.until_ms), audit(done))
        })
    }

    fn suspend(&self) -> anyhow::Result<Suspend> {
        let length = self.length.context(
            "give --for DURATION, at most 24h: whatever is suspended comes back by itself, so nobody has to remember it",
        )?;
        let Some(reason) = self.reason.clone() else {
            bail!("give --reason TEXT: whoever reads the audit must learn why the law was suspended");
        };
        if length < Duration::from_secs(1) {
            bail!("--for is counted in seconds; give at least \"1s\"");
        }
        Ok(Suspend { for_seconds: length.as_secs(), reason })
    }
}

fn audit(done: &Done) -> String {
    if done.on_disk {
        return format!("audit line {}", done.audit_line);
    }
    format!(
        "audit line {} is NOT on disk and is lost if the agent ends before control has it: see to the disk, \
         and write down what you did",
        done.audit_line
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        terms: Terms,
    }

    fn refused(arguments: &[&str]) -> String {
        let all = ["alone"].iter().chain(arguments);
        Alone::parse_from(all).terms.suspend().unwrap_err().to_string()
    }

    #[test]
    fn without_a_length_or_a_reason_it_is_refused_with_the_text_why() {
        assert!(refused(&["--reason", "recall"]).contains("comes back by itself"));
        assert!(refused(&["--for", "10m"]).contains("must learn why"));
        assert!(refused(&["--for", "500ms", "--reason", "x"]).contains("at least"));
        let asked =
            Alone::parse_from(["alone", "--for", "10m", "--reason", "recall"]).terms.suspend().unwrap();
        assert_eq!((asked.for_seconds, asked.reason.as_str()), (600, "recall"));
    }

    #[test]
    fn an_end_takes_neither() {
        assert!(Alone::try_parse_from(["alone", "--end", "--for", "1h"]).is_err());
        assert!(Alone::parse_from(["alone", "--end"]).terms.end);
    }
}
