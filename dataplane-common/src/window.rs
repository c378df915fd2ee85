//! The access window: a device's last fourteen attempts or admissions, exact on several CPUs.
//!
//! A [`History`] is a ring of slots and a position. A slot holds an instant and the lap in which it was
//! written; the position is only a hint where the next slot is. The decisive step is one compare-and-swap:
//! who turns the slot of the previous lap into one of this lap has taken the place. Whoever finds the
//! place taken moves the hint on and looks again, so nobody waits for anybody. While a place is free, the
//! `permitted`-th newest before it cannot change either (it would be overwritten `14 − permitted` places
//! later), so what was compared still holds when the swap succeeds: in any window at most `permitted` are
//! admitted, whatever the CPUs, the order and the bursts (R-D2).
//!
//! Nothing here knows policies. Reading first: [`crate::tick`], for what "a window ago" means.

use crate::{
    atomic::Word32,
    opaque::forget,
    tick::{SLOT_BITS, Tick, slot_is_ahead, slot_is_within},
};

/// Attempts or admissions kept: the largest limit that is judged exactly.
pub const SLOTS: usize = 14;

/// Tries before a place is given up; each failed one means that another CPU took the place.
const TRIES: usize = 4;

/// The last fourteen instants.
#[repr(C)]
#[derive(Default)]
pub struct History {
    position: Word32,
    slots: [Word32; SLOTS],
}

/// Whether there is room for one more.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is.
    Free = 0,
    /// There is none.
    Full = 1,
    /// Another CPU took a place meanwhile: the view is out of date.
    Unclear = 2,
}

impl Room {
    /// The same, on which the verifier's paths no longer differ.
    #[inline(always)]
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self::from_number(forget(self as u32))
    }

    #[inline(always)]
    fn from_number(number: u32) -> Self {
        match number {
            0 => Room::Free,
            1 => Room::Full,
            _ => Room::Unclear,
        }
    }
}

/// A place in the ring: index and lap. A slot keeps two bits of the lap; the position keeps 28, so that a CPU which
/// was stopped between two steps does not take a much later lap for its own.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    index: u32,
    lap: u32,
}

/// A view of the ring in which a certain place was free.
pub struct View<'a> {
    history: &'a History,
    place: Place,
    free: u32,
}

impl Place {
    #[inline(always)]
    fn from_word(word: u32) -> Self {
        Self { index: word & 0xf, lap: word >> 4 }
    }

    #[inline(always)]
    fn word(self) -> u32 {
        self.index | self.lap << 4
    }

    #[inline(always)]
    fn next(self) -> Self {
        if self.index + 1 >= SLOTS as u32 {
            Self { index: 0, lap: self.lap.wrapping_add(1) }
        } else {
            Self { index: self.index + 1, lap: self.lap }
        }
    }

    /// `count` places before this one, 1 to [`SLOTS`]. Arithmetic rather than a branch, for the verifier.
    #[inline(always)]
    fn back(self, count: u32) -> Self {
        let distance = self.index.wrapping_sub(count);
        let wrapped = distance >> 31;
        Self { index: distance.wrapping_add(wrapped * SLOTS as u32), lap: self.lap.wrapping_sub(wrapped) }
    }

    /// The mark of a slot written in this lap. Lap 0 writes 1, so that a zeroed ring is one lap behind.
    #[inline(always)]
    fn mark(self) -> u32 {
        self.lap.wrapping_add(1) & 3
    }
}

#[inline(always)]
fn mark_of(slot: u32) -> u32 {
    slot & 3
}

#[inline(always)]
fn instant_of(slot: u32) -> u32 {
    slot >> 2
}

