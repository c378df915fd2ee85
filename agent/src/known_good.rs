//! The last-known-good cache on disk: what control said and this node accepted, for the next start without control.
//!
//! [`KnownGood`] holds one current record for each device and an append-only file of them. A batch is written
//! and synced before it is acknowledged. A disk that refuses takes nothing away: the records stay in memory, and
//! the file is written anew as a whole as soon as the disk lets it (after a failed sync nothing that was written
//! through the same descriptor can be believed). The file holds identifiers of devices: only its owner may read
//! it, and none of it is logged. This file must not know what a record means; `core` does. The bytes are
//! [`mod@format`]'s.

pub mod format;

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

pub use format::Record;
use format::{End, Reading};

/// Dead bytes that are not worth a rewrite.
const TOLERATED: u64 = 1 << 20;

/// A thing to keep, in the order in which it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Keep {
    /// This stands for a device from now on.
    Record(Record),
    /// Control named a device, and what stands for it goes on standing.
    Named(String),
    /// From here on control says everything it knows.
    SnapshotBegins,
    /// It has: nothing stands for devices that it did not name.
    SnapshotComplete,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Devices for which something stands.
    pub devices: usize,
    /// How the file ended.
    pub end: End,
}

/// The journal of one node, open.
#[derive(Debug)]
pub struct KnownGood {
    node: String,
    path: PathBuf,
    /// `None` from a failure until the next rewrite.
    file: Option<File>,
    /// What the disk answered last, where it refused.
    refusal: String,
    /// What the file says is not known, so it is left alone until control has said everything.
    is_unread: bool,
    current: HashMap<Box<str>, Standing>,
    live_bytes: u64,
    file_bytes: u64,
    snapshot: u64,
    failures: u64,
    _lock: Option<File>,
}

/// What stands for one device.
#[derive(Debug)]
struct Standing {
    frame: Box<[u8]>,
    /// The snapshot during or after which control last named the device.
    named: u64,
}

/// Why a journal cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two agents would work on the same maps.
    #[error(
        "another agent of this node is running: {0} is locked; end it first, or give this node another name"
    )]
    Running(PathBuf),
}

