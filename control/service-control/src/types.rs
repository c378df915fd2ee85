//! The values that flow into and out of service control. Nothing here decides.

use std::{fmt, time::Duration};

use crate::{AccessKind, Policy, PolicyId};

/// An instant: milliseconds since the Unix epoch, as every node and every report states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This much later; at most the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier; at least the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A device's internal identifier: its IMSI as text. Never logged or exported as it is (R-X7).
///
/// `Debug` shows the last two characters only. A hash would say no less than the number itself: there are few
/// enough IMSIs to try them all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub String);

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Below this length two characters would be too much of it.
        const TELLTALE: usize = 6;
        let length = self.0.chars().count();
        let shown: String =
            if length < TELLTALE { String::new() } else { self.0.chars().skip(length - 2).collect() };
        write!(f, "DeviceId(…{shown})")
    }
}

/// A node's configured name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub String);

/// Names an alarm for ever: resending it is harmless.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmId {
    /// The node that raised it.
    pub node: NodeName,
    /// That node's boot, so that a restarted node cannot reuse a number.
    pub boot: String,
    /// Counts up within a boot.
    pub sequence: u64,
}

/// Why an alarm was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// More requests than the alarm's limit in its window.
    Count {
        /// Requests in the window, the held one included.
        requests: u32,
        /// The alarm's window.
        window: Duration,
    },
    /// A packet of this class, e.g. `esp`.
    Protocol(String),
}

/// A node's cumulative counts for one device, within one boot of that node (R-D16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Attempts.
    pub requests: u64,
    /// Attempts let through.
    pub admitted: u64,
    /// Attempts refused.
    pub rejected: u64,
    /// Downlink packets to an idle device that were no trigger.
    pub unsolicited: u64,
    /// Reason name of the latest rejection.
    pub last_rejection: Option<String>,
    /// The most recent admissions, oldest first; at most fourteen. Replaces what the same boot sent before.
    pub admissions: Vec<UnixMillis>,
    /// Admissions by sub-windows, for each limit above [`crate::EXACT_LIMIT`]. Replaces what the same boot sent before.
    pub windows: Vec<SubWindows>,
}

/// What a node has admitted under one limit, in four consecutive stretches of time, the latest of which is not over
/// yet. Together they are at least as long as the limit's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubWindows {
    /// Whose limit.
    pub policy: PolicyId,
    /// The throttle's limit rather than the rule's.
    pub throttle: bool,
    /// When the latest began.
    pub newest_start: UnixMillis,
    /// How long each is.
    pub length: Duration,
    /// Admissions in each, the latest first.
    pub counts: [u32; 4],
}

/// An alarm as a node raises it (R-D8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its name.
    pub id: AlarmId,
    /// Whose alarm.
    pub device: DeviceId,
    /// What holds.
    pub condition: Condition,
    /// What kind of access is held.
    pub kind: AccessKind,
    /// False for a protocol seen inside an open session, which holds no access.
    pub access_held: bool,
    /// The node's counts for the device.
    pub counts: DeviceCounts,
}

/// What the HSS knows about a device (R-D9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Subscribed, with this device type, e.g. `meter`.
    Known {
        /// The type the operator gave the device.
        device_type: String,
    },
    /// The HSS does not know the device.
    Unknown,
}

/// The standing instruction in a device's entry; both fields empty: no action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Throttled until then, longer if the rule is broken again.
    pub throttled_until: Option<UnixMillis>,
    /// No new access until then.
    pub rejected: Option<Until>,
}

/// How long an instruction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It lapses by itself.
    Instant(UnixMillis),
    /// Until told otherwise.
    FurtherNotice,
}

/// What becomes of a device's active alarm on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmFate {
    /// As it is.
    Unchanged,
    /// Cleared; the held access is accepted (R-D12).
    Cancel,
    /// Stays active; the held access is discarded (R-D13).
    Reject,
}

