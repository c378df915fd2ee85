//! Where lines go, and in which form.
//!
//! What this is: JSON for programs, a table and a summary for people. What it must not do: put anything but
//! packets among a program's lines; notes then go where people look.

use std::io::{self, Write};

use super::columns::Columns;
use super::line::{HEADING, Line};
use super::tally::Summary;

/// Prints packets, then what they came to.
pub struct Printer<W: Write> {
    out: W,
    /// `None`: JSON.
    columns: Option<Columns<{ HEADING.len() }>>,
}

impl<W: Write> Printer<W> {
    /// To `out`.
    pub fn new(json: bool, out: W) -> Self {
        Self { out, columns: (!json).then(|| Columns::new(HEADING)) }
    }

    /// Prints a packet.
    ///
    /// # Errors
    /// `out` could not be written to.
    pub fn line(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        match &mut self.columns {
            Some(columns) => columns.row(&mut self.out, line.cells())?,
            None => {
                serde_json::to_writer(&mut self.out, line).map_err(io::Error::from)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Prints what is left: the summary for people, and the notes to standard error.
    ///
    /// # Errors
    /// `out` could not be written to.
    pub fn close(mut self, summary: &Summary<'_>, notes: &[String]) -> anyhow::Result<()> {
        if let Some(columns) = &mut self.columns {
            columns.flush(&mut self.out)?;
            write!(self.out, "\n{summary}")?;
        }
        self.out.flush()?;
        for note in notes {
            eprintln!("note: {note}");
        }
        Ok(())
    }
}
