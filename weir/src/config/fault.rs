//! What is wrong in a configuration file, and where.
//!
//! What this is: the findings, in the order of the file, as an editor or a person can follow them. What it
//! must not do: stop at the first one; an operator wants to mend a file in one go.

use std::cell::RefCell;
use std::fmt::{self, Display};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, dotted from the top of the file, e.g. `node.alarm.window`.
    pub key: String,
    /// What is wrong; what to do about it.
    pub reason: String,
}

impl Display for Fault {
    /// `LINE:COLUMN: KEY: what is wrong; what to do`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.line, self.column, self.key, self.reason)
    }
}

/// Where in the text something was said, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The dotted key.
    pub key: String,
    /// Byte offset in the text.
    pub offset: usize,
}

/// Collects faults while a text is read. Shared by every reader of that text, hence the cell.
#[derive(Debug)]
pub struct Faults<'t> {
    lines: Lines<'t>,
    found: RefCell<Vec<Fault>>,
}

impl<'t> Faults<'t> {
    /// None yet, for `text`.
    pub fn new(text: &'t str) -> Self {
        Self { lines: Lines::new(text.as_bytes()), found: RefCell::default() }
    }

    /// Notes that something at `place` is wrong, and what to do about it.
    pub fn add(&self, place: &Place, what: impl Display, remedy: impl Display) {
        self.add_reason(place, format!("{what}; {remedy}"));
    }

    /// Notes that something at `place` is wrong, for a reason that says both.
    pub fn add_reason(&self, place: &Place, reason: String) {
        let (line, column) = self.lines.position(place.offset);
        self.found.borrow_mut().push(Fault { line, column, key: place.key.clone(), reason });
    }

    /// The line of `place`, for a fault elsewhere that refers to it.
    pub fn line_of(&self, place: &Place) -> usize {
        self.lines.position(place.offset).0
    }

    /// True if nothing wrong was found so far.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All of them, in the order of the file.
    pub fn into_sorted(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        found.dedup();
        found
    }
}

/// Where the lines of a text begin. The text need not be UTF-8.
#[derive(Debug)]
pub struct Lines<'t> {
    text: &'t [u8],
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Finds the lines of `text`.
    pub fn new(text: &'t [u8]) -> Self {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        // Continuation bytes of UTF-8 are part of the character before them.
        let characters = self.text[start..offset].iter().filter(|byte| **byte & 0xc0 != 0x80);
        (line, 1 + characters.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let lines = Lines::new("ab\nüc = 1\n".as_bytes());
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(2), (1, 3));
        assert_eq!(lines.position(3), (2, 1));
        assert_eq!(lines.position(5), (2, 2), "ü is one character of two bytes");
        assert_eq!(lines.position(999), (3, 1), "past the end is the end");
    }

    #[test]
    fn faults_come_out_in_the_order_of_the_file() {
        let faults = Faults::new("a\nb\nc\n");
        faults.add(&Place { key: "c".into(), offset: 4 }, "later", "do");
        faults.add(&Place { key: "a".into(), offset: 0 }, "sooner", "do");
        let lines: Vec<_> = faults.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["1:1: a: sooner; do", "3:1: c: later; do"]);
    }
}
