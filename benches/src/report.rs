//! What is told at the end: a table for people, `summary.json` for machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::figure::Figure;

/// Figures by identifier: the goal's, and the row behind a dot.
#[derive(Debug, Default)]
pub struct Report {
    figures: BTreeMap<String, Figure>,
    order: Vec<String>,
}

impl Report {
    /// Takes a figure in and shows it.
    pub fn add(&mut self, id: impl Into<String>, figure: Figure) {
        let id = id.into();
        println!("{}", line(&id, &figure));
        self.order.push(id.clone());
        self.figures.insert(id, figure);
    }

    /// All figures, in the order in which they were measured.
    pub fn table(&self) -> String {
        let lines = self.order.iter().filter_map(|id| Some(line(id, self.figures.get(id)?)));
        let head = format!("{:<30}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "median", "min", "p10", "max", "goal");
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// Goals that do not hold.
    pub fn missed(&self) -> Vec<&str> {
        let missed = |id: &&String| self.figures.get(*id).is_some_and(|figure| figure.holds == Some(false));
        self.order.iter().filter(missed).map(String::as_str).collect()
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let write = || -> Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            fs::write(path, serde_json::to_string_pretty(&self.figures)? + "\n")?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn line(id: &str, figure: &Figure) -> String {
    let Some(value) = figure.value else { return format!("{id:<30}{:>10}  {}", "–", figure.note) };
    let number = |value: Option<f64>| value.map_or(String::new(), shown);
    let verdict = match figure.holds {
        Some(true) => "holds",
        Some(false) => "MISSED",
        None => "",
    };
    let mut line = format!(
        "{id:<30}{:>10}{:>10}{:>10}{:>10}{:>10}  {:<7} {}",
        shown(value),
        number(figure.min),
        number(figure.p10),
        number(figure.max),
        number(figure.goal),
        verdict,
        figure.unit,
    );
    if !figure.note.is_empty() {
        line += &format!("; {}", figure.note);
    }
    line.trim_end().to_owned()
}

/// Three digits that matter, whatever the size.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Goal;

    #[test]
    fn a_missed_goal_is_named_and_an_absent_row_says_why() {
        let mut report = Report::default();
        report.add("P1.udp", Figure::of(&[1.4], "× array floor", Goal::AtMost(1.25)));
        report.add("P1.quic", Figure::absent("× array floor", "not there yet"));
        assert_eq!(report.missed(), ["P1.udp"]);
        assert!(report.table().contains("MISSED") && report.table().contains("not there yet"));
    }
}
