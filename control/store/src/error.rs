//! Why the store refuses or fails, in words that name the file, the cause and what to do. Never a device.

use std::{io, path::PathBuf};

use weir_service_control::PolicyId;

/// Why the store refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the file open.
    #[error("the store {path} is in use by another process; stop that one, or configure another file")]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The operating system refuses the file.
    #[error("the store {path} cannot be opened: {source}; {advice}")]
    Unreachable {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// A file that is no store, or one that is damaged.
    #[error(
        "{path} is not a weir store, or it is damaged ({cause}); move it away to begin anew, or put a backup in its place"
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A later weir has written the file.
    #[error(
        "the store {path} has schema version {found}, and this weir knows versions up to {known}; use the weir that wrote it, or a later one"
    )]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The latest version known here.
        known: u64,
    },
    /// The database failed.
    #[error("the store {path} failed: {source}; see to the disk it is on, then start control again")]
    Database {
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record that this weir does not understand, though it knows the schema.
    #[error("the store {path} holds {what} that cannot be read: {source}; put a backup in its place")]
    Unreadable {
        /// The store's file.
        path: PathBuf,
        /// What kind of record.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A policy that subscribers have cannot be deleted.
    #[error("policy {} is held by {users} subscriber(s); take it from them first", .policy.0)]
    PolicyInUse {
        /// Which.
        policy: PolicyId,
        /// How many have it.
        users: usize,
    },
    /// A subscriber cannot have a policy that does not exist.
    #[error("there is no policy {}; create it first", .0.0)]
    NoSuchPolicy(PolicyId),
}

/// An [`Error`] that does not know its file yet.
#[derive(Debug)]
pub(crate) enum Fault {
    Database(Box<redb::Error>),
    Record { what: &'static str, source: serde_json::Error },
    PolicyInUse { policy: PolicyId, users: usize },
    NoSuchPolicy(PolicyId),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl Fault {
    pub(crate) fn at(self, path: PathBuf) -> Error {
        match self {
            Self::Database(source) => Error::Database { path, source },
            Self::Record { what, source } => Error::Unreadable { path, what, source },
            Self::PolicyInUse { policy, users } => Error::PolicyInUse { policy, users },
            Self::NoSuchPolicy(policy) => Error::NoSuchPolicy(policy),
        }
    }
}

/// Why a file could not be opened as a database.
pub(crate) fn not_opened(error: redb::DatabaseError, path: PathBuf) -> Error {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
            Error::InUse { path }
        }
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => unreachable(source, path),
        other => Error::NotAStore { path, cause: other.to_string() },
    }
}

/// Why the operating system did not give the file.
pub(crate) fn unreachable(source: io::Error, path: PathBuf) -> Error {
    let advice = match source.kind() {
        io::ErrorKind::NotFound => "create the directory it is to be in",
        io::ErrorKind::PermissionDenied => "let weir's user read and write it and its directory",
        io::ErrorKind::IsADirectory => "configure a file, not a directory",
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            return Error::NotAStore { path, cause: source.to_string() };
        }
        _ => "see to the disk it is on",
    };
    Error::Unreachable { path, source, advice }
}
