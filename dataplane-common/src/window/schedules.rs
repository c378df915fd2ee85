//! Every order in which the memory steps of two CPUs can interleave in a ring, and many orders of three.
//!
//! A CPU here is the ring's own algorithm, one load or swap a step: look (position, slot, position again), judge
//! (the `permitted`-th newest), take (newest, swap, hint). The steps call the ring's own parts, so that what is
//! shown holds for them.

use super::*;
use proptest::prelude::*;

const NOW: Tick = Tick(1_000_000);
const WINDOW: u32 = 60;

/// Where a CPU stands between two steps.
#[derive(Clone, Copy)]
enum At {
    Start,
    Looked(Place),
    Read(Place, u32),
    Checked(Place, u32),
    MoveOn(Place),
    Judged(Place, u32),
    Dated(Place, u32, u32),
    Taken(Place),
    Done,
}

#[derive(Clone, Copy)]
struct Cpu {
    at: At,
    tries: usize,
    now: Tick,
    window: u32,
    admitted: bool,
}

impl Cpu {
    fn new(now: Tick) -> Self {
        Self { at: At::Start, tries: 0, now, window: WINDOW, admitted: false }
    }

    fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// One memory access.
    fn step(&mut self, ring: &History, permitted: u32) {
        let slot = |index: u32| &ring.slots[index as usize];
        self.at = match self.at {
            At::Start => At::Looked(Place::from_word(ring.position.load())),
            At::Looked(place) => At::Read(place, slot(place.index).load()),
            At::Read(place, _) if ring.position.load() != place.word() => self.again(),
            At::Read(place, free) if mark_of(free) == place.mark() => At::MoveOn(place),
            At::Read(place, free) => At::Checked(place, free),
            At::MoveOn(place) => {
                ring.position.replace(place.word(), place.next().word());
                self.again()
            }
            At::Checked(place, free) => {
                // One load, of the `permitted`-th newest.
                let view = View { history: ring, place, free };
                if view.room(self.now, permitted, self.window) == Room::Free {
                    At::Judged(place, free)
                } else {
                    At::Done
                }
            }
            At::Judged(place, free) => At::Dated(place, free, slot(place.back(1).index).load()),
            At::Dated(place, free, newest) => {
                let ahead = newest != 0 && slot_is_ahead(instant_of(newest), self.now);
                let instant = if ahead { instant_of(newest) } else { self.now.0 as u32 };
                self.admitted = slot(place.index).replace(free, instant << 2 | place.mark());
                if self.admitted { At::Taken(place) } else { At::Done }
            }
            At::Taken(place) => {
                ring.position.replace(place.word(), place.next().word());
                At::Done
            }
            At::Done => At::Done,
        }
    }

    fn again(&mut self) -> At {
        self.tries += 1;
        if self.tries == TRIES { At::Done } else { At::Start }
    }

    /// All its remaining steps.
    fn finish(&mut self, ring: &History, permitted: u32) {
        while !self.is_done() {
            self.step(ring, permitted);
        }
    }
}

/// A copy, as a schedule begins anew from it.
fn copy(ring: &History) -> History {
    let copy = History::default();
    copy.position.store(ring.position.load());
    copy.slots.iter().zip(&ring.slots).for_each(|(to, from)| to.store(from.load()));
    copy
}

/// So many admissions long ago and so many just now.
fn ring(old: u32, recent: u32) -> History {
    let ring = History::default();
    (0..old).for_each(|_| assert!(ring.record(Tick(10))));
    (0..recent).for_each(|_| assert!(ring.record(NOW)));
    ring
}

/// Follows every schedule of the CPUs from here on; at each end the ring is checked.
fn every_schedule(
    ring: &History,
    cpus: [Cpu; 2],
    permitted: u32,
    check: &mut impl FnMut(&History, [Cpu; 2]),
) {
    if cpus.iter().all(Cpu::is_done) {
        return check(ring, cpus);
    }
    for turn in (0..2).filter(|turn| !cpus[*turn].is_done()) {
        let (ring, mut cpus) = (copy(ring), cpus);
        cpus[turn].step(&ring, permitted);
        every_schedule(&ring, cpus, permitted, check);
    }
}

