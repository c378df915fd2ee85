//! The model's rates: leaking buckets of debt, in nanoseconds.

use super::policy::{Metered, Packet};

/// What a device owes at one rate.
#[derive(Clone, Copy, Debug)]
struct Debt {
    metered: Metered,
    owed: u64,
    since: u64,
}

#[derive(Debug)]
pub(super) struct Meters(Vec<Debt>);

/// Nanoseconds in a tick.
const TICK: u64 = 1 << 20;

impl Debt {
    fn new(metered: Metered) -> Self {
        Self { metered, owed: 0, since: 0 }
    }

    /// What is owed shrinks as time passes.
    fn at(self, now: u64) -> Self {
        let since = now * TICK;
        Self { owed: self.owed.saturating_sub(since - self.since), since, ..self }
    }

    fn is_beyond(&self) -> bool {
        self.owed > self.metered.burst * 1000
    }
}

impl Meters {
    pub(super) fn new(metered: Vec<Metered>) -> Self {
        Self(metered.into_iter().map(Debt::new).collect())
    }

    /// Where a meter stays as it is, what is owed stays too.
    pub(super) fn replace(&mut self, metered: Vec<Metered>) {
        let old = std::mem::take(&mut self.0);
        let kept = |(place, new): (usize, Metered)| match old.get(place) {
            Some(debt) if debt.metered == new => *debt,
            _ => Debt::new(new),
        };
        self.0 = metered.into_iter().enumerate().map(kept).collect();
    }

    /// Pays for a packet at all the rates of its direction, or at none: then the policy that refuses. Otherwise the
    /// policy in shadow that would have refused: what only passes for its sake is charged to no rate in shadow.
    pub(super) fn pay(&mut self, now: u64, packet: Packet) -> Result<Option<u32>, u32> {
        let Packet { way, length, .. } = packet;
        for debt in &mut self.0 {
            *debt = debt.at(now);
        }
        let lowest = |watched_only: bool, debts: &[Debt]| {
            let beyond = debts.iter().filter(|debt| debt.metered.meters(way) && debt.is_beyond());
            beyond
                .filter(|debt| debt.metered.watched_only == watched_only)
                .map(|debt| debt.metered.policy)
                .min()
        };
        if let Some(policy) = lowest(false, &self.0) {
            return Err(policy);
        }
        let beyond = lowest(true, &self.0);
        for debt in self.0.iter_mut().filter(|debt| debt.metered.meters(way)) {
            if beyond.is_none() || !debt.metered.watched_only {
                debt.owed += debt.metered.byte * u64::from(length) + debt.metered.packet;
            }
        }
        Ok(beyond)
    }
}