/// Everything a node shall hold for a device: whole, so that applying it twice is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUpdate {
    /// Grows with every change of the device's entry.
    pub revision: u64,
    /// Whose entry.
    pub device: DeviceId,
    /// False: there is no entry any more.
    pub cached: bool,
    /// The device's policies.
    pub policies: Vec<Policy>,
    /// The standing instruction.
    pub status: Status,
    /// Never alarm for this device (R-D9).
    pub not_m2m: bool,
    /// The open session ends now.
    pub release_session: bool,
    /// The alarm this update answers, on the update to the node that raised it; in a snapshot also one that was
    /// lifted while that node was away. `alarm` is about this one, or about whichever is active if none is named.
    pub answers: Option<AlarmId>,
    /// What becomes of an active alarm.
    pub alarm: AlarmFate,
    /// One sentence for people: who decided and why. Holds no identifier.
    pub explanation: String,
}

/// What service control is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A node has (again) opened its stream: it gets a snapshot.
    NodeConnected {
        /// Which node.
        node: NodeName,
        /// Its boot; counts of earlier boots stay counted.
        boot: String,
    },
    /// A node's stream is gone. Its counts stay.
    NodeDisconnected {
        /// Which node.
        node: NodeName,
    },
    /// An alarm, possibly repeated.
    AlarmRaised(Alarm),
    /// Counters of a node.
    CountsReported {
        /// Which node.
        node: NodeName,
        /// Its boot.
        boot: String,
        /// The counts, by device.
        devices: Vec<(DeviceId, DeviceCounts)>,
    },
    /// The HSS answered `Output::QuerySubscription`; `Err` holds why it failed.
    SubscriptionAnswered {
        /// Whom it is about.
        device: DeviceId,
        /// The answer.
        answer: Result<Subscription, String>,
    },
    /// The PCRF answered `Output::QueryPolicies`; `Err` holds why it failed.
    PoliciesAnswered {
        /// Whom it is about.
        device: DeviceId,
        /// The answer.
        answer: Result<Vec<Policy>, String>,
    },
    /// Policies or subscription of a device changed: its entry is made anew (R-D15).
    SubscriberChanged {
        /// Whose.
        device: DeviceId,
    },
    /// An operator cancels a device's alarm.
    OperatorCancels {
        /// Whose.
        device: DeviceId,
    },
    /// `next_timeout` has come.
    TimePassed,
}

/// What service control wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The alarm is known; the node may stop resending it on this stream.
    AlarmReceived {
        /// To which node.
        node: NodeName,
        /// Which alarm.
        id: AlarmId,
    },
    /// Ask the HSS for the device's type (R-D9).
    QuerySubscription {
        /// Whose.
        device: DeviceId,
    },
    /// Ask the PCRF for the device's policies, saying what was detected (R-D10).
    QueryPolicies {
        /// Whose.
        device: DeviceId,
        /// The detected event; `None` where no alarm is the reason.
        event: Option<Condition>,
    },
    /// Send a device's entry to one node.
    Update {
        /// To which node.
        node: NodeName,
        /// What it shall hold.
        update: CacheUpdate,
    },
    /// The entries a newly connected node needs, all of them.
    Snapshot {
        /// To which node.
        node: NodeName,
        /// The entries.
        entries: Vec<CacheUpdate>,
    },
    /// Write the decision down; durable before the update that carries it is sent (order of outputs).
    Record(Decision),
}

/// A decision, for the record and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: UnixMillis,
    /// About whom.
    pub device: DeviceId,
    /// The alarm decided on, if one was.
    pub alarm: Option<AlarmId>,
    /// What becomes of it.
    pub fate: AlarmFate,
    /// The entry that results, at its strictest: a node that enforces a limit by its own count is sent it without
    /// the status. `alarm` is `Reject` while a rejected alarm stands anywhere, so that `ServiceControl::restore`
    /// knows; `answers` is empty.
    pub entry: CacheUpdate,
}
