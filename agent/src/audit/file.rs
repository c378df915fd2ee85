//! The queue's file: lines to bytes and back, and the two ways of writing them so that power may fail.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::Line;

/// What was found in a file.
pub(super) struct Found {
    pub lines: Vec<Line>,
    /// Something of it could not be read.
    pub damaged: bool,
}

/// A line as it stands in the file. A line of text, numbers and no map with other keys is always JSON.
fn encode(line: &Line) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(line)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes())
}

fn decode(text: &[u8]) -> Option<Line> {
    let (sum, json) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

/// Reads a file; an absent one is empty. What is torn or flipped is left out, and said.
pub(super) fn read(path: &Path) -> io::Result<Found> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut found = Found { lines: Vec::new(), damaged: false };
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        match text.strip_suffix(b"\n").and_then(decode) {
            Some(line) => found.lines.push(line),
            None => found.damaged = true,
        }
    }
    Ok(found)
}

/// Puts these lines in the place of the file and returns it, open to be appended to. All of it happens or nothing.
pub(super) fn replace<'l>(path: &Path, lines: impl Iterator<Item = &'l Line>) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let next = beside(path);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    for line in lines {
        file.write_all(&encode(line)?)?;
    }
    file.sync_all()?;
    fs::rename(&next, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

/// Appends a line; when this returns, it survives a loss of power.
pub(super) fn append(file: &mut File, line: &Line) -> io::Result<()> {
    file.write_all(&encode(line)?)?;
    file.sync_data()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
