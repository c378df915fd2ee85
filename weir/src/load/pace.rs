//! How many packets are due: never more than the rate allows, never after the end.
//!
//! Pure: the clock is an argument, so that its promise is tested without waiting.

use std::time::Duration;

/// A rate, and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Packets a second.
    pub rate: u64,
    /// Packets in all.
    pub count: u64,
    /// The end.
    pub longest: Duration,
}

impl Pace {
    /// Packets to send now, if `sent` have been since the start; `None` when the run is over.
    pub fn due(&self, sent: u64, since_start: Duration) -> Option<u64> {
        if sent >= self.count || since_start >= self.longest {
            return None;
        }
        let allowed = u128::from(self.rate) * since_start.as_nanos() / 1_000_000_000;
        // The first packet is due at once.
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        Some(allowed.min(self.count).saturating_sub(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 1000, count: 50, longest: Duration::from_secs(1) };

    #[test]
    fn never_more_than_the_rate_or_the_count_and_nothing_after_the_end() {
        assert_eq!(PACE.due(0, Duration::ZERO), Some(1));
        assert_eq!(PACE.due(1, Duration::from_micros(500)), Some(0));
        assert_eq!(PACE.due(1, Duration::from_millis(10)), Some(10));
        assert_eq!(PACE.due(20, Duration::from_millis(900)), Some(30));
        assert_eq!(PACE.due(50, Duration::from_millis(60)), None);
        assert_eq!(PACE.due(1, Duration::from_secs(1)), None);
    }
}
