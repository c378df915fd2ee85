//! The node's figures for Prometheus. No identifier of a device is a label (R-X7).

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use weir_dataplane_common::reason::Reason;

use crate::core::Figures;

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
        };
        metrics.register(registry)?;
        Ok(metrics)
    }

    fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.packets.clone()))?;
        registry.register(Box::new(self.alarms.clone()))?;
        registry.register(Box::new(self.alarms_lost.clone()))?;
        registry.register(Box::new(self.alarms_outstanding.clone()))?;
        registry.register(Box::new(self.updates.clone()))?;
        registry.register(Box::new(self.held_frames.clone()))?;
        registry.register(Box::new(self.outage_decisions.clone()))?;
        registry.register(Box::new(self.connected.clone()))?;
        registry.register(Box::new(self.silent_seconds.clone()))?;
        registry.register(Box::new(self.devices.clone()))?;
        registry.register(Box::new(self.profiles.clone()))
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
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

/// A counter follows a cumulative figure that only grows.
fn raise_to(counter: &IntCounter, figure: u64) {
    counter.inc_by(figure.saturating_sub(counter.get()));
}
