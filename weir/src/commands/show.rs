//! How the commands that ask control print: JSON for programs, or words and tables for people.
//!
//! What this is: the few phrases that several of them share. What it must not do: ask control anything.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use weir_server::api::{Status, Until};

/// Prints `value` as JSON, or what `words` makes of it.
///
/// # Errors
/// Standard output could not be written to.
pub fn print<T: Serialize, W: Display>(
    json: bool,
    value: &T,
    words: impl FnOnce(&T) -> W,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", words(value))?;
    }
    Ok(())
}

/// Says what has been done; programs read the exit code.
///
/// # Errors
/// Standard output could not be written to.
pub fn done(json: bool, what: &str) -> anyhow::Result<()> {
    if !json {
        writeln!(io::stdout().lock(), "{what}")?;
    }
    Ok(())
}

/// An instant in UTC, to the second.
pub fn instant(ms: i64) -> String {
    match Timestamp::from_second(ms.div_euclid(1000)) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// Numbers, separated by commas.
pub fn numbers(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A device's standing instruction.
pub fn status(status: &Status) -> String {
    let throttled = status.throttled_until_ms.map(|at| format!("throttled until {}", instant(at)));
    let rejected = status.rejected_until.map(|until| match until {
        Until::AtMs(at) => format!("rejected until {}", instant(at)),
        Until::FurtherNotice => "rejected until further notice".to_owned(),
    });
    let both: Vec<String> = rejected.into_iter().chain(throttled).collect();
    if both.is_empty() { "no action".to_owned() } else { both.join(", ") }
}

/// `yes` or `no`.
pub fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_said_in_words() {
        assert_eq!(status(&Status::default()), "no action");
        let throttled = Status { throttled_until_ms: Some(1_500), ..Status::default() };
        assert_eq!(status(&throttled), "throttled until 1970-01-01T00:00:01Z");
        let rejected = Status { rejected_until: Some(Until::FurtherNotice), ..Status::default() };
        assert_eq!(status(&rejected), "rejected until further notice");
    }
}
