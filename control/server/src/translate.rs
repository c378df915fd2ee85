//! Between the wire's messages and service control's values. Nothing is decided, nothing is guessed: a
//! message that leaves something out that it must say is malformed.

use std::time::Duration;

use weir_proto::v1;
use weir_service_control as sc;
use weir_store::{AuditLine, AuditWho};

/// Admission times one report may bring; an entry keeps no more.
const MAX_ADMISSIONS: usize = crate::api::EXACT_PERMITTED as usize;

const _: () = assert!(
    sc::EXACT_LIMIT == crate::api::EXACT_PERMITTED,
    "what an entry keeps is what control reckons with"
);

/// Why a message was not understood; names the field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// An alarm that `node` raised.
pub(crate) fn alarm(alarm: v1::AlarmRaised, node: &sc::NodeName) -> Result<sc::Alarm, Malformed> {
    let id = alarm.id.ok_or(Malformed("alarm without id"))?;
    if id.node != node.0 {
        return Err(Malformed("alarm of another node"));
    }
    let condition = match alarm.condition.ok_or(Malformed("alarm without condition"))? {
        v1::alarm_raised::Condition::Count(count) => {
            let window = Duration::from_millis(count.window_ms);
            sc::Condition::Count { requests: count.requests, window }
        }
        v1::alarm_raised::Condition::Protocol(class) => sc::Condition::Protocol(class),
    };
    Ok(sc::Alarm {
        id: sc::AlarmId { node: node.clone(), boot: id.boot, sequence: id.sequence },
        device: device(alarm.device)?,
        condition,
        kind: kind(&alarm.kind)?,
        access_held: alarm.access_held,
        counts: alarm.counts.map(counts).ok_or(Malformed("alarm without counts"))?,
    })
}

/// A node's counts, by device.
pub(crate) fn report(report: v1::CountReport) -> Result<Vec<(sc::DeviceId, sc::DeviceCounts)>, Malformed> {
    report
        .devices
        .into_iter()
        .map(|mut counted| Ok((device(std::mem::take(&mut counted.device))?, counts(counted))))
        .collect()
}

