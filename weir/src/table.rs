//! Tables for people: columns as wide as their widest cell, for the commands that list and show.
//!
//! What this is: text laid out, nothing more. What it must not do: cut a cell short or colour it; output is
//! searched and piped. Programs take `--json` instead.

use std::fmt::{self, Display, Formatter};

/// Space between columns.
const GAP: &str = "  ";

/// A heading and rows of the same number of cells. Displays as lines, each ended.
#[derive(Clone, Debug)]
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// No rows yet.
    pub fn new(heading: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heading.map(str::to_uppercase)] }
    }

    /// Adds a row below the others. An empty cell shows as `-`, so that columns can be counted.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
}

impl<const COLUMNS: usize> Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join(GAP).trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["node", "state"]);
        table.row(["pgw-1".into(), "synced".into()]);
        table.row(["a".into(), "gone".into()]);
        assert_eq!(table.to_string(), "NODE   STATE\npgw-1  synced\na      gone\n");
    }

    #[test]
    fn an_empty_cell_can_be_seen() {
        let mut table = Table::new(["a", "b", "c"]);
        table.row([String::new(), "é".into(), String::new()]);
        assert_eq!(table.to_string(), "A  B  C\n-  é  -\n");
    }
}
