//! A rate as people write it: bytes or packets in a second, whose, and how much at once.
//!
//! What this is: the shape, its ranges, and its way to and from service control's. What it must not do: know what a
//! packet costs; the node's profile does. Bytes are those of the IP packet, without the link's framing.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_service_control as sc;

use super::{Invalid, duration};

/// Bytes in a second that a node can meter: 800 bit/s to 100 Gbit/s.
pub const BYTES_PER_SECOND: RangeInclusive<u64> = 100..=12_500_000_000;
/// Packets in a second that a node can meter: a packet costs whole nanoseconds, at fifty of which rounding is one part
/// in a hundred.
pub const PACKETS_PER_SECOND: RangeInclusive<u32> = 1..=20_000_000;
/// How much of a rate may come at once, as the time in which it allows that.
pub const BURST: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// The burst where none is written.
pub const DEFAULT_BURST: Duration = Duration::from_millis(100);

/// A rule: broken by what comes faster than one of the rates, of which at least one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Bytes of IP packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// IP packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_per_second: Option<u32>,
    /// How much may come at once: what the rate allows in so long a time.
    #[serde(with = "duration", default = "default_burst")]
    pub burst: Duration,
    /// Whose packets are measured.
    #[serde(default)]
    pub direction: Direction,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The device's packets and those for it, together.
    #[default]
    Both,
    /// The device's own.
    Up,
    /// Those for it.
    Down,
}

fn default_burst() -> Duration {
    DEFAULT_BURST
}

impl Rate {
    /// Everything in it that a node cannot meter; keys are below `key`.
    pub fn check(&self, key: &str) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let mut refuse =
            |name: &str, reason: String| invalid.push(Invalid::new(format!("{key}.{name}"), reason));
        if let Some(bytes) = self.bytes_per_second.filter(|bytes| !BYTES_PER_SECOND.contains(bytes)) {
            let (least, most) = BYTES_PER_SECOND.into_inner();
            refuse("bytes_per_second", format!("is {bytes}; a node can meter from {least} to {most}"));
        }
        if let Some(packets) = self.packets_per_second.filter(|packets| !PACKETS_PER_SECOND.contains(packets))
        {
            let (least, most) = PACKETS_PER_SECOND.into_inner();
            refuse("packets_per_second", format!("is {packets}; a node can meter from {least} to {most}"));
        }
        if !BURST.contains(&self.burst) {
            let (least, most) = (duration::format(*BURST.start()), duration::format(*BURST.end()));
            refuse(
                "burst",
                format!("is {}; a burst lasts from {least} to {most}", duration::format(self.burst)),
            );
        }
        if self.bytes_per_second.is_none() && self.packets_per_second.is_none() {
            let reason = "limits nothing; write bytes_per_second, packets_per_second or both";
            invalid.push(Invalid::new(key, reason));
        }
        invalid
    }
}

impl From<Rate> for sc::Rate {
    fn from(rate: Rate) -> Self {
        let Rate { bytes_per_second, packets_per_second, burst, direction } = rate;
        Self { bytes_per_second, packets_per_second, burst, direction: direction.into() }
    }
}

impl From<sc::Rate> for Rate {
    fn from(rate: sc::Rate) -> Self {
        let sc::Rate { bytes_per_second, packets_per_second, burst, direction } = rate;
        Self { bytes_per_second, packets_per_second, burst, direction: direction.into() }
    }
}

impl From<Direction> for sc::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Both => Self::Both,
            Direction::Up => Self::Up,
            Direction::Down => Self::Down,
        }
    }
}

impl From<sc::Direction> for Direction {
    fn from(direction: sc::Direction) -> Self {
        match direction {
            sc::Direction::Both => Self::Both,
            sc::Direction::Up => Self::Up,
            sc::Direction::Down => Self::Down,
        }
    }
}
