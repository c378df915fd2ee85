//! A capture from its first packet to its end, whoever ends it.

use std::io::Write;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use weir_agent::capture::{Losses, Message, Why};

use super::client::Heard;
use super::options::Options;
use super::pcapng::Pcapng;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As it was asked for, or by hand.
    Asked,
    /// The node has ended.
    Node,
    /// The node said nothing more.
    BrokenOff,
}

/// Captures until the end; then says on standard error what there was, and what there was not.
///
/// # Errors
/// Nothing can be written, the node cannot be reached or refuses, or it broke off: what came until then is written.
pub async fn capture(options: &Options) -> anyhow::Result<()> {
    options.check_output()?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut heard = Heard::ask(&options.socket, &options.request()).await?;
    let mut file = Pcapng::begin(options.output()?, options.snap)?;
    // Whoever reads a pipe sees that it has begun.
    file.flush()?;
    let ending = tokio::select! {
        ending = write_all(&mut heard, &mut file) => ending?,
        _ = interrupt.recv() => Ending::Asked,
        _ = terminate.recv() => Ending::Asked,
    };
    drop(heard);
    let (written, lost) = (file.written(), file.lost());
    file.end()?;
    eprintln!("{}", summary(written, lost, options.rate));
    match ending {
        Ending::Asked => Ok(()),
        Ending::Node => bail!("the node has ended, and the capture with it"),
        Ending::BrokenOff => bail!("the node broke off; its log says why"),
    }
}

async fn write_all(heard: &mut Heard, file: &mut Pcapng<impl Write>) -> anyhow::Result<Ending> {
    loop {
        while let Some(message) = heard.at_hand()? {
            match message {
                Message::Packet(packet) => file.packet(&packet)?,
                Message::Losses(losses) => file.lose(losses),
                Message::End { why, losses } => {
                    file.lose(losses);
                    return Ok(if why == Why::Node { Ending::Node } else { Ending::Asked });
                }
            }
        }
        file.flush()?;
        if !heard.more().await? {
            return Ok(Ending::BrokenOff);
        }
    }
}

fn summary(written: u64, lost: Losses, rate: u32) -> String {
    let Losses { ring_full, over_rate } = lost;
    format!(
        "{written} packets written; {ring_full} lost because they came faster than they were read, {over_rate} left \
         out above {rate} a second"
    )
}
