//! A network around service control for tests: nodes that connect, count and alarm, an HSS and a PCRF that answer
//! when they are told to, and a clock that stands still until it is moved.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use weir_service_control::{
    AccessKind, AccessLimit, Action, Alarm, AlarmFate, AlarmId, CacheUpdate, Condition, Config, Decision,
    DeviceCounts, DeviceId, Input, NodeName, Output, Policy, Rule, ServiceControl, Subscription, UnixMillis,
};

pub const START: i64 = 1_000_000_000;

pub struct Network {
    pub control: ServiceControl,
    pub now: i64,
    /// Outputs not looked at yet.
    pub said: Vec<Output>,
    /// What each node's agent would report.
    pub counts: BTreeMap<String, DeviceCounts>,
    sequence: u64,
}

pub fn device() -> DeviceId {
    DeviceId("001010000000001".into())
}

pub fn config() -> Config {
    Config {
        m2m_device_types: ["meter".to_owned()].into(),
        protocol_alarm_hold: secs(600),
        not_m2m_lifetime: secs(3600),
        query_timeout: secs(5),
        retry_first: secs(1),
        retry_longest: secs(8),
        longest_window: secs(3600),
    }
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn limit(permitted: u32, seconds: u64) -> AccessLimit {
    AccessLimit { permitted, window: secs(seconds) }
}

/// At most so many accesses a minute over all nodes.
pub fn at_most(id: u32, permitted: u32, action: Action) -> Policy {
    let rule = Rule::AccessLimit(limit(permitted, 60));
    Policy::new(id, rule, action)
}

pub fn no_esp(id: u32, action: Action) -> Policy {
    let rule = Rule::ForbiddenProtocols(vec!["esp".into()]);
    Policy::new(id, rule, action)
}

/// Policies 1 and 2 of worked example R-D17.
pub fn r_d17() -> Vec<Policy> {
    vec![at_most(1, 3, Action::Throttle(limit(5, 60))), no_esp(2, Action::Reject)]
}

pub fn too_many(requests: u32) -> Condition {
    Condition::Count { requests, window: secs(60) }
}

pub fn esp() -> Condition {
    Condition::Protocol("esp".into())
}

pub fn meter() -> Result<Subscription, String> {
    Ok(Subscription::Known { device_type: "meter".into() })
}

impl Network {
    /// These nodes are connected and nothing has happened.
    pub fn of(nodes: &[&str]) -> Self {
        let control = ServiceControl::new(config());
        let mut network = Self { control, now: START, said: vec![], counts: BTreeMap::new(), sequence: 0 };
        for node in nodes {
            network.connect(node);
        }
        network.said.clear();
        network
    }

    pub fn at(&self, seconds: i64) -> UnixMillis {
        UnixMillis(self.now + seconds * 1000)
    }

    pub fn tell(&mut self, input: Input) {
        let outputs = self.control.handle(input, UnixMillis(self.now));
        self.said.extend(outputs);
    }

    /// Time passes; timers fire as they come due.
    pub fn wait(&mut self, seconds: i64) {
        let end = self.now + seconds * 1000;
        while let Some(due) = self.control.next_timeout().filter(|due| due.0 <= end) {
            assert!(due.0 > self.now || self.now == START, "a timer must not fire on the spot for ever");
            self.now = due.0.max(self.now);
            self.tell(Input::TimePassed);
        }
        self.now = end;
    }

    pub fn connect(&mut self, node: &str) {
        self.tell(Input::NodeConnected { node: NodeName(node.into()), boot: "boot".into() });
    }

    pub fn disconnect(&mut self, node: &str) {
        self.tell(Input::NodeDisconnected { node: NodeName(node.into()) });
    }

    /// The node admits an access now.
    pub fn admit(&mut self, node: &str) {
        let now = UnixMillis(self.now);
        let counts = self.counts.entry(node.into()).or_default();
        counts.requests += 1;
        counts.admitted += 1;
        counts.admissions.push(now);
    }

    /// The node admits the access that it held: no new request.
    pub fn redeem(&mut self, node: &str) {
        self.admit(node);
        self.counts.get_mut(node).unwrap().requests -= 1;
    }

    /// The node refuses an access now.
    pub fn refuse(&mut self, node: &str, reason: &str) {
        let counts = self.counts.entry(node.into()).or_default();
        counts.requests += 1;
        counts.rejected += 1;
        counts.last_rejection = Some(reason.into());
    }

    pub fn report(&mut self, node: &str) {
        let counts = self.counts.get(node).cloned().unwrap_or_default();
        let devices = vec![(device(), counts)];
        self.tell(Input::CountsReported { node: NodeName(node.into()), boot: "boot".into(), devices });
    }

    /// The node holds an access and raises an alarm.
    pub fn alarm(&mut self, node: &str, condition: Condition) -> AlarmId {
        self.counts.entry(node.into()).or_default().requests += 1;
        self.sequence += 1;
        let id = AlarmId { node: NodeName(node.into()), boot: "boot".into(), sequence: self.sequence };
        self.raise(id.clone(), condition, true);
        id
    }

    pub fn raise(&mut self, id: AlarmId, condition: Condition, access_held: bool) {
        let counts = self.counts.get(&id.node.0).cloned().unwrap_or_default();
        let kind = AccessKind::Packet;
        self.tell(Input::AlarmRaised(Alarm { id, device: device(), condition, kind, access_held, counts }));
    }

    pub fn hss(&mut self, answer: Result<Subscription, String>) {
        self.tell(Input::SubscriptionAnswered { device: device(), answer });
    }

    pub fn pcrf(&mut self, answer: Result<Vec<Policy>, String>) {
        self.tell(Input::PoliciesAnswered { device: device(), answer });
    }

    /// The HSS says meter, the PCRF names these policies.
    pub fn decide(&mut self, policies: &[Policy]) {
        self.hss(meter());
        self.pcrf(Ok(policies.to_vec()));
    }

    /// Everything said since the last look.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.said)
    }

    /// The latest update that each node was sent since the last look, and the records.
    pub fn take_updates(&mut self) -> (BTreeMap<String, CacheUpdate>, Vec<Decision>) {
        let (mut updates, mut records) = (BTreeMap::new(), Vec::new());
        for output in self.take() {
            match output {
                Output::Update { node, update } => {
                    let recorded = records.iter().any(|it: &Decision| it.entry.revision == update.revision);
                    assert!(recorded || update.answers.is_some(), "updates come after their record");
                    updates.insert(node.0, update);
                }
                Output::Record(decision) => records.push(decision),
                _ => {}
            }
        }
        (updates, records)
    }

    /// The one update that one node was sent since the last look.
    pub fn only_update(&mut self, node: &str) -> CacheUpdate {
        let (mut updates, _) = self.take_updates();
        assert_eq!(updates.keys().collect::<Vec<_>>(), [node]);
        updates.remove(node).unwrap()
    }
}

pub fn queries(outputs: &[Output]) -> Vec<&'static str> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::QuerySubscription { .. } => Some("hss"),
            Output::QueryPolicies { .. } => Some("pcrf"),
            _ => None,
        })
        .collect()
}

pub fn fates(updates: &BTreeMap<String, CacheUpdate>) -> Vec<(&str, AlarmFate)> {
    updates.iter().map(|(node, update)| (node.as_str(), update.alarm)).collect()
}
