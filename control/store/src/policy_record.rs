//! How policies look on disk. What is said of `record` holds here too: whoever changes a struct so that an earlier
//! weir would misread it raises [`crate::SCHEMA`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_service_control as sc;

#[derive(Serialize, Deserialize)]
pub(crate) struct PolicyRecord {
    id: u32,
    rule: RuleRecord,
    kinds: Vec<KindRecord>,
    scope: ScopeRecord,
    action: ActionRecord,
    /// Since schema 2, like those below; earlier policies are enforced and count admissions.
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    counts: CountedRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RuleRecord {
    AccessLimit(LimitRecord),
    ForbiddenProtocols(Vec<String>),
    Rate(RateRecord),
}

#[derive(Serialize, Deserialize)]
struct RateRecord {
    bytes_per_second: Option<u64>,
    packets_per_second: Option<u32>,
    burst_ms: u64,
    direction: DirectionRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DirectionRecord {
    Both,
    Up,
    Down,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CountedRecord {
    #[default]
    Admitted,
    Requests,
}

#[derive(Serialize, Deserialize)]
struct LimitRecord {
    permitted: u32,
    window_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindRecord {
    Packet,
    Trigger,
    Signalling,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScopeRecord {
    Node,
    Network,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActionRecord {
    None,
    Throttle(LimitRecord),
    Reject,
    WithholdResources,
    Release,
}

impl From<&sc::Policy> for PolicyRecord {
    fn from(policy: &sc::Policy) -> Self {
        Self {
            id: policy.id.0,
            rule: match &policy.rule {
                sc::Rule::AccessLimit(limit) => RuleRecord::AccessLimit((*limit).into()),
                sc::Rule::ForbiddenProtocols(classes) => RuleRecord::ForbiddenProtocols(classes.clone()),
                sc::Rule::Rate(rate) => RuleRecord::Rate((*rate).into()),
            },
            kinds: policy.kinds.iter().map(|kind| (*kind).into()).collect(),
            scope: match policy.scope {
                sc::Scope::Node => ScopeRecord::Node,
                sc::Scope::Network => ScopeRecord::Network,
            },
            action: match policy.action {
                sc::Action::None => ActionRecord::None,
                sc::Action::Throttle(limit) => ActionRecord::Throttle(limit.into()),
                sc::Action::Reject => ActionRecord::Reject,
                sc::Action::WithholdResources => ActionRecord::WithholdResources,
                sc::Action::Release => ActionRecord::Release,
            },
            shadow: policy.shadow,
            counts: match policy.counts {
                sc::Counted::Admitted => CountedRecord::Admitted,
                sc::Counted::Requests => CountedRecord::Requests,
            },
        }
    }
}

impl From<PolicyRecord> for sc::Policy {
    fn from(record: PolicyRecord) -> Self {
        Self {
            id: sc::PolicyId(record.id),
            rule: match record.rule {
                RuleRecord::AccessLimit(limit) => sc::Rule::AccessLimit(limit.into()),
                RuleRecord::ForbiddenProtocols(classes) => sc::Rule::ForbiddenProtocols(classes),
                RuleRecord::Rate(rate) => sc::Rule::Rate(rate.into()),
            },
            kinds: record.kinds.into_iter().map(Into::into).collect(),
            scope: match record.scope {
                ScopeRecord::Node => sc::Scope::Node,
                ScopeRecord::Network => sc::Scope::Network,
            },
            action: match record.action {
                ActionRecord::None => sc::Action::None,
                ActionRecord::Throttle(limit) => sc::Action::Throttle(limit.into()),
                ActionRecord::Reject => sc::Action::Reject,
                ActionRecord::WithholdResources => sc::Action::WithholdResources,
                ActionRecord::Release => sc::Action::Release,
            },
            counts: match record.counts {
                CountedRecord::Admitted => sc::Counted::Admitted,
                CountedRecord::Requests => sc::Counted::Requests,
            },
            shadow: record.shadow,
        }
    }
}

impl From<sc::Rate> for RateRecord {
    fn from(rate: sc::Rate) -> Self {
        Self {
            bytes_per_second: rate.bytes_per_second,
            packets_per_second: rate.packets_per_second,
            burst_ms: u64::try_from(rate.burst.as_millis()).unwrap_or(u64::MAX),
            direction: match rate.direction {
                sc::Direction::Both => DirectionRecord::Both,
                sc::Direction::Up => DirectionRecord::Up,
                sc::Direction::Down => DirectionRecord::Down,
            },
        }
    }
}

impl From<RateRecord> for sc::Rate {
    fn from(record: RateRecord) -> Self {
        Self {
            bytes_per_second: record.bytes_per_second,
            packets_per_second: record.packets_per_second,
            burst: Duration::from_millis(record.burst_ms),
            direction: match record.direction {
                DirectionRecord::Both => sc::Direction::Both,
                DirectionRecord::Up => sc::Direction::Up,
                DirectionRecord::Down => sc::Direction::Down,
            },
        }
    }
}

impl From<sc::AccessLimit> for LimitRecord {
    fn from(limit: sc::AccessLimit) -> Self {
        let window_ms = u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX);
        Self { permitted: limit.permitted, window_ms }
    }
}

impl From<LimitRecord> for sc::AccessLimit {
    fn from(record: LimitRecord) -> Self {
        Self { permitted: record.permitted, window: Duration::from_millis(record.window_ms) }
    }
}

impl From<sc::AccessKind> for KindRecord {
    fn from(kind: sc::AccessKind) -> Self {
        match kind {
            sc::AccessKind::Packet => Self::Packet,
            sc::AccessKind::Trigger => Self::Trigger,
            sc::AccessKind::Signalling => Self::Signalling,
        }
    }
}

impl From<KindRecord> for sc::AccessKind {
    fn from(record: KindRecord) -> Self {
        match record {
            KindRecord::Packet => Self::Packet,
            KindRecord::Trigger => Self::Trigger,
            KindRecord::Signalling => Self::Signalling,
        }
    }
}
