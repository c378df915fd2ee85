//! The node's figures for Prometheus. No identifier of a device is a label (R-X7).

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use weir_dataplane_common::{answer::Answer, reason::Reason};

use crate::{
    core::Figures,
    tables::{Table, TableMetrics},
};

/// What a node shows of itself.
pub(crate) struct Metrics {
    packets: IntCounterVec,
    alarms: IntCounterVec,
    alarms_lost: IntCounter,
    alarms_outstanding: IntGauge,
    updates: IntCounterVec,
    held_frames: IntCounterVec,
    outage_decisions: IntCounter,
    connected: IntGauge,
    silent_seconds: IntGauge,
    devices: IntGauge,
    profiles: IntGauge,
    bypass_active: IntGauge,
    exempt_devices: IntGauge,
    audit_waiting: IntGauge,
    known_good_failures: IntCounter,
    interfaces_missing: IntGauge,
    answers: IntCounterVec,
    shadow: IntCounterVec,
    policy_shadow: IntCounterVec,
    tables: TableMetrics,
}

/// Everything that is shown, read at one time.
pub(crate) struct Reading {
    pub reasons: Vec<(Reason, u64)>,
    pub lost_alarms: u64,
    pub figures: Figures,
    pub outstanding_alarms: usize,
    pub connected: bool,
    pub silent_seconds: u64,
    pub devices: usize,
    pub profiles: usize,
    pub is_bypassed: bool,
    pub exempt_devices: usize,
    pub audit_waiting: usize,
    pub known_good_failures: u64,
    pub interfaces_missing: usize,
    pub tables: Vec<Table>,
    pub answers: [(Answer, u64); Answer::ALL.len()],
    pub shadow: Vec<(Reason, u64)>,
    pub policy_shadow: Vec<(u32, u64)>,
}

