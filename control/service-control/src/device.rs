//! What service control holds for one device, and how each node sees it. While nothing is going on it is kept
//! smaller: see `idle`.
//!
//! State and reading of it only: `decide` changes it, `publish` tells the nodes.

use std::sync::Arc;

use crate::counts::Counts;
use crate::judge::Throttle;
use crate::lifecycle::{AlarmPhase, Ground, Stage};
use crate::nodes::{AlarmKey, NodeIndex, NodeTable};
use crate::{
    AccessKind, CacheUpdate, Condition, Config, DeviceId, Output, Policy, Status, UnixMillis, Until,
};

/// A device.
#[derive(Debug, Default)]
pub(crate) struct Device {
    /// Of the entry, whether there is one or not; never falls.
    pub(crate) revision: u64,
    pub(crate) stage: Stage,
    pub(crate) entry: Option<Box<Entry>>,
    /// At most one per node: a node raises its next alarm after the last was cancelled.
    pub(crate) alarms: Vec<TrackedAlarm>,
    pub(crate) counts: Counts,
    /// Why the entry is as it is.
    pub(crate) explanation: Arc<str>,
}

/// What the nodes shall hold for the device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) policies: Arc<[Policy]>,
    /// Not M2M, and that is believed until then.
    pub(crate) not_m2m_until: Option<UnixMillis>,
    pub(crate) throttles: Vec<Throttle>,
    /// The network's limits leave no room before then.
    pub(crate) rejected: Option<UnixMillis>,
    /// Nodes that enforce that by their own count, or have a held access to let through first: they are not told.
    pub(crate) own: Vec<NodeIndex>,
    /// Open sessions end, as long as the rejection stands.
    pub(crate) release: bool,
}

/// An alarm that a node has raised.
#[derive(Debug)]
pub(crate) struct TrackedAlarm {
    /// `None`: rejected before service control restarted, by which node is not recorded.
    pub(crate) source: Option<(NodeIndex, AlarmKey)>,
    pub(crate) raised_at: UnixMillis,
    /// `None` where the source is `None`, and once the alarm is over.
    pub(crate) condition: Option<Condition>,
    pub(crate) kind: Option<AccessKind>,
    pub(crate) access_held: bool,
    pub(crate) phase: AlarmPhase,
}

/// One event's dealings with one device.
pub(crate) struct Turn<'a> {
    pub(crate) id: &'a DeviceId,
    pub(crate) config: &'a Config,
    pub(crate) nodes: &'a NodeTable,
    pub(crate) now: UnixMillis,
    pub(crate) out: &'a mut Vec<Output>,
}

/// The entry as one node is sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) cached: bool,
    pub(crate) policies: Arc<[Policy]>,
    pub(crate) status: Status,
    pub(crate) not_m2m: bool,
    pub(crate) release: bool,
}

impl Device {
    /// A device of which nothing is known, except that its entry once had this revision.
    pub(crate) fn new(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// The entry for one node; `None`: at its strictest.
    pub(crate) fn sight(&self, node: Option<NodeIndex>) -> Sight {
        let Some(entry) = self.entry.as_deref() else {
            return Sight {
                cached: false,
                policies: Arc::default(),
                status: Status::default(),
                not_m2m: false,
                release: false,
            };
        };
        let concerns = |other: Option<NodeIndex>| node.is_none() || other.is_none() || other == node;
        let throttled_until = entry.throttles.iter().filter(|it| concerns(it.node)).map(|it| it.until).max();
        let by_alarm = self
            .alarms
            .iter()
            .filter(|alarm| concerns(alarm.node()))
            .filter_map(TrackedAlarm::no_room_until)
            .max();
        let told = entry.rejected.filter(|_| !node.is_some_and(|node| entry.own.contains(&node)));
        Sight {
            cached: true,
            policies: entry.policies.clone(),
            status: Status { throttled_until, rejected: told.max(by_alarm).map(Until::Instant) },
            not_m2m: entry.not_m2m_until.is_some(),
            release: entry.release,
        }
    }

    /// Whether an alarm of some node is active.
    pub(crate) fn alarmed(&self) -> bool {
        self.alarms.iter().any(TrackedAlarm::active)
    }

    /// Whether an alarm is active and has been decided against.
    pub(crate) fn rejecting(&self) -> bool {
        self.alarms.iter().any(|alarm| matches!(alarm.phase, AlarmPhase::Rejected { .. }))
    }

    pub(crate) fn alarm_of(&self, node: NodeIndex) -> Option<&TrackedAlarm> {
        self.alarms.iter().find(|alarm| alarm.node() == Some(node))
    }

    /// When something is to be done without being told.
    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        let reviews = self.alarms.iter().filter_map(|alarm| alarm.phase.due());
        let lapses = self.entry.iter().flat_map(|entry| {
            let throttles = entry.throttles.iter().map(|it| it.until);
            throttles.chain(entry.rejected).chain(entry.not_m2m_until)
        });
        reviews.chain(lapses).chain(self.stage.due()).min()
    }

