//! What user space writes into a live entry, while the kernel does the same.
//!
//! What must change together is in the control word and changes in one compare-and-swap: a cancel that
//! cleared the alarm before it set the profile would let the next request alarm again. Instants are
//! written before the bit that makes them count. An alarm that user space has not seen yet belongs to the
//! kernel: whatever is said about alarms is about an older one and leaves it alone.

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, Control, Entry, HELD, NOT_M2M, REDEEM, STATUS_REJECT,
        STATUS_THROTTLED,
    },
    tick::{LONGEST_AHEAD, Tick, window_ticks},
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
pub fn write(entry: &Entry, instruction: &Instruction, now: Tick) -> Control {
    if let Some(until) = instruction.throttled_until {
        prolong_throttle(entry, instruction.profile, until, now);
    }
    if let Some(rejected) = instruction.rejected {
        entry.rejected_until.store(match rejected {
            Rejected::Until(until) => until.0,
            Rejected::FurtherNotice => 0,
        });
    }
    let replaced = change(entry, |old| instructed(old, instruction));
    if instruction.release_session {
        close_session(entry, now);
    }
    replaced
}

/// Control may know of the throttle for a shorter time than the node that began it.
fn prolong_throttle(entry: &Entry, profile: u32, until: Tick, now: Tick) {
    loop {
        let control = Control(entry.control.load());
        let own = entry.throttled_until.load();
        // An instant that is past says nothing, however it compares.
        let runs_longer = now.before(own, LONGEST_AHEAD) && own.wrapping_sub(until.0) as i32 > 0;
        let keeps = control.has(STATUS_THROTTLED) && control.profile() == profile && runs_longer;
        if keeps || entry.throttled_until.replace(own, until.0) {
            return;
        }
    }
}

/// Takes notice of a raised alarm: true if it was not known yet.
pub fn notice_alarm(entry: &Entry) -> bool {
    let seen = |old: Control| {
        if old.has(ALARM_UNSEEN) { old.without(ALARM_UNSEEN).with(ALARM_SEEN) } else { old }
    };
    change(entry, seen).has(ALARM_UNSEEN)
}

/// Clears an alarm that nobody answered and lets its held access redeem itself. The device is not to alarm
/// again: it is marked as one that never does, until control says what it is.
pub fn allow(entry: &Entry) {
    change(entry, |old| cancelled(old, old).with(NOT_M2M));
}

/// Keeps what is old from looking new when the clock wraps: the histories' instants and lapsed statuses.
///
/// To be called every few days at most; harmless at any time.
pub fn keep_old(entry: &Entry, now: Tick) {
    const THREE_DAYS: u32 = window_ticks(3 * 24 * 3_600 * 1_000_000_000);
    entry.request_history.keep_old(now, THREE_DAYS);
    entry.admission_history.keep_old(now, THREE_DAYS);
    let rejected = entry.rejected_until.load();
    if rejected != 0 && !now.before(rejected, LONGEST_AHEAD) {
        change(entry, |old| old.without(STATUS_REJECT));
    }
    let throttled = entry.throttled_until.load();
    if !now.before(throttled, LONGEST_AHEAD) {
        change(entry, |old| old.without(STATUS_THROTTLED));
        // The kernel may have begun a throttle meanwhile and found the old bit still set.
        if entry.throttled_until.load() != throttled {
            change(entry, |old| old.with(STATUS_THROTTLED));
        }
    }
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
        Fate::Cancel => cancelled(old, new),
        Fate::Reject if old.has(ALARM_UNSEEN) => new,
        Fate::Reject => new.without(HELD | REDEEM).with(ALARM_SEEN),
    }
}

/// `new` without the alarm that `old` has, if user space has seen that.
fn cancelled(old: Control, new: Control) -> Control {
    if old.has(ALARM_UNSEEN) {
        return new;
    }
    set(new.without(ALARM_ACTIVE | HELD), REDEEM, old.has(HELD | REDEEM))
}

fn set(control: Control, bits: u64, on: bool) -> Control {
    if on { control.with(bits) } else { control.without(bits) }
}

/// Swaps until nobody came between; the kernel's own changes are rare.
fn change(entry: &Entry, new: impl Fn(Control) -> Control) -> Control {
    loop {
        let old = Control(entry.control.load());
        let new = new(old);
        if old == new || entry.control.replace(old.0, new.0) {
            return old;
        }
    }
}

/// A session that is over already is left alone: the kernel may be opening the next one over it.
fn close_session(entry: &Entry, now: Tick) {
    loop {
        let session = entry.session.load();
        let (start, end) = ((session >> 32) as u32, session as u32);
        let is_over = start == 0 || !now.before(end, LONGEST_AHEAD);
        if is_over || entry.session.replace(session, 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
