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
}

impl Policy {
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
    /// The agent has read the alarm; nothing changes for the device.
    Seen,
}

impl Operation {
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Cancel { status, .. } | Self::Reject { status, .. } | Self::Push { status, .. } => {
                Some(*status)
            }
            Self::NotAMachine | Self::Release | Self::Seen => None,
        }
    }
}

/// The throttle among these policies: a device can have one, and it replaces a limit.
pub fn throttle_of(policies: Option<&Vec<Policy>>) -> Option<Limit> {
    let limits = policies?.iter().filter(|policy| matches!(policy.rule, Rule::AccessLimit(_)));
    limits.filter_map(|policy| policy.action.throttle()).next()
}
