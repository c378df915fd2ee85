//! A device's counters as they go up: cumulative, and only when they changed (R-D16).
//!
//! The kernel's counters are 32 bits and wrap; the agent adds the differences up. A report also carries the
//! instants of the last admissions, from which control adds up any window over all nodes.

use weir_dataplane_common::{abi::Entry, reason::Reason, window::SLOTS};
use weir_proto::v1;

use crate::time::Instant;

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

    /// As the message to control.
    pub fn message(&self, device: &str, entry: &Entry, now: Instant) -> v1::DeviceCounts {
        let [requests, admitted, rejected, unsolicited] = self.sums;
        let mut admissions_ms: Vec<i64> =
            entry.admission_history.ages(now.tick).take(SLOTS).map(|age| now.unix_ms_ago(age)).collect();
        admissions_ms.reverse();
        v1::DeviceCounts {
            device: device.to_owned(),
            requests,
            admitted,
            rejected,
            unsolicited,
            last_rejection: self.last_reason().map_or_else(String::new, |reason| reason.name().to_owned()),
            admissions_ms,
        }
    }

    fn last_reason(&self) -> Option<Reason> {
        if self.last_rejection == 0 { None } else { Reason::from_number(self.last_rejection as u8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::tick::Tick;

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
        let (entry, mut counts) = (Entry::default(), Counts::default());
        entry.last_rejection.store(Reason::Throttled as u32 | 1 << 8);
        entry.admission_history.record(Tick(1000));
        entry.admission_history.record(Tick(2000));
        counts.read(&entry);
        let now = Instant { tick: Tick(3000), unix_ms: 1_000_000 };
        let message = counts.message("001", &entry, now);
        assert_eq!(message.last_rejection, "throttled");
        assert_eq!(message.admissions_ms, [1_000_000 - 2097, 1_000_000 - 1048]);
    }
}