impl View<'_> {
    /// Whether one more would make more than `permitted` in the window.
    ///
    /// `permitted` above [`SLOTS`] is judged as [`SLOTS`]: user space refuses to configure it.
    #[inline(always)]
    pub fn room(&self, now: Tick, permitted: u32, window: u32) -> Room {
        Room::from_number(self.room_number(now, permitted, window)).forgotten()
    }

    #[inline(always)]
    fn room_number(&self, now: Tick, permitted: u32, window: u32) -> u32 {
        if permitted == 0 {
            return Room::Full as u32;
        }
        let place = self.place.back(if permitted > SLOTS as u32 { SLOTS as u32 } else { permitted });
        let Some(slot) = self.history.slot(place.index) else { return Room::Unclear as u32 };
        let slot = slot.load();
        if slot == 0 {
            return Room::Free as u32;
        }
        if mark_of(slot) != place.mark() {
            return Room::Unclear as u32;
        }
        u32::from(slot_is_within(instant_of(slot), now, window))
    }

    /// Takes the free place for this instant. False if another CPU took it meanwhile: what this view said
    /// about room holds no longer, and nothing was written.
    #[inline(always)]
    pub fn take(&self, now: Tick) -> bool {
        let Some(slot) = self.history.slot(self.place.index) else { return false };
        // Never backwards: another CPU's clock reading may be newer than ours.
        let newest = match self.history.slot(self.place.back(1).index) {
            Some(slot) => slot.load(),
            None => 0,
        };
        let ahead = newest != 0 && slot_is_ahead(instant_of(newest), now);
        let instant = if ahead { instant_of(newest) } else { now.0 as u32 & ((1 << SLOT_BITS) - 1) };
        // A slot is zero only if it was never written.
        let instant = if instant == 0 { 1 } else { instant };
        if !slot.replace(self.free, instant << 2 | self.place.mark()) {
            return false;
        }
        self.history.position.replace(self.place.word(), self.place.next().word());
        true
    }
}

impl History {
    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&Word32> {
        self.slots.get(index as usize)
    }

