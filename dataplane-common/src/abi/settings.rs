//! What a node was configured to: pools, servers, and what becomes of packets that are nobody's access.
//!
//! Read-only data of the program: the verifier knows the values and drops the code that they rule out.

use super::{POOLS, SERVERS};

/// A pool of IPv4 addresses: consecutive entries from `first` on.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Pool4 {
    /// The network address, host order. An unused place has a base that no address has under its mask.
    pub base: u32,
    /// The prefix's mask.
    pub mask: u32,
    /// The entry of the network address.
    pub first: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// A pool of IPv6 prefixes: one entry for each /64.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Pool6 {
    /// The upper 64 bits of the prefix, host order.
    pub base: u64,
    /// Its mask.
    pub mask: u64,
    /// The entry of the first /64.
    pub first: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// An address prefix of either family, as [`crate::parse::Address`] halves.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Prefix {
    /// Upper half under the mask.
    pub high: u64,
    /// Lower half under the mask.
    pub low: u64,
    /// Mask of the upper half.
    pub high_mask: u64,
    /// Mask of the lower half.
    pub low_mask: u64,
}

/// What the node was configured to; read-only in the kernel, so that the verifier folds it into the code.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Settings {
    /// IPv4 pools.
    pub pools4: [Pool4; POOLS],
    /// IPv6 pools.
    pub pools6: [Pool6; POOLS],
    /// Servers that may wake a device.
    pub servers: [Prefix; SERVERS],
    /// Whether packets of unknown devices are dropped.
    pub drop_unknown: u32,
    /// Whether unparsable packets are dropped.
    pub drop_unparsable: u32,
    /// Whether unsolicited downlink packets are dropped.
    pub drop_unsolicited: u32,
    /// Whether drops are counted and not enforced (R-X5).
    pub shadow: u32,
    /// Answers to rejected packets in a second; 0: none.
    pub answers_per_second: u32,
    /// Whether packets are offered to a capture.
    pub capture: u32,
    /// Strangers' entries: a power of two, or 0 if strangers are not judged one by one.
    pub strangers: u32,
    /// The first of them.
    pub strangers_first: u32,
    /// Whether a stranger for whom there is no entry passes.
    pub pass_when_full: u32,
    /// What a new stranger costs, in ns: their rate on each interface.
    pub stranger_cost: u32,
    /// Buckets of the directory of addresses outside the pools: a power of two.
    pub directory_buckets: u32,
    /// Explicit padding.
    pub padding: u32,
    /// Scatters strangers over their entries in a way that they cannot foresee.
    pub strangers_seed: u64,
}
