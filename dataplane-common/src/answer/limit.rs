//! How many answers a node sends: one word for all its CPUs.
//!
//! The word is the instant at which the answers sent so far would have been due at an even pace (GCRA). Bursts of a
//! tenth of a second's answers go ahead of the pace, so no second sees more than the limit, a tenth, and one.
//! Whoever moves the word by compare-and-swap owns the answer. Nothing here knows what an answer is.

use crate::atomic::Word64;

/// Tries of a CPU before it leaves the answer to the others.
const TRIES: usize = 4;
const SECOND_NS: u64 = 1_000_000_000;

/// A node's limit: when the next answer would be due, ns of the kernel's monotonic clock.
#[repr(transparent)]
#[derive(Default)]
pub struct Limit(Word64);

impl Limit {
    /// Whether [`Limit::take`] would have room: to ask before the answer is built.
    #[inline(always)]
    pub fn has_room(&self, now_ns: u64, per_second: u32) -> bool {
        self.0.load() <= latest(now_ns, per_second)
    }

    /// Takes room for one answer; false if there is none.
    #[inline(always)]
    pub fn take(&self, now_ns: u64, per_second: u32) -> bool {
        let (latest, interval) = (latest(now_ns, per_second), interval(per_second));
        for _ in 0..TRIES {
            let due = self.0.load();
            if due > latest {
                return false;
            }
            let next = if due > now_ns { due } else { now_ns } + interval;
            if self.0.replace(due, next) {
                return true;
            }
        }
        false
    }
}

/// Nanoseconds between two answers at an even pace; one in a second at the least.
#[inline(always)]
fn interval(per_second: u32) -> u64 {
    // Not `/`, which would bring a panic into the program.
    SECOND_NS.checked_div(u64::from(per_second)).unwrap_or(SECOND_NS)
}

/// How far ahead the word may be for one more answer.
#[inline(always)]
fn latest(now_ns: u64, per_second: u32) -> u64 {
    let burst = u64::from(per_second) / 10;
    now_ns + if burst > 1 { (burst - 1) * interval(per_second) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_is_a_tenth_of_a_seconds_answers_and_at_least_one() {
        for (per_second, burst) in [(1, 1), (10, 1), (19, 1), (100, 10), (10_000, 1000)] {
            let limit = Limit::default();
            let taken = (0..20_000).filter(|_| limit.take(SECOND_NS, per_second)).count();
            assert_eq!(taken, burst, "{per_second} a second");
        }
    }

    #[test]
    fn asking_takes_nothing() {
        let limit = Limit::default();
        assert!((0..100).all(|_| limit.has_room(SECOND_NS, 1)));
        assert!(limit.take(SECOND_NS, 1) && !limit.has_room(SECOND_NS, 1));
        assert!(limit.has_room(2 * SECOND_NS, 1));
    }

    #[test]
    fn under_constant_demand_the_pace_is_the_limit() {
        for per_second in [1, 100, 10_000] {
            let limit = Limit::default();
            // The coarse clock's step, and more demand in it than the limit has room for.
            let steps = (0..10 * SECOND_NS).step_by(4 * MILLISECOND as usize);
            let taken: usize =
                steps.map(|ns| (0..60).filter(|_| limit.take(SECOND_NS + ns, per_second)).count()).sum();
            let expected = 10 * per_second as usize;
            assert!(
                (expected..=expected + expected / 50 + 1).contains(&taken),
                "{taken} at {per_second} a second"
            );
        }
    }

    #[test]
    fn several_cpus_share_one_limit() {
        let limit = Limit::default();
        let taken = thread::scope(|scope| {
            let demand = || (0..5000).filter(|_| limit.take(SECOND_NS, 10_000)).count();
            let cpus = [scope.spawn(demand), scope.spawn(demand), scope.spawn(demand)];
            cpus.map(|cpu| cpu.join().expect("no panic")).iter().sum::<usize>()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_the_limit_a_tenth_and_one(
            per_second in 1u32..500, gaps in prop::collection::vec(0u64..20 * MILLISECOND, 1..2000),
        ) {
            let limit = Limit::default();
            let mut now = 5 * SECOND_NS;
            let mut sent = Vec::new();
            for gap in gaps {
                now += gap;
                if limit.take(now, per_second) {
                    sent.push(now);
                }
            }
            for (first, start) in sent.iter().enumerate() {
                let within = sent[first..].iter().take_while(|instant| **instant < start + SECOND_NS).count();
                prop_assert!(within as u32 <= per_second + per_second / 10 + 1, "{} in a second", within);
            }
        }
    }
}
