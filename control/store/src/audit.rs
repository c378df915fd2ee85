//! What operators did on a node itself, past control, as the node told it (R-X8). Only ever appended to.

use redb::{ReadTransaction, ReadableTable};
use weir_service_control::{DeviceId, NodeName, UnixMillis};

use crate::error::Fault;
use crate::open::{AUDIT, AUDIT_OF};
use crate::record::{AuditRecord, bytes, value};
use crate::{Error, Store};

/// A line of a node's audit. `Debug` leaves the device out, as its own type does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Where it was done.
    pub node: NodeName,
    /// The line's number there; with the node's name it is the line's identity.
    pub sequence: u64,
    /// When, by the node's clock.
    pub at: UnixMillis,
    /// When control first heard of it.
    pub received: UnixMillis,
    /// Who did it; `None`: the node itself.
    pub who: Option<AuditWho>,
    /// What, in the contract's words.
    pub what: String,
    /// To which device; `None`: to all.
    pub device: Option<DeviceId>,
    /// Until when.
    pub until: UnixMillis,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A process on the node's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditWho {
    /// Its user.
    pub uid: u32,
    /// That user's name there.
    pub name: Option<String>,
    /// Its number.
    pub pid: i32,
}

impl Store {
    /// Appends the lines that are not there yet and returns how many those were. When this returns, all survive a
    /// loss of power.
    ///
    /// # Errors
    /// The store fails; nothing has happened then.
    pub fn audit(&self, lines: &[AuditLine]) -> Result<usize, Error> {
        self.change(|transaction| {
            let mut audit = transaction.open_table(AUDIT)?;
            let mut index = transaction.open_table(AUDIT_OF)?;
            let first = audit.last()?.map_or(0, |(last, _)| last.value() + 1);
            let mut next = first;
            for line in lines {
                let identity = (&*line.node.0, line.sequence);
                if index.get(identity)?.is_none() {
                    audit.insert(next, &*bytes("an audit line", &AuditRecord::from(line))?)?;
                    index.insert(identity, next)?;
                    next += 1;
                }
            }
            Ok((next - first) as usize)
        })
    }

    /// The latest lines, newest first, at most `limit`; of one node or all. Newest is what arrived last, or, of one
    /// node, what it did last.
    ///
    /// # Errors
    /// The store fails.
    pub fn audit_lines(&self, node: Option<&NodeName>, limit: usize) -> Result<Vec<AuditLine>, Error> {
        self.read(|transaction| match node {
            Some(node) => lines_of(transaction, node, limit),
            None => {
                let table = transaction.open_table(AUDIT)?;
                let latest = table.iter()?.rev().take(limit);
                latest.map(|row| line(row?.1.value())).collect()
            }
        })
    }
}

fn lines_of(transaction: &ReadTransaction, node: &NodeName, limit: usize) -> Result<Vec<AuditLine>, Fault> {
    let audit = transaction.open_table(AUDIT)?;
    let index = transaction.open_table(AUDIT_OF)?;
    let mut found = Vec::new();
    for row in index.range((&*node.0, 0)..=(&*node.0, u64::MAX))?.rev().take(limit) {
        if let Some(record) = audit.get(row?.1.value())? {
            found.push(line(record.value())?);
        }
    }
    Ok(found)
}

fn line(bytes: &[u8]) -> Result<AuditLine, Fault> {
    let record: AuditRecord = value("an audit line", bytes)?;
    Ok(record.into())
}
