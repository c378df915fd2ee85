//! Capturing: which judged packets are copied to user space, and how a copy is laid out.
//!
//! Not part of the law: nothing here may change a verdict, and a node that captures nothing has none of it in its
//! loaded program (`Settings::capture`). What a verdict was is in its reason, so "what was dropped" is a set of
//! reasons. Who may write a field is said beside it: K kernel, U user space.
//!
//! Read first: `admit.rs` for the judgement, `reason.rs` for the list.

use crate::{
    abi::{NO_INDEX, Side},
    atomic::Word64,
    reason::{REASONS, Reason, Verdict},
};

/// The most bytes of a frame that a copy holds: whatever fits beside its head into a page.
pub const LONGEST_SNAP: usize = 4064;
/// [`Filter::entry`]: packets of any device, and of none.
pub const ANY_ENTRY: u32 = NO_INDEX;
/// Bytes of a [`Record`] before its frame.
pub const HEAD: usize = 32;
/// How often the count of a second is tried before a packet is refused as one too many.
const TRIES: u32 = 4;

/// What is to be copied. One element of a memory-mapped array; written while no program looks at it.
#[repr(C)]
#[derive(Default)]
pub struct Filter {
    /// A bit for each reason's number (U).
    pub reasons: u64,
    /// How many were copied in which second, see [`Filter::has_room`] (K).
    pub taken: Word64,
    /// A device's primary entry, or [`ANY_ENTRY`] (U).
    pub entry: u32,
    /// A bit for each [`Side`]'s number (U).
    pub sides: u32,
    /// One packet in so many, at random; 0 and 1: all (U).
    pub sample: u32,
    /// Bytes of a frame to copy; at most [`LONGEST_SNAP`] (U).
    pub snap: u32,
    /// Copies in a second, over all CPUs (U).
    pub per_second: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// What the filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The reason's number.
    pub reason: u32,
    /// That of the reason for which a node that only watches would have dropped it; else the same as `reason`.
    pub in_earnest: u32,
    /// The device's primary entry, or [`NO_INDEX`].
    pub entry: u32,
    /// Where the packet came in.
    pub side: Side,
}

/// A judged packet on its way to user space: this head, then `captured` bytes of the frame.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// When, on the monotonic clock, ns.
    pub nanos: u64,
    /// The interface it came in on.
    pub ifindex: u32,
    /// The device's primary entry, or [`NO_INDEX`].
    pub entry: u32,
    /// The frame's length on the wire.
    pub frame_length: u32,
    /// Bytes of `frame` in use.
    pub captured: u32,
    /// The reason's number.
    pub reason: u8,
    /// The [`Side`]'s number.
    pub side: u8,
    /// [`Facts::in_earnest`].
    pub in_earnest: u8,
    /// Explicit padding.
    pub padding: [u8; 5],
    /// The frame's beginning.
    pub frame: [u8; LONGEST_SNAP],
}

/// Why a wanted packet was not copied: places in the counters of losses.
pub mod loss {
    /// The ring had no room.
    pub const RING_FULL: u32 = 0;
    /// The second had its number of copies.
    pub const OVER_RATE: u32 = 1;
    /// How many there are.
    pub const LOSSES: u32 = 2;
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Filter>() == 40 && offset_of!(Filter, taken) == 8);
    assert!(size_of::<Record>() == 4096 && offset_of!(Record, frame) == HEAD);
    // One word has a bit for each reason.
    assert!(REASONS == 64);
};

/// The bit of a reason in [`Filter::reasons`].
pub const fn reason_bit(reason: Reason) -> u64 {
    1 << reason as u8
}

/// The bits of all reasons with this verdict, those that are yet to be invented included.
pub const fn reasons_of(verdict: Verdict) -> u64 {
    let (mut number, mut bits) = (0, 0);
    while number < REASONS as u32 {
        if Reason::verdict_of(number) as u8 == verdict as u8 {
            bits |= 1 << number;
        }
        number += 1;
    }
    bits
}

/// Whether a packet is one that the filter asks for; chance and rate come after.
#[inline(always)]
pub fn wanted(filter: &Filter, facts: Facts) -> bool {
    let of_reason = (filter.reasons >> (facts.reason & 63) | filter.reasons >> (facts.in_earnest & 63)) & 1;
    let of_side = u64::from(filter.sides >> facts.side as u32 & 1);
    let of_entry = filter.entry == ANY_ENTRY || filter.entry == facts.entry;
    of_reason & of_side != 0 && of_entry
}

impl Filter {
    /// Whether chance has it that this packet is one of the sample.
    #[inline(always)]
    pub fn drawn(&self, random: u32) -> bool {
        // The upper half of a product: evenly spread, without a division.
        (u64::from(random) * u64::from(self.sample)) >> 32 == 0
    }

