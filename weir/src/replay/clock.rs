//! The clock by which a capture is judged: the packets' own times, made fit for an entry.
//!
//! What this is: three repairs. Time never goes back, since ticks do not. Packets without a time come at
//! that of the packet before. And a silence beyond three days counts as three days: no session, window,
//! throttle or status lasts longer, so no verdict can tell the difference, while an entry's instants wrap
//! after thirteen days. What it must not do: change the times that are printed.
//! Read first: `weir_dataplane_common::tick`.

use weir_agent::entry::{self, Pair};
use weir_dataplane_common::abi::Profile;
use weir_dataplane_common::tick::{LONGEST_AHEAD, Tick};

/// The longest silence, and how often instants are kept from wrapping. Twice this and the age to which they
/// are kept is less than the thirteen days.
const LONGEST_SILENCE: u64 = 3 * 24 * 3_600 * 1_000_000_000;

/// The clock of a capture.
#[derive(Debug, Default)]
pub struct Clock {
    newest: Option<u64>,
    left_out: u64,
    kept: u64,
    /// Packets that bore a time before that of an earlier one.
    pub set_back: u64,
}

/// The clock as a packet finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The instant to judge at, ns.
    pub nanos: u64,
    /// Whether old instants must be kept old first.
    pub keep_old: bool,
}

impl Clock {
    /// The clock at a packet of this time (ns).
    pub fn read(&mut self, time: Option<u64>) -> Reading {
        let newest = self.newest.or(time).unwrap_or(0);
        let time = time.unwrap_or(newest);
        if self.newest.is_none() {
            self.kept = newest;
        }
        self.set_back += u64::from(time < newest);
        let time = time.max(newest);
        self.left_out += (time - newest).saturating_sub(LONGEST_SILENCE);
        self.newest = Some(time);
        let nanos = time - self.left_out;
        let keep_old = nanos - self.kept >= LONGEST_SILENCE;
        if keep_old {
            self.kept = nanos;
        }
        Reading { nanos, keep_old }
    }
}

/// Keeps what is long past in an entry from looking recent when instants wrap.
///
/// For entries that nobody else writes: what has lapsed is erased by plain stores. `profile` is the one that the
/// entry is judged by.
pub fn keep_old((entry, ledger): Pair<'_>, profile: &Profile, now: Tick) {
    entry::keep_old((entry, ledger), profile, now);
    let lapsed = |deadline: u32| !now.before(deadline, LONGEST_AHEAD);
    if lapsed(entry.session.load() as u32) {
        entry.session.store(0);
    }
    for deadline in [&entry.retry_until, &ledger.throttled_until] {
        if lapsed(deadline.load()) {
            deadline.store(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_dataplane_common::abi::{Entry, Ledger};

    use super::*;

    const DAY: u64 = 24 * 3_600 * 1_000_000_000;

    fn nanos(clock: &mut Clock, time: u64) -> u64 {
        clock.read(Some(time)).nanos
    }

    #[test]
    fn time_never_goes_back_and_every_attempt_is_counted() {
        let mut clock = Clock::default();
        assert_eq!([100, 90, 100, 95, 101].map(|time| nanos(&mut clock, time)), [100, 100, 100, 100, 101]);
        assert_eq!(clock.set_back, 2);
    }

    #[test]
    fn a_packet_without_a_time_comes_at_that_of_the_one_before() {
        let mut clock = Clock::default();
        assert_eq!(clock.read(None).nanos, 0);
        assert_eq!(Clock { newest: Some(7), ..Clock::default() }.read(None).nanos, 7);
        assert_eq!(clock.set_back, 0);
    }

    #[test]
    fn a_silence_of_months_counts_as_three_days_and_what_follows_goes_on_from_there() {
        let mut clock = Clock::default();
        let start = 20_000 * DAY;
        assert_eq!(clock.read(Some(start)), Reading { nanos: start, keep_old: false });
        assert_eq!(clock.read(Some(start + 90 * DAY)), Reading { nanos: start + 3 * DAY, keep_old: true });
        let later = clock.read(Some(start + 90 * DAY + 5));
        assert_eq!(later, Reading { nanos: start + 3 * DAY + 5, keep_old: false });
    }

    #[test]
    fn a_capture_without_long_silences_is_kept_old_every_three_days_too() {
        let mut clock = Clock::default();
        let kept = (0..=30).filter(|day| clock.read(Some((day + 1) * DAY)).keep_old).count();
        assert_eq!(kept, 10);
    }

    #[test]
    fn what_lapsed_is_forgotten_and_what_lies_ahead_is_not() {
        let (entry, ledger) = (Entry::default(), Ledger::default());
        let now = Tick(1 << 24);
        entry.session.store((now.0 - 20) << 32 | (now.0 - 10));
        entry.retry_until.store(now.stored());
        ledger.throttled_until.store(now.after(1).stored());
        keep_old((&entry, &ledger), &Profile::default(), now);
        assert_eq!((entry.session.load(), entry.retry_until.load()), (0, 0));
        assert_eq!(ledger.throttled_until.load(), now.after(1).stored());
    }

    #[test]
    fn an_admission_of_thirteen_days_ago_takes_no_room_today() {
        let (entry, ledger, mut clock) = (Entry::default(), Ledger::default(), Clock::default());
        let start = 20_000 * DAY;
        let first = Tick::from_nanos(nanos(&mut clock, start));
        assert!(ledger.admissions.record(first));
        // The slots' instants wrap after 2³⁰ ticks of 2²⁰ ns.
        let wrap = start + (1 << 50);
        let mut time = start;
        while time < wrap {
            time = (time + DAY / 2).min(wrap);
            let reading = clock.read(Some(time));
            if reading.keep_old {
                keep_old((&entry, &ledger), &Profile::default(), Tick::from_nanos(reading.nanos));
            }
        }
        let now = Tick::from_nanos(nanos(&mut clock, wrap));
        assert!(!ledger.admissions.is_full(now, 1, 60_000));
    }
}
