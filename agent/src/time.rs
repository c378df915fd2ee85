//! One instant on both clocks that a node knows: its own ticks, and the world's milliseconds.
//!
//! Entries keep ticks, messages carry Unix milliseconds; an [`Instant`] is read once and converts between
//! them. A deadline that cannot be a tick (past, or absurdly far) is clamped, never wrapped.

use std::time::{SystemTime, UNIX_EPOCH};

use weir_dataplane_common::tick::{LONGEST_AHEAD, TICK_NS, Tick};

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// The kernel program's clock.
    pub tick: Tick,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

impl Instant {
    /// Reads both clocks.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { tick: weir_dataplane::clock::now(), unix_ms: since.as_millis() as i64 }
    }

    /// When something so many ticks ago was, Unix ms.
    pub fn unix_ms_ago(self, ticks: u32) -> i64 {
        self.unix_ms - ticks_to_ms(ticks)
    }

    /// When a tick that lies ahead will be, Unix ms.
    pub fn unix_ms_of(self, ahead: Tick) -> i64 {
        self.unix_ms + (ahead.0.saturating_sub(self.tick.0) * TICK_NS / 1_000_000) as i64
    }

    /// The tick of a Unix instant, if it lies ahead; never earlier, and never later than an entry can hold.
    pub fn tick_of(self, unix_ms: i64) -> Option<Tick> {
        let ahead = unix_ms.saturating_sub(self.unix_ms);
        if ahead <= 0 {
            return None;
        }
        // One more, since now is known to a tick only.
        let ticks = (ahead as u64).saturating_mul(1_000_000).div_ceil(TICK_NS) + 1;
        Some(self.tick.after(ticks.min(u64::from(LONGEST_AHEAD)) as u32))
    }
}

fn ticks_to_ms(ticks: u32) -> i64 {
    (u64::from(ticks) * TICK_NS / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant { tick: Tick(5000), unix_ms: 1_000_000 };

    #[test]
    fn a_deadline_comes_back_as_the_tick_at_or_after_it() {
        let tick = NOW.tick_of(1_001_000).expect("ahead");
        // However much of the present tick is over, the deadline's is not earlier.
        let ahead = (tick.0 - 5001) * TICK_NS;
        assert!((1_000_000_000..1_000_000_000 + TICK_NS).contains(&ahead));
    }

    #[test]
    fn what_is_past_has_no_tick_and_what_is_too_far_is_clamped() {
        assert_eq!(NOW.tick_of(1_000_000), None);
        assert_eq!((NOW.tick_of(0), NOW.tick_of(i64::MIN)), (None, None));
        assert_eq!(NOW.tick_of(i64::MAX).expect("ahead").0, 5000 + u64::from(LONGEST_AHEAD));
    }
}
