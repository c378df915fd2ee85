//! What control counts. No label ever holds a device, a node or a reason in free text (R-X6, R-X7).

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use weir_service_control::{AlarmFate, Decision, ServiceControl};

/// Seconds within which an HSS or PCRF may be expected to answer.
const QUERY_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Control's metrics and the registry that shows them.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) nodes_connected: IntGauge,
    pub(crate) nodes_too_slow: IntCounter,
    pub(crate) malformed_messages: IntCounter,
    pub(crate) audit_lines: IntCounter,
    pub(crate) devices_cached: IntGauge,
    pub(crate) alarms_active: IntGauge,
    pub(crate) updates: Updates,
    alarms: IntCounterVec,
    decisions: IntCounter,
    queries: HistogramVec,
}

/// Updates by what became of them.
#[derive(Debug)]
pub(crate) struct Updates {
    pub(crate) sent: IntCounter,
    pub(crate) acknowledged: IntCounter,
    pub(crate) refused: IntCounter,
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Hss,
    Pcrf,
}

/// How a query ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Answered,
    Failed,
    TimedOut,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let updates = counters(&registry, "updates_total", "Cache updates by what became of them", "result")?;
        let alarms = counters(&registry, "alarms_total", "Alarms decided, by what became of them", "fate")?;
        for fate in [AlarmFate::Cancel, AlarmFate::Reject] {
            alarms.with_label_values(&[fate_name(fate)]);
        }
        let queries = HistogramVec::new(
            HistogramOpts::new("weir_control_query_seconds", "Time until HSS and PCRF answered")
                .buckets(QUERY_BUCKETS.to_vec()),
            &["peer", "outcome"],
        )?;
        registry.register(Box::new(queries.clone()))?;
        Ok(Self {
            nodes_connected: gauge(&registry, "nodes_connected", "Nodes with an open stream")?,
            nodes_too_slow: counter(&registry, "nodes_too_slow_total", "Streams closed for not keeping up")?,
            malformed_messages: counter(
                &registry,
                "malformed_messages_total",
                "Node messages not understood",
            )?,
            audit_lines: counter(&registry, "audit_lines_total", "Acts on nodes past control, written down")?,
            devices_cached: gauge(&registry, "devices_cached", "Devices whose entry nodes hold")?,
            alarms_active: gauge(&registry, "alarms_active", "Devices with an active alarm")?,
            decisions: counter(&registry, "decisions_total", "Decisions written down")?,
            updates: Updates {
                sent: updates.with_label_values(&["sent"]),
                acknowledged: updates.with_label_values(&["acknowledged"]),
                refused: updates.with_label_values(&["refused"]),
            },
            registry,
            alarms,
            queries,
        })
    }

    /// Shows how many devices are cached, and how many have an active alarm.
    pub(crate) fn count_devices(&self, control: &ServiceControl) {
        let shown = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.devices_cached.set(shown(control.cached_devices()));
        self.alarms_active.set(shown(control.alarmed_devices()));
    }

    /// Counts a decision that has been written down.
    pub(crate) fn decided(&self, decision: &Decision) {
        self.decisions.inc();
        if decision.alarm.is_some() && decision.fate != AlarmFate::Unchanged {
            self.alarms.with_label_values(&[fate_name(decision.fate)]).inc();
        }
    }

    /// The latency histogram of queries to `peer` that ended so.
    pub(crate) fn query(&self, peer: Peer, outcome: Outcome) -> Histogram {
        let peer = match peer {
            Peer::Hss => "hss",
            Peer::Pcrf => "pcrf",
        };
        let outcome = match outcome {
            Outcome::Answered => "answered",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
        };
        self.queries.with_label_values(&[peer, outcome])
    }
}

fn fate_name(fate: AlarmFate) -> &'static str {
    match fate {
        AlarmFate::Unchanged => "unchanged",
        AlarmFate::Cancel => "cancelled",
        AlarmFate::Reject => "rejected",
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(format!("weir_control_{name}"), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(format!("weir_control_{name}"), help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(format!("weir_control_{name}"), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
