//! Limits too large for slots: admissions counted by sub-windows, in one word.
//!
//! A word holds the number of the newest sub-window and the counts of that one and the three before it:
//!
//! | bits | 40–63 | 30–39 | 20–29 | 10–19 | 0–9 |
//! |---|---|---|---|---|---|
//! | | number | newest | one before | two before | oldest |
//!
//! A sub-window is a third of the window, rounded up, so four of them always cover it: while their counts sum
//! to less than the limit, one more can be admitted, never early, and late by at most one sub-window (R-D2). A
//! device that always asks gets about three quarters of its limit. The number never moves backwards, since
//! another CPU's clock reading may be newer than ours. It wraps, after 64 days for a window of a second, later
//! for longer ones, and looks new shortly before: the agent forgets what is old long before, see
//! [`SubWindows::forget_old`].
//!
//! Nothing here knows policies. Read first: [`crate::tick`].

use crate::{atomic::Word64, tick::Tick};

/// The largest limit that a word can count.
pub const LARGEST: u32 = COUNT_MASK as u32;

/// Sub-windows counted.
pub const COUNTED: u32 = 4;

const COUNT_BITS: u32 = 10;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const NUMBER_SHIFT: u32 = COUNTED * COUNT_BITS;
const COUNTS: u64 = (1 << NUMBER_SHIFT) - 1;
const NEWEST_SHIFT: u32 = NUMBER_SHIFT - COUNT_BITS;
const NUMBER_MASK: u32 = (1 << 24) - 1;
/// From here on, a number that is so far behind is ahead: by as much as another CPU's clock reading may be newer.
const AHEAD: u32 = NUMBER_MASK + 1 - (1 << 13);

/// Tries before a count is given up; each failed one means that another CPU counted.
const TRIES: usize = 2;

/// The length of a window's sub-windows, in ticks; at least one.
#[inline(always)]
pub const fn length(window: u32) -> u32 {
    let length = window.saturating_add(2) / 3;
    if length == 0 { 1 } else { length }
}

/// The number of the sub-window that `now` lies in, as a word keeps it.
#[inline(always)]
pub fn number(now: Tick, window: u32) -> u32 {
    let number = now.0.checked_div(u64::from(length(window))).unwrap_or(0);
    number as u32 & NUMBER_MASK
}

/// A word's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SubWindows(pub u64);

impl SubWindows {
    /// The number of the newest sub-window.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0 >> NUMBER_SHIFT) as u32
    }

    /// As it stands in the sub-window with this number. What lies before the four drops out.
    #[inline(always)]
    #[must_use]
    pub const fn at(self, number: u32) -> Self {
        let counts = self.0 & COUNTS;
        let moved = number.wrapping_sub(self.number()) & NUMBER_MASK;
        if counts != 0 && moved >= AHEAD {
            return self;
        }
        let kept = if moved < COUNTED { counts >> (moved * COUNT_BITS) } else { 0 };
        Self((number as u64) << NUMBER_SHIFT | kept)
    }

    /// What the four sub-windows hold together.
    #[inline(always)]
    pub const fn sum(self) -> u32 {
        let counts = self.0;
        let sum = (counts & COUNT_MASK)
            + (counts >> COUNT_BITS & COUNT_MASK)
            + (counts >> (2 * COUNT_BITS) & COUNT_MASK)
            + (counts >> NEWEST_SHIFT & COUNT_MASK);
        sum as u32
    }

    /// The counts, the newest first.
    pub const fn counts(self) -> [u32; COUNTED as usize] {
        let mut counts = [0; COUNTED as usize];
        let mut place = 0;
        while place < COUNTED as usize {
            let shift = NEWEST_SHIFT - place as u32 * COUNT_BITS;
            counts[place] = (self.0 >> shift & COUNT_MASK) as u32;
            place += 1;
        }
        counts
    }

    /// One more in the newest sub-window. A full count stays full.
    #[inline(always)]
    #[must_use]
    pub const fn plus_one(self) -> Self {
        let full = self.0 >> NEWEST_SHIFT & COUNT_MASK == COUNT_MASK;
        Self(self.0 + if full { 0 } else { 1 << NEWEST_SHIFT })
    }

    /// Counts as of `now` for accesses of these ages, in ticks.
    pub fn of_ages(now: Tick, window: u32, ages: impl Iterator<Item = (u32, u32)>) -> Self {
        let (newest, length) = (number(now, window), u64::from(length(window)));
        let mut counts = [0u64; COUNTED as usize];
        for (age, accesses) in ages {
            let then = now.0.saturating_sub(u64::from(age));
            let behind = (now.0 / length - then / length) as usize;
            if let Some(count) = counts.get_mut(behind) {
                *count = (*count + u64::from(accesses)).min(COUNT_MASK);
            }
        }
        let shifted = |(place, count): (usize, &u64)| count << (NEWEST_SHIFT - place as u32 * COUNT_BITS);
        Self(u64::from(newest) << NUMBER_SHIFT | counts.iter().enumerate().map(shifted).sum::<u64>())
    }

    /// The same with nothing in it, if the window is over or its number is about to be taken for a newer one.
    ///
    /// To be called on every word at least once a week; harmless at any time.
    #[must_use]
    pub fn forget_old(self, now: Tick, window: u32) -> Self {
        let number = number(now, window);
        let moved = number.wrapping_sub(self.number()) & NUMBER_MASK;
        if (COUNTED..AHEAD).contains(&moved) { Self(u64::from(number) << NUMBER_SHIFT) } else { self }
    }
}

/// Whether one more would make more than `permitted` in the window.
#[inline(always)]
pub fn is_full(word: &Word64, now: Tick, permitted: u32, window: u32) -> bool {
    SubWindows(word.load()).at(number(now, window)).sum() >= permitted
}

/// Counts one more, unless there are `bound` already. False if there are, or under contention.
#[inline(always)]
pub fn take(word: &Word64, now: Tick, window: u32, bound: u32) -> bool {
    let number = number(now, window);
    for _ in 0..TRIES {
        let before = word.load();
        let counted = SubWindows(before).at(number);
        if counted.sum() >= bound {
            return false;
        }
        if word.replace(before, counted.plus_one().0) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
