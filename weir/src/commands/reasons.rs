//! `weir reasons`: why packets are passed or dropped, and what to do about it.
//!
//! What this is: the list that the packet path, the metrics and the documents share, for people and programs. What
//! it must not do: ask a node; the list is this binary's own.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use serde::Serialize;
use weir_dataplane_common::reason::Reason;

use crate::table::Table;

/// List the reasons for which packets are passed or dropped, and what can be done about each.
#[derive(Debug, clap::Args)]
pub struct Reasons {
    /// Only these.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    names: Vec<String>,
    /// Print a JSON array, and nothing else.
    #[arg(long)]
    json: bool,
}

/// A reason as programs read it.
#[derive(Serialize)]
struct Row {
    number: u8,
    name: &'static str,
    verdict: &'static str,
    sentence: &'static str,
    remedy: &'static str,
}

fn names() -> Vec<&'static str> {
    Reason::ALL.iter().map(|reason| reason.name()).collect()
}

impl Reasons {
    /// Prints the list.
    ///
    /// # Errors
    /// Standard output could not be written to.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &self.rows())?;
            writeln!(out)?;
        } else {
            write!(out, "{}", table(&self.rows()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn rows(&self) -> Vec<Row> {
        let wanted =
            |reason: &&Reason| self.names.is_empty() || self.names.iter().any(|it| it == reason.name());
        Reason::ALL.iter().filter(wanted).map(row).collect()
    }
}

fn row(reason: &Reason) -> Row {
    Row {
        number: *reason as u8,
        name: reason.name(),
        verdict: reason.verdict().name(),
        sentence: reason.sentence(),
        remedy: reason.remedy(),
    }
}

fn table(rows: &[Row]) -> Table<5> {
    let mut table = Table::new(["number", "name", "verdict", "meaning", "what to do"]);
    for Row { number, name, verdict, sentence, remedy } in rows {
        let words = [*name, *verdict, *sentence, *remedy].map(str::to_owned);
        let [name, verdict, sentence, remedy] = words;
        table.row([number.to_string(), name, verdict, sentence, remedy]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(names: &[&str]) -> Reasons {
        Reasons { names: names.iter().map(|name| (*name).to_owned()).collect(), json: false }
    }

    #[test]
    fn every_reason_is_listed_with_what_to_do() {
        let rows = reasons(&[]).rows();
        assert_eq!(rows.len(), Reason::ALL.len());
        let text = table(&rows).to_string();
        assert_eq!(text.lines().count(), rows.len() + 1);
        assert!(Reason::ALL.iter().all(|reason| text.contains(reason.remedy())));
    }

    #[test]
    fn some_can_be_asked_for_by_name() {
        let rows = reasons(&["held", "strangers-full"]).rows();
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [19, 29]);
    }

    #[test]
    fn programs_get_numbers_and_names() {
        let json = serde_json::to_value(reasons(&["throttled"]).rows()).expect("plain values");
        assert_eq!((&json[0]["number"], &json[0]["verdict"]), (&21.into(), &"drop".into()));
    }
}
