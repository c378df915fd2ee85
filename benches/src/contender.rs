//! What receives packets on a lane, and tells how many it treated as its row says.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bed::Lane;

/// How long the last packets of a run may take to be received: on a loaded machine the kernel hands them to a
/// thread of its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program or rule set at the far end of a lane.
pub trait Contender: Send {
    /// Where it receives.
    fn lane(&self) -> &Lane;

    /// Packets it has treated so far as its row says; `None` if it does not count.
    ///
    /// # Errors
    /// If the kernel does not tell.
    fn treated(&mut self) -> Result<Option<u64>>;
}

/// Waits until all of a run's packets have been treated as the row says.
///
/// # Errors
/// If some have not been in time: the figure would be about something else.
pub fn check(contender: &mut dyn Contender, row: &str, before: Option<u64>, sent: u32) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let treated = contender.treated()?.unwrap_or(before) - before;
        if treated == u64::from(sent) {
            return Ok(());
        }
        ensure!(
            treated < u64::from(sent) && Instant::now() < deadline,
            "{row}: {sent} packets were sent and {treated} treated as the row says"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The count once nothing more comes: before a run, the stragglers of the one before must be in.
///
/// # Errors
/// If the kernel does not tell.
pub fn settled(contender: &mut dyn Contender) -> Result<Option<u64>> {
    let Some(mut count) = contender.treated()? else { return Ok(None) };
    loop {
        std::thread::sleep(Duration::from_millis(2));
        let now = contender.treated()?.unwrap_or(count);
        if now == count {
            return Ok(Some(count));
        }
        count = now;
    }
}
