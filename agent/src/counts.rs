//! A device's counters as they go up: cumulative, and only when they changed (R-D16).
//!
//! The kernel's counters are 32 bits and wrap; the agent adds the differences up. A report also carries the
//! instants of the last admissions, and for limits above fourteen what was admitted in the sub-windows by which the
//! entry counts them: from these control adds up any window over all nodes.

use weir_dataplane_common::{
    abi::{Entry, Ledger, Profile},
    reason::Reason,
    subwindow::{self, SubWindows},
    tick::TICK_NS,
    window::SLOTS,
};
use weir_proto::v1;

use crate::{
    profile::{CountedWord, counted_words},
    time::Instant,
};

/// What was last read of a device, and the sums since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    raw: [u32; 4],
    sums: [u64; 4],
    last_rejection: u32,
}

impl Counts {
    /// Reads an entry's counters; says whether anything changed since the last time.
    pub fn read(&mut self, entry: &Entry) -> bool {
        let words = [&entry.requests, &entry.admitted, &entry.rejected, &entry.unsolicited];
        let before = *self;
        for (place, word) in words.into_iter().enumerate() {
            let raw = word.load();
            self.sums[place] += u64::from(raw.wrapping_sub(self.raw[place]));
            self.raw[place] = raw;
        }
        self.last_rejection = entry.last_rejection.load();
        *self != before
    }

    /// Attempts let through.
    pub fn admitted(&self) -> u64 {
        self.sums[1]
    }

    /// As the message to control; `profile` is the one by which the device is judged.
    pub fn message(
        &self,
        device: &str,
        ledger: &Ledger,
        profile: &Profile,
        now: Instant,
    ) -> v1::DeviceCounts {
        let [requests, admitted, rejected, unsolicited] = self.sums;
        let mut admissions_ms: Vec<i64> =
            ledger.admissions.ages(now.tick).take(SLOTS).map(|age| now.unix_ms_ago(age)).collect();
        admissions_ms.reverse();
        v1::DeviceCounts {
            device: device.to_owned(),
            requests,
            admitted,
            rejected,
            unsolicited,
            last_rejection: self.last_reason().map_or_else(String::new, |reason| reason.name().to_owned()),
            admissions_ms,
            windows: counted_words(profile).map(|counted| sub_windows(ledger, counted, now)).collect(),
        }
    }

    fn last_reason(&self) -> Option<Reason> {
        if self.last_rejection == 0 { None } else { Reason::from_number(self.last_rejection as u8) }
    }
}

/// What a word of the ledger says now.
fn sub_windows(ledger: &Ledger, counted: CountedWord, now: Instant) -> v1::SubWindowCounts {
    let CountedWord { word, policy, throttle, window } = counted;
    let (length, number) = (subwindow::length(window), subwindow::number(now.tick, window));
    let counts = SubWindows(ledger.words()[word].load()).at(number);
    // The kernel may have begun a sub-window since we read the clock.
    let ahead = if counts.number() == number { 0 } else { length };
    let age = (now.tick.0 % u64::from(length)) as u32;
    let begun = now.unix_ms_ago(age) + (u64::from(ahead) * TICK_NS / 1_000_000) as i64;
    v1::SubWindowCounts {
        policy,
        throttle,
        length_us: (u64::from(length) * TICK_NS).div_ceil(1000),
        newest_start_ms: begun,
        counts: counts.counts().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::Timings,
        profile::{Action, Limit, Policy, Restriction, compile},
    };
    use weir_dataplane_common::{abi::AccessKind, tick::Tick};

    const MINUTE: Duration = Duration::from_secs(60);
    const TIMINGS: Timings = Timings {
        inactivity: Duration::from_secs(1),
        max_session_age: Duration::from_secs(3600),
        retry_interval: Duration::from_secs(1),
    };

    fn limit(permitted: u32) -> Restriction {
        Restriction::Accesses(Limit { permitted, window: MINUTE })
    }

    #[test]
    fn counters_go_on_counting_when_the_kernels_wrap() {
        let (entry, mut counts) = (Entry::default(), Counts::default());
        entry.requests.store(u32::MAX);
        assert!(counts.read(&entry));
        entry.requests.add(3);
        assert!(counts.read(&entry) && !counts.read(&entry));
        assert_eq!(counts.sums[0], u64::from(u32::MAX) + 3);
    }

    #[test]
    fn a_report_names_the_last_rejection_and_the_admissions_oldest_first() {
        let (entry, ledger, mut counts) = (Entry::default(), Ledger::default(), Counts::default());
        entry.last_rejection.store(Reason::Throttled as u32 | 1 << 8);
        ledger.admissions.record(Tick(1000));
        ledger.admissions.record(Tick(2000));
        counts.read(&entry);
        let now = Instant { tick: Tick(3000), unix_ms: 1_000_000 };
        let message = counts.message("001", &ledger, &Profile::default(), now);
        assert_eq!((&*message.last_rejection, message.windows), ("throttled", vec![]));
        assert_eq!(message.admissions_ms, [1_000_000 - 2097, 1_000_000 - 1048]);
    }

    #[test]
    fn a_report_says_what_the_words_of_large_limits_hold_and_when() {
        let policies =
            [Policy::new(7, limit(100), Action::Throttle(Limit { permitted: 200, window: MINUTE }))];
        let kinds = [AccessKind::Packet];
        let profile = compile(Some(&policies), &kinds, &TIMINGS, None).expect("fits");
        let (ledger, window) = (Ledger::default(), profile.rules[0].window);
        let length = u64::from(subwindow::length(window));
        for (at, times) in [(50 * length, 3), (52 * length + 9, 20)] {
            (0..times).for_each(|_| assert!(subwindow::take(&ledger.words()[0], Tick(at), window, 100)));
        }
        let now = Instant { tick: Tick(52 * length + 1000), unix_ms: 9_000_000 };
        let message = Counts::default().message("001", &ledger, &profile, now);
        let [rule, throttle] = &message.windows[..] else { panic!("the rule's and the throttle's") };
        assert_eq!((rule.policy, rule.throttle, &rule.counts[..]), (7, false, &[20, 0, 3, 0][..]));
        assert_eq!((throttle.policy, throttle.throttle, &throttle.counts[..]), (7, true, &[0; 4][..]));
        assert_eq!(rule.newest_start_ms, 9_000_000 - 1048, "a thousand ticks ago");
        assert_eq!(rule.length_us, (length * TICK_NS).div_ceil(1000));
        // A CPU's clock is ahead of the agent's: the newest sub-window is one that has not begun here.
        subwindow::take(&ledger.words()[0], Tick(53 * length), window, 100);
        let ahead = &Counts::default().message("001", &ledger, &profile, now).windows[0];
        assert_eq!(ahead.counts, [1, 20, 0, 3]);
        assert_eq!(ahead.newest_start_ms, rule.newest_start_ms + (length * TICK_NS / 1_000_000) as i64);
    }
}