impl Metrics {
    /// Registers everything; every reason is there from the start, with zero.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            packets: counters("weir_packets_total", "Packets judged, by reason", &["reason", "verdict"])?,
            alarms: counters("weir_alarms_total", "Alarms taken up, by how they were found", &["found"])?,
            alarms_lost: IntCounter::new(
                "weir_alarms_lost_total",
                "Alarms that found the ring full; the sweep finds them",
            )?,
            alarms_outstanding: IntGauge::new(
                "weir_alarms_outstanding",
                "Alarms that control has not answered",
            )?,
            updates: counters("weir_updates_total", "Cache updates, by result", &["result"])?,
            held_frames: counters(
                "weir_held_frames_total",
                "Held frames of cancelled alarms, by result",
                &["result"],
            )?,
            outage_decisions: IntCounter::new(
                "weir_outage_decisions_total",
                "Alarms that on_outage decided",
            )?,
            connected: IntGauge::new("weir_control_connected", "1 while a stream to control is open")?,
            silent_seconds: IntGauge::new(
                "weir_control_silent_seconds",
                "Seconds since control last said anything",
            )?,
            devices: IntGauge::new("weir_devices", "Devices bound")?,
            profiles: IntGauge::new("weir_profiles", "Distinct combinations of policies in use")?,
            bypass_active: IntGauge::new(
                "weir_node_bypass_active",
                "1 while an operator's bypass lets every packet pass",
            )?,
            exempt_devices: IntGauge::new(
                "weir_node_exempt_devices",
                "Devices that an operator has exempted for a while",
            )?,
            audit_waiting: IntGauge::new(
                "weir_node_audit_lines_waiting",
                "Acts of operators on this node that control has not written down yet",
            )?,
            known_good_failures: IntCounter::new(
                "weir_node_known_good_failures_total",
                "Times that the last-known-good cache could not be written or was found changed",
            )?,
            interfaces_missing: IntGauge::new(
                "weir_node_interfaces_missing",
                "Configured interfaces on which nothing is judged now",
            )?,
            answers: counters(
                "weir_node_answers_total",
                "Refused packets that could be answered, by what was sent: rst, icmp, or nothing (limited, unanswerable)",
                &["kind"],
            )?,
            shadow: counters(
                "weir_node_shadow_total",
                "On a node in shadow: packets that passed and would have been dropped, by reason",
                &["reason"],
            )?,
            policy_shadow: counters(
                "weir_policy_shadow_total",
                "Packets that a policy in shadow would have dropped",
                &["policy"],
            )?,
            tables: TableMetrics::new(registry)?,
        };
        metrics.register(registry)?;
        Ok(metrics)
    }

    fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.packets.clone()))?;
        registry.register(Box::new(self.shadow.clone()))?;
        registry.register(Box::new(self.policy_shadow.clone()))?;
        registry.register(Box::new(self.alarms.clone()))?;
        registry.register(Box::new(self.alarms_lost.clone()))?;
        registry.register(Box::new(self.alarms_outstanding.clone()))?;
        registry.register(Box::new(self.updates.clone()))?;
        registry.register(Box::new(self.held_frames.clone()))?;
        registry.register(Box::new(self.outage_decisions.clone()))?;
        registry.register(Box::new(self.connected.clone()))?;
        registry.register(Box::new(self.silent_seconds.clone()))?;
        registry.register(Box::new(self.devices.clone()))?;
        registry.register(Box::new(self.profiles.clone()))?;
        registry.register(Box::new(self.bypass_active.clone()))?;
        registry.register(Box::new(self.exempt_devices.clone()))?;
        registry.register(Box::new(self.audit_waiting.clone()))?;
        registry.register(Box::new(self.known_good_failures.clone()))?;
        registry.register(Box::new(self.interfaces_missing.clone()))?;
        registry.register(Box::new(self.answers.clone()))
    }

    /// Brings everything up to a reading.
    pub(crate) fn show(&self, reading: &Reading) {
        for (reason, count) in &reading.reasons {
            raise_to(&self.packets.with_label_values(&[reason.name(), reason.verdict().name()]), *count);
        }
        let figures = &reading.figures;
        let ring = figures.alarms_raised - figures.alarms_swept.min(figures.alarms_raised);
        raise_to(&self.alarms.with_label_values(&["ring"]), ring);
        raise_to(&self.alarms.with_label_values(&["sweep"]), figures.alarms_swept);
        raise_to(&self.alarms_lost, reading.lost_alarms);
        raise_to(&self.updates.with_label_values(&["applied"]), figures.updates_applied);
        raise_to(&self.updates.with_label_values(&["refused"]), figures.updates_refused);
        raise_to(&self.held_frames.with_label_values(&["injected"]), figures.frames_injected);
        raise_to(&self.held_frames.with_label_values(&["failed"]), figures.injections_failed);
        raise_to(&self.outage_decisions, figures.outages_decided);
        self.alarms_outstanding.set(reading.outstanding_alarms as i64);
        self.connected.set(reading.connected.into());
        self.silent_seconds.set(reading.silent_seconds as i64);
        self.devices.set(reading.devices as i64);
        self.profiles.set(reading.profiles as i64);
        self.bypass_active.set(reading.is_bypassed.into());
        self.exempt_devices.set(reading.exempt_devices as i64);
        self.audit_waiting.set(reading.audit_waiting as i64);
        raise_to(&self.known_good_failures, reading.known_good_failures);
        self.interfaces_missing.set(reading.interfaces_missing as i64);
        self.tables.show(&reading.tables);
        for (answer, count) in reading.answers {
            raise_to(&self.answers.with_label_values(&[answer.name()]), count);
        }
        for (reason, count) in reading.shadow.iter().filter(|(_, count)| *count > 0) {
            raise_to(&self.shadow.with_label_values(&[reason.name()]), *count);
        }
        for (policy, count) in &reading.policy_shadow {
            raise_to(&self.policy_shadow.with_label_values(&[&policy.to_string()]), *count);
        }
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

/// A counter follows a cumulative figure that only grows.
fn raise_to(counter: &IntCounter, figure: u64) {
    counter.inc_by(figure.saturating_sub(counter.get()));
}
