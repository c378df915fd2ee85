//! Rates: a token bucket in one word.
//!
//! The word holds an instant: when everything that was let through so far is paid for at the configured rate
//! (the "theoretical arrival time" of ITU-T I.371's cell-rate algorithm). A packet conforms while that instant
//! is no further ahead than the burst; it moves the instant on by its own cost. So a word that is all zeros is
//! a full bucket, no timer refills anything, and the rate is exact over time at any packet size: a packet that
//! passes on a small remainder is paid for by those behind it.
//!
//! Several CPUs that find room at once all pass and all pay: the burst may be exceeded by a packet for each,
//! the rate is not.

use crate::{abi::Meter, atomic::Word64, tick::Tick};

/// The word's unit is a sixteenth of a nanosecond, so that a byte at 100 Gbit/s still costs something exact.
const FRACTION: u32 = 4;

/// A rate of packets with a second's burst, each at this cost in ns.
#[inline(always)]
pub const fn of_packets(packet_cost: u32) -> Meter {
    Meter { byte_cost: 0, packet_cost, burst: 1_000_000, sides: 0, place: 0, flags: 0, padding: [0; 5] }
}

/// What a packet of so many IP bytes costs at this rate, in the word's unit.
#[inline(always)]
pub const fn cost(meter: &Meter, bytes: u32) -> u64 {
    let bytes_cost = meter.byte_cost.wrapping_mul(bytes as u64) >> (16 - FRACTION);
    bytes_cost + ((meter.packet_cost as u64) << FRACTION)
}

/// Whether a packet may pass now. Charges nothing.
#[inline(always)]
pub fn conforms(bucket: &Word64, meter: &Meter, now: Tick) -> bool {
    let burst = u64::from(meter.burst) * (1000 << FRACTION);
    bucket.load() <= (now.nanos() << FRACTION) + burst
}

/// Charges a packet that passes.
#[inline(always)]
pub fn charge(bucket: &Word64, meter: &Meter, bytes: u32, now: Tick) {
    let (now, cost) = (now.nanos() << FRACTION, cost(meter, bytes));
    let paid = bucket.load();
    // What was not used is lost. If another CPU has charged meanwhile, its packet began the new burst.
    if paid >= now || !bucket.replace(paid, now + cost) {
        bucket.add(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn bytes_per_second(rate: u64) -> Meter {
        Meter { byte_cost: (SECOND << 16) / rate, burst: 100_000, sides: 3, ..Meter::default() }
    }

    /// Offers packets of these sizes, one each `gap`, for a time; bytes and packets that pass.
    fn offered(meter: &Meter, gap: u64, time: u64, size: impl Fn(u64) -> u32) -> (u64, u64) {
        let (bucket, mut passed, start) = (Word64::default(), (0, 0), 77 * SECOND);
        for number in 0..time / gap {
            let now = Tick::from_nanos(start + number * gap);
            let bytes = size(number);
            if conforms(&bucket, meter, now) {
                charge(&bucket, meter, bytes, now);
                passed = (passed.0 + u64::from(bytes), passed.1 + 1);
            }
        }
        passed
    }

    #[test]
    fn ten_seconds_pass_the_configured_bytes_within_two_percent_at_any_packet_size() {
        for rate in [20_000u64, 125_000, 12_500_000] {
            for size in [20u32, 64, 577, 1500] {
                let gap = u64::from(size) * SECOND / rate / 3;
                let (bytes, _) = offered(&bytes_per_second(rate), gap, 10 * SECOND, |_| size);
                let expected = (rate * 10) as f64;
                let off = (bytes as f64 - expected).abs() / expected;
                assert!(off < 0.02, "{rate} B/s, {size} B: {bytes} bytes, {off:.4} off");
            }
        }
    }

    #[test]
    fn packets_are_counted_whatever_their_size() {
        let meter = Meter { packet_cost: 10_000_000, burst: 100_000, sides: 1, ..Meter::default() };
        let (_, packets) = offered(&meter, 1_000_000, 10 * SECOND, |number| (number % 1400) as u32);
        assert!((1000..=1020).contains(&packets), "{packets}");
    }

    #[test]
    fn a_rate_below_the_offer_is_not_touched_and_silence_saves_no_more_than_the_burst() {
        let meter = bytes_per_second(100_000);
        let (bytes, _) = offered(&meter, SECOND / 50, 10 * SECOND, |_| 1000);
        assert_eq!(bytes, 500_000, "half of what is allowed, all of it passes");
        let bucket = Word64::default();
        let now = Tick::from_nanos(3600 * SECOND);
        let at_once = (0..1000)
            .filter(|_| {
                conforms(&bucket, &meter, now) && {
                    charge(&bucket, &meter, 1000, now);
                    true
                }
            })
            .count();
        assert!((10..=12).contains(&at_once), "an hour of silence, 100 ms of burst: {at_once} kB");
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_rate_burst_and_one_packet(
            rate in 1_000u64..10_000_000,
            sizes in prop::collection::vec((20u32..9000, 0u64..20_000_000), 50..400),
        ) {
            let (meter, bucket) = (bytes_per_second(rate), Word64::default());
            let (mut now, mut passed) = (SECOND, Vec::new());
            for (size, gap) in sizes {
                now += gap;
                let tick = Tick::from_nanos(now);
                if conforms(&bucket, &meter, tick) {
                    charge(&bucket, &meter, size, tick);
                    passed.push((tick.nanos(), u64::from(size)));
                }
            }
            for first in 0..passed.len() {
                let mut bytes = 0;
                for (at, size) in &passed[first..] {
                    bytes += size;
                    let allowed = u128::from(at - passed[first].0 + 100_000_000) * u128::from(rate) / 1_000_000_000;
                    prop_assert!(u128::from(bytes) <= allowed + 9000 + allowed / 1000 + 1, "{bytes} > {allowed}");
                }
            }
        }
    }
}
