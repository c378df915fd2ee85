//! `cargo xtask docs`: the documents that are made from the source, so that a fact stands in one place.
//!
//! Only docs/reasons.md so far. A test fails while the file is not what would be made now.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weir_dataplane_common::reason::Reason;

use crate::process::{Workspace, say};

const INTRODUCTION: &str = "\
<!-- Made by `cargo xtask docs` from dataplane-common/src/reason.rs; change it there. -->

# Why a packet was passed or dropped

Every packet that weir judges has one reason, and the verdict follows from it. The list is append-only: a number,
once given, keeps its meaning for ever. The same names stand

- in the metric `weir_packets_total{reason=\"…\", verdict=\"…\"}`, which counts every packet once;
- in a device's `last_rejection` (`weir device show`, the admin API's devices and alarms);
- in `weir capture --reason NAME` and in the packets' comments of a capture file;
- in the output of `weir replay` and `weir inspect`, and in their JSON.

`weir reasons` prints this list, `weir reasons --json` for programs. What happens where a table is full is told in
[full-tables.md](full-tables.md).

| number | name | verdict | meaning | what to do |
|---:|---|---|---|---|
";

/// Runs the command.
///
/// # Errors
/// The file cannot be written.
pub fn run(workspace: &Workspace) -> Result<()> {
    let path = path(workspace.root());
    let directory = path.parent().context("a file has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(&path, reasons()).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("→ wrote {}", path.display()));
    Ok(())
}

fn path(root: &Path) -> PathBuf {
    root.join("docs/reasons.md")
}

fn reasons() -> String {
    let mut text = INTRODUCTION.to_owned();
    for reason in Reason::ALL {
        let (number, name, verdict) = (*reason as u8, reason.name(), reason.verdict().name());
        let row =
            format!("| {number} | `{name}` | {verdict} | {} | {} |", reason.sentence(), reason.remedy());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{row}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_reasons_is_what_the_source_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
        let written = fs::read_to_string(path(root)).unwrap_or_default();
        assert!(written == reasons(), "docs/reasons.md is out of date: run `cargo xtask docs`");
    }

    #[test]
    fn every_row_has_five_cells() {
        for line in reasons().lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
    }
}
