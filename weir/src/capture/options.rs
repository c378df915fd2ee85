//! What the command line can say about a capture, and the request that follows from it.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use weir_agent::capture::{HIGHEST_RATE, OnSide, Request, Take};
use weir_dataplane_common::capture::LONGEST_SNAP;
use weir_dataplane_common::reason::Reason;
use weir_server::api::duration;

use crate::local_client::DEFAULT_SOCKET;

/// Only who captured may read it: it holds what devices sent.
const MODE: u32 = 0o600;

/// The capture.
#[derive(clap::Args)]
pub struct Options {
    /// The node's local socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Write to this file; "-" is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    write: PathBuf,
    /// Capture packets that were dropped; so it is unless something else is said.
    #[arg(long, group = "verdict")]
    dropped: bool,
    /// Capture packets that were passed.
    #[arg(long, group = "verdict")]
    passed: bool,
    /// Capture all packets.
    #[arg(long, group = "verdict")]
    all: bool,
    /// Capture packets that were passed or dropped for this reason; may be repeated.
    #[arg(long = "reason", value_name = "NAME", group = "verdict", value_parser = PossibleValuesParser::new(names()))]
    reasons: Vec<String>,
    /// Capture only packets from or to this device.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Capture only what came in on this side.
    #[arg(long, value_parser = PossibleValuesParser::new(["access", "network"]))]
    side: Option<String>,
    /// Capture one packet in N, at random.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Keep at most so many bytes of each packet.
    #[arg(long, value_name = "BYTES", default_value_t = LONGEST_SNAP as u32, value_parser = clap::value_parser!(u32).range(1..=LONGEST_SNAP as i64))]
    pub snap: u32,
    /// Capture at most so many packets a second, on all CPUs together.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = rate)]
    pub rate: u32,
    /// End after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so long, for example 10s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    how_long: Option<Duration>,
    /// Name devices by their identifiers, which are personal data; otherwise by their entries.
    #[arg(long)]
    identifiers: bool,
}

impl std::fmt::Debug for Options {
    /// Without the device.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Options").field("write", &self.write).finish_non_exhaustive()
    }
}

impl Options {
    /// What the node is asked for.
    pub fn request(&self) -> Request {
        Request {
            take: match (self.passed, self.all) {
                (true, _) => Take::Passed,
                (_, true) => Take::All,
                _ => Take::Dropped,
            },
            reason: (!self.reasons.is_empty()).then(|| self.reasons.join(",")),
            device: self.device.clone(),
            side: self
                .side
                .as_deref()
                .map(|side| if side == "access" { OnSide::Access } else { OnSide::Network }),
            sample: self.sample,
            snap: self.snap,
            rate: self.rate,
            count: self.count,
            for_ms: self.how_long.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            identifiers: self.identifiers,
        }
    }

    /// Whether there is somewhere to write to.
    ///
    /// # Errors
    /// Standard output is a terminal.
    pub fn check_output(&self) -> anyhow::Result<()> {
        if self.is_to_stdout() && io::stdout().is_terminal() {
            bail!(
                "a capture is no text for a terminal: write it to a file (--write FILE), or send it on \
                 (weir capture | tshark -r -)"
            );
        }
        Ok(())
    }

    /// Opens what is written to. An existing file is overwritten.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn output(&self) -> anyhow::Result<Box<dyn Write>> {
        if self.is_to_stdout() {
            return Ok(Box::new(BufWriter::new(io::stdout())));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&self.write);
        let file = file.with_context(|| format!("{} cannot be written", self.write.display()))?;
        Ok(Box::new(BufWriter::new(file)))
    }

    fn is_to_stdout(&self) -> bool {
        self.write == Path::new("-")
    }
}

fn names() -> Vec<&'static str> {
    Reason::ALL.iter().map(|reason| reason.name()).collect()
}

/// "1000", or "1000/s" as it is spoken.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse().ok().filter(|rate| (1..=HIGHEST_RATE).contains(rate));
    rate.ok_or_else(|| format!("write 1 to {HIGHEST_RATE} packets a second"))
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|invalid| invalid.to_string())?;
    if time.is_zero() { Err("write at least \"1ms\"".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(arguments: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from([&["capture"], arguments].concat());
        line.map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn dropped_packets_of_everybody_are_asked_for_unless_something_is_said() {
        assert!(parsed(&[]).expect("plain").request() == Request::default());
        assert!(parsed(&["--dropped"]).expect("plain").request() == Request::default());
    }

    #[test]
    fn everything_said_is_asked_for() {
        let said = "--reason throttled --reason held --device 001010000000001 --side network --sample 10 --snap 96 \
                    --rate 50/s --count 7 --for 10s --identifiers";
        let arguments: Vec<&str> = said.split_whitespace().collect();
        let request = parsed(&arguments).expect("understood").request();
        let expected = Request {
            take: Take::Dropped,
            reason: Some("throttled,held".to_owned()),
            device: Some("001010000000001".to_owned()),
            side: Some(OnSide::Network),
            sample: 10,
            snap: 96,
            rate: 50,
            count: Some(7),
            for_ms: Some(10_000),
            identifiers: true,
        };
        assert!(request == expected);
    }

    #[test]
    fn what_does_not_go_together_or_does_not_exist_is_refused_with_the_choice() {
        for (line, words) in [
            ("--dropped --passed", "cannot be used with"),
            ("--all --reason held", "cannot be used with"),
            ("--reason eaten", "limit-exceeded"),
            ("--rate 0", "1 to 100000"),
            ("--for 0s", "at least"),
            ("--sample 0", "0"),
            ("--snap 5000", "4064"),
            ("--count 0", "0"),
        ] {
            let arguments: Vec<&str> = line.split_whitespace().collect();
            let error = parsed(&arguments).expect_err("refused");
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_file_of_what_devices_sent_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("capture.pcapng");
        let options = parsed(&["--write", path.to_str().expect("text")]).expect("plain");
        drop(options.output().expect("made"));
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }
}
