//! The packets of each row: 64 bytes each, from a million devices to a server.
//!
//! Nothing here knows what weir will say about a packet.

use anyhow::Result;
pub use weir_dataplane::traffic::Kind;
use weir_dataplane::traffic::{SHORTEST, Traffic};
use weir_dataplane_common::load::Spread;

/// Where generated frames are addressed to: every lane's far end has this Ethernet address.
pub const NODE_MAC: [u8; 6] = [0x02, 0x45, 0, 9, 0, 1];
/// Where they come from.
pub const SENDER_MAC: [u8; 6] = [0x02, 0x45, 0, 9, 0, 2];
/// The node's pool of IPv4 addresses.
pub const POOL: &str = "10.16.0.0/12";
/// The node's pool of IPv6 /64s.
pub const POOL6: &str = "2001:db8:40::/44";
/// Devices outside the pools.
pub const OUTSIDE: &str = "100.64.0.0/12";
/// The first of them.
pub const FIRST_OUTSIDE: u32 = 0x6440_0000;

/// Generated packets of one sort.
#[derive(Clone, Debug)]
pub struct Packets {
    /// A frame of the first source.
    pub frame: Vec<u8>,
    /// The sources.
    pub spread: Spread,
}

impl Packets {
    /// From the first `devices` of the pools.
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn pooled(kind: Kind, devices: u32) -> Result<Self> {
        Self::from(kind, if kind == Kind::Udp6 { POOL6 } else { POOL }, devices)
    }

    /// From the first `devices` outside the pools (IPv4 only).
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn unpooled(kind: Kind, devices: u32) -> Result<Self> {
        Self::from(kind, OUTSIDE, devices)
    }

    fn from(kind: Kind, prefix: &str, devices: u32) -> Result<Self> {
        let server = if kind == Kind::Udp6 { "2001:db8:ffff::5" } else { "203.0.113.5" };
        let traffic = Traffic {
            kind,
            devices: prefix.parse()?,
            server: server.parse()?,
            from: SENDER_MAC,
            to: NODE_MAC,
            length: SHORTEST,
        };
        Ok(Self { frame: traffic.frame()?, spread: traffic.spread(devices) })
    }
}
