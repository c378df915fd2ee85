//! The agent without I/O: what the kernel and control say goes in, messages and entry changes come out.
//!
//! [`Core`] owns what the node believes: devices, profiles, alarms, counts. It changes entries (that is its
//! effect) and asks the [`Kernel`] for the two things that are no memory access. It must not read a clock,
//! wait, or know a socket; [`mod@crate::run`] does. Here is who it is and what it says of itself; `alarming` is
//! the way up from the kernel, `updating` the way down from control, `inheriting` what a start finds, `dating` the
//! two clocks.

mod alarming;
mod dating;
mod inheriting;
mod suspending;
mod updating;

pub use inheriting::Inherited;

use std::collections::{BTreeMap, HashMap, HashSet};

use weir_dataplane_common::abi::{ABI_VERSION, Control, Entry, Ledger, PROFILES, Profile, Side, Switches};
use weir_proto::v1::{self, from_node::Message as Up, to_node::Message as Down};

use crate::{
    alarms::{Alarms, MOST_FRAMES},
    config::Config,
    counts::Counts,
    devices::{DeviceNumber, Devices},
    entry,
    known_good::Keep,
    profile,
    profiles::Profiles,
    shadows,
    strangers::Strangers,
    tables::Table,
    time::Instant,
};

/// Devices in one report: some 700 kB, where a receiver takes 4 MB.
const DEVICES_PER_REPORT: usize = 4096;

/// What the agent needs of the kernel beside its entries.
pub trait Kernel {
    /// All entries.
    fn entries(&self) -> &[Entry];
    /// All ledgers, by the same indices.
    fn ledgers(&self) -> &[Ledger];
    /// What an operator has switched.
    fn switches(&self) -> &Switches;
    /// A profile as it is written.
    ///
    /// # Errors
    /// A sentence for people.
    fn read_profile(&mut self, number: u32) -> Result<Profile, String>;
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
    /// Updates that were refused because there was no number for another combination of policies.
    pub profiles_full: u64,
}

/// A node's beliefs.
pub struct Core<K> {
    kernel: K,
    config: Config,
    boot: String,
    devices: Devices,
    profiles: Profiles,
    /// What number 0 means.
    nothing_cached: Profile,
    alarms: Alarms,
    counts: Vec<Counts>,
    /// Of the updates applied, as far as this stream's control has said them.
    revisions: BTreeMap<DeviceNumber, u64>,
    snapshot: Option<Snapshot>,
    synced: bool,
    unseen_last_sweep: HashSet<DeviceNumber>,
    /// What is to be kept on disk before the results of these updates go up.
    keep: Vec<Keep>,
    /// Statuses that end at an instant of the world's clock.
    statuses: HashMap<DeviceNumber, v1::Status>,
    /// The world's clock less this node's when the statuses were dated last, ms.
    dated_at: Option<i64>,
    /// Where strangers are judged one by one.
    strangers: Option<Strangers>,
    figures: Figures,
}

/// A snapshot on its way.
struct Snapshot {
    remaining: u32,
    named: HashSet<DeviceNumber>,
}

impl<K: Kernel> Core<K> {
    /// A node that has heard nothing yet. Profile 0, "nothing cached", is written first: by it devices are judged
    /// about which nothing is known, so in maps taken over it is what this configuration says from here on. So is
    /// what strangers are judged by.
    ///
    /// # Errors
    /// A sentence for people, if the kernel refuses the profile.
    pub fn new(mut kernel: K, config: Config, boot: String, devices: Devices) -> Result<Self, String> {
        let nothing = profile::compile(None, &config.kinds, &config.timings, config.alarm.as_ref())
            .map_err(|misfit| misfit.to_string())?;
        if kernel.read_profile(0)? != nothing {
            kernel.write_profile(0, &nothing)?;
        }
        let strangers = Strangers::install(&mut kernel, &config)?;
        let counts = vec![Counts::default(); devices.len()];
        Ok(Self {
            kernel,
            config,
            boot,
            devices,
            profiles: Profiles::default(),
            nothing_cached: nothing,
            alarms: Alarms::default(),
            counts,
            revisions: BTreeMap::new(),
            snapshot: None,
            synced: false,
            unseen_last_sweep: HashSet::new(),
            keep: Vec::new(),
            statuses: HashMap::new(),
            dated_at: None,
            strangers,
            figures: Figures::default(),
        })
    }

