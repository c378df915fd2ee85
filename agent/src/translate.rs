//! Messages into the agent's terms. What cannot be understood is refused with the reason, never guessed.

use std::time::Duration;

use weir_dataplane::ring::AlarmCondition;
use weir_dataplane_common::{
    abi::{AccessKind, meter_side},
    inspect::Class,
};
use weir_proto::v1::{self, action::Action as WireAction, policy::Rule};

use crate::{
    alarms::Cause,
    config::Config,
    entry::{Fate, Rejected},
    profile::{Action, Counted, Limit, Policy, Rate, Restriction},
    time::Instant,
};

/// The policies of an update.
pub(crate) fn policies(update: &v1::CacheUpdate) -> Result<Vec<Policy>, String> {
    update.policies.iter().map(policy).collect()
}

fn policy(policy: &v1::Policy) -> Result<Policy, String> {
    let id = policy.id;
    let restriction = match &policy.rule {
        Some(Rule::AccessLimit(rule)) => Restriction::Accesses(limit(rule)),
        Some(Rule::ForbiddenProtocols(rule)) => Restriction::Protocols(classes(id, &rule.classes)?),
        Some(Rule::Rate(rule)) => Restriction::Rate(rate(id, rule)?),
        None => return Err(format!("policy {id} has no rule that this node understands")),
    };
    let kinds = policy.kinds.iter().map(|name| {
        AccessKind::from_name(name).ok_or_else(|| format!("policy {id} counts the unknown kind {name:?}"))
    });
    let action = policy.action.as_ref().and_then(|action| action.action.as_ref());
    let action = match action {
        Some(WireAction::Nothing(_)) => Action::None,
        Some(WireAction::Throttle(throttle)) => Action::Throttle(limit(throttle)),
        Some(WireAction::Reject(_)) => Action::Reject,
        Some(WireAction::WithholdResources(_)) => Action::Withhold,
        Some(WireAction::Release(_)) => Action::Release,
        None => return Err(format!("policy {id} has no action that this node understands")),
    };
    let counts = match v1::Counted::try_from(policy.counts) {
        Ok(v1::Counted::Admitted) => Counted::Admitted,
        Ok(v1::Counted::Requests) => Counted::Requests,
        Err(_) => return Err(format!("policy {id} counts something that this node does not know")),
    };
    let kinds = kinds.collect::<Result<_, _>>()?;
    Ok(Policy { id, restriction, kinds, action, counts, shadow: policy.shadow })
}

fn rate(policy: u32, rate: &v1::Rate) -> Result<Rate, String> {
    let sides = match v1::Direction::try_from(rate.direction) {
        Ok(v1::Direction::Both) => meter_side::UP | meter_side::DOWN,
        Ok(v1::Direction::Up) => meter_side::UP,
        Ok(v1::Direction::Down) => meter_side::DOWN,
        Err(_) => {
            return Err(format!("policy {policy} limits a rate in a direction that this node does not know"));
        }
    };
    Ok(Rate {
        bytes_per_second: Some(rate.bytes_per_second).filter(|rate| *rate != 0),
        packets_per_second: Some(rate.packets_per_second).filter(|rate| *rate != 0),
        burst: Duration::from_millis(rate.burst_ms.into()),
        sides,
    })
}

fn limit(limit: &v1::AccessLimit) -> Limit {
    Limit { permitted: limit.permitted, window: Duration::from_millis(limit.window_ms) }
}

fn classes(policy: u32, names: &[String]) -> Result<Vec<Class>, String> {
    let class = |name: &String| {
        Class::from_name(name)
            .ok_or_else(|| format!("policy {policy} forbids {name:?}, a class this node does not know"))
    };
    names.iter().map(class).collect()
}

/// How long a status rejects.
pub(crate) fn rejected(status: &v1::Status, now: Instant) -> Option<Rejected> {
    match status.rejected_until_ms {
        ..=-1 => Some(Rejected::FurtherNotice),
        until => now.tick_of(until).map(Rejected::Until),
    }
}

/// What becomes of an alarm.
pub(crate) fn fate(update: &v1::CacheUpdate) -> Fate {
    match update.alarm() {
        v1::AlarmFate::Unspecified => Fate::Unchanged,
        v1::AlarmFate::Cancel => Fate::Cancel,
        v1::AlarmFate::Reject => Fate::Reject,
    }
}

/// An alarm as control gets it.
pub(crate) fn alarm(
    id: v1::AlarmId,
    device: &str,
    cause: &Cause,
    counts: v1::DeviceCounts,
    config: &Config,
) -> v1::AlarmRaised {
    let condition = match cause.condition {
        AlarmCondition::Count => v1::alarm_raised::Condition::Count(v1::CountCondition {
            requests: cause.requests,
            window_ms: config.alarm_limit().map_or(0, |(_, window)| window.as_millis() as u64),
        }),
        AlarmCondition::Protocol(class) => v1::alarm_raised::Condition::Protocol(class.name().to_owned()),
    };
    v1::AlarmRaised {
        id: Some(id),
        device: device.to_owned(),
        condition: Some(condition),
        kind: cause.kind.name().to_owned(),
        counts: Some(counts),
        access_held: cause.access_held,
    }
}
