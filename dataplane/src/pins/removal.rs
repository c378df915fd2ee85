//! `weir node detach`: no trace left.
//!
//! It must work on what this code did not make: other versions, and what a killed agent left. So it goes by what
//! the objects are, not by their names.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    Object, Pins,
    directory::{failed, list, unpin},
    link::Kind,
};
use crate::Error;

/// One thing that was removed. Shown as what it was and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// `link`, `program`, `map`, `object` (something else that was pinned) or `directory`.
    pub kind: &'static str,
    /// Where it was.
    pub path: PathBuf,
}

impl fmt::Display for Removed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<9} {}", self.kind, self.path.display())
    }
}

impl Pins {
    /// Removes all that is pinned for this node, of any ABI version and however incomplete: links first (which opens
    /// the gate), then programs and maps, then directories. Says what it removed, in this order; nothing pinned is
    /// no error.
    ///
    /// # Errors
    /// [`Error::NoBpffs`], [`Error::NodeRuns`] if a gate holds the pins and `force` is not given, [`Error::Pins`].
    pub fn detach_all(&self, force: bool) -> Result<Vec<Removed>, Error> {
        let directory = self.directory();
        if !directory.exists() {
            return Ok(Vec::new());
        }
        self.check_bpffs()?;
        let _held = match self.hold() {
            Err(Error::NodeRuns { .. }) if force => None,
            held => Some(held?),
        };
        let (mut pins, mut directories) = (Vec::new(), Vec::new());
        walk(&directory, &mut pins, &mut directories)?;
        pins.sort();
        let mut removed = Vec::new();
        for (kind, path) in pins {
            if kind == Kind::Link {
                // At once, and not when the last who holds it lets go. A link that cannot goes with its pin.
                let _ = Object::open(&path).and_then(|link| link.detach());
            }
            unpin(&path)?;
            removed.push(Removed { kind: kind.name(), path });
        }
        for path in directories {
            fs::remove_dir(&path).map_err(|error| failed(&path, "removing the directory", &error))?;
            removed.push(Removed { kind: "directory", path });
        }
        removed.extend(self.remove_parent()?);
        Ok(removed)
    }

    /// Removes the directory of all nodes if this one was the last.
    fn remove_parent(&self) -> Result<Option<Removed>, Error> {
        let path = self.bpffs.join("weir");
        match fs::remove_dir(&path) {
            Ok(()) => Ok(Some(Removed { kind: "directory", path })),
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                Ok(None)
            }
            Err(error) => Err(failed(&path, "removing the directory", &error)),
        }
    }
}

/// All pins below a directory, and the directories, innermost first.
fn walk(
    directory: &Path,
    pins: &mut Vec<(Kind, PathBuf)>,
    directories: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    for path in list(directory)? {
        if path.is_dir() {
            walk(&path, pins, directories)?;
        } else {
            let kind = Object::open(&path).map_or(Kind::Other, |object| object.kind());
            pins.push((kind, path));
        }
    }
    directories.push(directory.to_owned());
    Ok(())
}
