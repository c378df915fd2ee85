//! What is said about a packet: one JSON object, or one row of a table.
//!
//! What this is: the record both commands print. What it must not do: interpret; names come from the lists
//! in `dataplane-common`, so that kernel, metrics and output say the same. Fields are only ever added.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;
use weir_dataplane::layout::to_ip;
use weir_dataplane_common::abi::{AccessKind, Side, Trace, condition};
use weir_dataplane_common::inspect::Class;
use weir_dataplane_common::parse::Address;
use weir_dataplane_common::reason::{Reason, Verdict};

use super::capture::Frame;

/// A packet and what was decided about it. `null` stands for what the packet does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'w> {
    /// The packet's place in the capture, from 1.
    pub n: u64,
    /// When it was captured: RFC 3339 in UTC, with nanoseconds.
    pub time: Option<String>,
    /// Whose packet.
    pub device: Option<&'w str>,
    /// `uplink` from the device, `downlink` to it.
    pub direction: Option<&'static str>,
    /// Innermost source address.
    pub src: Option<IpAddr>,
    /// Innermost destination address.
    pub dst: Option<IpAddr>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// IP protocol number.
    pub ip_proto: Option<u8>,
    /// Security protocols recognised.
    pub protocols: Vec<&'static str>,
    /// The kind of access it was, if it was one.
    pub access: Option<&'static str>,
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Why.
    pub reason: &'static str,
    /// The condition of the alarm it raised, `count` or `protocol`.
    pub alarm: Option<&'static str>,
}

impl<'w> Line<'w> {
    /// Says what was decided about the `n`-th packet, which came in on `side`.
    pub fn new(
        n: u64,
        frame: &Frame,
        side: Option<Side>,
        device: Option<&'w str>,
        verdict: Verdict,
        trace: &Trace,
    ) -> Self {
        let is_ip = trace.ip_version != 0;
        // Both are zero where there are none; a single zero is a port that somebody wrote.
        let has_ports = (trace.source_port, trace.destination_port) != (0, 0);
        Self {
            n,
            time: frame.time.map(in_words),
            device,
            direction: side.map(direction),
            src: is_ip.then(|| address(trace.ip_version, trace.source)),
            dst: is_ip.then(|| address(trace.ip_version, trace.destination)),
            sport: has_ports.then_some(trace.source_port),
            dport: has_ports.then_some(trace.destination_port),
            ip_proto: is_ip.then_some(trace.ip_protocol),
            protocols: trace.class_set().iter().map(Class::name).collect(),
            access: access(trace.access),
            verdict: verdict.name(),
            reason: Reason::from_number(trace.reason).map_or("unknown", Reason::name),
            alarm: alarm(trace.raised),
        }
    }

    /// The cells of [`HEADING`], empty where there is nothing.
    pub fn cells(&self) -> [String; HEADING.len()] {
        let word = |word: Option<&str>| word.unwrap_or_default().to_owned();
        [
            self.n.to_string(),
            self.time.clone().unwrap_or_default(),
            word(self.device),
            word(self.direction),
            endpoint(self.src, self.sport),
            endpoint(self.dst, self.dport),
            self.protocol(),
            word(self.access),
            self.verdict.to_owned(),
            self.reason.to_owned(),
            word(self.alarm),
        ]
    }

    /// The security protocols, or else the IP protocol.
    fn protocol(&self) -> String {
        if !self.protocols.is_empty() {
            return self.protocols.join("+");
        }
        match self.ip_proto {
            None => String::new(),
            Some(1) => "icmp".to_owned(),
            Some(6) => "tcp".to_owned(),
            Some(17) => "udp".to_owned(),
            Some(58) => "icmpv6".to_owned(),
            Some(number) => number.to_string(),
        }
    }
}

/// The table's columns.
pub const HEADING: [&str; 11] = [
    "n",
    "time",
    "device",
    "direction",
    "source",
    "destination",
    "protocol",
    "access",
    "verdict",
    "reason",
    "alarm",
];

fn in_words(nanos: u64) -> String {
    let instant = Timestamp::from_nanosecond(i128::from(nanos))
        .expect("64 bits of nanoseconds end in the year 2554, timestamps in 9999");
    format!("{instant:.9}")
}

fn direction(side: Side) -> &'static str {
    match side {
        Side::Access => "uplink",
        Side::Network => "downlink",
    }
}

/// A mapped IPv4 address inside an IPv6 packet stays what it is.
fn address(version: u8, [high, low]: [u64; 2]) -> IpAddr {
    if version == 4 {
        return to_ip(Address { high, low });
    }
    IpAddr::V6((u128::from(high) << 64 | u128::from(low)).into())
}

fn access(number: u8) -> Option<&'static str> {
    let kinds = AccessKind::ALL.into_iter();
    kinds.map(|kind| (kind as u8 + 1, kind.name())).find(|(kind, _)| *kind == number).map(|(_, name)| name)
}

fn alarm(raised: u8) -> Option<&'static str> {
    match raised {
        condition::COUNT => Some("count"),
        condition::PROTOCOL => Some("protocol"),
        _ => None,
    }
}

/// An address with its port, as in a URL.
fn endpoint(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (None, _) => String::new(),
        (Some(address), None) => address.to_string(),
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
    }
}
