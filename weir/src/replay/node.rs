//! A configured node in the agent's terms, with the policies it would hold once service control had answered.
//!
//! What this is: `[node]`, `[[binding]]`, `[[subscriber]]` and `[[policy]]` into bindings, settings and
//! profiles. What it must not do: ask anybody. A device that the HSS would not know has no policy cached; one
//! that `[control]` does not count as a machine is never limited (R-D9).

use std::time::Duration;

use anyhow::Context;
use weir_agent::config::{AlarmCondition, Binding, Timings};
use weir_agent::profile::{self, Action, Limit, Policy, Restriction};
use weir_agent::profiles::Profiles;
use weir_dataplane::layout::Strangers;
use weir_dataplane_common::abi::{AccessKind, Control, NOT_M2M, Profile, VALID, alarm_order, alarm_when};
use weir_dataplane_common::inspect::Class;
use weir_server::api::{self, Subscriber};
use weir_service_control as sc;

use crate::config::{self, BindingEntry, Configuration, NodeSection, Order, Treatment, When};

/// The session's times where nothing is configured, as in a configuration that leaves them out.
pub const DEFAULT_TIMINGS: Timings = Timings {
    inactivity: Duration::from_secs(10),
    max_session_age: Duration::from_secs(24 * 3600),
    retry_interval: Duration::from_secs(1),
};

/// The bindings, in the order of the file.
pub fn bindings(configuration: &Configuration) -> Vec<Binding> {
    let bindings = configuration.bindings.iter();
    let binding = |entry: &BindingEntry| Binding {
        device: entry.device.0.clone(),
        addresses: entry.addresses.iter().map(ipnet::IpNet::addr).collect(),
    };
    bindings.map(binding).collect()
}

/// What becomes of packets that are nobody's access.
pub fn strangers(node: &NodeSection) -> Strangers {
    let drops = |treatment| treatment == Treatment::Drop;
    Strangers {
        drop_unknown: drops(node.unknown_devices),
        drop_unparsable: drops(node.unparsable),
        drop_unsolicited: drops(node.unsolicited),
    }
}

/// The profiles by number, and for each binding the control word that names one.
///
/// # Errors
/// Policies that do not fit into an entry, or too many different combinations of them.
pub fn profiles(
    configuration: &Configuration,
    node: &NodeSection,
) -> anyhow::Result<(Vec<Profile>, Vec<Control>)> {
    let timings = Timings {
        inactivity: node.inactivity,
        max_session_age: node.max_session_age,
        retry_interval: node.retry_interval,
    };
    let alarm = node.alarm.as_ref().map(alarm);
    let compile = |policies: Option<&[Policy]>| {
        profile::compile(policies, &node.kinds, &timings, alarm.as_ref())
    };
    let mut numbers = Profiles::default();
    let (mut profiles, mut controls) = (vec![compile(None)?], Vec::new());
    for binding in &configuration.bindings {
        let mut subscribers = configuration.subscribers.iter();
        let Some(subscriber) = subscribers.find(|subscriber| subscriber.device == binding.device) else {
            controls.push(Control(VALID));
            continue;
        };
        let is_machine = is_machine(configuration, subscriber);
        let held = if is_machine { policies(configuration, subscriber)? } else { Vec::new() };
        let profile = compile(Some(&held))?;
        let assigned = numbers.take(&profile).context("there are more combinations of policies than a node holds")?;
        if assigned.is_new {
            profiles.push(profile);
        }
        let control = Control(VALID).with_profile(assigned.number);
        controls.push(if is_machine { control } else { control.with(NOT_M2M) });
    }
    Ok((profiles, controls))
}

/// Without `[control]` nobody says who is none.
fn is_machine(configuration: &Configuration, subscriber: &Subscriber) -> bool {
    let control = configuration.control.as_ref();
    control.is_none_or(|control| control.m2m_device_types.contains(&subscriber.device_type))
}

fn policies(configuration: &Configuration, subscriber: &Subscriber) -> anyhow::Result<Vec<Policy>> {
    let named = configuration.policies.iter().filter(|policy| subscriber.policies.contains(&policy.id));
    named.map(policy).collect()
}

/// The agent's form of a policy, by way of service control's, which has the comparison folded in.
fn policy(policy: &api::Policy) -> anyhow::Result<Policy> {
    let checked = policy.check().map_err(|invalid| {
        let reasons: Vec<_> = invalid.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("policy {}: {}", policy.id, reasons.join("; "))
    })?;
    let restriction = match &checked.rule {
        sc::Rule::AccessLimit(limit) => Restriction::Accesses(limit_of(*limit)),
        sc::Rule::ForbiddenProtocols(names) => {
            let class = |name: &String| {
                Class::from_name(name).with_context(|| format!("policy {}: {name} is no protocol", policy.id))
            };
            Restriction::Protocols(names.iter().map(class).collect::<Result<_, _>>()?)
        }
    };
    let action = match checked.action {
        sc::Action::None => Action::None,
        sc::Action::Throttle(limit) => Action::Throttle(limit_of(limit)),
        sc::Action::Reject => Action::Reject,
        sc::Action::WithholdResources => Action::Withhold,
        sc::Action::Release => Action::Release,
    };
    let kinds = checked.kinds.iter().map(|kind| kind_of(*kind)).collect();
    Ok(Policy { id: policy.id, restriction, kinds, action })
}

fn limit_of(limit: sc::AccessLimit) -> Limit {
    Limit { permitted: limit.permitted, window: limit.window }
}

fn kind_of(kind: sc::AccessKind) -> AccessKind {
    match kind {
        sc::AccessKind::Packet => AccessKind::Packet,
        sc::AccessKind::Trigger => AccessKind::Trigger,
        sc::AccessKind::Signalling => AccessKind::Signalling,
    }
}

fn alarm(section: &config::AlarmCondition) -> AlarmCondition {
    AlarmCondition {
        count: section.limit.map(|limit| (limit.permitted, limit.window)),
        protocols: section.protocols.clone(),
        when: match section.when {
            When::NoPolicyCached => alarm_when::NO_POLICY_CACHED,
            When::Always => alarm_when::ALWAYS,
            When::NotRejected => alarm_when::NOT_REJECTED,
        },
        order: match section.order {
            Order::Before => alarm_order::BEFORE,
            Order::With => alarm_order::WITH,
            Order::After => alarm_order::AFTER,
        },
    }
}
