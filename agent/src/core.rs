//! The agent without I/O: what the kernel and control say goes in, messages and entry changes come out.
//!
//! [`Core`] owns what the node believes: devices, profiles, alarms, counts. It changes entries (that is its
//! effect) and asks the [`Kernel`] for the two things that are no memory access. It must not read a clock,
//! wait, or know a socket; [`mod@crate::run`] does. Here is who it is and what it says of itself; `alarming` is
//! the way up from the kernel, `updating` the way down from control.

mod alarming;
mod updating;

use std::collections::{BTreeMap, HashSet};

use weir_dataplane_common::abi::{ABI_VERSION, Entry, Profile, Side};
use weir_proto::v1::{self, from_node::Message as Up, to_node::Message as Down};

use crate::{
    alarms::Alarms,
    config::Config,
    counts::Counts,
    devices::{DeviceNumber, Devices},
    entry, profile,
    profiles::Profiles,
    time::Instant,
};

/// Devices in one report: some 700 kB, where a receiver takes 4 MB.
const DEVICES_PER_REPORT: usize = 4096;

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

/// A node's beliefs.
pub struct Core<K> {
    kernel: K,
    config: Config,
    boot: String,
    devices: Devices,
    profiles: Profiles,
    alarms: Alarms,
    counts: Vec<Counts>,
    /// Of the updates applied, as far as this stream's control has said them.
    revisions: BTreeMap<DeviceNumber, u64>,
    snapshot: Option<Snapshot>,
    synced: bool,
    unseen_last_sweep: HashSet<DeviceNumber>,
    figures: Figures,
}

/// A snapshot on its way.
struct Snapshot {
    remaining: u32,
    named: HashSet<DeviceNumber>,
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

    /// What to say on a new stream: who we are, every count, every alarm not yet answered.
    pub fn greet(&mut self, now: Instant) -> Vec<Up> {
        (self.snapshot, self.synced) = (None, false);
        let hello = v1::Hello {
            node: self.config.name.clone(),
            boot: self.boot.clone(),
            abi_version: ABI_VERSION,
            kinds: self.config.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        };
        let mut messages = vec![Up::Hello(hello)];
        messages.extend(self.report_of(|_, counts| counts != &Counts::default(), now));
        let unanswered: Vec<DeviceNumber> = self.alarms.unanswered().collect();
        messages.extend(unanswered.into_iter().filter_map(|device| self.alarm_message(device, now)));
        messages
    }

    /// The counts that changed since they were last said.
    pub fn report(&mut self, now: Instant) -> Vec<Up> {
        self.report_of(|changed, _| changed, now)
    }

    /// Control said something.
    pub fn control_said(&mut self, message: Down, now: Instant) -> Vec<Up> {
        match message {
            Down::Welcome(welcome) => self.begin_snapshot(&welcome, now),
            // That control works on an alarm changes nothing: its answer is an update.
            Down::Received(_) => Vec::new(),
            Down::Update(update) => self.update(&update, now),
        }
    }

    /// Entries of idle devices stay old when their clock wraps. To be called every few days at most.
    pub fn keep_histories_old(&self, now: Instant) {
        (0..self.devices.len()).for_each(|device| entry::keep_old(self.entry(device), now.tick));
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
        self.alarms.unanswered().count()
    }

    /// Bound devices, and how many distinct profiles they have.
    pub fn device_figures(&self) -> (usize, usize) {
        (self.devices.len(), self.profiles.len())
    }

    fn entry(&self, device: DeviceNumber) -> &Entry {
        &self.kernel.entries()[self.devices.entry(device) as usize]
    }

    fn report_of(&mut self, wanted: impl Fn(bool, &Counts) -> bool, now: Instant) -> Vec<Up> {
        let mut reports: Vec<v1::CountReport> = Vec::new();
        for device in 0..self.devices.len() {
            let entry = &self.kernel.entries()[self.devices.entry(device) as usize];
            let changed = self.counts[device].read(entry);
            if !wanted(changed, &self.counts[device]) {
                continue;
            }
            if reports.last().is_none_or(|report| report.devices.len() == DEVICES_PER_REPORT) {
                reports.push(v1::CountReport::default());
            }
            let message = self.counts[device].message(self.devices.id(device), entry, now);
            reports.last_mut().expect("one was just pushed if there was none").devices.push(message);
        }
        reports.into_iter().map(Up::Counts).collect()
    }
}