    /// Takes one of the second's places; exact on any number of CPUs. False if there is none left, or if too
    /// many CPUs want one at once.
    #[inline(always)]
    pub fn has_room(&self, second: u32) -> bool {
        for _ in 0..TRIES {
            let old = self.taken.load();
            // A second that another CPU has begun is not ended by one that looked at the clock before.
            let begins = second > (old >> 32) as u32;
            let taken = if begins { 0 } else { old as u32 };
            if taken >= self.per_second {
                return false;
            }
            let new = if begins { u64::from(second) << 32 | 1 } else { old + 1 };
            if self.taken.replace(old, new) {
                return true;
            }
        }
        false
    }

    /// Bytes to copy of a frame of this length.
    #[inline(always)]
    pub fn snapped(&self, length: u32) -> u32 {
        let most = if self.snap < LONGEST_SNAP as u32 { self.snap } else { LONGEST_SNAP as u32 };
        if length < most { length } else { most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything, at any rate.
    fn everything() -> Filter {
        Filter {
            reasons: u64::MAX,
            entry: ANY_ENTRY,
            sides: 3,
            snap: LONGEST_SNAP as u32,
            per_second: u32::MAX,
            ..Filter::default()
        }
    }

    fn sides() -> impl Strategy<Value = Side> {
        prop_oneof![Just(Side::Access), Just(Side::Network)]
    }

    /// What an operator means, said with sets.
    fn meant(reasons: &[Reason], sides: &[Side], device: Option<u32>, facts: Facts) -> bool {
        reasons.iter().any(|reason| [facts.reason, facts.in_earnest].contains(&(*reason as u32)))
            && sides.contains(&facts.side)
            && device.is_none_or(|device| device == facts.entry)
    }

    proptest! {
        #[test]
        fn the_filter_takes_what_the_sets_name(
            reasons in prop::collection::vec(prop::sample::select(Reason::ALL), 0..8),
            chosen in prop::collection::vec(sides(), 0..3),
            device in prop::option::of(0u32..4),
            reason in prop::sample::select(Reason::ALL),
            in_earnest in prop::sample::select(Reason::ALL),
            entry in prop_oneof![0u32..4, Just(NO_INDEX)],
            side in sides(),
        ) {
            let filter = Filter {
                reasons: reasons.iter().fold(0, |bits, reason| bits | reason_bit(*reason)),
                sides: chosen.iter().fold(0, |bits, side| bits | 1 << *side as u32),
                entry: device.unwrap_or(ANY_ENTRY),
                ..everything()
            };
            let facts = Facts { reason: reason as u32, in_earnest: in_earnest as u32, entry, side };
            prop_assert_eq!(wanted(&filter, facts), meant(&reasons, &chosen, device, facts));
        }

        #[test]
        fn no_second_has_more_copies_than_its_number_and_none_is_left_out_below_it(
            per_second in 0u32..6, steps in prop::collection::vec(0u32..3, 0..60),
        ) {
            let filter = Filter { per_second, ..everything() };
            let (mut second, mut taken) = (0, 0);
            for step in steps {
                if step == 2 {
                    (second, taken) = (second + 1, 0);
                }
                prop_assert_eq!(filter.has_room(second), taken < per_second);
                taken = (taken + 1).min(per_second);
            }
        }
    }

    #[test]
    fn every_reason_has_one_verdict_and_both_together_are_all() {
        let (passed, dropped) = (reasons_of(Verdict::Pass), reasons_of(Verdict::Drop));
        assert_eq!((passed & dropped, passed | dropped), (0, u64::MAX));
        for reason in Reason::ALL {
            assert_ne!(reasons_of(reason.verdict()) & reason_bit(*reason), 0, "{reason:?}");
        }
    }

    #[test]
    fn a_clock_read_before_a_new_second_began_counts_in_the_new_one() {
        let filter = Filter { per_second: 2, ..everything() };
        assert_eq!([8, 7, 8, 7, 9].map(|second| filter.has_room(second)), [true, true, false, false, true]);
    }

    #[test]
    fn several_cpus_share_the_places_of_a_second() {
        let filter = Filter { per_second: 1000, ..everything() };
        let taken = std::thread::scope(|scope| {
            let cpu = || (0..2000).filter(|_| filter.has_room(1)).count();
            let cpus = [scope.spawn(cpu), scope.spawn(cpu)];
            cpus.map(|cpu| cpu.join().expect("no panic")).iter().sum::<usize>()
        });
        assert_eq!((taken, filter.taken.load() as u32), (1000, 1000));
    }

    #[test]
    fn a_sample_of_one_in_n_is_the_lowest_nth_of_all_draws() {
        let one_in = |sample| Filter { sample, ..everything() };
        assert!([0, 1].iter().all(|sample| one_in(*sample).drawn(u32::MAX)));
        let quarter = one_in(4);
        assert!(quarter.drawn(0) && quarter.drawn((1 << 30) - 1) && !quarter.drawn(1 << 30));
    }

    #[test]
    fn no_more_is_copied_than_there_is_asked_for_or_fits() {
        let snap = |snap| Filter { snap, ..everything() };
        assert_eq!([snap(64).snapped(60), snap(64).snapped(1500), snap(0).snapped(60)], [60, 64, 0]);
        assert_eq!(snap(u32::MAX).snapped(9000), LONGEST_SNAP as u32);
    }
}
