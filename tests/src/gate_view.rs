//! What the kernel holds: counters and entries of a node's running program, read from its maps.
//!
//! A story asserts on these and on bytes at the far end, never on what weir says of itself. Read-only.

use std::fmt;

use anyhow::{Context, Result, ensure};
use weir_dataplane::{clock, running::Running};
use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, Control, Entry, HELD, Ledger, NOT_M2M, REDEEM, STATUS_REJECT, STATUS_THROTTLED},
    reason::Reason,
    tick::LONGEST_AHEAD,
};

use crate::namespace::Namespace;

/// The identifier of the XDP program that the kernel shows on an interface, if there is one.
pub fn attached_program(namespace: &Namespace, interface: &str) -> Result<Option<u32>> {
    let links = namespace.exec(&["ip", "-json", "-details", "link", "show", "dev", interface])?;
    let links: serde_json::Value = serde_json::from_str(&links).context("what `ip -json` says")?;
    let id = links.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64);
    Ok(id.map(u32::try_from).transpose()?)
}

/// A node's maps.
pub struct GateView {
    running: Running,
}

/// Packets by reason, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally(Vec<(Reason, u64)>);

/// A device's entry, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// Attempts.
    pub requests: u32,
    /// Attempts let through.
    pub admitted: u32,
    /// Attempts refused.
    pub rejected: u32,
    /// Downlink packets that were no trigger.
    pub unsolicited: u32,
    /// The profile's number; 0: no policy is cached.
    pub profile: u32,
    /// The status says throttled.
    pub throttled: bool,
    /// The status says reject, and its time has not passed.
    pub rejecting: bool,
    /// An alarm is active.
    pub alarm: bool,
    /// It holds an access.
    pub held: bool,
    /// The next access redeems the one that was held.
    pub redeem: bool,
    /// Known not to be a machine.
    pub not_m2m: bool,
    /// A session is open.
    pub session: bool,
}

impl GateView {
    /// The maps of the program attached to `interface` in a namespace.
    pub fn of(namespace: &Namespace, interface: &str) -> Result<Self> {
        let id = attached_program(namespace, interface)?;
        let id = id.with_context(|| format!("no XDP program is attached to {interface}"))?;
        Ok(Self { running: Running::of_program(id)? })
    }

    /// The counters.
    pub fn tally(&self) -> Result<Tally> {
        Ok(Tally(self.running.reason_counts()?))
    }

    /// An entry.
    pub fn entry(&self, index: u32) -> Result<EntryView> {
        let (entries, place) = (self.running.entries(), index as usize);
        let both = entries.get(place).zip(entries.ledgers().get(place));
        let (entry, ledger) = both.with_context(|| format!("there is no entry {index}"))?;
        Ok(EntryView::read(entry, ledger))
    }
}

impl Tally {
    /// How many for this reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }

    /// The reasons counted since `before`, one for each packet.
    pub fn since(&self, before: &Tally) -> Vec<Reason> {
        let added = |(reason, count): &(Reason, u64)| {
            let more = count.saturating_sub(before.of(*reason)) as usize;
            std::iter::repeat_n(*reason, more)
        };
        self.0.iter().flat_map(added).collect()
    }

    /// The one reason counted since `before`; an error if another packet came between.
    pub fn one_since(&self, before: &Tally) -> Result<Option<Reason>> {
        let reasons = self.since(before);
        ensure!(reasons.len() <= 1, "one packet was sent and the kernel counted {reasons:?}");
        Ok(reasons.first().copied())
    }
}

impl EntryView {
    fn read(entry: &Entry, ledger: &Ledger) -> Self {
        let control = Control(entry.control.load());
        let now = clock::now();
        let until = ledger.rejected_until.load();
        Self {
            requests: entry.requests.load(),
            admitted: entry.admitted.load(),
            rejected: entry.rejected.load(),
            unsolicited: entry.unsolicited.load(),
            profile: control.profile(),
            throttled: control.has(STATUS_THROTTLED),
            rejecting: control.has(STATUS_REJECT) && (until == 0 || now.before(until, LONGEST_AHEAD)),
            alarm: control.has(ALARM_ACTIVE),
            held: control.has(HELD),
            redeem: control.has(REDEEM),
            not_m2m: control.has(NOT_M2M),
            session: now.before(entry.session.load() as u32, LONGEST_AHEAD),
        }
    }
}

impl fmt::Display for EntryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requests {}, admitted {}, rejected {}", self.requests, self.admitted, self.rejected)?;
        match self.profile {
            0 => write!(f, "; no policy cached")?,
            number => write!(f, "; policies cached (profile {number})")?,
        }
        let flags = [
            (self.throttled, "throttled"),
            (self.rejecting, "status reject"),
            (self.alarm, "alarm active"),
            (self.held, "access held"),
            (self.redeem, "to redeem"),
            (self.not_m2m, "not a machine"),
            (self.session, "session open"),
        ];
        flags.iter().filter(|(on, _)| *on).try_for_each(|(_, word)| write!(f, "; {word}"))
    }
}
