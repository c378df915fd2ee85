//! Sums of admissions by sub-windows, as nodes report them for limits above [`crate::EXACT_LIMIT`].
//!
//! When a stretch ends decides until when it counts; `history` puts the sums of all nodes together.

use crate::{SubWindows, UnixMillis};

/// Limits one node's entry counts by sub-windows: one for each rule, and a throttle's.
const MAX_WINDOWS: usize = 5;

/// A node computes instants from its own coarse clock anew for each report; one that differs by less is the same.
const CLOCK_SLACK_MS: u64 = 100;

impl SubWindows {
    /// When a stretch ends, the latest being number 0 and later ones below it; rounded up.
    pub(crate) fn end(&self, number: i64) -> UnixMillis {
        let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX);
        let after_start = length.saturating_mul(1 - number);
        let millis = after_start.div_euclid(1000).saturating_add(i64::from(after_start.rem_euclid(1000) > 0));
        UnixMillis(self.newest_start.0.saturating_add(millis))
    }

    /// The sums, the earliest first, each at the end of its stretch.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (UnixMillis, u32)> + '_ {
        (0..)
            .zip(self.counts)
            .map(|(number, count)| (self.end(number), count))
            .filter(|(_, count)| *count > 0)
    }

    fn same_limit(&self, other: &Self) -> bool {
        (self.policy, self.throttle, self.length) == (other.policy, other.throttle, other.length)
    }
}

/// The reported sums, with starts that do not tremble with the node's clock: they are whole stretches after the
/// known ones.
pub(crate) fn in_step(
    known: &[SubWindows],
    mut reported: Vec<SubWindows>,
    now: UnixMillis,
) -> Box<[SubWindows]> {
    reported.truncate(MAX_WINDOWS);
    for windows in &mut reported {
        windows.newest_start = windows.newest_start.min(now);
        let length = i64::try_from(windows.length.as_millis()).unwrap_or(i64::MAX);
        let before = known.iter().find(|known| known.same_limit(windows));
        let Some(before) = before.filter(|_| length.unsigned_abs() > 2 * CLOCK_SLACK_MS) else { continue };
        let passed = windows.newest_start.0.saturating_sub(before.newest_start.0);
        let stretches = passed.saturating_add(length / 2).div_euclid(length);
        let in_step = before.end(1 - stretches);
        if same_instant(in_step, windows.newest_start) {
            windows.newest_start = in_step;
        }
    }
    reported.into_boxed_slice()
}

/// Whether two reports mean the same instant.
pub(crate) fn same_instant(one: UnixMillis, other: UnixMillis) -> bool {
    one.0.abs_diff(other.0) < CLOCK_SLACK_MS
}
