//! What a policy says: rule, action, where and what it counts (R-D2, R-D3). Values that flow in and out; what follows
//! from them is judged in `judge`, `outlook` and `gauge`.

use std::time::Duration;

/// A way of accessing the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessKind {
    /// The first uplink packet of a device with no open session.
    Packet,
    /// An application server wakes an idle device.
    Trigger,
    /// A radio resource request.
    Signalling,
}

/// A policy's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub u32);

/// The largest limit of which nodes report the instant of every access: the last fourteen. Above it they report
/// sums by sub-windows ([`crate::SubWindows`]).
pub const EXACT_LIMIT: u32 = 14;

/// At most `permitted` accesses in any `window`. A rule configured "greater or equal N" permits N − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessLimit {
    /// Accesses that may be admitted in any window.
    pub permitted: u32,
    /// The window's length.
    pub window: Duration,
}

impl AccessLimit {
    /// Whether nodes report every access that matters to it.
    pub fn is_exact(&self) -> bool {
        self.permitted <= EXACT_LIMIT
    }
}

/// How fast: at least one of the two rates is there. Each node enforces it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Bytes of IP packets.
    pub bytes_per_second: Option<u64>,
    /// IP packets.
    pub packets_per_second: Option<u32>,
    /// How long a device may send at once what it has saved up.
    pub burst: Duration,
    /// Whose packets are measured.
    pub direction: Direction,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device's packets and those for it, together.
    #[default]
    Both,
    /// The device's own.
    Up,
    /// Those for it.
    Down,
}

/// What a policy restricts (R-D2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// How often.
    AccessLimit(AccessLimit),
    /// By which security protocols: class names such as `esp`.
    ForbiddenProtocols(Vec<String>),
    /// How fast.
    Rate(Rate),
}

/// What happens when the rule is broken (R-D3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Only known, never enforced.
    None,
    /// From the violating access on, this limit replaces the rule's.
    Throttle(AccessLimit),
    /// No new access.
    Reject,
    /// Accepted without bearer on signalling nodes; reject on the packet path.
    WithholdResources,
    /// The open session ends.
    Release,
}

/// Where a policy's accesses are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Each node judges its own count.
    Node,
    /// The sum over all nodes is judged.
    Network,
}

/// What an access limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Accesses that were let through.
    #[default]
    Admitted,
    /// Attempts, let through or not. Reports do not carry their times, so each node judges this by itself.
    Requests,
}

/// A policy as the PCRF answers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Identifier; ties between equally severe verdicts go to the lowest.
    pub id: PolicyId,
    /// What is restricted.
    pub rule: Rule,
    /// Kinds of access it counts; empty means all.
    pub kinds: Vec<AccessKind>,
    /// Where its accesses are summed.
    pub scope: Scope,
    /// What a violation leads to.
    pub action: Action,
    /// What an access limit counts.
    pub counts: Counted,
    /// Evaluated and told, never enforced (R-X5).
    pub shadow: bool,
}

impl Policy {
    /// A policy that counts admitted accesses of all kinds over all nodes, and is enforced.
    pub fn new(id: u32, rule: Rule, action: Action) -> Self {
        let (kinds, scope, counts) = (Vec::new(), Scope::Network, Counted::Admitted);
        Self { id: PolicyId(id), rule, kinds, scope, action, counts, shadow: false }
    }

    /// Whether it counts accesses of this kind.
    pub fn concerns(&self, kind: AccessKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// The limit that replaces its own when that is broken.
    pub fn throttle(&self) -> Option<AccessLimit> {
        match (&self.rule, self.action) {
            (Rule::AccessLimit(_), Action::Throttle(limit)) => Some(limit),
            _ => None,
        }
    }

    /// Whether a device can be throttled by it.
    pub(crate) fn throttles(&self) -> bool {
        self.throttle().is_some() && !self.shadow
    }

    /// Its limit, if reports tell what it counts.
    pub(crate) fn known_limit(&self) -> Option<AccessLimit> {
        match self.rule {
            Rule::AccessLimit(limit) if self.counts == Counted::Admitted => Some(limit),
            _ => None,
        }
    }

    /// Whether its violation has a consequence.
    pub(crate) fn is_enforced(&self) -> bool {
        !self.shadow && self.action != Action::None
    }
}
