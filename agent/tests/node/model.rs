//! What a node should believe, as control and the requirements would write it down: slow and without bits.
//!
//! It is told everything that is said to the agent and everything the agent says. It knows nothing of entries,
//! profiles or rings; [`crate::random`] compares.

use weir_proto::v1;

use crate::world::DEVICES;

/// Two instants this close may fall either way: a node's clock ticks about once a millisecond.
const TREMBLE: u64 = 5;

/// A policy of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// At most so many accesses in so many milliseconds, or none.
    Reject(u32, u64),
    /// Beyond that this throttle.
    Throttle((u32, u64), (u32, u64)),
    /// No ESP.
    NoEsp,
    /// Known, never enforced.
    Watched(u32, u64),
}

/// How far an alarm has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Waiting,
    Denied,
    Allowed,
    Rejected,
}

/// An alarm that the agent has told of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    pub sequence: u64,
    pub phase: Phase,
    pub access_held: bool,
    since: u64,
}

impl Alarm {
    pub fn is_active(self) -> bool {
        self.phase != Phase::Allowed
    }

    pub fn is_unanswered(self) -> bool {
        self.phase != Phase::Rejected
    }
}

/// One device.
#[derive(Debug, Default)]
pub struct Device {
    pub policies: Option<Vec<Rule>>,
    pub not_m2m: bool,
    /// Milliseconds of the test's clock.
    pub throttled_until: u64,
    pub rejected_until: u64,
    pub alarm: Option<Alarm>,
    revision: Option<u64>,
    pub admissions: Vec<u64>,
    /// Held accesses that were accepted, and accesses that were redeemed.
    pub accepted: usize,
    pub redeemed: usize,
}

/// An update in the test's terms.
#[derive(Clone, Debug)]
pub struct Update {
    pub device: usize,
    pub revision: u64,
    pub policies: Option<Vec<Rule>>,
    pub not_m2m: bool,
    pub throttled_for: u64,
    pub rejected_for: u64,
    pub fate: v1::AlarmFate,
    pub answers: Option<u64>,
}

/// The node.
#[derive(Debug, Default)]
pub struct Model {
    pub devices: [Device; DEVICES.len()],
    pub last_sequence: u64,
    /// Updates that the snapshot still lacks, and whom it has named.
    snapshot: Option<(usize, Vec<usize>)>,
    pub synced: bool,
}

impl Model {
    /// The agent tells of a new alarm.
    pub fn raised(&mut self, alarm: &v1::AlarmRaised, now: u64) {
        let sequence = crate::world::sequence(alarm);
        assert!(sequence > self.last_sequence, "numbers grow");
        self.last_sequence = sequence;
        let device = self.by_id(&alarm.device);
        assert_eq!(device.alarm, None, "one alarm at a time");
        device.alarm =
            Some(Alarm { sequence, phase: Phase::Waiting, access_held: alarm.access_held, since: now });
    }

    fn by_id(&mut self, id: &str) -> &mut Device {
        let place = DEVICES.iter().position(|device| *device == id).expect("a device of this test");
        &mut self.devices[place]
    }

    /// Sequence numbers of the alarms that every new stream is to be told of.
    pub fn unanswered(&self) -> Vec<u64> {
        let alarms = self.devices.iter().filter_map(|device| device.alarm);
        alarms.filter(|alarm| alarm.is_unanswered()).map(|alarm| alarm.sequence).collect()
    }

    /// `on_outage` decides. At the limit it may fall either way: `is_active` says what the node did.
    pub fn second(&mut self, now: u64, timeout: u64, allows: bool, is_active: impl Fn(usize) -> bool) {
        for (place, device) in self.devices.iter_mut().enumerate() {
            let Some(alarm) = device.alarm.as_mut().filter(|alarm| alarm.phase == Phase::Waiting) else {
                continue;
            };
            let waited = now - alarm.since;
            let decided = if allows && waited.abs_diff(timeout) <= TREMBLE {
                !is_active(place)
            } else {
                waited > timeout
            };
            if decided && allows {
                alarm.phase = Phase::Allowed;
                device.accepted += usize::from(alarm.access_held);
            } else if decided {
                alarm.phase = Phase::Denied;
            }
        }
    }

