//! What service control has decided: every decision in its order, and the entry that each device has now (R-D12).

use redb::{ReadTransaction, ReadableTable};
use weir_service_control::{CacheUpdate, Decision, DeviceId};

use crate::error::Fault;
use crate::open::{DECISIONS, DECISIONS_OF, ENTRIES};
use crate::record::{DecisionRecord, EntryRecord, bytes, value};
use crate::{Error, Store};

impl Store {
    /// Appends a decision and puts its entry in the place of the device's last one. When this returns, both
    /// survive a loss of power.
    ///
    /// # Errors
    /// The store fails; nothing has happened then.
    pub fn record(&self, decision: &Decision) -> Result<(), Error> {
        let device = &*decision.device.0;
        self.change(|transaction| {
            let mut decisions = transaction.open_table(DECISIONS)?;
            let sequence = decisions.last()?.map_or(0, |(last, _)| last.value() + 1);
            let record = bytes("a decision", &DecisionRecord::from(decision))?;
            decisions.insert(sequence, &*record)?;
            transaction.open_table(DECISIONS_OF)?.insert((device, sequence), ())?;
            let record = bytes("an entry", &EntryRecord::from(&decision.entry))?;
            transaction.open_table(ENTRIES)?.insert(device, &*record)?;
            Ok(())
        })
    }

    /// Hands over the latest entry of every device that was ever decided on, those that are no more included: their
    /// revision still counts. One by one, by device: all at once would be most of control's memory.
    ///
    /// # Errors
    /// The store fails; some entries have been handed over then.
    pub fn each_entry(&self, mut take: impl FnMut(CacheUpdate)) -> Result<(), Error> {
        self.read(|transaction| {
            for row in transaction.open_table(ENTRIES)?.iter()? {
                let (device, record) = row?;
                let record: EntryRecord = value("an entry", record.value())?;
                take(record.entry(DeviceId(device.value().to_owned())));
            }
            Ok(())
        })
    }

    /// The latest decisions, newest first, at most `limit`; about one device or all.
    ///
    /// # Errors
    /// The store fails.
    pub fn decisions(&self, device: Option<&DeviceId>, limit: usize) -> Result<Vec<Decision>, Error> {
        self.read(|transaction| match device {
            Some(device) => decisions_of(transaction, device, limit),
            None => {
                let table = transaction.open_table(DECISIONS)?;
                let latest = table.iter()?.rev().take(limit);
                latest.map(|row| decision(row?.1.value())).collect()
            }
        })
    }
}

fn decisions_of(
    transaction: &ReadTransaction,
    device: &DeviceId,
    limit: usize,
) -> Result<Vec<Decision>, Fault> {
    let decisions = transaction.open_table(DECISIONS)?;
    let index = transaction.open_table(DECISIONS_OF)?;
    let mut found = Vec::new();
    for row in index.range((&*device.0, 0)..=(&*device.0, u64::MAX))?.rev().take(limit) {
        let (_, sequence) = row?.0.value();
        if let Some(record) = decisions.get(sequence)? {
            found.push(decision(record.value())?);
        }
    }
    Ok(found)
}

fn decision(bytes: &[u8]) -> Result<Decision, Fault> {
    let record: DecisionRecord = value("a decision", bytes)?;
    Ok(record.into())
}
