//! Lines that wait for control, in memory and, wherever the disk takes them, in a file.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use weir_proto::v1::{self, from_node::Message as Up};

use super::{Deed, Line, file};

/// Lines in one message to control: some 100 kB.
const LINES_PER_MESSAGE: usize = 256;

/// Where a line is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It survives the agent and the machine.
    OnDisk,
    /// The disk does not take it: it is lost if the agent ends before control has it.
    InMemory,
}

/// The queue. What it does with the disk, it waits for: an operator's act is rare, and its line comes first.
#[derive(Debug)]
pub struct Queue {
    path: PathBuf,
    /// Open where the file holds all lines.
    file: Option<File>,
    lines: Vec<Line>,
    last: u64,
    /// Lines up to this one are with control.
    acknowledged: u64,
}

impl Queue {
    /// The queue as the last agent left it. What cannot be read is said in the log and goes.
    pub fn open(path: &Path) -> Self {
        let found = file::read(path).unwrap_or_else(|error| {
            tracing::error!("the audit queue {} cannot be read, it begins anew: {error}", path.display());
            file::Found { lines: Vec::new(), damaged: true }
        });
        let last = found.lines.iter().map(|line| line.sequence).max().unwrap_or(0);
        let mut queue = Self { path: path.to_owned(), file: None, lines: found.lines, last, acknowledged: 0 };
        if found.damaged {
            tracing::error!(
                "a line of the audit queue {} was torn or changed and is lost; {} are left",
                path.display(),
                queue.lines.len()
            );
        }
        queue.save();
        queue
    }

    /// Numbers a line and keeps it, durably if that can be. Its number is the time of day or more, so that a queue
    /// that was lost and begun anew gives no number twice.
    pub fn append(&mut self, deed: Deed) -> (&Line, Kept) {
        let by_clock = u64::try_from(deed.at_ms).unwrap_or(0);
        self.last = by_clock.max(self.last + 1);
        self.lines.push(Line::new(self.last, deed));
        let line = &self.lines[self.lines.len() - 1];
        let appended = self.file.as_mut().map(|file| file::append(file, line));
        if !matches!(appended, Some(Ok(()))) {
            // Half a line may stand there now: all are written anew.
            self.file = None;
            self.save();
        }
        let kept = if self.file.is_some() { Kept::OnDisk } else { Kept::InMemory };
        (&self.lines[self.lines.len() - 1], kept)
    }

    /// Tries the disk again if it did not take everything.
    pub fn retry(&mut self) {
        if self.file.is_none() {
            self.save();
        }
    }

    /// Control has written down every line up to this one.
    pub fn acknowledged(&mut self, up_to_sequence: u64) {
        self.acknowledged = self.acknowledged.max(up_to_sequence);
        self.prune();
    }

    /// Takes away what nobody needs any more.
    pub fn prune(&mut self) {
        let last_word = self.last_words();
        let (before, acknowledged) = (self.lines.len(), self.acknowledged);
        self.lines.retain(|line| {
            let is_open = line.what.begins() && last_word[&line.device] == line.sequence;
            line.sequence > acknowledged || is_open
        });
        if self.lines.len() < before {
            self.file = None;
            self.save();
        }
    }

    /// Lines that control does not have yet, in messages of a moderate size.
    pub fn messages(&self) -> Vec<Up> {
        let waiting: Vec<v1::AuditLine> = self.waiting().map(Line::message).collect();
        let batch = |lines: &[v1::AuditLine]| Up::Audit(v1::AuditLines { lines: lines.to_vec() });
        waiting.chunks(LINES_PER_MESSAGE).map(batch).collect()
    }

    /// Lines that control does not have yet, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.sequence > self.acknowledged)
    }

    /// Whether everything that is kept survives the agent.
    pub fn is_on_disk(&self) -> bool {
        self.file.is_some()
    }

    /// What began and, as far as the lines say, has not ended.
    pub fn begun(&self) -> Vec<Line> {
        let last_word = self.last_words();
        let open = |line: &&Line| line.what.begins() && last_word[&line.device] == line.sequence;
        self.lines.iter().filter(open).cloned().collect()
    }

    /// The latest line about each device, and about the node.
    fn last_words(&self) -> HashMap<Option<String>, u64> {
        self.lines.iter().map(|line| (line.device.clone(), line.sequence)).collect()
    }

    fn save(&mut self) {
        match file::replace(&self.path, self.lines.iter()) {
            Ok(file) => self.file = Some(file),
            Err(error) if self.lines.is_empty() => {
                tracing::debug!("the audit queue {} cannot be written: {error}", self.path.display());
            }
            Err(error) => tracing::error!(
                "the audit queue {} cannot be written, its lines are kept in memory: {error}",
                self.path.display()
            ),
        }
    }
}
