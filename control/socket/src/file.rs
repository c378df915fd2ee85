//! Unix sockets that only owner and group may open, and that are gone when their server is.
//!
//! A socket file outlives a server that was killed. So a file on which nobody answers is replaced; one on
//! which somebody does is left to its owner, and so is anything that is no socket.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::Error;

/// Who may open a socket: owner and group.
const MODE: u32 = 0o660;

/// The file of a bound socket; dropping it removes the file, unless another server has put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and when it was made, since the number of a removed inode is soon given to another.
type Identity = (u64, u64, i64, i64);

/// Binds a listener at `path`, making missing directories.
///
/// # Errors
/// Somebody listens there, something else stands there, or the system refuses.
pub async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let failed = |source| Error::Listen { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
    }
    make_way(path).await?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
    let identity = identity(path).map_err(failed)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

/// Removes the socket of a server that is no more.
async fn make_way(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Listen { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(Error::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(Error::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the socket of a server that is gone");
            fs::remove_file(path).map_err(failed)
        }
        // A full backlog also means that somebody listens.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Error::InUse(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Nothing is lost if this fails: the next server replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn owner_and_group_may_open_the_socket_and_it_goes_with_its_server() {
        let directory = directory();
        let path = directory.path().join("run/weir/admin.sock");
        let (listener, file) = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop((listener, file));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_server_is_replaced() {
        let directory = directory();
        let path = directory.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a closed listener leaves its file");
        let _bound = bind(&path).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn the_socket_of_a_live_server_is_refused_and_left_alone() {
        let directory = directory();
        let path = directory.path().join("a.sock");
        let _first = bind(&path).await.unwrap();
        let error = bind(&path).await.unwrap_err();
        assert!(matches!(error, Error::InUse(_)), "{error}");
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let directory = directory();
        let path = directory.path().join("precious.txt");
        fs::write(&path, "data").unwrap();
        assert!(matches!(bind(&path).await.unwrap_err(), Error::NotASocket(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }

    #[tokio::test]
    async fn a_successor_keeps_its_socket_when_the_predecessor_goes() {
        let directory = directory();
        let path = directory.path().join("a.sock");
        let (first, first_file) = bind(&path).await.unwrap();
        // Keeps the inode in use, so that the successor cannot be given the same number within one clock tick.
        fs::hard_link(&path, directory.path().join("kept")).unwrap();
        drop(first);
        let _second = bind(&path).await.unwrap();
        drop(first_file);
        assert!(path.exists());
    }
}