impl KnownGood {
    /// Opens a node's journal in `directory`, made if need be, and reads what stands. Whatever cannot be read or
    /// written is said in the log and counted; the node starts all the same.
    ///
    /// # Errors
    /// [`Error::Running`] if an agent of this node holds it.
    pub fn open(directory: &Path, node: &str) -> Result<(Self, Found), Error> {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
            tracing::error!("cannot make {}: {error}; the cache is not kept on disk", directory.display());
        }
        let mut journal = Self {
            node: node.to_owned(),
            _lock: lock(&directory.join(format!("{node}.lock")))?,
            path: directory.join(format!("{node}.journal")),
            file: None,
            refusal: String::new(),
            is_unread: false,
            current: HashMap::new(),
            live_bytes: 0,
            file_bytes: 0,
            snapshot: 0,
            failures: 0,
        };
        let reading = journal.read();
        let found = journal.take_in(&reading);
        if let Err(error) = journal.rewrite() {
            tracing::error!("the cache cannot be kept on disk: {error}");
        }
        Ok((journal, found))
    }

    /// What stands, in no order.
    pub fn records(&self) -> Vec<Record> {
        let record = |standing: &Standing| format::record_of(&standing.frame);
        self.current.values().filter_map(record).collect()
    }

    /// Keeps a batch and returns when it is on the disk. If that fails, the batch stands in memory and
    /// [`KnownGood::retry`] is to be called from time to time.
    ///
    /// # Errors
    /// What the disk answered, with the file's name.
    pub fn keep(&mut self, batch: &[Keep]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for keep in batch {
            match keep {
                Keep::Record(record) => bytes.extend(self.stand(record)),
                Keep::Named(device) => {
                    if let Some(standing) = self.current.get_mut(device.as_str()) {
                        standing.named = self.snapshot;
                    }
                }
                Keep::SnapshotBegins => self.snapshot += 1,
                Keep::SnapshotComplete => {
                    self.is_unread = false;
                    bytes.extend(self.forget_unnamed());
                }
            }
        }
        match self.file.take() {
            // A whole file on a disk that has just refused a few bytes is for `retry`, which is called less often.
            None => Err(io::Error::other(self.refusal.clone())),
            Some(_) if self.is_mostly_dead(bytes.len() as u64) => self.rewrite(),
            Some(file) => self.append(file, &bytes),
        }
    }

    /// Writes everything anew if an earlier write failed.
    ///
    /// # Errors
    /// As [`KnownGood::keep`].
    pub fn retry(&mut self) -> io::Result<()> {
        if self.file.is_some() { Ok(()) } else { self.rewrite() }
    }

    /// Whether everything that stands is on the disk.
    pub fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Writes that failed so far.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Takes a record in; the bytes to append, none if it says nothing new.
    fn stand(&mut self, record: &Record) -> Vec<u8> {
        let (device, frame) = (record.update.device.as_str(), record.to_frame());
        if frame.len() > format::LONGEST {
            self.failures += 1;
            tracing::error!(
                "an entry of {} bytes is enforced and not kept on disk: it is too long",
                frame.len()
            );
            return Vec::new();
        }
        if record.is_nothing() {
            let ended = self.current.remove(device);
            self.live_bytes -= ended.as_ref().map_or(0, |standing| standing.frame.len() as u64);
            return ended.map_or_else(Vec::new, |_| frame);
        }
        let known = self.current.get_mut(device).filter(|standing| *standing.frame == *frame);
        if let Some(known) = known {
            known.named = self.snapshot;
            return Vec::new();
        }
        let standing = Standing { frame: frame.clone().into(), named: self.snapshot };
        self.live_bytes += frame.len() as u64;
        let replaced = self.current.insert(device.into(), standing);
        self.live_bytes -= replaced.map_or(0, |standing| standing.frame.len() as u64);
        frame
    }

    fn forget_unnamed(&mut self) -> Vec<u8> {
        let unnamed = self.current.iter().filter(|(_, standing)| standing.named != self.snapshot);
        let unnamed: Vec<Record> = unnamed.map(|(device, _)| Record::nothing(device)).collect();
        unnamed.iter().flat_map(|record| self.stand(record)).collect()
    }

    fn is_mostly_dead(&self, more: u64) -> bool {
        self.file_bytes + more > 2 * self.live_bytes + TOLERATED
    }

    fn append(&mut self, mut file: File, bytes: &[u8]) -> io::Result<()> {
        let is_nothing = bytes.is_empty();
        match file.write_all(bytes).and_then(|()| if is_nothing { Ok(()) } else { file.sync_data() }) {
            Ok(()) => {
                self.file = Some(file);
                self.file_bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// A new file in the place of the old one: whoever reads finds one or the other, whole.
    fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        if self.is_unread {
            return Err(io::Error::other(self.refusal.clone()));
        }
        let new = self.path.with_extension("journal.new");
        match self.write_new(&new) {
            Ok((file, bytes)) => {
                (self.file, self.file_bytes) = (Some(file), bytes);
                Ok(())
            }
            Err(error) => {
                // What there is of it only takes up room on what may be a full disk.
                let _ = fs::remove_file(&new);
                Err(self.failed(&error))
            }
        }
    }

    fn write_new(&self, new: &Path) -> io::Result<(File, u64)> {
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut bytes = format::header(&self.node);
        self.current.values().for_each(|standing| bytes.extend(&standing.frame));
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        // The name is as much part of it as the bytes.
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok((file, bytes.len() as u64))
    }

    fn failed(&mut self, error: &io::Error) -> io::Error {
        self.failures += 1;
        self.refusal = format!("{}: {error}", self.path.display());
        io::Error::new(error.kind(), self.refusal.clone())
    }

    fn read(&mut self) -> Reading {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.is_unread = true;
                let error = self.failed(&error);
                tracing::error!("the last-known-good cache cannot be read: {error}");
            }
        }
        format::read(&bytes, &self.node)
    }

    fn take_in(&mut self, reading: &Reading) -> Found {
        for record in &reading.records {
            self.stand(record);
        }
        let (devices, sound) = (self.current.len(), reading.sound);
        let path = self.path.display();
        match reading.end {
            End::Clean => {}
            End::Torn => tracing::warn!(
                "{path} ends in the middle of a record at byte {sound}: the last write was not acknowledged and is \
                 cut off"
            ),
            End::Distrusted => {
                self.failures += 1;
                tracing::error!(
                    "{path} was changed after it was written, from byte {sound} on: {devices} devices before it are \
                     used, the rest is not; the next stream from control makes it whole"
                );
            }
        }
        Found { devices, end: reading.end }
    }
}

/// Held until the process is gone, however it goes. Without a disk to lock on there is none.
fn lock(path: &Path) -> Result<Option<File>, Error> {
    let file = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) => {
            tracing::error!("cannot lock {}: {error}; see that no second agent is started", path.display());
            return Ok(None);
        }
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Running(path.to_owned())),
        Err(TryLockError::Error(error)) => {
            tracing::error!("cannot lock {}: {error}; see that no second agent is started", path.display());
            Ok(None)
        }
        Ok(()) => Ok(Some(file)),
    }
}

#[cfg(test)]
mod tests;
