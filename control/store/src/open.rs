//! The file: opening it, its tables, and the transactions everything else is done in.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::Error;
use crate::error::{Fault, not_opened, unreachable};

/// The layout that this weir writes. Raised with every change that an earlier weir would misread: 2 brought policies
/// that are not enforced, that count requests, or that limit a rate.
pub const SCHEMA: u64 = 2;

/// Bytes of the file that are kept in memory. The system caches the file as well, and gives that back when it must.
const CACHE: usize = 64 << 20;

/// An earlier layout all of whose records this weir reads as they are.
const READABLE_SCHEMA: u64 = 1;

/// Facts about the file itself; `schema` is its version.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Device → [`crate::record::SubscriberRecord`].
pub(crate) const SUBSCRIBERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("subscribers");
/// Policy identifier → [`crate::policy_record::PolicyRecord`].
pub(crate) const POLICIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("policies");
/// Sequence number → [`crate::record::DecisionRecord`]; only ever appended to.
pub(crate) const DECISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("decisions");
/// Which decisions are about a device.
pub(crate) const DECISIONS_OF: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("decisions_of");
/// Device → [`crate::record::EntryRecord`], the latest.
pub(crate) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// In the order of arrival → [`crate::record::AuditRecord`]; only ever appended to.
pub(crate) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
/// Node and the line's number there → where it stands in `AUDIT`.
pub(crate) const AUDIT_OF: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("audit_of");

/// The open file. Calls wait for the disk; several threads may share it, changes happen one after another.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the file, or creates it, readable for its owner alone: it holds personal data.
    ///
    /// # Errors
    /// The file cannot be reached, is open elsewhere, is no store, or was written by a later weir.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(|source| unreachable(source, path.clone()))?;
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create(&path)
            .map_err(|error| not_opened(error, path.clone()))?;
        let store = Self { database, path };
        let found = store.change(begin_schema)?;
        match found {
            Some(SCHEMA) => Ok(store),
            Some(found) if found > SCHEMA => {
                Err(Error::NewerSchema { path: store.path, found, known: SCHEMA })
            }
            Some(found) => {
                let cause = format!("it has schema version {found}, which no weir has written");
                Err(Error::NotAStore { path: store.path, cause })
            }
            None => {
                let cause = "it is a database of another program".to_owned();
                Err(Error::NotAStore { path: store.path, cause })
            }
        }
    }

    /// All of it happens, durably, or nothing.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let attempt = || {
            let transaction = self.database.begin_write()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        attempt().map_err(|fault: Fault| fault.at(self.path.clone()))
    }

    /// Reads one state of the whole store, whatever changes meanwhile.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let attempt = || {
            let transaction = self.database.begin_read()?;
            work(&transaction)
        };
        attempt().map_err(|fault: Fault| fault.at(self.path.clone()))
    }
}

/// The schema version in the file, after an earlier one that can be read has been raised. An empty file gets the
/// current one and its tables; `None`: not ours.
fn begin_schema(transaction: &WriteTransaction) -> Result<Option<u64>, Fault> {
    let empty = transaction.list_tables()?.next().is_none();
    if !empty && !transaction.list_tables()?.any(|table| redb::TableHandle::name(&table) == "meta") {
        return Ok(None);
    }
    let mut meta = transaction.open_table(META)?;
    if empty {
        meta.insert("schema", SCHEMA)?;
        transaction.open_table(SUBSCRIBERS)?;
        transaction.open_table(POLICIES)?;
        transaction.open_table(DECISIONS)?;
        transaction.open_table(DECISIONS_OF)?;
        transaction.open_table(ENTRIES)?;
    }
    if meta.get("schema")?.is_some_and(|version| version.value() == READABLE_SCHEMA) {
        meta.insert("schema", SCHEMA)?;
    }
    let schema = meta.get("schema")?.map(|version| version.value());
    if schema == Some(SCHEMA) {
        // Younger than the schema: an earlier weir leaves them alone.
        transaction.open_table(AUDIT)?;
        transaction.open_table(AUDIT_OF)?;
    }
    Ok(schema)
}
