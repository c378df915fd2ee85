//! Rates into meters: what a byte costs, what a packet costs.
//!
//! A profile has two meters, one for bytes and one for packets; the second is asked only where the first is. What
//! a meter's numbers mean is said in `weir_dataplane_common::rate`.

use std::{ops::RangeInclusive, time::Duration};

use weir_dataplane_common::abi::{Meter, Profile, meter_side, rule_flag};

use super::{Action, Misfit, Policy, Rate, Restriction};

const NANOS: u64 = 1_000_000_000;
const BYTES_PER_SECOND: RangeInclusive<u64> = 100..=12_500_000_000;
/// A packet costs whole nanoseconds: at fifty of them rounding is one part in a hundred.
const PACKETS_PER_SECOND: RangeInclusive<u32> = 1..=20_000_000;
const BURST: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// A meter and whose it is.
#[derive(Clone, Copy)]
struct Metered {
    policy: u32,
    meter: Meter,
}

/// Sets the profile's meters; its rules stand in the order of `policies`.
pub(super) fn set(profile: &mut Profile, policies: &[&Policy]) -> Result<(), Misfit> {
    let (mut bytes, mut packets): (Option<Metered>, Option<Metered>) = (None, None);
    for (place, policy) in (1..).zip(policies) {
        let Restriction::Rate(rate) = &policy.restriction else { continue };
        let common = common(policy, rate, place)?;
        if let Some(rate) = rate.bytes_per_second {
            take(&mut bytes, policy.id, Meter { byte_cost: rounded(NANOS << 16, rate), ..common }, "bytes")?;
        }
        if let Some(rate) = rate.packets_per_second {
            let packet_cost = rounded(NANOS, rate.into()) as u32;
            take(&mut packets, policy.id, Meter { packet_cost, ..common }, "packets")?;
        }
    }
    let (first, second) = match (bytes, packets) {
        (Some(one), Some(other)) => in_order(one, other)?,
        (one, other) => (one.or(other), None),
    };
    profile.meter = first.map_or_else(Meter::default, |it| it.meter);
    profile.second_meter = second.map_or_else(Meter::default, |it| it.meter);
    Ok(())
}

/// What both meters of a rate share. One without action is watched, like one in shadow.
fn common(policy: &Policy, rate: &Rate, place: u8) -> Result<Meter, Misfit> {
    let shadow = match policy.action {
        Action::None => true,
        Action::Reject => policy.shadow,
        Action::Throttle(_) | Action::Withhold | Action::Release => {
            return Err(Misfit::RateAction(policy.id));
        }
    };
    let Rate { bytes_per_second, packets_per_second, burst, sides } = rate;
    let sound = bytes_per_second.is_none_or(|rate| BYTES_PER_SECOND.contains(&rate))
        && packets_per_second.is_none_or(|rate| PACKETS_PER_SECOND.contains(&rate))
        && (bytes_per_second.is_some() || packets_per_second.is_some())
        && BURST.contains(burst)
        && matches!(*sides, 1..=3);
    if !sound {
        return Err(Misfit::Rate(policy.id));
    }
    let flags = if shadow { rule_flag::SHADOW } else { 0 };
    Ok(Meter { burst: burst.as_micros() as u32, sides: *sides, place, flags, ..Meter::default() })
}

fn take(place: &mut Option<Metered>, policy: u32, meter: Meter, unit: &'static str) -> Result<(), Misfit> {
    match place.replace(Metered { policy, meter }) {
        Some(other) => Err(Misfit::TwoMeters(other.policy, policy, unit)),
        None => Ok(()),
    }
}

/// The one that meters more directions first.
fn in_order(bytes: Metered, packets: Metered) -> Result<(Option<Metered>, Option<Metered>), Misfit> {
    let (first, second) = if packets.meter.sides == meter_side::UP | meter_side::DOWN {
        if bytes.meter.sides == packets.meter.sides { (bytes, packets) } else { (packets, bytes) }
    } else {
        (bytes, packets)
    };
    if first.meter.sides & second.meter.sides != second.meter.sides {
        let (one, other) = (bytes.policy.min(packets.policy), bytes.policy.max(packets.policy));
        return Err(Misfit::OppositeMeters(one, other));
    }
    Ok((Some(first), Some(second)))
}

fn rounded(cost: u64, rate: u64) -> u64 {
    (cost + rate / 2) / rate
}