    /// The kernel side.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// What is to be kept on disk, since this was last asked: before the results of the same updates go up.
    pub fn take_kept(&mut self) -> Vec<Keep> {
        std::mem::take(&mut self.keep)
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
            // The audit is no affair of the core.
            Down::AuditReceived(_) => Vec::new(),
            Down::Update(update) => self.update(&update, now),
        }
    }

    /// Entries of idle devices stay old when their clock wraps. To be called every few days at most. What an entry
    /// can hold no further ahead than a day and a half is dated anew.
    pub fn keep_histories_old(&mut self, now: Instant) {
        for device in 0..self.devices.len() {
            let pair = self.pair(device);
            entry::keep_old(pair, self.profile(Control(pair.0.control.load()).profile()), now.tick);
        }
        if let Some(strangers) = &self.strangers {
            strangers.keep_old(&self.kernel, now.tick);
        }
        self.date_statuses(now);
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

    /// How full the tables are that the core knows.
    pub fn tables(&self) -> Vec<Table> {
        let (frames, frames_lost) = self.alarms.frames();
        // Number 0 is nobody's.
        let profiles = Table::filled("profiles", PROFILES as usize - 1, self.profiles.len());
        let held_frames = Table::filled("held-frames", MOST_FRAMES, frames).with_full(frames_lost);
        let strangers =
            self.strangers.as_ref().map(|them| Table::filled("strangers", them.places(), them.used()));
        let known = [profiles.with_full(self.figures.profiles_full), held_frames];
        known.into_iter().chain(strangers).collect()
    }

    /// Bound devices, and how many distinct profiles they have.
    pub fn device_figures(&self) -> (usize, usize) {
        (self.devices.len(), self.profiles.len())
    }

    /// The primary entry of the device with this identifier, if it is bound here.
    pub fn entry_of(&self, id: &str) -> Option<u32> {
        self.devices.number_of(id).map(|device| self.devices.entry(device))
    }

    /// The identifier of the device whose primary entry this is.
    pub fn device_at(&self, entry: u32) -> Option<&str> {
        self.devices.at_entry(entry).map(|device| self.devices.id(device))
    }

    /// The profiles with a policy in shadow, and their numbers.
    pub(crate) fn profiles_in_shadow(&self) -> Vec<(u32, Profile)> {
        let watched = self.profiles.iter().filter(|(_, profile)| shadows::has_any(profile));
        watched.map(|(number, profile)| (number, *profile)).collect()
    }

    fn entry(&self, device: DeviceNumber) -> &Entry {
        &self.kernel.entries()[self.devices.entry(device) as usize]
    }

    fn pair(&self, device: DeviceNumber) -> entry::Pair<'_> {
        (self.entry(device), self.ledger(device))
    }

    /// What a number that an entry names means.
    fn profile(&self, number: u32) -> &Profile {
        self.profiles.get(number).unwrap_or(&self.nothing_cached)
    }

    fn ledger(&self, device: DeviceNumber) -> &Ledger {
        &self.kernel.ledgers()[self.devices.entry(device) as usize]
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
            let ledger = &self.kernel.ledgers()[self.devices.entry(device) as usize];
            let profile = self.profile(Control(entry.control.load()).profile());
            let message = self.counts[device].message(self.devices.id(device), ledger, profile, now);
            reports.last_mut().expect("one was just pushed if there was none").devices.push(message);
        }
        reports.into_iter().map(Up::Counts).collect()
    }
}
