//! A sound configuration in words, as `weir check` prints it.
//!
//! What this is: what the file means, in the order in which an operator asks. What it must not do: show a
//! device's identifier (R-X7).

use std::fmt::{self, Display, Formatter};

use ipnet::IpNet;
use weir_server::api::{Action, Comparison, Counted, Direction, Kind, Limit, Policy, Rate, Scope, duration};

use super::alarm::{AlarmCondition, Order, When};
use super::control::ControlSection;
use super::node::NodeSection;
use super::strangers::UnknownDevices;
use super::{Configuration, pool};

/// Displays a configuration in words, a line for each matter.
pub struct Summary<'c>(pub &'c Configuration);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let configuration = self.0;
        if let Some(control) = &configuration.control {
            write_control(f, control, configuration.subscribers.len())?;
        }
        if let Some(node) = &configuration.node {
            write_node(f, node)?;
            write_entries(f, node)?;
            write_bindings(f, configuration, node)?;
            write_strangers(f, &node.unknown_devices)?;
            write_alarm(f, node.alarm.as_ref())?;
            write_answers(f, node)?;
            write_keeping(f, node)?;
        }
        for policy in &configuration.policies {
            writeln!(f, "{}", in_words(policy))?;
        }
        for note in notes(configuration) {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn write_control(f: &mut Formatter<'_>, control: &ControlSection, subscribers: usize) -> fmt::Result {
    let machines = control.m2m_device_types.join(", ");
    let store = control.store.display();
    writeln!(f, "control: store {store}, machines are: {machines}; {}", counted(subscribers, "subscriber"))
}

fn write_node(f: &mut Formatter<'_>, node: &NodeSection) -> fmt::Result {
    let kinds: Vec<_> = node.kinds.iter().map(|kind| kind.name()).collect();
    let (access, network) = (node.access_interfaces.join(", "), node.network_interfaces.join(", "));
    writeln!(
        f,
        "node {}: devices behind {access}, network behind {network}; judges {}; a session ends after {} of silence",
        node.name,
        kinds.join("+"),
        duration::format(node.inactivity)
    )
}

fn write_entries(f: &mut Formatter<'_>, node: &NodeSection) -> fmt::Result {
    let pooled = node.pools.iter().map(|pool| pool::entries(*pool)).sum::<u128>();
    let strangers = match node.unknown_devices {
        UnknownDevices::Limit(section) => section.places,
        _ => 0,
    };
    let total = pooled + u128::from(node.unpooled_devices) + u128::from(strangers);
    let pools: Vec<_> = node.pools.iter().map(|prefix| pool_in_words(*prefix)).collect();
    writeln!(
        f,
        "entries: {total} of {} bytes, {} MiB in all: {}, {} for devices outside the pools, and {strangers} for strangers",
        pool::ENTRY_BYTES,
        (total * u128::from(pool::ENTRY_BYTES)).div_ceil(1 << 20),
        pools.join(", "),
        node.unpooled_devices
    )
}

fn pool_in_words(prefix: IpNet) -> String {
    let count = pool::entries(prefix);
    match prefix {
        IpNet::V4(_) => format!("{count} for {prefix}"),
        IpNet::V6(_) => format!("{count} for {prefix} (one for each /64)"),
    }
}

fn write_bindings(f: &mut Formatter<'_>, configuration: &Configuration, node: &NodeSection) -> fmt::Result {
    let addresses: Vec<_> = configuration.bindings.iter().flat_map(|binding| &binding.addresses).collect();
    let unpooled = addresses.iter().filter(|address| !node.pools.iter().any(|pool| pool.contains(**address)));
    writeln!(
        f,
        "bindings: {} with {}, {} of them outside the pools",
        counted(configuration.bindings.len(), "device"),
        counted(addresses.len(), "address"),
        unpooled.count()
    )
}

fn write_strangers(f: &mut Formatter<'_>, unknown: &UnknownDevices) -> fmt::Result {
    let section = match unknown {
        UnknownDevices::Pass => return writeln!(f, "strangers: pass"),
        UnknownDevices::Drop => return writeln!(f, "strangers: are dropped"),
        UnknownDevices::Limit(section) => section,
    };
    writeln!(
        f,
        "strangers: {} in {} each, {} at once, {} new ones a second on each interface; one without a place {}",
        counted(section.limit.permitted as usize, "access"),
        duration::format(section.limit.window),
        section.places,
        section.new_per_second,
        if section.pass_when_full { "passes" } else { "is dropped" }
    )
}

fn write_alarm(f: &mut Formatter<'_>, alarm: Option<&AlarmCondition>) -> fmt::Result {
    let Some(alarm) = alarm else {
        return writeln!(f, "alarm: never; service control is not asked");
    };
    let limit = alarm.limit.map(|limit| {
        let window = duration::format(limit.window);
        format!("more than {} in {window}", counted(limit.permitted as usize, "request"))
    });
    let protocols = alarm.protocols.iter().map(|class| class.name().to_owned());
    let conditions: Vec<_> = limit.into_iter().chain(protocols).collect();
    let when = match alarm.when {
        When::NoPolicyCached => "of devices without a cached policy",
        When::Always => "of every device",
        When::NotRejected => "of devices that the cache does not reject",
    };
    let order = match alarm.order {
        Order::Before => "before the cache check",
        Order::With => "with the cache check",
        Order::After => "after the cache check",
    };
    writeln!(f, "alarm: {}; {when}, {order}", conditions.join(", or "))
}

fn write_answers(f: &mut Formatter<'_>, node: &NodeSection) -> fmt::Result {
    match node.answers_per_second {
        Some(most) => writeln!(f, "refused packets of devices are answered, at most {most} a second"),
        None => writeln!(f, "refused packets are dropped in silence"),
    }
}

fn write_keeping(f: &mut Formatter<'_>, node: &NodeSection) -> fmt::Result {
    let keeping = &node.keeping;
    let state = keeping.state_dir.join(format!("{}.journal", node.name));
    if keeping.pin {
        let pins = keeping.bpffs.join("weir").join(&node.name);
        write!(f, "the program goes on without its agent, pinned in {}", pins.display())?;
    } else {
        write!(f, "the program ends with its agent, and the gate is open until the next one")?;
    }
    writeln!(f, "; the last-known-good cache is in {}", state.display())
}

/// One policy, e.g. `policy 1: above 3 accesses in 1m, throttle to 5 in 1m (network, counts packet+trigger)`.
pub fn in_words(policy: &Policy) -> String {
    let scope = match policy.scope {
        Scope::Node => "node",
        Scope::Network => "network",
    };
    let action = match policy.action {
        Action::None => "no action".to_owned(),
        Action::Throttle(limit) => {
            format!("throttle to {} in {}", limit.limit, duration::format(limit.window))
        }
        Action::Reject => "reject".to_owned(),
        Action::WithholdResources => "withhold resources".to_owned(),
        Action::Release => "release the session".to_owned(),
    };
    let action = if policy.shadow { format!("{action}, in shadow") } else { action };
    let id = policy.id;
    if let Some(rate) = &policy.rate {
        return format!("policy {id}: above {}, {action} (each node)", rate_in_words(rate));
    }
    if let Some(limit) = &policy.access_limit {
        let (limit, kinds) = (limit_in_words(limit, policy.counts), kinds_in_words(&policy.kinds));
        return format!("policy {id}: {limit}, {action} ({scope}, counts {kinds})");
    }
    let protocols = policy.forbidden_protocols.iter().flatten().cloned().collect::<Vec<_>>();
    format!("policy {id}: upon {}, {action} ({scope})", protocols.join(" or "))
}

/// For example `1000 bytes/s or 10 packets/s up, in bursts of 100ms`.
pub fn rate_in_words(rate: &Rate) -> String {
    let bytes = rate.bytes_per_second.map(|bytes| format!("{bytes} bytes/s"));
    let packets = rate.packets_per_second.map(|packets| format!("{packets} packets/s"));
    let rates: Vec<_> = bytes.into_iter().chain(packets).collect();
    let direction = match rate.direction {
        Direction::Both => "both ways",
        Direction::Up => "up",
        Direction::Down => "down",
    };
    format!("{} {direction}, in bursts of {}", rates.join(" or "), duration::format(rate.burst))
}

fn limit_in_words(limit: &Limit, counts: Counted) -> String {
    let noun = match counts {
        Counted::Admitted => "access",
        Counted::Requests => "request",
    };
    let (accesses, window) = (counted(limit.limit as usize, noun), duration::format(limit.window));
    match limit.comparison {
        Comparison::Greater => format!("above {accesses} in {window}"),
        Comparison::GreaterOrEqual => format!("from {accesses} in {window} on"),
    }
}

fn kinds_in_words(kinds: &[Kind]) -> String {
    let words: Vec<_> = kinds
        .iter()
        .map(|kind| match kind {
            Kind::Packet => "packet",
            Kind::Trigger => "trigger",
            Kind::Signalling => "signalling",
        })
        .collect();
    if words.is_empty() { "every kind".to_owned() } else { words.join("+") }
}

/// What is permitted and yet may surprise.
fn notes(configuration: &Configuration) -> Vec<String> {
    let mut notes = Vec::new();
    if configuration.node.as_ref().is_some_and(|node| node.shadow) {
        notes.push("node.shadow: the node watches, what it judges to be dropped passes".to_owned());
    }
    if let (Some(control), Some(node)) = (&configuration.control, &configuration.node) {
        if control.stream_socket != node.stream_socket {
            notes.push(
                "node.stream_socket is not control.stream_socket: the node attaches elsewhere".to_owned(),
            );
        }
        if control.query_timeout * 2 > node.alarm_timeout {
            let sentence =
                "HSS and PCRF may take longer (twice control.query_timeout) than node.alarm_timeout allows";
            notes.push(sentence.to_owned());
        }
    }
    if configuration.control.is_none() && !configuration.subscribers.is_empty() {
        notes.push("there is no [control], which alone seeds an HSS from [[subscriber]]".to_owned());
    }
    if configuration.node.is_none() {
        if !configuration.bindings.is_empty() {
            notes.push("there is no [node], which alone reads [[binding]]".to_owned());
        }
        if !configuration.policies.is_empty() {
            notes.push("there is no [node]: limits were not compared with its inactivity time".to_owned());
        }
    }
    notes
}

fn counted(count: usize, noun: &str) -> String {
    match (count, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{count} {noun}es"),
        (_, false) => format!("{count} {noun}s"),
    }
}
