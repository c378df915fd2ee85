//! A table that is printed while it grows: captures are longer than memory.
//!
//! What this is: rows held back until there are enough to tell how wide columns are, then printed as they
//! come; a wider cell later widens its column from there on. What it must not do: cut a cell short.

use std::io::{self, Write};

/// Rows that tell how wide columns are.
const HELD_BACK: usize = 256;
/// Space between columns.
const GAP: &str = "  ";

/// Columns under a heading.
pub struct Columns<const N: usize> {
    widths: [usize; N],
    /// Until there are enough; afterwards empty.
    held: Vec<[String; N]>,
    flowing: bool,
}

impl<const N: usize> Columns<N> {
    /// With no rows yet.
    pub fn new(heading: [&str; N]) -> Self {
        let mut columns = Self { widths: [0; N], held: Vec::new(), flowing: false };
        columns.hold(heading.map(str::to_uppercase));
        columns
    }

    /// Adds a row. An empty cell shows as `-`.
    ///
    /// # Errors
    /// `out` could not be written to.
    pub fn row(&mut self, out: &mut impl Write, cells: [String; N]) -> io::Result<()> {
        self.hold(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
        if self.flowing || self.held.len() > HELD_BACK { self.flush(out) } else { Ok(()) }
    }

    /// Prints what was held back; later rows flow.
    ///
    /// # Errors
    /// `out` could not be written to.
    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.flowing = true;
        for row in self.held.drain(..) {
            let cells: Vec<_> =
                row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", cells.join(GAP).trim_end())?;
        }
        Ok(())
    }

    fn hold(&mut self, cells: [String; N]) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.held.push(cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: &[[&str; 2]]) -> String {
        let (mut columns, mut out) = (Columns::new(["n", "device"]), Vec::new());
        for row in rows {
            columns.row(&mut out, row.map(str::to_owned)).expect("a Vec takes any line");
        }
        columns.flush(&mut out).expect("a Vec takes any line");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(printed(&[["1", "a"], ["100", ""]]), "N    DEVICE\n1    a\n100  -\n");
    }

    #[test]
    fn a_heading_stands_also_over_nothing() {
        assert_eq!(printed(&[]), "N  DEVICE\n");
    }

    #[test]
    fn a_wider_cell_in_the_flow_widens_its_column_from_there_on() {
        let mut rows = vec![["1", "a"]; HELD_BACK];
        rows.extend([["22", "b"], ["3", "c"]]);
        let text = printed(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "N  DEVICE");
        assert_eq!(lines[HELD_BACK + 1..], ["22  b", "3   c"]);
    }
}
