//! The agent without I/O: what the kernel and control say goes in, messages and entry changes come out.
//!
//! [`Core`] owns what the node believes: devices, profiles, outstanding alarms, counts. It changes entries
//! (that is its effect) and asks the [`Kernel`] for the two things that are no memory access. It must not
//! read a clock, wait, or know a socket; [`crate::run`] does.

use std::collections::{BTreeMap, HashSet};

use weir_dataplane::ring::{AlarmCondition, KernelAlarm};
use weir_dataplane_common::{
    abi::{
        ALARM_UNSEEN, AccessKind, Control, Entry, LAST_ALARM_HELD, NOT_M2M, Profile, STATUS_REJECT,
        STATUS_THROTTLED, Side, condition,
    },
    inspect::Classes,
    tick::window_ticks,
};
use weir_proto::v1::{self, from_node::Message as Up, to_node::Message as Down};

use crate::{
    alarms::{Alarms, HeldFrame},
    config::{Config, OnOutage},
    counts::Counts,
    devices::{DeviceNumber, Devices},
    entry::{self, Fate, Instruction},
    profile,
    profiles::Profiles,
    time::Instant,
    translate,
};

/// What the agent needs of the kernel beside its entries.
pub trait Kernel {
    /// All entries.
    fn entries(&self) -> &[Entry];
    /// Writes a profile that no entry names.
    ///
    /// # Errors
    /// A sentence for people.
    fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), String>;
    /// Runs a frame once through the program as if it had just come in.
    ///
    /// # Errors
    /// A sentence for people.
    fn inject(&mut self, side: Side, ifindex: u32, frame: &[u8]) -> Result<(), String>;
}

/// Figures for metrics and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Alarms taken up.
    pub alarms_raised: u64,
    /// Of which found by the sweep.
    pub alarms_swept: u64,
    /// Updates applied.
    pub updates_applied: u64,
    /// Updates refused.
    pub updates_refused: u64,
    /// Held frames delivered to the program.
    pub frames_injected: u64,
    /// Held frames that could not be.
    pub injections_failed: u64,
    /// Alarms that `on_outage` decided.
    pub outages_decided: u64,
}

/// A snapshot on its way.
struct Snapshot {
    remaining: u32,
    named: HashSet<DeviceNumber>,
}

/// A node's beliefs.
pub struct Core<K> {
    kernel: K,
    config: Config,
    boot: String,
    devices: Devices,
    profiles: Profiles,
    alarms: Alarms,
    counts: Vec<Counts>,
    revisions: BTreeMap<DeviceNumber, u64>,
    snapshot: Option<Snapshot>,
    synced: bool,
    unseen_last_sweep: HashSet<DeviceNumber>,
    figures: Figures,
}

impl<K: Kernel> Core<K> {
    /// A node that has heard nothing yet. Profile 0, "nothing cached", is written first.
    ///
    /// # Errors
    /// A sentence for people, if the kernel refuses the profile.
    pub fn new(mut kernel: K, config: Config, boot: String, devices: Devices) -> Result<Self, String> {
        let nothing = profile::compile(None, &config.kinds, &config.timings, config.alarm.as_ref());
        kernel.write_profile(0, &nothing.map_err(|misfit| misfit.to_string())?)?;
        let counts = vec![Counts::default(); devices.len()];
        Ok(Self {
            kernel,
            config,
            boot,
            devices,
            profiles: Profiles::default(),
            alarms: Alarms::default(),
            counts,
            revisions: BTreeMap::new(),
            snapshot: None,
            synced: false,
            unseen_last_sweep: HashSet::new(),
            figures: Figures::default(),
        })
    }

    /// The kernel side.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// What to say on a new stream: who we are, every alarm not yet answered, every count.
    pub fn greet(&mut self, now: Instant) -> Vec<Up> {
        (self.snapshot, self.synced) = (None, false);
        let hello = v1::Hello {
            node: self.config.name.clone(),
            boot: self.boot.clone(),
            abi_version: weir_dataplane_common::abi::ABI_VERSION,
            kinds: self.config.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        };
        let outstanding: Vec<DeviceNumber> = self.alarms.iter().map(|(device, _)| device).collect();
        let mut messages = vec![Up::Hello(hello)];
        messages.extend(self.report_of(|_, counts| counts != &Counts::default(), now));
        messages.extend(outstanding.into_iter().filter_map(|device| self.alarm_message(device, now)));
        messages
    }

    /// The kernel raised an alarm.
    pub fn kernel_alarm(&mut self, alarm: KernelAlarm, now: Instant) -> Option<Up> {
        let device = self.devices.at_entry(alarm.entry)?;
        entry::notice_alarm(self.entry(device));
        let frame = HeldFrame { side: alarm.side, ifindex: alarm.ifindex, bytes: alarm.frame };
        let (condition, kind, held) = (alarm.condition, alarm.kind, alarm.access_held);
        self.take_up(device, condition, kind, held, Some(frame), now)
    }

