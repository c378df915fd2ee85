//! Random draws that can be repeated: the seed is printed, and `WEIR_SEED` sets it.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result};

/// The variable that repeats a run.
pub const SEED: &str = "WEIR_SEED";

/// A source of random draws with a known seed.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: u64,
    random: fastrand::Rng,
}

impl Draw {
    /// A source for the named test or demo: seeded from `WEIR_SEED`, else afresh. Prints how to repeat it.
    pub fn new(name: &str) -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(text) => text
                .trim()
                .parse()
                .with_context(|| format!("{SEED}={text:?} is no number from 0 to 2^64 - 1"))?,
            Err(_) => fastrand::u64(..),
        };
        println!("{name}: {SEED}={seed} repeats these draws");
        Ok(Self::seeded(seed))
    }

    /// A source with this seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, random: fastrand::Rng::with_seed(seed) }
    }

    /// The seed, for messages.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number in the range, both ends included.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.random.u64(range)
    }

    /// A duration in the range, in whole milliseconds.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let whole = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.u64(whole(range.start())..=whole(range.end())))
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.random.usize(..choices.len())]
    }

    /// True in `percent` of a hundred draws.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(0..100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draws = |seed| {
            let mut draw = Draw::seeded(seed);
            let range = Duration::from_millis(5)..=Duration::from_millis(900);
            (draw.number(1..=14), draw.duration(range), *draw.one_of(&[1, 2, 3]), draw.number(0..=u64::MAX))
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let mut draw = Draw::seeded(1);
        let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| draw.number(3..=5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
