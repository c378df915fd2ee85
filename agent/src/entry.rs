//! What user space writes into a live entry, while the kernel does the same.
//!
//! What must change together is in the control word and changes in one compare-and-swap: a cancel that
//! cleared the alarm before it set the profile would let the next request alarm again. Instants are
//! written before the bit that makes them count.

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, Control, Entry, HELD, NOT_M2M, REDEEM, STATUS_REJECT,
        STATUS_THROTTLED,
    },
    tick::Tick,
};

/// What becomes of an active alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Unchanged,
    /// It is cleared; a held access may redeem itself.
    Cancel,
    /// It is active; a held access is discarded.
    Reject,
}

/// What an entry shall say from now on.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// The profile's number.
    pub profile: u32,
    /// Throttled until then.
    pub throttled_until: Option<Tick>,
    /// Rejected until then.
    pub rejected: Option<Rejected>,
    /// Never to alarm.
    pub not_m2m: bool,
    /// What becomes of an alarm.
    pub fate: Fate,
    /// The open session ends.
    pub release_session: bool,
    /// Marks the update.
    pub generation: u16,
}

impl Instruction {
    /// No policies, no status; an alarm stays as it is.
    pub const fn nothing_cached(generation: u16) -> Self {
        Self {
            profile: 0,
            throttled_until: None,
            rejected: None,
            not_m2m: false,
            fate: Fate::Unchanged,
            release_session: false,
            generation,
        }
    }
}

/// How long a rejecting status stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Until then.
    Until(Tick),
    /// Until further notice.
    FurtherNotice,
}

/// Writes an instruction; returns the control word that was replaced.
pub fn write(entry: &Entry, instruction: &Instruction) -> Control {
    if let Some(until) = instruction.throttled_until {
        prolong_throttle(entry, instruction.profile, until);
    }
    if let Some(rejected) = instruction.rejected {
        entry.rejected_until.store(match rejected {
            Rejected::Until(until) => until.0,
            Rejected::FurtherNotice => 0,
        });
    }
    let replaced = change(entry, |old| instructed(old, instruction));
    if instruction.release_session {
        close_session(entry);
    }
    replaced
}

/// Control may know of the throttle for a shorter time than the node that began it.
fn prolong_throttle(entry: &Entry, profile: u32, until: Tick) {
    let control = Control(entry.control.load());
    let own = entry.throttled_until.load();
    let runs_longer = own != 0 && own.wrapping_sub(until.0) as i32 > 0;
    if control.has(STATUS_THROTTLED) && control.profile() == profile && runs_longer {
        return;
    }
    entry.throttled_until.store(until.0);
}

/// Takes notice of a raised alarm: true if it was not known yet.
pub fn notice_alarm(entry: &Entry) -> bool {
    let seen = |old: Control| {
        if old.has(ALARM_UNSEEN) { old.without(ALARM_UNSEEN).with(ALARM_SEEN) } else { old }
    };
    change(entry, seen).has(ALARM_UNSEEN)
}

fn instructed(old: Control, instruction: &Instruction) -> Control {
    let mut new = old.with_profile(instruction.profile).with_generation(instruction.generation);
    // A throttle that this node began itself runs on under the same policies.
    let own_throttle = old.profile() == instruction.profile && old.has(STATUS_THROTTLED);
    new = set(new, STATUS_THROTTLED, instruction.throttled_until.is_some() || own_throttle);
    new = set(new, STATUS_REJECT, instruction.rejected.is_some());
    new = set(new, NOT_M2M, instruction.not_m2m);
    match instruction.fate {
        Fate::Unchanged => new,
        Fate::Cancel => set(new.without(ALARM_ACTIVE | HELD), REDEEM, old.has(HELD | REDEEM)),
        Fate::Reject => new.without(ALARM_UNSEEN | HELD | REDEEM).with(ALARM_SEEN),
    }
}

fn set(control: Control, bits: u64, on: bool) -> Control {
    if on { control.with(bits) } else { control.without(bits) }
}

/// Swaps until nobody came between; the kernel's own changes are rare.
fn change(entry: &Entry, new: impl Fn(Control) -> Control) -> Control {
    loop {
        let old = Control(entry.control.load());
        if entry.control.replace(old.0, new(old).0) {
            return old;
        }
    }
}

fn close_session(entry: &Entry) {
    while !entry.session.replace(entry.session.load(), 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::abi::VALID;

    fn instruction(fate: Fate) -> Instruction {
        Instruction { profile: 7, fate, ..Instruction::nothing_cached(3) }
    }

    fn entry(bits: u64) -> Entry {
        let entry = Entry::default();
        entry.control.store(VALID | bits);
        entry
    }

    fn control(entry: &Entry) -> Control {
        Control(entry.control.load())
    }

    #[test]
    fn a_cancel_changes_profile_status_alarm_and_redeem_at_once() {
        let entry = entry(ALARM_SEEN | HELD);
        write(&entry, &Instruction { throttled_until: Some(Tick(90)), ..instruction(Fate::Cancel) });
        let control = control(&entry);
        assert_eq!((control.profile(), control.generation()), (7, 3));
        assert!(control.has(STATUS_THROTTLED) && control.has(REDEEM) && control.has(VALID));
        assert!(!control.has(ALARM_ACTIVE | HELD));
        assert_eq!(entry.throttled_until.load(), 90);
    }

    #[test]
    fn a_cancel_without_a_held_access_redeems_nothing() {
        let entry = entry(ALARM_SEEN);
        write(&entry, &instruction(Fate::Cancel));
        assert!(!control(&entry).has(REDEEM | ALARM_ACTIVE));
    }

    #[test]
    fn a_reject_discards_the_held_access_and_leaves_the_alarm_active() {
        let entry = entry(ALARM_UNSEEN | HELD);
        write(&entry, &instruction(Fate::Reject));
        assert!(control(&entry).has(ALARM_SEEN) && !control(&entry).has(ALARM_UNSEEN | HELD | REDEEM));
    }

    #[test]
    fn an_update_of_other_things_leaves_the_alarm_alone() {
        let entry = entry(ALARM_UNSEEN | HELD);
        write(&entry, &instruction(Fate::Unchanged));
        assert!(control(&entry).has(ALARM_UNSEEN) && control(&entry).has(HELD));
    }

    #[test]
    fn a_throttle_that_the_node_began_outlives_an_update_under_the_same_policies_only() {
        let throttled = entry(STATUS_THROTTLED | 7);
        write(&throttled, &instruction(Fate::Unchanged));
        assert!(control(&throttled).has(STATUS_THROTTLED));
        let other = entry(STATUS_THROTTLED | 8);
        write(&other, &instruction(Fate::Unchanged));
        assert!(!control(&other).has(STATUS_THROTTLED));
    }

    #[test]
    fn a_release_ends_the_open_session() {
        let entry = entry(0);
        entry.session.store(5 << 32 | 9);
        write(&entry, &Instruction { release_session: true, ..instruction(Fate::Unchanged) });
        assert_eq!(entry.session.load(), 0);
    }

    #[test]
    fn an_alarm_is_noticed_once() {
        let entry = entry(ALARM_UNSEEN);
        assert!(notice_alarm(&entry) && !notice_alarm(&entry));
        assert!(control(&entry).has(ALARM_SEEN));
    }
}
