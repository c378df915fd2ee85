//! What user space writes into a live entry, while the kernel does the same.
//!
//! What must change together is in the control word and changes in one compare-and-swap: a cancel that
//! cleared the alarm before it set the profile would let the next request alarm again. Instants are
//! written before the bit that makes them count. An alarm that user space has not seen yet belongs to the
//! kernel: whatever is said about alarms is about an older one and leaves it alone.

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, Control, EXEMPT, Entry, HELD, Ledger, NOT_M2M, Profile,
        REDEEM, STATUS_REJECT, STATUS_THROTTLED, UNSETTLED,
    },
    tick::{LONGEST_AHEAD, Tick, window_ticks},
};

use crate::ledger;

/// A device's entry with its ledger.
pub type Pair<'a> = (&'a Entry, &'a Ledger);

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

impl Rejected {
    fn stored(self) -> u32 {
        match self {
            Self::Until(until) => until.stored(),
            Self::FurtherNotice => 0,
        }
    }
}

/// Writes an instruction; returns the control word that was replaced. `profiles` are what the entry's present
/// profile says and what the instruction's does: where they count in other ways, large limits refuse for the
/// moment in which the counts are written anew.
pub fn write(pair: Pair<'_>, instruction: &Instruction, profiles: [&Profile; 2], now: Tick) -> Control {
    let (entry, ledger) = pair;
    if let Some(until) = instruction.throttled_until {
        prolong_throttle(pair, instruction.profile, until, now);
    }
    if let Some(rejected) = instruction.rejected {
        ledger.rejected_until.store(rejected.stored());
    }
    let [old, new] = profiles;
    let unsettled = !ledger::counts_alike(old, new);
    let replaced = change(entry, |old| set(instructed(old, instruction), UNSETTLED, unsettled));
    if unsettled {
        ledger::settle(pair, old, new, now);
        change(entry, |settled| settled.without(UNSETTLED));
    }
    if instruction.release_session {
        close_session(entry, now);
    }
    replaced
}

/// Finishes what an agent that died had begun: the counts of an unsettled entry, of which nothing is known.
pub fn finish_settling(pair: Pair<'_>, profile: &Profile, now: Tick) {
    if Control(pair.0.control.load()).has(UNSETTLED) {
        ledger::settle(pair, &Profile::default(), profile, now);
        change(pair.0, |settled| settled.without(UNSETTLED));
    }
}

/// Control may know of the throttle for a shorter time than the node that began it.
fn prolong_throttle((entry, ledger): Pair<'_>, profile: u32, until: Tick, now: Tick) {
    loop {
        let control = Control(entry.control.load());
        let own = ledger.throttled_until.load();
        // An instant that is past says nothing, however it compares.
        let runs_longer = now.before(own, LONGEST_AHEAD) && own.wrapping_sub(until.stored()) as i32 > 0;
        let keeps = control.has(STATUS_THROTTLED) && control.profile() == profile && runs_longer;
        if keeps || ledger.throttled_until.replace(own, until.stored()) {
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

/// Sets or takes away the mark under which every packet passes until the entry's `exempt_until`.
pub fn exempt(entry: &Entry, exempt: bool) {
    change(entry, |old| set(old, EXEMPT, exempt));
}

/// Makes an alarm active that an earlier agent knew to be rejected, in an entry by which nothing is judged yet.
pub fn restore_alarm(entry: &Entry, last_alarm: u32) {
    entry.last_alarm.store(last_alarm);
    change(entry, |old| old.with(ALARM_SEEN));
}

/// Dates anew what control said to end at an instant of the world's clock: the two clocks have moved against each
/// other. A throttle that has ended stays ended, a rejection is as control said.
pub fn redate(
    (entry, ledger): (&Entry, &Ledger),
    throttled_until: Option<Tick>,
    rejected: Option<Rejected>,
    now: Tick,
) {
    let control = Control(entry.control.load());
    if let Some(until) = throttled_until
        && control.has(STATUS_THROTTLED)
    {
        prolong_throttle((entry, ledger), control.profile(), until, now);
    }
    if let Some(rejected) = rejected {
        ledger.rejected_until.store(rejected.stored());
    }
    change(entry, |old| set(old, STATUS_REJECT, rejected.is_some()));
}

/// Takes away a session and a retry interval that are over. A failed swap means that the device has just come back.
fn end_old(entry: &Entry, now: Tick) {
    let session = entry.session.load();
    if session != 0 && !now.before(session as u32, LONGEST_AHEAD) {
        entry.session.replace(session, 0);
    }
    let retry = entry.retry_until.load();
    if retry != 0 && !now.before(retry, LONGEST_AHEAD) {
        entry.retry_until.replace(retry, 0);
    }
}

/// Keeps what is old from looking new when the clock wraps: the counts' instants and lapsed statuses. `profile` is
/// the one that the entry names.
///
/// To be called every few days at most; harmless at any time.
pub fn keep_old((entry, ledger): Pair<'_>, profile: &Profile, now: Tick) {
    const THREE_DAYS: u32 = window_ticks(3 * 24 * 3_600 * 1_000_000_000);
    if profile.by_words == 0 {
        ledger.requests.keep_old(now, THREE_DAYS);
    } else {
        ledger::forget_old(ledger, profile, now);
    }
    ledger.admissions.keep_old(now, THREE_DAYS);
    end_old(entry, now);
    let rejected = ledger.rejected_until.load();
    if rejected != 0 && !now.before(rejected, LONGEST_AHEAD) {
        change(entry, |old| old.without(STATUS_REJECT));
    }
    let throttled = ledger.throttled_until.load();
    if !now.before(throttled, LONGEST_AHEAD) {
        change(entry, |old| old.without(STATUS_THROTTLED));
        // The kernel may have begun a throttle meanwhile and found the old bit still set.
        if ledger.throttled_until.load() != throttled {
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