    /// The place that the hint shows, if it is free; otherwise moves the hint on for whoever took it.
    #[inline(always)]
    fn look(&self) -> Option<View<'_>> {
        let place = Place::from_word(self.position.load());
        let free = self.slot(place.index)?.load();
        // What was read belongs to this lap only if the others have not gone on meanwhile.
        if self.position.load() != place.word() {
            return None;
        }
        if mark_of(free) == place.mark() {
            self.position.replace(place.word(), place.next().word());
            return None;
        }
        Some(View { history: self, place, free })
    }

    /// A view with a free place. `None` if other CPUs took place after place.
    #[inline(always)]
    pub fn view(&self) -> Option<View<'_>> {
        for _ in 0..TRIES {
            if let Some(view) = self.look() {
                return Some(view);
            }
        }
        None
    }

    /// Whether one more would make more than `permitted` in the window. Contention counts as full.
    #[inline(always)]
    pub fn is_full(&self, now: Tick, permitted: u32, window: u32) -> bool {
        // The second look is past what another CPU had just taken.
        match self.look().or_else(|| self.look()) {
            Some(view) => view.room(now, permitted, window) != Room::Free,
            None => true,
        }
    }

    /// Takes the next place whatever stands in the ring; false only under contention.
    #[inline(always)]
    pub fn record(&self, now: Tick) -> bool {
        for _ in 0..TRIES {
            if self.look().is_some_and(|view| view.take(now)) {
                return true;
            }
        }
        false
    }

    /// Ages in ticks of what the ring holds, newest first. For user space: not one instant's view.
    #[cfg(not(target_arch = "bpf"))]
    pub fn ages(&self, now: Tick) -> impl Iterator<Item = u32> + '_ {
        let place = Place::from_word(self.position.load());
        let taken = self.slot(place.index).is_some_and(|slot| mark_of(slot.load()) == place.mark());
        let head = if taken { place.next() } else { place };
        (1..=SLOTS as u32)
            .filter_map(move |count| self.slot(head.back(count).index).map(Word32::load))
            .filter(|slot| *slot != 0)
            .map(move |slot| crate::tick::slot_age(instant_of(slot), now))
    }

    /// How many lie within the window. For user space: not one instant's view.
    #[cfg(not(target_arch = "bpf"))]
    pub fn count_within(&self, now: Tick, window: u32) -> u32 {
        self.ages(now).filter(|age| *age < window).count() as u32
    }

    /// Forgets everything. For an entry that is about to be another device's.
    #[cfg(not(target_arch = "bpf"))]
    pub fn clear(&self) {
        self.slots.iter().chain([&self.position]).for_each(|word| word.store(0));
    }

    /// Re-dates what is older than `age` to exactly that age, so that it stays old when instants wrap.
    ///
    /// To be called at least every few days on entries of idle devices; harmless at any time.
    #[cfg(not(target_arch = "bpf"))]
    pub fn keep_old(&self, now: Tick, age: u32) {
        for word in &self.slots {
            let slot = word.load();
            if slot != 0 && crate::tick::slot_age(instant_of(slot), now) > age {
                let instant = (now.0 as u32).wrapping_sub(age) & ((1 << SLOT_BITS) - 1);
                // A failed swap means that the slot was just written: it is not old.
                word.replace(slot, if instant == 0 { 1 } else { instant } << 2 | mark_of(slot));
            }
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, thread};

    /// Keeps every instant and counts.
    #[derive(Default)]
    struct SlowWindow(VecDeque<u64>);

    impl SlowWindow {
        fn is_full(&self, now: u64, permitted: usize, window: u64) -> bool {
            self.0.iter().filter(|instant| now - **instant < window).count() >= permitted
        }
    }

    /// What the law does: judge a view, then take its place.
    fn admit(ring: &History, now: Tick, permitted: u32, window: u32) -> bool {
        let Some(view) = ring.view() else { return false };
        view.room(now, permitted, window) == Room::Free && view.take(now)
    }

    proptest! {
        #[test]
        fn the_ring_admits_exactly_what_a_list_of_all_instants_admits(
            start in 1u64..1 << 33,
            permitted in 1usize..=SLOTS,
            window in 1u64..5000,
            gaps in prop::collection::vec(prop_oneof![0u64..4, 0u64..3000, Just(1u64 << 28)], 1..300),
        ) {
            let (ring, mut model) = (History::default(), SlowWindow::default());
            let mut clock = start;
            for gap in gaps {
                clock += gap;
                let now = Tick::from_nanos(clock << 20);
                ring.keep_old(now, 1 << 28);
                let admitted = admit(&ring, now, permitted as u32, window as u32);
                prop_assert_eq!(admitted, !model.is_full(clock, permitted, window), "at {}", clock);
                if admitted { model.0.push_back(clock); }
                let within = model.0.iter().filter(|instant| clock - **instant < window).count();
                prop_assert_eq!(ring.count_within(now, window as u32) as usize, within);
            }
        }

        #[test]
        fn another_limit_reads_the_same_history(
            permitted in 1u32..=14, other in 1u32..=14, window in 1u64..3000, other_window in 1u64..3000,
            gaps in prop::collection::vec(0u64..400, 20..100),
        ) {
            let (ring, mut model) = (History::default(), SlowWindow::default());
            let mut clock = 1000;
            for gap in gaps {
                clock += gap;
                let now = Tick::from_nanos(clock << 20);
                prop_assert_eq!(
                    ring.is_full(now, other, other_window as u32),
                    model.is_full(clock, other as usize, other_window)
                );
                if admit(&ring, now, permitted, window as u32) { model.0.push_back(clock); }
            }
        }
    }

    #[test]
    fn a_slower_clock_reading_never_moves_the_newest_instant_back() {
        let ring = History::default();
        assert!(ring.record(Tick(1000)) && ring.record(Tick(990)));
        assert_eq!(ring.ages(Tick(1000)).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn idle_for_thirteen_days_looks_recent_unless_kept_old() {
        let wrap = 1u64 << SLOT_BITS;
        let ring = History::default();
        assert!(ring.record(Tick(1000)));
        assert!(ring.is_full(Tick(1000 + wrap), 1, 60), "the aliasing that keep_old is there for");
        let age = 1 << (SLOT_BITS - 2);
        ring.keep_old(Tick(1000 + wrap / 2), age);
        ring.keep_old(Tick(1000 + wrap), age);
        assert!(!ring.is_full(Tick(1000 + wrap), 1, 60));
        assert!(admit(&ring, Tick(1000 + wrap), 1, 60));
        assert!(ring.is_full(Tick(1001 + wrap), 1, 60), "and the ring goes on as before");
    }

    #[test]
    fn two_threads_never_admit_more_than_the_limit_in_one_instant() {
        for permitted in [1u32, 2, 5, 13, 14] {
            for round in 0..200u32 {
                let ring = History::default();
                // Laps already behind, so that every mark occurs.
                (0..round % 60).for_each(|_| assert!(ring.record(Tick(10))));
                let now = Tick(1_000_000);
                let admitted: usize = thread::scope(|scope| {
                    let count = || (0..12).filter(|_| admit(&ring, now, permitted, 60)).count();
                    let threads = [scope.spawn(count), scope.spawn(count)];
                    threads.into_iter().map(|thread| thread.join().expect("a counting thread")).sum()
                });
                assert!(admitted <= permitted as usize, "{admitted} of {permitted} in round {round}");
                assert_eq!(ring.count_within(now, 60) as usize, admitted);
            }
        }
    }
}
