//! What the sections mean for the roles: configuration into the values that control and a node start with.
//!
//! What this is: a translation of checked values. What it must not do: check anything, or choose a default.

use weir_agent::config as agent;
use weir_dataplane::{Mode, layout::Strangers};
use weir_dataplane_common::abi::{alarm_order, alarm_when};

use super::alarm::{AlarmCondition, Order, When};
use super::node::{NodeSection, OnOutage, Treatment, XdpMode};
use super::strangers::UnknownDevices;
use super::{BindingEntry, Configuration};

impl Configuration {
    /// What control starts with, if the file has a `[control]` section.
    pub fn control_role(&self) -> Option<weir_server::Config> {
        let control = self.control.clone()?;
        Some(weir_server::Config {
            store: control.store,
            stream_socket: control.stream_socket,
            admin_socket: control.admin_socket,
            metrics: control.metrics,
            m2m_device_types: control.m2m_device_types,
            protocol_alarm_hold: control.protocol_alarm_hold,
            not_m2m_lifetime: control.not_m2m_lifetime,
            query_timeout: control.query_timeout,
            subscribers: self.subscribers.clone(),
            policies: self.policies.clone(),
        })
    }

    /// What a node starts with, if the file has a `[node]` section.
    pub fn node_role(&self) -> Option<weir_agent::Config> {
        let node = self.node.clone()?;
        Some(weir_agent::Config {
            strangers: strangers(&node),
            stranger_limit: stranger_limit(&node),
            answers_per_second: node.answers_per_second.unwrap_or(0),
            timings: timings(&node),
            alarm: node.alarm.as_ref().map(alarm),
            name: node.name,
            stream_socket: node.stream_socket,
            local_socket: node.local_socket,
            metrics: node.metrics,
            mode: match node.xdp_mode {
                XdpMode::Native => Mode::Native,
                XdpMode::Generic => Mode::Generic,
            },
            kinds: node.kinds,
            access_interfaces: node.access_interfaces,
            network_interfaces: node.network_interfaces,
            pools: node.pools,
            unpooled_devices: node.unpooled_devices,
            application_servers: node.application_servers,
            report_interval: node.report_interval,
            alarm_timeout: node.alarm_timeout,
            on_outage: match node.on_outage {
                OnOutage::Deny => agent::OnOutage::Deny,
                OnOutage::Allow => agent::OnOutage::Allow,
            },
            bindings: self.bindings.iter().map(binding).collect(),
            shadow: node.shadow,
            pin: node.keeping.pin,
            bpffs: node.keeping.bpffs,
            state_dir: node.keeping.state_dir,
        })
    }
}

fn strangers(node: &NodeSection) -> Strangers {
    Strangers {
        drop_unknown: node.unknown_devices == UnknownDevices::Drop,
        drop_unparsable: node.unparsable == Treatment::Drop,
        drop_unsolicited: node.unsolicited == Treatment::Drop,
    }
}

fn stranger_limit(node: &NodeSection) -> Option<agent::StrangerLimit> {
    let UnknownDevices::Limit(section) = node.unknown_devices else { return None };
    Some(agent::StrangerLimit {
        places: section.places,
        permitted: section.limit.permitted,
        window: section.limit.window,
        inactivity: section.inactivity,
        new_per_second: section.new_per_second,
        pass_when_full: section.pass_when_full,
    })
}

fn timings(node: &NodeSection) -> agent::Timings {
    agent::Timings {
        inactivity: node.inactivity,
        max_session_age: node.max_session_age,
        retry_interval: node.retry_interval,
    }
}

fn alarm(condition: &AlarmCondition) -> agent::AlarmCondition {
    agent::AlarmCondition {
        count: condition.limit.map(|limit| (limit.permitted, limit.window)),
        protocols: condition.protocols.clone(),
        when: match condition.when {
            When::NoPolicyCached => alarm_when::NO_POLICY_CACHED,
            When::Always => alarm_when::ALWAYS,
            When::NotRejected => alarm_when::NOT_REJECTED,
        },
        order: match condition.order {
            Order::Before => alarm_order::BEFORE,
            Order::With => alarm_order::WITH,
            Order::After => alarm_order::AFTER,
        },
    }
}

fn binding(entry: &BindingEntry) -> agent::Binding {
    agent::Binding {
        device: entry.device.0.clone(),
        addresses: entry.addresses.iter().map(ipnet::IpNet::addr).collect(),
    }
}