    /// Statuses end at their instant, on the nodes as here; nobody is told.
    pub(crate) fn lapse(&mut self, now: UnixMillis) {
        if let Some(entry) = self.entry.as_deref_mut() {
            entry.throttles.retain(|it| it.until > now);
            if entry.rejected.is_some_and(|until| until <= now) {
                entry.rejected = None;
                entry.own.clear();
            }
        }
        self.end_release();
    }

    /// Sessions may be opened again when nothing is rejected any more.
    pub(crate) fn end_release(&mut self) {
        let rejecting = self.rejecting();
        if let Some(entry) = self.entry.as_deref_mut() {
            entry.release &= rejecting || entry.rejected.is_some();
        }
    }

    /// An entry from the record (see [`crate::Decision::entry`]).
    pub(crate) fn restored(
        entry: &CacheUpdate,
        policies: Arc<[Policy]>,
        config: &Config,
        now: UnixMillis,
    ) -> Self {
        let mut device = Self::new(entry.revision);
        device.explanation = entry.explanation.as_str().into();
        let rejected = entry.status.rejected.map(|until| match until {
            Until::Instant(at) => at,
            Until::FurtherNotice => now.plus(config.protocol_alarm_hold),
        });
        if entry.alarm == crate::AlarmFate::Reject {
            device.alarms.push(TrackedAlarm::restored(entry.cached, rejected, config, now));
        }
        if entry.cached {
            device.entry = Some(Box::new(Entry {
                throttles: Throttle::restored(&policies, entry.status.throttled_until),
                policies,
                not_m2m_until: entry.not_m2m.then(|| now.plus(config.not_m2m_lifetime)),
                rejected,
                own: Vec::new(),
                release: entry.release_session,
            }));
        }
        device.lapse(now);
        device
    }
}

impl TrackedAlarm {
    fn restored(cached: bool, rejected: Option<UnixMillis>, config: &Config, now: UnixMillis) -> Self {
        let held_until = now.plus(config.protocol_alarm_hold);
        let (ground, review_at) = match rejected {
            _ if !cached => (Ground::UnknownSubscriber, held_until),
            Some(until) => (Ground::Count, until),
            None => (Ground::Protocol, held_until),
        };
        Self {
            source: None,
            raised_at: now,
            condition: None,
            kind: None,
            access_held: false,
            phase: AlarmPhase::Rejected { ground, review_at },
        }
    }

    pub(crate) fn node(&self) -> Option<NodeIndex> {
        self.source.map(|(node, _)| node)
    }

    pub(crate) fn key(&self) -> Option<AlarmKey> {
        self.source.map(|(_, key)| key)
    }

    pub(crate) fn active(&self) -> bool {
        matches!(self.phase, AlarmPhase::Waiting | AlarmPhase::Rejected { .. })
    }

    /// A rejecting count decision bars its node until the window has room.
    fn no_room_until(&self) -> Option<UnixMillis> {
        match self.phase {
            AlarmPhase::Rejected { ground: Ground::Count, review_at } => Some(review_at),
            _ => None,
        }
    }
}

impl Throttle {
    /// Which policy throttled is not recorded: all that can.
    fn restored(policies: &[Policy], until: Option<UnixMillis>) -> Vec<Self> {
        let Some(until) = until else { return Vec::new() };
        policies
            .iter()
            .filter(|policy| policy.throttles())
            .map(|policy| Self { policy: policy.id, node: None, until })
            .collect()
    }
}
