//! The policies that a node would hold for each device once service control had answered.
//!
//! What this is: `[[subscriber]]` and `[[policy]]` into profiles and the control words that name them. What it
//! must not do: ask anybody. A device that the HSS would not know has no policy cached; one that `[control]`
//! does not count as a machine is never limited (R-D9).

use anyhow::Context;
use weir_agent::config::Binding;
use weir_agent::profile::{self, Action, Counted, Limit, Policy, Rate, Restriction};
use weir_agent::profiles::Profiles;
use weir_dataplane_common::abi::{AccessKind, Control, NOT_M2M, Profile, VALID, meter_side};
use weir_dataplane_common::inspect::Class;
use weir_server::api::{self, Subscriber};
use weir_service_control as sc;

use crate::config::Configuration;

/// The profiles by number, and for each binding the control word that names one.
///
/// # Errors
/// Policies that do not fit into an entry, or too many different combinations of them.
pub fn profiles(
    configuration: &Configuration,
    node: &weir_agent::Config,
) -> anyhow::Result<(Vec<Profile>, Vec<Control>)> {
    let compile = |policies: Option<&[Policy]>| {
        profile::compile(policies, &node.kinds, &node.timings, node.alarm.as_ref())
    };
    let mut numbers = Profiles::default();
    let (mut profiles, mut controls) = (vec![compile(None)?], Vec::new());
    for binding in &node.bindings {
        let Some(subscriber) = subscriber(configuration, binding) else {
            controls.push(Control(VALID));
            continue;
        };
        let is_machine = is_machine(configuration, subscriber);
        let held = if is_machine { policies(configuration, subscriber)? } else { Vec::new() };
        let profile = compile(Some(&held))?;
        let assigned = numbers.take(&profile);
        let assigned = assigned.context("there are more combinations of policies than a node holds")?;
        if assigned.is_new {
            profiles.push(profile);
        }
        let control = Control(VALID).with_profile(assigned.number);
        controls.push(if is_machine { control } else { control.with(NOT_M2M) });
    }
    Ok((profiles, controls))
}

fn subscriber<'c>(configuration: &'c Configuration, binding: &Binding) -> Option<&'c Subscriber> {
    configuration.subscribers.iter().find(|subscriber| subscriber.device.0 == binding.device)
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
        sc::Rule::Rate(rate) => Restriction::Rate(rate_of(*rate)),
    };
    let action = match checked.action {
        sc::Action::None => Action::None,
        sc::Action::Throttle(limit) => Action::Throttle(limit_of(limit)),
        sc::Action::Reject => Action::Reject,
        sc::Action::WithholdResources => Action::Withhold,
        sc::Action::Release => Action::Release,
    };
    let kinds = checked.kinds.iter().map(|kind| kind_of(*kind)).collect();
    let counts = match checked.counts {
        sc::Counted::Admitted => Counted::Admitted,
        sc::Counted::Requests => Counted::Requests,
    };
    Ok(Policy { id: policy.id, restriction, kinds, action, counts, shadow: checked.shadow })
}

fn rate_of(rate: sc::Rate) -> Rate {
    let sc::Rate { bytes_per_second, packets_per_second, burst, direction } = rate;
    let sides = match direction {
        sc::Direction::Both => meter_side::UP | meter_side::DOWN,
        sc::Direction::Up => meter_side::UP,
        sc::Direction::Down => meter_side::DOWN,
    };
    Rate { bytes_per_second, packets_per_second, burst, sides }
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
