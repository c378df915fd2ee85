//! The door: inputs come in with the time, are led to the device they concern, and outputs go out.
//!
//! Nothing is decided here (see `decide`) and nothing waits. Devices get their timers here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::counts::Origin;
use crate::device::{Device, Turn};
use crate::lifecycle::Question;
use crate::nodes::{NodeIndex, NodeTable};
use crate::policies::PolicySets;
use crate::register::{Place, Register};
use crate::{
    Alarm, CacheUpdate, Config, DeviceCounts, DeviceId, Input, NodeName, Output, Policy, Subscription,
    UnixMillis,
};

/// Decides on alarms and keeps what every node shall hold for every device.
///
/// It is told everything through [`ServiceControl::handle`] and asks for nothing by itself: no socket, no clock,
/// no database. After a restart it is given what it had recorded by [`ServiceControl::restore`].
#[derive(Debug)]
pub struct ServiceControl {
    config: Config,
    pub(crate) nodes: NodeTable,
    pub(crate) devices: Register,
    policies: PolicySets,
    timers: BTreeSet<(UnixMillis, Place)>,
    /// Revisions of entries that are no more; a new entry's is higher.
    past_revisions: u64,
    pub(crate) now: UnixMillis,
}

impl ServiceControl {
    /// Knows no device and no node.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            nodes: NodeTable::default(),
            devices: Register::default(),
            policies: PolicySets::default(),
            timers: BTreeSet::new(),
            past_revisions: 0,
            now: UnixMillis::default(),
        }
    }

    /// Installs recorded entries, the latest of each device, before any input. Statuses that have lapsed meanwhile
    /// are gone; a rejected alarm is looked at again, if it was for a protocol after a full hold time from now; that
    /// a device is not M2M is believed for another full lifetime.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = CacheUpdate>, now: UnixMillis) {
        self.now = now;
        for mut entry in entries {
            self.past_revisions = self.past_revisions.max(entry.revision);
            if entry.cached || entry.alarm == crate::AlarmFate::Reject {
                let policies = self.policies.shared(std::mem::take(&mut entry.policies));
                let device = Device::restored(&entry, policies, &self.config, now);
                let place = self.devices.find_or_add(&entry.device, entry.revision);
                timed(&mut self.devices, &mut self.timers, place, |known| *known = device);
            }
        }
    }

    /// Takes one input. The outputs are to be carried out in their order: a record is durable before the updates
    /// behind it are sent.
    pub fn handle(&mut self, input: Input, now: UnixMillis) -> Vec<Output> {
        self.now = now;
        let mut out = Vec::new();
        self.time_passed(&mut out);
        match input {
            Input::TimePassed => {}
            Input::NodeConnected { node, boot } => self.node_connected(node, &boot, &mut out),
            Input::NodeDisconnected { node } => self.nodes.disconnect(&node),
            Input::AlarmRaised(alarm) => self.alarm_raised(alarm, &mut out),
            Input::CountsReported { node, boot, devices } => self.counted(&node, &boot, devices, &mut out),
            Input::SubscriptionAnswered { device, answer } => {
                self.subscription(&device, answer.as_ref(), &mut out);
            }
            Input::PoliciesAnswered { device, answer } => self.found_policies(&device, answer, &mut out),
            Input::SubscriberChanged { device } => {
                self.known(&device, &mut out, Device::subscriber_changed);
            }
            Input::OperatorCancels { device } => {
                let place = self.devices.find_or_add(&device, self.past_revisions);
                self.visit(place, &device, &mut out, Device::operator_cancels);
            }
        }
        out
    }

    /// When [`Input::TimePassed`] is due, if ever. Any input at or after that instant does as well.
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Each device that is due is served once, so that one input takes a bounded time.
    fn time_passed(&mut self, out: &mut Vec<Output>) {
        let due = self.timers.iter().take_while(|(at, _)| *at <= self.now);
        let due: Vec<_> = due.map(|(_, place)| *place).collect();
        for place in due {
            self.visit(place, &self.devices.id(place), out, Device::time_passed);
        }
    }

    fn node_connected(&mut self, name: NodeName, boot: &str, out: &mut Vec<Output>) {
        let node = self.nodes.index(&name);
        let boot = self.nodes.boot(node, boot);
        self.nodes.connect(node);
        let mut entries = Vec::new();
        let places: Vec<_> = self.devices.told_places().collect();
        for place in places {
            let id = self.devices.id(place);
            let entry = |device: &mut Device| device.for_snapshot(&id, &self.nodes, node, boot);
            entries.extend(self.devices.visit(place, entry));
        }
        out.push(Output::Snapshot { node: name, entries });
    }

    fn alarm_raised(&mut self, alarm: Alarm, out: &mut Vec<Output>) {
        out.push(Output::AlarmReceived { node: alarm.id.node.clone(), id: alarm.id.clone() });
        let node = self.nodes.index(&alarm.id.node);
        let place = self.devices.find_or_add(&alarm.device, self.past_revisions);
        let from = self.origin(node, &alarm.id.boot, place);
        let id = alarm.device.clone();
        self.visit(place, &id, out, |device, turn| device.alarm_raised(turn, from, alarm));
    }

    fn counted(
        &mut self,
        node: &NodeName,
        boot: &str,
        devices: Vec<(DeviceId, DeviceCounts)>,
        out: &mut Vec<Output>,
    ) {
        let node = self.nodes.index(node);
        for (id, counts) in devices {
            let place = self.devices.find_or_add(&id, self.past_revisions);
            let from = self.origin(node, boot, place);
            self.visit(place, &id, out, |device, turn| device.counted(turn, from, counts));
        }
    }

    fn subscription(&mut self, id: &DeviceId, answer: Result<&Subscription, &String>, out: &mut Vec<Output>) {
        let m2m = |kind: &String| self.config.m2m_device_types.contains(kind);
        let (known, m2m) = match answer {
            Ok(Subscription::Known { device_type }) => (true, m2m(device_type)),
            Ok(Subscription::Unknown) => (false, false),
            Err(_) => return self.failed(id, Question::Subscription, out),
        };
        self.known(id, out, |device, turn| {
            let step = device.stage.subscription_answered(m2m, turn.config, turn.now);
            match (device.take_step(turn, step), known) {
                (false, _) => {}
                (true, true) => device.found_not_m2m(turn),
                (true, false) => device.found_unknown(turn),
            }
        });
    }

    fn found_policies(&mut self, id: &DeviceId, answer: Result<Vec<Policy>, String>, out: &mut Vec<Output>) {
        let Ok(policies) = answer else { return self.failed(id, Question::Policies, out) };
        let policies = self.policies.shared(policies);
        self.known(id, out, |device, turn| {
            let step = device.stage.policies_answered(turn.config, turn.now);
            if device.take_step(turn, step) {
                device.found_policies(turn, policies);
            }
        });
    }

    fn failed(&mut self, id: &DeviceId, question: Question, out: &mut Vec<Output>) {
        self.known(id, out, |device, turn| {
            let step = device.stage.failed(question, turn.config, turn.now);
            device.take_step(turn, step);
        });
    }

    /// Which boot speaks, and how much of the past matters to the device.
    fn origin(&mut self, node: NodeIndex, boot: &str, place: Place) -> Origin {
        let boot = self.nodes.boot(node, boot);
        let settled = self.devices.settled_policies(place);
        let keep = settled.map_or(self.config.longest_window, longest_window);
        Origin { node, boot, keep }
    }

    fn known(&mut self, id: &DeviceId, out: &mut Vec<Output>, act: impl FnOnce(&mut Device, &mut Turn<'_>)) {
        if let Some(place) = self.devices.find(id) {
            self.visit(place, id, out, act);
        }
    }

    fn visit(
        &mut self,
        place: Place,
        id: &DeviceId,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Device, &mut Turn<'_>),
    ) {
        let Self { config, nodes, devices, timers, now, .. } = self;
        let mut turn = Turn { id, config, nodes, now: *now, out };
        timed(devices, timers, place, |device| act(device, &mut turn));
    }
}

/// Something happens to a device, and its timer is set anew: one for each device that has something to wait for.
fn timed(
    devices: &mut Register,
    timers: &mut BTreeSet<(UnixMillis, Place)>,
    place: Place,
    act: impl FnOnce(&mut Device),
) {
    let (before, after) = devices.visit(place, |device| {
        let before = device.next_due();
        act(device);
        (before, device.next_due())
    });
    if before != after {
        before.inspect(|at| _ = timers.remove(&(*at, place)));
        timers.extend(after.map(|at| (at, place)));
    }
}

/// Of limits and throttles alike.
fn longest_window(policies: &[Policy]) -> Duration {
    let windows = policies.iter().flat_map(|policy| {
        let rule = match &policy.rule {
            crate::Rule::AccessLimit(limit) => Some(limit.window),
            crate::Rule::ForbiddenProtocols(_) | crate::Rule::Rate(_) => None,
        };
        rule.into_iter().chain(policy.throttle().map(|limit| limit.window))
    });
    windows.max().unwrap_or_default()
}
