//! The word against a list of every admission.

use super::*;
use proptest::prelude::*;

/// What the law does: count, then take.
fn admit(word: &Word64, now: Tick, permitted: u32, window: u32) -> bool {
    !is_full(word, now, permitted, window) && take(word, now, window, permitted)
}

proptest! {
    #[test]
    fn no_window_holds_more_than_the_limit_and_room_comes_at_most_a_sub_window_late(
        start in 1u64..1 << 40,
        permitted in 1u32..=LARGEST,
        window in 1u32..9000,
        gaps in prop::collection::vec(prop_oneof![9 => 0u64..3, 3 => 0u64..600, 1 => 0u64..40_000], 50..1500),
    ) {
        let (word, mut admitted, mut clock) = (Word64::default(), Vec::new(), start);
        let (long, sub) = (u64::from(window), u64::from(length(window)));
        for gap in gaps {
            clock += gap;
            let within = |length: u64| admitted.iter().filter(|then| clock - **then < length).count();
            let (in_window, in_four) = (within(long), within(4 * sub));
            if admit(&word, Tick(clock), permitted, window) {
                prop_assert!(in_window < permitted as usize, "early at {}", clock);
                admitted.push(clock);
            } else {
                prop_assert!(in_four >= permitted as usize, "late at {}", clock);
            }
        }
    }

    #[test]
    fn a_rewritten_word_holds_what_the_ages_say(
        now in 1u64 << 33..1 << 40, window in 3u32..100_000, ages in prop::collection::vec(0u32..200_000, 0..40),
    ) {
        let word = SubWindows::of_ages(Tick(now), window, ages.iter().map(|age| (*age, 1)));
        let model = Word64::default();
        let mut sorted = ages.clone();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        for age in sorted {
            prop_assert!(take(&model, Tick(now - u64::from(age)), window, u32::MAX));
        }
        let expected = SubWindows(model.load()).at(number(Tick(now), window));
        prop_assert_eq!(word.counts(), expected.counts());
    }

    #[test]
    fn a_slower_clock_reading_counts_in_the_newest_sub_window(
        now in 1u64 << 20..1 << 40, behind in 0u64..50, window in 3u32..60_000,
    ) {
        let word = Word64::default();
        prop_assert!(take(&word, Tick(now), window, 10));
        let newest = SubWindows(word.load()).number();
        prop_assert!(take(&word, Tick(now - behind), window, 10));
        let after = SubWindows(word.load());
        prop_assert_eq!((after.number(), after.sum()), (newest, 2));
    }
}

#[test]
fn the_wrap_of_the_number_is_nothing_special() {
    let (window, word) = (3, Word64::default());
    let wrap = 1u64 << 24;
    assert!(admit(&word, Tick(wrap - 1), 2, window) && admit(&word, Tick(wrap), 2, window));
    assert!(!admit(&word, Tick(wrap + 2), 2, window));
    assert!(admit(&word, Tick(wrap + 3), 2, window));
}

#[test]
fn what_is_old_is_forgotten_before_its_number_looks_new() {
    let (window, word) = (3, Word64::default());
    assert!(admit(&word, Tick(1), 1, window));
    let much_later = Tick((1 << 24) - (1 << 12));
    assert!(!admit(&word, much_later, 1, window), "the aliasing that forget_old is there for");
    let forgotten = SubWindows(word.load()).forget_old(Tick(1 << 22), window);
    word.store(forgotten.0);
    assert!(admit(&word, much_later, 1, window));
    let recent = SubWindows(word.load());
    assert_eq!(recent.forget_old(much_later, window), recent, "what still counts stays");
}

#[test]
fn a_full_count_stays_full_and_spills_nowhere() {
    let word = Word64::default();
    (0..3000).for_each(|_| assert!(take(&word, Tick(77), 30, u32::MAX)));
    assert_eq!(SubWindows(word.load()).counts(), [LARGEST, 0, 0, 0]);
    assert_eq!(SubWindows(word.load()).number(), 7);
}

/// All ways in which the steps (load, swap) of two CPUs with two accesses each can interleave: a search over
/// every schedule, each from the start.
#[test]
fn no_interleaving_of_two_cpus_takes_more_than_the_limit() {
    for limit in 1..=3u32 {
        for schedule in 0u32..1 << 16 {
            let word = Word64::default();
            let mut cpus = [Cpu::default(), Cpu::default()];
            for step in 0..16 {
                cpus[(schedule >> step & 1) as usize].step(&word, limit);
            }
            let taken = cpus.iter().map(|cpu| cpu.taken).sum::<u32>();
            assert!(taken <= limit, "{taken} of {limit} under schedule {schedule:#x}");
            assert_eq!(SubWindows(word.load()).sum(), taken, "what was taken is counted");
        }
    }
}

/// `take`, one memory access a step.
#[derive(Default)]
struct Cpu {
    read: Option<u64>,
    tries: usize,
    accesses: u32,
    taken: u32,
}

impl Cpu {
    fn step(&mut self, word: &Word64, limit: u32) {
        const NUMBER: u32 = 7;
        if self.accesses == 4 {
            return;
        }
        let Some(before) = self.read.take() else {
            let before = word.load();
            if SubWindows(before).at(NUMBER).sum() >= limit {
                self.end();
            } else {
                self.read = Some(before);
            }
            return;
        };
        if word.replace(before, SubWindows(before).at(NUMBER).plus_one().0) {
            self.taken += 1;
            self.end();
        } else {
            self.tries += 1;
            if self.tries == TRIES {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        (self.accesses, self.tries) = (self.accesses + 1, 0);
    }
}

#[test]
fn two_threads_take_exactly_the_limit() {
    for permitted in [15u32, 100, 1000] {
        let word = Word64::default();
        let taken: u32 = std::thread::scope(|scope| {
            let ask = || (0..4000).map(|_| u32::from(take(&word, Tick(99), 300, permitted))).sum::<u32>();
            let threads = [scope.spawn(ask), scope.spawn(ask)];
            threads.into_iter().map(|thread| thread.join().expect("a counting thread")).sum()
        });
        assert_eq!(taken, permitted);
        assert_eq!(SubWindows(word.load()).sum(), permitted);
    }
}
