//! Statuses that end at an instant of the world's clock, in entries that know only the node's own.
//!
//! The two drift, and now and then one jumps: the node's clock stands still while the machine is suspended, the
//! world's is set. "Rejected until T" is meant in the world's time, so such statuses are dated anew whenever the
//! difference of the clocks has changed by more than [`TOLERATED_MS`]. What the node measures itself (windows,
//! sessions, its own throttles) stays in its own time: it then ends later, never early.

use weir_dataplane_common::tick::TICK_NS;
use weir_proto::v1;

use super::{Core, Kernel};
use crate::{devices::DeviceNumber, entry, time::Instant, translate};

/// How far the clocks may move against each other before statuses are dated anew.
const TOLERATED_MS: i64 = 1000;

impl<K: Kernel> Core<K> {
    /// Notes what control said last of a device's status, if it is of a kind that ends.
    pub(super) fn remember_status(&mut self, device: DeviceNumber, status: v1::Status) {
        if status.rejected_until_ms > 0 || status.throttled_until_ms > 0 {
            self.statuses.insert(device, status);
        } else {
            self.statuses.remove(&device);
        }
    }

    /// Dates statuses anew if the clocks have moved against each other.
    pub(super) fn follow_clock(&mut self, now: Instant) {
        let difference = now.unix_ms - (u128::from(now.tick.0) * u128::from(TICK_NS) / 1_000_000) as i64;
        let Some(before) = self.dated_at else {
            self.dated_at = Some(difference);
            return;
        };
        let moved = difference - before;
        if moved.abs() > TOLERATED_MS {
            self.dated_at = Some(difference);
            tracing::warn!("the clocks have moved against each other by {moved} ms; statuses are dated anew");
            self.date_statuses(now);
        }
    }

    /// Writes the statuses' ends into the entries once more, as they are now; those that are past are forgotten.
    pub(super) fn date_statuses(&mut self, now: Instant) {
        for (device, status) in &self.statuses {
            let index = self.devices.entry(*device) as usize;
            let (entry, ledger) = (&self.kernel.entries()[index], &self.kernel.ledgers()[index]);
            entry::redate(
                (entry, ledger),
                now.tick_of(status.throttled_until_ms),
                translate::rejected(status, now),
                now.tick,
            );
        }
        let ends_ahead = |status: &v1::Status| {
            status.rejected_until_ms > now.unix_ms || status.throttled_until_ms > now.unix_ms
        };
        self.statuses.retain(|_, status| ends_ahead(status));
    }
}