/// The admissions are all there, in time's order, and no more than the limit; whoever comes next is judged by them.
fn check(ring: &History, permitted: u32, admitted: u32) {
    assert!(admitted <= permitted, "{admitted} of {permitted}");
    assert_eq!(ring.count_within(NOW, WINDOW), admitted, "what was admitted is kept");
    let ages: Vec<u32> = ring.ages(NOW).collect();
    assert!(ages.is_sorted(), "{ages:?}");
    let mut next = Cpu::new(NOW);
    next.finish(ring, permitted);
    assert_eq!(next.admitted, admitted < permitted, "nobody is locked out, nobody slips in");
}

#[test]
fn no_schedule_of_two_cpus_admits_more_than_the_limit_or_loses_an_admission() {
    let mut schedules = 0u32;
    // Whole laps, so that every mark and the step from the last slot to the first occur.
    for old in [0, 12, 13, 14, 27, 41, 55] {
        for (permitted, recent) in [(1, 0), (2, 1), (3, 1), (14, 13)] {
            // The second CPU's reading of the clock is older.
            let cpus = [Cpu::new(NOW), Cpu::new(Tick(NOW.0 - 4))];
            every_schedule(&ring(old, recent), cpus, permitted, &mut |ring, cpus| {
                schedules += 1;
                let admitted = cpus.iter().filter(|cpu| cpu.admitted).count() as u32;
                check(ring, permitted, recent + admitted);
                assert!(admitted > 0, "of several one is admitted");
            });
        }
    }
    assert!(schedules > 50_000, "{schedules} schedules");
}

#[test]
fn a_cpu_stopped_between_any_two_steps_for_laps_of_others_does_no_harm() {
    for stop in 0..12 {
        for others in (0..=4 * SLOTS as u32 + 2).chain(100..=130) {
            let ring = ring(3, 0);
            let cpu = |now| Cpu { window: 2, ..Cpu::new(now) };
            let mut stopped = cpu(Tick(20));
            (0..stop).for_each(|_| stopped.step(&ring, 1));
            let before = stopped.admitted;
            // Each of them a window after the one before; all within the time that a reading may be behind.
            let at = |number: u32| Tick(1000 + u64::from(number * 2));
            for number in 0..others {
                let mut other = cpu(at(number));
                other.finish(&ring, 1);
                assert!(other.admitted, "other {number} of {others} after step {stop}");
            }
            stopped.finish(&ring, 1);
            assert!(before || others == 0 || !stopped.admitted, "its view was of another time");
            let mut next = cpu(at(others));
            next.finish(&ring, 1);
            assert!(next.admitted, "the ring goes on: {others} others after step {stop}");
            next = cpu(at(others));
            next.finish(&ring, 1);
            assert!(!next.admitted, "and counts: {others} others after step {stop}");
        }
    }
}

proptest! {
    #[test]
    fn three_cpus_in_any_order_admit_no_more_than_the_limit(
        old in 0u32..60,
        (permitted, recent) in (1u32..=14).prop_flat_map(|permitted| (Just(permitted), 0..permitted)),
        skews in prop::array::uniform3(0u64..8),
        turns in prop::collection::vec(0usize..3, 100),
    ) {
        let ring = ring(old, recent);
        let mut cpus = skews.map(|skew| Cpu::new(Tick(NOW.0 - skew)));
        for turn in turns {
            cpus[turn].step(&ring, permitted);
        }
        cpus.iter_mut().for_each(|cpu| cpu.finish(&ring, permitted));
        let admitted = recent + cpus.iter().filter(|cpu| cpu.admitted).count() as u32;
        check(&ring, permitted, admitted);
    }

    /// R-D2 over a clock that is read on several CPUs: each reading up to four seconds behind the newest.
    #[test]
    fn readings_of_the_clock_that_are_behind_admit_nothing_early(
        permitted in 1u32..=SLOTS as u32, window in 2u32..5000,
        readings in prop::collection::vec((0u64..400, 0u64..4000), 20..200),
    ) {
        let (ring, mut newest, mut admitted) = (History::default(), 1u64 << 20, Vec::new());
        for (gap, behind) in readings {
            newest += gap;
            let view = ring.view().expect("one CPU at a time");
            let now = Tick(newest - behind);
            if view.room(now, permitted, window) == Room::Free && view.take(now) {
                // In truth it happens at the newest instant; by the clock, no later.
                admitted.push(newest);
            }
        }
        let reach = u64::from(window).saturating_sub(4000);
        let early = admitted.windows(permitted as usize + 1).find(|some| some[permitted as usize] - some[0] < reach);
        prop_assert_eq!(early, None);
    }
}