    /// The agent applies an update; `refused` if it says it cannot. Devices pruned by a snapshot that is now
    /// complete, whose rejected alarms wait again.
    pub fn updated(&mut self, update: &Update, refused: bool, now: u64) -> Vec<u64> {
        let device = &mut self.devices[update.device];
        if !refused && device.revision.is_none_or(|known| update.revision >= known) {
            device.apply(update, now);
        }
        if let Some((remaining, named)) = &mut self.snapshot {
            *remaining = remaining.saturating_sub(1);
            named.push(update.device);
        }
        self.finish_snapshot(now)
    }

    /// A new stream: what was under way on the old one is void.
    pub fn greeted(&mut self) {
        (self.snapshot, self.synced) = (None, false);
    }

    pub fn welcomed(&mut self, entries: usize, now: u64) -> Vec<u64> {
        self.devices.iter_mut().for_each(|device| device.revision = None);
        self.snapshot = Some((entries, Vec::new()));
        self.synced = false;
        self.finish_snapshot(now)
    }

    fn finish_snapshot(&mut self, now: u64) -> Vec<u64> {
        let Some((_, named)) = self.snapshot.take_if(|(remaining, _)| *remaining == 0) else { return vec![] };
        self.synced = true;
        let mut reopened = Vec::new();
        for (place, device) in self.devices.iter_mut().enumerate() {
            if named.contains(&place) {
                continue;
            }
            (device.policies, device.not_m2m) = (None, false);
            (device.throttled_until, device.rejected_until) = (0, 0);
            if let Some(alarm) = device.alarm.as_mut().filter(|alarm| alarm.phase == Phase::Rejected) {
                (alarm.phase, alarm.since) = (Phase::Waiting, now);
                reopened.push(alarm.sequence);
            }
        }
        reopened
    }
}

impl Device {
    fn apply(&mut self, update: &Update, now: u64) {
        let repeated = self.revision == Some(update.revision);
        self.revision = Some(update.revision);
        let same_policies = self.policies == update.policies;
        self.policies.clone_from(&update.policies);
        self.not_m2m = update.not_m2m;
        let until = |length: u64| if length == 0 { 0 } else { now + length };
        let throttled_until = until(update.throttled_for);
        // A throttle under the same policies runs on.
        let before = if same_policies { self.throttled_until } else { 0 };
        self.throttled_until = throttled_until.max(before);
        self.rejected_until = until(update.rejected_for);
        let Some(alarm) = self.alarm else { return };
        let is_meant = match update.answers {
            Some(sequence) => sequence == alarm.sequence,
            None => !repeated,
        };
        match update.fate {
            v1::AlarmFate::Cancel if is_meant => {
                let undecided = matches!(alarm.phase, Phase::Waiting | Phase::Denied);
                self.accepted += usize::from(undecided && alarm.access_held);
                self.alarm = None;
            }
            v1::AlarmFate::Reject if is_meant => {
                self.alarm = Some(Alarm { phase: Phase::Rejected, access_held: false, ..alarm });
            }
            _ => {}
        }
    }

    /// Whether an access now is what the policies permit.
    pub fn may_enter(&self, now: u64, esp: bool) -> Result<(), String> {
        if self.rejected_until > now {
            return Err(format!("rejected until {}", self.rejected_until));
        }
        let within = |(permitted, window): (u32, u64)| {
            let recent = self.admissions.iter().filter(|at| now - **at < window).count();
            recent < permitted as usize
        };
        for rule in self.policies.iter().flatten() {
            let fits = match *rule {
                Rule::NoEsp => !esp,
                Rule::Watched(..) => true,
                Rule::Reject(permitted, window) => within((permitted, window)),
                Rule::Throttle(limit, throttle) => {
                    // The node takes the throttle's window for the longest that it can be told.
                    let told = self.throttled_until > now + TREMBLE;
                    within(throttle) || within(limit) && !told
                }
            };
            if !fits {
                return Err(format!("{rule:?} with admissions at {:?}", self.admissions));
            }
        }
        Ok(())
    }
}
