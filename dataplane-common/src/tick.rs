//! Time as the law reads it, in ticks of 2²⁰ ns, about a millisecond each, and as an entry keeps it: the low
//! 32 bits of that.
//!
//! Binary, so that the kernel shifts instead of divides. The clock is the kernel's coarse monotonic clock,
//! whose own step (4 ms at 250 Hz) is larger than a tick and is part of every bound. What an entry keeps wraps
//! after 52 days, so such an instant is never compared alone: the question is always "how long ago" or "still
//! ahead, by at most so much". A tick never leaves the machine and is never written to disk.

/// Nanoseconds in a tick.
pub const TICK_NS: u64 = 1 << 20;

/// The longest window an entry can judge: 24 hours.
pub const LONGEST_WINDOW_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// How far ahead any deadline in an entry may lie: a day and a half. What seems further ahead is long past.
pub const LONGEST_AHEAD: u32 = (LONGEST_WINDOW_NS / TICK_NS / 2 * 3) as u32;

/// How far another CPU's reading may be ahead of ours; more than that and it is old, not new.
const SKEW: u32 = 1 << 12;

/// A reading of the clock. It does not wrap: 44 bits of it are used in five hundred years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tick(pub u64);

impl Tick {
    /// The instant of a clock reading.
    #[inline(always)]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos >> 20)
    }

    /// The nanoseconds at which this tick began.
    #[inline(always)]
    pub fn nanos(self) -> u64 {
        self.0 << 20
    }

    /// As an entry keeps it. Never zero, since zero marks an empty place there.
    #[inline(always)]
    pub fn stored(self) -> u32 {
        let stored = self.0 as u32;
        if stored == 0 { 1 } else { stored }
    }

    /// This instant plus a length, in ticks.
    #[inline(always)]
    #[must_use]
    pub fn after(self, length: u32) -> Self {
        Self(self.0 + u64::from(length))
    }

    /// Whether `deadline` (0: none) is still ahead, given that it was set at most `length` ahead, perhaps by a
    /// CPU whose clock reading is newer than ours.
    #[inline(always)]
    pub fn before(self, deadline: u32, length: u32) -> bool {
        deadline != 0 && deadline.wrapping_sub(self.0 as u32).wrapping_sub(1) < length.wrapping_add(SKEW)
    }

    /// Whether `instant` is less than `length` ago; one slightly ahead of our clock is.
    #[inline(always)]
    pub fn is_within(self, instant: u32, length: u32) -> bool {
        (self.0 as u32).wrapping_sub(instant).wrapping_add(SKEW) < length.wrapping_add(SKEW)
    }
}

/// Ticks that surely cover a window: one more than it takes, since an instant is known to a tick only. So
/// room never comes early, and late by no more than two ticks and the clock's own step.
pub const fn window_ticks(window_ns: u64) -> u32 {
    window_ns.div_ceil(TICK_NS) as u32 + 1
}

/// Ticks nearest above a length of time, at least one.
pub const fn length_ticks(length_ns: u64) -> u32 {
    let ticks = length_ns.div_ceil(TICK_NS) as u32;
    if ticks == 0 { 1 } else { ticks }
}

/// An instant as a window's slot keeps it, 30 bits beside a 2-bit lap; wraps after 13 days.
pub(crate) const SLOT_BITS: u32 = 30;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// Whether a slot's instant is less than `window` ticks ago; one slightly ahead of our clock is.
#[inline(always)]
pub(crate) fn slot_is_within(slot: u32, now: Tick, window: u32) -> bool {
    ((now.0 as u32).wrapping_sub(slot).wrapping_add(SKEW) & SLOT_MASK) < window + SKEW
}

/// Ticks from a slot's instant to `now`; 0 if the slot is (slightly) ahead of our clock.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn slot_age(slot: u32, now: Tick) -> u32 {
    let age = (now.0 as u32).wrapping_sub(slot) & SLOT_MASK;
    if age >= SLOT_MASK + 1 - SKEW { 0 } else { age }
}

/// Whether a slot's instant is ahead of `now`, written by a CPU whose clock reading is newer than ours.
#[inline(always)]
pub(crate) fn slot_is_ahead(slot: u32, now: Tick) -> bool {
    ((now.0 as u32).wrapping_sub(slot) & SLOT_MASK) > SLOT_MASK - SKEW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_lies_ahead_until_it_is_reached() {
        let now = Tick(1000);
        assert!(now.before(1001, 10) && now.before(1010, 10));
        assert!(!now.before(1000, 10) && !now.before(999, 10));
        assert!(!now.before(0, 10), "zero is no deadline");
    }

    #[test]
    fn a_deadline_further_ahead_than_it_can_be_is_long_past() {
        assert!(Tick(1000).before(1010 + SKEW, 10), "another CPU's clock reading was newer");
        assert!(!Tick(1000).before(1011 + SKEW, 10));
        assert!(!Tick(1000).before(1000u32.wrapping_sub(5_000_000), 10));
    }

    #[test]
    fn deadlines_survive_the_wrap_of_the_tick() {
        let now = Tick(u64::from(u32::MAX) - 2);
        let deadline = now.after(10);
        assert!(now.before(deadline.stored(), 10) && Tick(now.0 + 5).before(deadline.stored(), 10));
        assert!(!deadline.before(deadline.stored(), 10));
        assert_ne!(Tick(1 << 32).stored(), 0, "zero stays the mark of an empty place");
    }

    #[test]
    fn a_window_is_never_covered_early() {
        for window_ns in [1, TICK_NS - 1, TICK_NS, TICK_NS + 1, 60_000_000_000, LONGEST_WINDOW_NS] {
            let ticks = u64::from(window_ticks(window_ns));
            // Two instants that many ticks apart are at least (ticks - 1) whole ticks apart in truth.
            assert!((ticks - 1) * TICK_NS >= window_ns);
            assert!((ticks - 1) * TICK_NS < window_ns + TICK_NS);
        }
    }

    #[test]
    fn a_slot_ahead_of_our_clock_is_new_not_thirteen_days_old() {
        assert_eq!(slot_age(105, Tick(100)), 0);
        assert!(slot_is_ahead(105, Tick(100)) && !slot_is_ahead(100, Tick(100)));
        assert_eq!(slot_age(100, Tick(105)), 5);
        assert_eq!(slot_age((1 << 30) - 1, Tick(1 << 30)), 1, "the slot's own wrap");
    }
}
