//! The vocabulary of the requirements, as a person would write it down: policies, the node, packets, operations.
//!
//! Lengths and instants are ticks in `u64`, which never wrap. Nothing here knows how the kernel lays it out; that
//! is `law`.

use weir_dataplane_common::{abi::AccessKind, inspect::Class};

/// At most so many in any window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub permitted: usize,
    pub window: u64,
}

/// What a policy restricts (R-D2).
#[derive(Clone, Debug)]
pub enum Rule {
    AccessLimit(Limit),
    Forbidden(Vec<Class>),
    Rate(Rate),
}

/// So much that a packet costs, in time: what a rate permits is what can be paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds a byte.
    pub byte: Option<u64>,
    /// Nanoseconds a packet.
    pub packet: Option<u64>,
    /// How far packets may be ahead of their payment, µs.
    pub burst: u64,
    /// Whether the device's packets are metered; otherwise only those to it.
    pub up: bool,
    pub down: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    Admitted,
    Requests,
}

/// What a violation leads to, in the order of severity (R-D3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    None,
    Throttle(Limit),
    Withhold,
    Reject,
    Release,
}

impl Action {
    pub fn severity(self) -> u32 {
        match self {
            Action::None => 0,
            Action::Throttle(_) => 1,
            Action::Withhold => 2,
            Action::Reject => 3,
            Action::Release => 4,
        }
    }

    pub fn throttle(self) -> Option<Limit> {
        if let Action::Throttle(limit) = self { Some(limit) } else { None }
    }
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub id: u32,
    pub rule: Rule,
    pub action: Action,
    pub counts: Counts,
    /// Evaluated and reported, never enforced (R-X5).
    pub shadow: bool,
}

impl Policy {
    pub fn new(id: u32, rule: Rule, action: Action) -> Self {
        Self { id, rule, action, counts: Counts::Admitted, shadow: false }
    }

    pub fn in_shadow(self) -> Self {
        Self { shadow: true, ..self }
    }

    pub fn counting_requests(self) -> Self {
        Self { counts: Counts::Requests, ..self }
    }

    /// Rates are enforced by dropping or not at all.
    pub fn is_watched_only(&self) -> bool {
        self.shadow || self.action == Action::None
    }

    /// Whether a packet of this protocol breaks it.
    pub fn forbids(&self, class: Option<Class>) -> bool {
        matches!((&self.rule, class), (Rule::Forbidden(classes), Some(class)) if classes.contains(&class))
    }
}

/// For which accesses an alarm condition is evaluated (R-D7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    NoPolicyCached,
    Always,
    NotRejected,
}

/// Relative to the cache check (R-D7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Before,
    With,
    After,
}

/// A node's alarm condition.
#[derive(Clone, Debug)]
pub struct AlarmCondition {
    pub when: When,
    pub order: Order,
    pub requests: Option<Limit>,
    pub classes: Vec<Class>,
}

/// What a node is configured to; the same for all its devices.
#[derive(Clone, Debug)]
pub struct Node {
    pub inactivity: u64,
    pub max_age: u64,
    pub retry: u64,
    /// Kinds of access that the policies count.
    pub kinds: Vec<AccessKind>,
    pub alarm: AlarmCondition,
    pub drop_unsolicited: bool,
    /// Only watches: drops are said, not enforced.
    pub shadow: bool,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// From the device.
    Up,
    /// To the device, from an application server.
    FromServer,
    /// To the device, from anybody else.
    Down,
}

#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub way: Way,
    pub class: Option<Class>,
    /// Bytes of the IP packet.
    pub length: u16,
}

/// Until when a rejecting status stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    Lapses(u64),
    FurtherNotice,
}

/// The standing instruction, with instants relative to when it is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    pub throttled_for: Option<u64>,
    pub rejected: Option<Until>,
}

/// What a node's agent does to a device's entry.
#[derive(Clone, Debug)]
pub enum Operation {
    /// The alarm ends, the held access is accepted, policies and status are stored (R-D12).
    Cancel { policies: Option<Vec<Policy>>, status: Status },
    /// Not a machine: the alarm ends and never comes again (R-D9).
    NotAMachine,
    /// The alarm stays, the held access is discarded, policies and status are stored (R-D13).
    Reject { policies: Option<Vec<Policy>>, status: Status },
    /// Policies and status are stored (R-D15).
    Push { policies: Option<Vec<Policy>>, status: Status },
    /// The open session ends.
    Release,
    /// Every packet of the device passes for so long (R-X8).
    Exempt(u64),
    /// Every packet of the node passes for so long (R-X8).
    Bypass(u64),
    /// The agent has read the alarm; nothing changes for the device.
    Seen,
}

impl Operation {
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Cancel { status, .. } | Self::Reject { status, .. } | Self::Push { status, .. } => {
                Some(*status)
            }
            Self::NotAMachine | Self::Release | Self::Seen | Self::Exempt(_) | Self::Bypass(_) => None,
        }
    }
}

/// A limit that an entry keeps instant by instant; a larger one it counts by sub-windows.
pub const SMALL: usize = 14;

impl Limit {
    /// A third of the window: large limits count this one and the three before it.
    pub fn sub_window(self) -> u64 {
        self.window.div_ceil(3)
    }
}

/// One of a device's two meters: whose it is, and what it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metered {
    pub policy: u32,
    pub byte: u64,
    pub packet: u64,
    pub burst: u64,
    pub up: bool,
    pub down: bool,
    pub watched_only: bool,
}

impl Metered {
    pub fn meters(&self, way: Way) -> bool {
        if way == Way::Up { self.up } else { self.down }
    }
}

/// The meters of these policies, bytes before packets, unless only the packets' covers both directions.
pub fn meters_of(policies: Option<&Vec<Policy>>) -> Vec<Metered> {
    let (mut bytes, mut packets) = (None, None);
    for policy in policies.into_iter().flatten() {
        let Rule::Rate(rate) = policy.rule else { continue };
        let Rate { burst, up, down, .. } = rate;
        let (policy, watched_only) = (policy.id, policy.is_watched_only());
        let meter = |byte, packet| Metered { policy, byte, packet, burst, up, down, watched_only };
        bytes = bytes.or(rate.byte.map(|cost| meter(cost, 0)));
        packets = packets.or(rate.packet.map(|cost| meter(0, cost)));
    }
    let mut meters: Vec<Metered> = bytes.into_iter().chain(packets).collect();
    if let [one, other] = meters[..]
        && !(one.up && one.down)
        && other.up
        && other.down
    {
        meters.swap(0, 1);
    }
    meters
}

/// The throttle among these policies: a device can have one, and it replaces a limit.
pub fn throttle_of(policies: Option<&Vec<Policy>>) -> Option<Limit> {
    let limits = policies?.iter().filter(|policy| matches!(policy.rule, Rule::AccessLimit(_)));
    limits.filter_map(|policy| policy.action.throttle()).next()
}
