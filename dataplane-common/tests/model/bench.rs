//! One device before the law, and a clock in the test's hand: what the named tests are written with.

use weir_dataplane_common::{
    abi::AccessKind, admit::Outcome, inspect::Class, reason::Reason, window::History,
};

use super::{
    law::{LawSide, Past, tick},
    policy::{
        Action, AlarmCondition, Limit, Node, Operation, Order, Packet, Policy, Rule, Status, Way, When,
    },
};

/// Ticks in a second of these tests.
pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;

pub fn limit(permitted: usize, window: u64) -> Limit {
    Limit { permitted, window }
}

pub fn at_most(id: u32, permitted: usize, window: u64, action: Action) -> Policy {
    Policy::new(id, Rule::AccessLimit(limit(permitted, window)), action)
}

pub fn forbid(id: u32, class: Class, action: Action) -> Policy {
    Policy::new(id, Rule::Forbidden(vec![class]), action)
}

/// A node that counts every kind of access and never alarms: sessions end after a second of silence.
pub fn node() -> Node {
    let alarm =
        AlarmCondition { when: When::NoPolicyCached, order: Order::With, requests: None, classes: vec![] };
    Node {
        inactivity: SECOND,
        max_age: 60 * MINUTE,
        retry: SECOND / 2,
        kinds: vec![AccessKind::Packet, AccessKind::Trigger],
        alarm,
        drop_unsolicited: true,
        shadow: false,
    }
}

/// A node that alarms on more than so many requests in a minute, and on ESP, where no policy is cached.
pub fn alarming_node(permitted: usize) -> Node {
    let alarm = AlarmCondition {
        requests: Some(limit(permitted, MINUTE)),
        classes: vec![Class::Esp],
        ..node().alarm
    };
    Node { alarm, ..node() }
}

pub fn cancel(policies: Vec<Policy>) -> Operation {
    Operation::Cancel { policies: Some(policies), status: Status::default() }
}

pub fn cancel_throttled(policies: Vec<Policy>, length: u64) -> Operation {
    let status = Status { throttled_for: Some(length), rejected: None };
    Operation::Cancel { policies: Some(policies), status }
}

pub fn reject(policies: Vec<Policy>) -> Operation {
    Operation::Reject { policies: Some(policies), status: Status::default() }
}

pub struct Bench {
    pub law: LawSide,
    pub now: u64,
}

/// Requests, admitted, rejected, unsolicited.
pub type Counts = [u32; 4];

impl Bench {
    /// A device of which nothing is cached.
    pub fn stranger(node: Node) -> Self {
        Self { law: LawSide::new(node, None), now: 1_000_000 }
    }

    pub fn with(node: Node, policies: &[Policy]) -> Self {
        Self { law: LawSide::new(node, Some(&policies.to_vec())), now: 1_000_000 }
    }

    /// Lets time pass.
    pub fn after(&mut self, ticks: u64) -> &mut Self {
        self.now += ticks;
        self
    }

    pub fn packet(&mut self, way: Way, class: Option<Class>) -> Outcome {
        self.sized(way, class, 40)
    }

    /// A packet of so many IP bytes.
    pub fn sized(&mut self, way: Way, class: Option<Class>, length: u16) -> Outcome {
        self.law.packet(self.now, Packet { way, class, length })
    }

    pub fn up(&mut self) -> Reason {
        self.packet(Way::Up, None).reason
    }

    pub fn up_with(&mut self, class: Class) -> Reason {
        self.packet(Way::Up, Some(class)).reason
    }

    pub fn down(&mut self) -> Reason {
        self.packet(Way::Down, None).reason
    }

    pub fn trigger(&mut self) -> Reason {
        self.packet(Way::FromServer, None).reason
    }

    /// So many accesses, each after a session's silence; their reasons.
    pub fn accesses(&mut self, count: usize) -> Vec<Reason> {
        (0..count).map(|_| self.after(SECOND).up()).collect()
    }

    pub fn operate(&mut self, operation: &Operation) -> &mut Self {
        let past = self.past();
        self.law.operate(self.now, operation, &past);
        self
    }

    /// What the last fourteen tell.
    fn past(&self) -> Past {
        let instants = |history: &History| {
            let ages = history.ages(tick(self.now)).map(|age| self.now - u64::from(age));
            ages.collect::<Vec<_>>().into_iter().rev().collect::<Vec<u64>>()
        };
        let by_words = self.law.profile().by_words != 0;
        let requests = if by_words { Vec::new() } else { instants(&self.law.ledger.requests) };
        Past { requests, admissions: instants(&self.law.ledger.admissions) }
    }

    pub fn counts(&self) -> Counts {
        self.law.counts()
    }

    pub fn session_is_open(&self) -> bool {
        self.law.session_is_open(self.now)
    }
}