    /// Looks for alarm bits whose record found the ring full: those unseen in two sweeps.
    pub fn sweep(&mut self, now: Instant) -> Vec<Up> {
        let unseen: HashSet<DeviceNumber> = (0..self.devices.len())
            .filter(|device| Control(self.entry(*device).control.load()).has(ALARM_UNSEEN))
            .collect();
        let lost: Vec<DeviceNumber> = unseen.intersection(&self.unseen_last_sweep).copied().collect();
        self.unseen_last_sweep = unseen;
        lost.into_iter().filter_map(|device| self.sweep_up(device, now)).collect()
    }

    /// Every second: old frames go, unanswered alarms are decided as configured.
    pub fn time_passes(&mut self, now: Instant) {
        self.alarms.forget_old_frames(now.unix_ms);
        for device in self.alarms.overdue(now.unix_ms, self.config.alarm_timeout) {
            self.figures.outages_decided += 1;
            if self.config.on_outage == OnOutage::Allow {
                self.allow(device);
            }
        }
    }

    /// Entries of idle devices stay old when their clock wraps. To be called every few days at most.
    pub fn keep_histories_old(&self, now: Instant) {
        const THREE_DAYS: u32 = window_ticks(3 * 24 * 3_600 * 1_000_000_000);
        for entry in self.kernel.entries() {
            entry.request_history.keep_old(now.tick, THREE_DAYS);
            entry.admission_history.keep_old(now.tick, THREE_DAYS);
        }
    }

    /// The counts that changed since the last report.
    pub fn report(&mut self, now: Instant) -> Option<Up> {
        self.report_of(|changed, _| changed, now)
    }

    /// Control said something.
    pub fn control_said(&mut self, message: Down, now: Instant) -> Vec<Up> {
        match message {
            Down::Welcome(welcome) => {
                self.revisions.clear();
                self.synced = false;
                self.snapshot = Some(Snapshot { remaining: welcome.snapshot_entries, named: HashSet::new() });
                self.finish_snapshot();
                Vec::new()
            }
            Down::Received(_) => Vec::new(),
            Down::Update(update) => vec![Up::Result(self.update(&update, now))],
        }
    }

    /// Whether the entries are what control wants, as far as this stream has said.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Figures for metrics.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Alarms that wait for an answer.
    pub fn outstanding_alarms(&self) -> usize {
        self.alarms.len()
    }

    /// Bound devices, and how many distinct profiles they have.
    pub fn device_figures(&self) -> (usize, usize) {
        (self.devices.len(), self.profiles.len())
    }

    fn entry(&self, device: DeviceNumber) -> &Entry {
        &self.kernel.entries()[self.devices.entry(device) as usize]
    }

    fn take_up(
        &mut self,
        device: DeviceNumber,
        condition: AlarmCondition,
        kind: AccessKind,
        access_held: bool,
        frame: Option<HeldFrame>,
        now: Instant,
    ) -> Option<Up> {
        if !self.alarms.raise(device, condition, kind, access_held, frame, now.unix_ms) {
            return None;
        }
        self.figures.alarms_raised += 1;
        self.alarm_message(device, now)
    }

    fn sweep_up(&mut self, device: DeviceNumber, now: Instant) -> Option<Up> {
        let entry = self.entry(device);
        let (last, classes) = (entry.last_alarm.load(), entry.last_alarm_classes.load());
        if !entry::notice_alarm(entry) {
            return None;
        }
        let condition = match Classes(u64::from(classes)).iter().next() {
            Some(class) if last as u8 == condition::PROTOCOL => AlarmCondition::Protocol(class),
            _ => AlarmCondition::Count,
        };
        let kind = AccessKind::from_number((last >> 8) as u8).unwrap_or(AccessKind::Packet);
        self.figures.alarms_swept += 1;
        self.take_up(device, condition, kind, last & LAST_ALARM_HELD != 0, None, now)
    }

    fn alarm_message(&mut self, device: DeviceNumber, now: Instant) -> Option<Up> {
        let entry = &self.kernel.entries()[self.devices.entry(device) as usize];
        self.counts[device].read(entry);
        let id = self.devices.id(device);
        let counts = self.counts[device].message(id, entry, now);
        let window = self.config.alarm.as_ref().and_then(|alarm| alarm.count).map(|(_, window)| window);
        let requests = window.map_or(0, |window| {
            entry.request_history.count_within(now.tick, window_ticks(window.as_nanos() as u64))
        });
        let outstanding = self.alarms.get(device)?;
        let alarm_id = v1::AlarmId {
            node: self.config.name.clone(),
            boot: self.boot.clone(),
            sequence: outstanding.sequence,
        };
        Some(Up::Alarm(translate::alarm(alarm_id, id, outstanding, counts, requests, &self.config)))
    }