/// What operators did on `node`. Nothing of it is judged: words that only a later node knows are kept as they are.
pub(crate) fn audit(
    lines: v1::AuditLines,
    node: &sc::NodeName,
    received: sc::UnixMillis,
) -> Result<Vec<AuditLine>, Malformed> {
    let line = |line: v1::AuditLine| {
        if line.sequence == 0 {
            return Err(Malformed("audit line without sequence"));
        }
        Ok(AuditLine {
            node: node.clone(),
            sequence: line.sequence,
            at: sc::UnixMillis(line.at_ms),
            received,
            who: line.who.map(|who| AuditWho { uid: who.uid, name: said(who.name), pid: who.pid }),
            what: line.what,
            device: said(line.device).map(sc::DeviceId),
            until: sc::UnixMillis(line.until_ms),
            reason: line.reason,
        })
    };
    lines.lines.into_iter().map(line).collect()
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A device's identifier, which must be there.
pub(crate) fn device(text: String) -> Result<sc::DeviceId, Malformed> {
    if text.is_empty() { Err(Malformed("empty device")) } else { Ok(sc::DeviceId(text)) }
}

fn kind(name: &str) -> Result<sc::AccessKind, Malformed> {
    match name {
        "packet" => Ok(sc::AccessKind::Packet),
        "trigger" => Ok(sc::AccessKind::Trigger),
        "signalling" => Ok(sc::AccessKind::Signalling),
        _ => Err(Malformed("unknown kind of access")),
    }
}

fn kind_name(kind: sc::AccessKind) -> String {
    match kind {
        sc::AccessKind::Packet => "packet",
        sc::AccessKind::Trigger => "trigger",
        sc::AccessKind::Signalling => "signalling",
    }
    .to_owned()
}

fn counts(counts: v1::DeviceCounts) -> sc::DeviceCounts {
    let surplus = counts.admissions_ms.len().saturating_sub(MAX_ADMISSIONS);
    sc::DeviceCounts {
        requests: counts.requests,
        admitted: counts.admitted,
        rejected: counts.rejected,
        unsolicited: counts.unsolicited,
        last_rejection: Some(counts.last_rejection).filter(|reason| !reason.is_empty()),
        admissions: counts.admissions_ms.into_iter().skip(surplus).map(sc::UnixMillis).collect(),
        windows: counts.windows.into_iter().filter_map(sub_windows).collect(),
    }
}

/// `None`: not four counts, which no entry keeps.
fn sub_windows(counts: v1::SubWindowCounts) -> Option<sc::SubWindows> {
    Some(sc::SubWindows {
        policy: sc::PolicyId(counts.policy),
        throttle: counts.throttle,
        newest_start: sc::UnixMillis(counts.newest_start_ms),
        length: Duration::from_micros(counts.length_us),
        counts: counts.counts.try_into().ok()?,
    })
}

/// An entry on its way to a node, under this nonce.
pub(crate) fn update(update: sc::CacheUpdate, nonce: u64) -> v1::CacheUpdate {
    let fate = match update.alarm {
        sc::AlarmFate::Unchanged => v1::AlarmFate::Unspecified,
        sc::AlarmFate::Cancel => v1::AlarmFate::Cancel,
        sc::AlarmFate::Reject => v1::AlarmFate::Reject,
    };
    v1::CacheUpdate {
        nonce,
        revision: update.revision,
        device: update.device.0,
        cached: update.cached,
        policies: update.policies.into_iter().map(policy).collect(),
        status: Some(status(update.status, update.release_session)),
        not_m2m: update.not_m2m,
        answers: update.answers.map(alarm_id),
        alarm: fate.into(),
        explanation: update.explanation,
    }
}

/// An alarm's name on the wire.
pub(crate) fn alarm_id(id: sc::AlarmId) -> v1::AlarmId {
    v1::AlarmId { node: id.node.0, boot: id.boot, sequence: id.sequence }
}

fn status(status: sc::Status, release_session: bool) -> v1::Status {
    v1::Status {
        throttled_until_ms: status.throttled_until.map_or(0, |at| at.0),
        rejected_until_ms: match status.rejected {
            None => 0,
            Some(sc::Until::Instant(at)) => at.0,
            Some(sc::Until::FurtherNotice) => -1,
        },
        release_session,
    }
}

fn policy(policy: sc::Policy) -> v1::Policy {
    let rule = match policy.rule {
        sc::Rule::AccessLimit(limit) => v1::policy::Rule::AccessLimit(access_limit(limit)),
        sc::Rule::ForbiddenProtocols(classes) => {
            v1::policy::Rule::ForbiddenProtocols(v1::ForbiddenProtocols { classes })
        }
        sc::Rule::Rate(limits) => v1::policy::Rule::Rate(rate(limits)),
    };
    let counts = match policy.counts {
        sc::Counted::Admitted => v1::Counted::Admitted,
        sc::Counted::Requests => v1::Counted::Requests,
    };
    v1::Policy {
        id: policy.id.0,
        rule: Some(rule),
        kinds: policy.kinds.into_iter().map(kind_name).collect(),
        action: Some(v1::Action { action: Some(action(policy.action)) }),
        shadow: policy.shadow,
        counts: counts.into(),
    }
}

fn rate(rate: sc::Rate) -> v1::Rate {
    let direction = match rate.direction {
        sc::Direction::Both => v1::Direction::Both,
        sc::Direction::Up => v1::Direction::Up,
        sc::Direction::Down => v1::Direction::Down,
    };
    v1::Rate {
        bytes_per_second: rate.bytes_per_second.unwrap_or(0),
        packets_per_second: rate.packets_per_second.unwrap_or(0),
        // Bursts are at most a minute (`api::Rate::check`), so nothing is cut off.
        burst_ms: u32::try_from(rate.burst.as_millis()).unwrap_or(u32::MAX),
        direction: direction.into(),
    }
}

fn action(action: sc::Action) -> v1::action::Action {
    match action {
        sc::Action::None => v1::action::Action::Nothing(v1::Nothing {}),
        sc::Action::Throttle(limit) => v1::action::Action::Throttle(access_limit(limit)),
        sc::Action::Reject => v1::action::Action::Reject(v1::Nothing {}),
        sc::Action::WithholdResources => v1::action::Action::WithholdResources(v1::Nothing {}),
        sc::Action::Release => v1::action::Action::Release(v1::Nothing {}),
    }
}

fn access_limit(limit: sc::AccessLimit) -> v1::AccessLimit {
    // Windows are at most a day (`api::MAX_WINDOW`), so nothing is cut off.
    let window_ms = u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX);
    v1::AccessLimit { permitted: limit.permitted, window_ms }
}