    fn report_of(&mut self, wanted: impl Fn(bool, &Counts) -> bool, now: Instant) -> Option<Up> {
        let mut devices = Vec::new();
        for device in 0..self.devices.len() {
            let entry = &self.kernel.entries()[self.devices.entry(device) as usize];
            let changed = self.counts[device].read(entry);
            if wanted(changed, &self.counts[device]) {
                devices.push(self.counts[device].message(self.devices.id(device), entry, now));
            }
        }
        (!devices.is_empty()).then_some(Up::Counts(v1::CountReport { devices }))
    }

    fn update(&mut self, update: &v1::CacheUpdate, now: Instant) -> v1::UpdateResult {
        let refused = match self.apply(update, now) {
            Ok(()) => {
                self.figures.updates_applied += 1;
                String::new()
            }
            Err(reason) => {
                self.figures.updates_refused += 1;
                reason
            }
        };
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remaining = snapshot.remaining.saturating_sub(1);
            snapshot.named.extend(self.devices.number_of(&update.device));
        }
        self.finish_snapshot();
        v1::UpdateResult { nonce: update.nonce, device: update.device.clone(), refused }
    }

    /// A device bound elsewhere is none of our business, and no error. A refused update changes nothing.
    fn apply(&mut self, update: &v1::CacheUpdate, now: Instant) -> Result<(), String> {
        let Some(device) = self.devices.number_of(&update.device) else { return Ok(()) };
        let known = self.revisions.get(&device).copied().unwrap_or(0);
        if update.revision < known {
            return Ok(());
        }
        let fate = translate::fate(update);
        let number = self.profile_for(update)?;
        let status = update.status.unwrap_or_default();
        let instruction = Instruction {
            profile: number,
            throttled_until: now.tick_of(status.throttled_until_ms),
            rejected: translate::rejected(&status, now),
            not_m2m: update.not_m2m,
            fate,
            release_session: status.release_session,
            generation: update.revision as u16,
        };
        self.write(device, &instruction);
        self.revisions.insert(device, update.revision);
        if fate != Fate::Unchanged {
            let frame = self.alarms.end(device);
            self.deliver(frame.filter(|_| fate == Fate::Cancel));
        }
        tracing::info!(revision = update.revision, fate = ?fate, "{}", update.explanation);
        Ok(())
    }

    fn profile_for(&mut self, update: &v1::CacheUpdate) -> Result<u32, String> {
        if !update.cached {
            return Ok(0);
        }
        let policies = translate::policies(update)?;
        self.profile_of(&policies)
    }

    /// The number of these policies' profile, written if it is new.
    fn profile_of(&mut self, policies: &[profile::Policy]) -> Result<u32, String> {
        let config = &self.config;
        let profile = profile::compile(Some(policies), &config.kinds, &config.timings, config.alarm.as_ref())
            .map_err(|misfit| misfit.to_string())?;
        let assigned =
            self.profiles.take(&profile).ok_or("more distinct combinations of policies than a node holds")?;
        if assigned.is_new
            && let Err(reason) = self.kernel.write_profile(assigned.number, &profile)
        {
            self.profiles.give_back(assigned.number);
            return Err(reason);
        }
        Ok(assigned.number)
    }

    /// Writes an entry and gives back the profile that it named before.
    fn write(&mut self, device: DeviceNumber, instruction: &Instruction) {
        let replaced = entry::write(self.entry(device), instruction);
        self.profiles.give_back(replaced.profile());
    }

    fn deliver(&mut self, frame: Option<HeldFrame>) {
        let Some(frame) = frame else { return };
        match self.kernel.inject(frame.side, frame.ifindex, &frame.bytes) {
            Ok(()) => self.figures.frames_injected += 1,
            Err(reason) => {
                self.figures.injections_failed += 1;
                tracing::warn!(
                    "a held frame could not be delivered, the device's next packet redeems it: {reason}"
                );
            }
        }
    }

    /// Nobody answered and the operator prefers service: the held access is accepted, and the device is
    /// treated as one with an empty list of policies until control says otherwise.
    fn allow(&mut self, device: DeviceNumber) {
        let number = match self.profile_of(&[]) {
            Ok(number) => number,
            Err(reason) => return tracing::warn!("on_outage = allow could not be carried out: {reason}"),
        };
        let generation = Control(self.entry(device).control.load()).generation();
        let nothing = Instruction::nothing_cached(generation);
        self.write(device, &Instruction { profile: number, fate: Fate::Cancel, ..nothing });
        let frame = self.alarms.take_frame(device);
        self.deliver(frame);
    }

    /// When a snapshot is complete, devices it does not name are not cached. Outstanding alarms stay.
    fn finish_snapshot(&mut self) {
        let complete = self.snapshot.take_if(|snapshot| snapshot.remaining == 0);
        let Some(snapshot) = complete else { return };
        self.synced = true;
        let unnamed = (0..self.devices.len()).filter(|device| !snapshot.named.contains(device));
        for device in unnamed.collect::<Vec<_>>() {
            let control = Control(self.entry(device).control.load());
            if control.profile() != 0 || control.has(NOT_M2M | STATUS_THROTTLED | STATUS_REJECT) {
                self.write(device, &Instruction::nothing_cached(control.generation()));
            }
        }
    }
}
