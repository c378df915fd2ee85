//! The layout that kernel and user space share: entries, profiles, settings and the alarm record.
//!
//! Every struct is `repr(C)` with explicit padding and asserted sizes, since the same bytes are read by two
//! compilers. Whoever changes a layout or a meaning raises [`ABI_VERSION`]. Who may write a field is said
//! beside it: K kernel, U user space. Both change live fields by single-word operations only; the map
//! call would overwrite what the other side wrote meanwhile.
//!
//! Read first: ARCHITECTURE.md, "The entry".

use crate::{
    atomic::{Word32, Word64},
    inspect::Classes,
    window::History,
};

/// Version of everything in this file and of the law's reading of it.
pub const ABI_VERSION: u32 = 1;

/// Rules a profile can hold: a device's policies.
pub const RULES: usize = 4;
/// IPv4 pools a node can hold, and as many IPv6 pools.
pub const POOLS: usize = 4;
/// Application-server prefixes a node can hold.
pub const SERVERS: usize = 8;
/// Profiles a node can hold: distinct combinations of policies. Number 0 is "nothing cached".
pub const PROFILES: u32 = 4096;
/// The longest frame that an alarm record carries; a longer one is redeemed by the device's next packet.
pub const HELD_FRAME: usize = 2048;
/// Mark of a primary entry that stands nowhere, and of an absent index.
pub const NO_INDEX: u32 = u32::MAX;

/// What a device is judged by: one entry, one look-up, three cache lines.
///
/// The first line is what every packet of an open session touches, the other two are for accesses.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Entry {
    /// Profile, status, alarm and flags, which change together (K, U: compare-and-swap). See [`Control`].
    pub control: Word64,
    /// The access session: start in the upper half, end in the lower; none if the start is 0, whatever the end
    /// (K; U closes it).
    pub session: Word64,
    /// Until when a dropped packet's repeats are the same request; 0 none (K).
    pub retry_until: Word32,
    /// Where the device may send from; 0: the access network guarantees it (U). Not yet checked.
    pub binding: Word32,
    /// Rate bucket. Not yet used.
    pub bucket: Word64,
    /// The device's number in the agent's table; in an alias, the index of the primary entry (U).
    pub owner: Word32,
    /// Attempts, wrapping (K).
    pub requests: Word32,
    /// Attempts let through, wrapping (K).
    pub admitted: Word32,
    /// Attempts refused, wrapping (K).
    pub rejected: Word32,
    /// Downlink packets to the idle device that were no trigger, wrapping (K).
    pub unsolicited: Word32,
    /// The latest refused attempt: reason in the low 8 bits, rule number + 1 above, 0 none (K).
    pub last_rejection: Word32,
    /// The alarm raised last, for the agent's sweep when the ring was full: one of [`condition`] in the low
    /// 8 bits, the access kind above, bit 16 if an access is held (K).
    pub last_alarm: Word32,
    /// The lower half of that alarm's classes (K).
    pub last_alarm_classes: Word32,

    /// The last attempts (K).
    pub request_history: History,
    /// Throttled until then, if the status says throttled (K, U).
    pub throttled_until: Word32,
    /// The last admissions (K).
    pub admission_history: History,
    /// Rejected until then, if the status says reject; 0: until further notice (U).
    pub rejected_until: Word32,
}

/// The control word: what must change together changes in one compare-and-swap.
///
/// | bits | 0–19 | 20–22 | 23–24 | 25 | 26 | 27 | 28 | 29 | 30 | 31 | 32–47 | 48–63 |
/// |---|---|---|---|---|---|---|---|---|---|---|---|---|
/// | | profile | status | alarm | held | redeem | registered | not M2M | shadow | alias | valid | SPN | generation |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control(pub u64);

/// Status bit: the throttle's limit replaces the rule's until `throttled_until`.
pub const STATUS_THROTTLED: u64 = 1 << 20;
/// Status bit: no new access until `rejected_until`.
pub const STATUS_REJECT: u64 = 1 << 21;
/// An alarm is active and user space has not seen it yet.
pub const ALARM_UNSEEN: u64 = 1 << 23;
/// An alarm is active and user space knows.
pub const ALARM_SEEN: u64 = 1 << 24;
/// Either.
pub const ALARM_ACTIVE: u64 = ALARM_UNSEEN | ALARM_SEEN;
/// The alarm holds an access.
pub const HELD: u64 = 1 << 25;
/// The next access is the one that was held: admitted, and no new request.
pub const REDEEM: u64 = 1 << 26;
/// The device has registered (R-X1). Not yet demanded.
pub const REGISTERED: u64 = 1 << 27;
/// Known not to be a machine: never alarms (R-D9).
pub const NOT_M2M: u64 = 1 << 28;
/// Evaluated but not enforced (R-X5). Not yet honoured.
pub const SHADOW: u64 = 1 << 29;
/// This entry points to the device's primary entry.
pub const ALIAS: u64 = 1 << 30;
/// A device is bound to this entry.
pub const VALID: u64 = 1 << 31;
/// What makes a packet inside an open session worth a second look.
pub const ATTENTION: u64 = ALARM_ACTIVE | REDEEM;

const PROFILE_MASK: u64 = (1 << 20) - 1;

impl Control {
    /// The number of the device's profile.
    #[inline(always)]
    pub const fn profile(self) -> u32 {
        (self.0 & PROFILE_MASK) as u32
    }

    /// Whether any of these bits is set.
    #[inline(always)]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    /// With these bits set.
    #[must_use]
    #[inline(always)]
    pub const fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }

    /// With these bits clear.
    #[must_use]
    #[inline(always)]
    pub const fn without(self, bits: u64) -> Self {
        Self(self.0 & !bits)
    }

    /// With another profile.
    #[must_use]
    pub const fn with_profile(self, profile: u32) -> Self {
        Self(self.0 & !PROFILE_MASK | profile as u64 & PROFILE_MASK)
    }

    /// The update this entry was last written by, modulo 2¹⁶.
    pub const fn generation(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Marked with another update.
    #[must_use]
    pub const fn with_generation(self, generation: u16) -> Self {
        Self(self.0 & !(0xffff << 48) | (generation as u64) << 48)
    }
}

/// A way of accessing the network; the numbers are bits of [`Profile::kinds`].
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AccessKind {
    /// The first uplink packet of a device with no open session.
    Packet = 0,
    /// A packet from an application server to an idle device.
    Trigger = 1,
    /// A radio resource request, judged through the signalling interface.
    Signalling = 2,
}

/// Bit of [`Entry::last_alarm`]: an access is held.
pub const LAST_ALARM_HELD: u32 = 1 << 16;

impl AccessKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [AccessKind; 3] = [AccessKind::Packet, AccessKind::Trigger, AccessKind::Signalling];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The name in configuration, alarms and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            AccessKind::Packet => "packet",
            AccessKind::Trigger => "trigger",
            AccessKind::Signalling => "signalling",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As a bit of a kinds mask.
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What a rule restricts.
pub mod rule {
    /// No rule in this place.
    pub const ABSENT: u8 = 0;
    /// How often: at most `permitted` accesses in `window`.
    pub const ACCESS_LIMIT: u8 = 1;
    /// By which protocols: none of `classes`.
    pub const FORBIDDEN_PROTOCOLS: u8 = 2;
}

/// What a violation leads to, in the order of severity.
pub mod action {
    /// Known, never enforced.
    pub const NONE: u8 = 0;
    /// The throttle's limit replaces the rule's.
    pub const THROTTLE: u8 = 1;
    /// No new access; on signalling nodes, accepted without bearer.
    pub const WITHHOLD: u8 = 2;
    /// No new access.
    pub const REJECT: u8 = 3;
    /// The open session ends.
    pub const RELEASE: u8 = 4;
}

/// A policy as the packet path judges it. Windows are in ticks, made by [`crate::tick::window_ticks`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// The policy's identifier; rules stand in ascending order of it.
    pub policy: u32,
    /// One of [`rule`].
    pub restricts: u8,
    /// One of [`action`].
    pub action: u8,
    /// Explicit padding.
    pub padding: u16,
    /// Accesses that may be admitted in any window; at most [`crate::window::SLOTS`].
    pub permitted: u32,
    /// The window, in ticks.
    pub window: u32,
    /// The same two for the throttle.
    pub throttle_permitted: u32,
    /// The throttle's window, in ticks.
    pub throttle_window: u32,
    /// Forbidden classes, as [`Classes`].
    pub classes: u64,
}

/// When a node's alarm condition is evaluated (R-D7).
pub mod alarm_when {
    /// Only for devices without a cached policy.
    pub const NO_POLICY_CACHED: u8 = 0;
    /// For every access.
    pub const ALWAYS: u8 = 1;
    /// Only where the cache did not reject.
    pub const NOT_REJECTED: u8 = 2;
}

/// Where the alarm condition stands relative to the cache check (R-D7).
pub mod alarm_order {
    /// The cache's verdict stands, the alarm is raised beside it.
    pub const WITH: u8 = 0;
    /// An alarm holds the access whatever the cache would say.
    pub const BEFORE: u8 = 1;
    /// The alarm is evaluated only for what the cache let through.
    pub const AFTER: u8 = 2;
}

/// Everything that a combination of policies means on this node. Compiled by user space, written before any
/// entry names it, never changed while one does.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// Silence of the device that ends a session, in ticks.
    pub inactivity: u32,
    /// Age at which a session ends whatever happens, in ticks.
    pub max_age: u32,
    /// How long a dropped packet's repeats are the same request, in ticks.
    pub retry: u32,
    /// Kinds of access that the rules count, bits of [`AccessKind`].
    pub kinds: u32,
    /// Whether policies are cached for the device; an empty list of policies is a policy too.
    pub cached: u8,
    /// One of [`alarm_when`].
    pub alarm_when: u8,
    /// One of [`alarm_order`].
    pub alarm_order: u8,
    /// Whether the alarm counts requests at all.
    pub alarm_counts: u8,
    /// More requests than this in the alarm's window are an alarm; at most [`crate::window::SLOTS`].
    pub alarm_permitted: u32,
    /// The alarm's window, in ticks.
    pub alarm_window: u32,
    /// Explicit padding.
    pub padding: u32,
    /// Classes that are an alarm, as [`Classes`].
    pub alarm_classes: u64,
    /// Classes that any rule forbids with an action above none.
    pub forbidden: u64,
    /// Explicit padding to a cache line.
    pub reserved: [u64; 2],
    /// The policies, in ascending order of their identifiers.
    pub rules: [Rule; RULES],
}

impl Profile {
    /// Classes that need more than a look at the session.
    #[inline(always)]
    pub const fn watched(&self) -> Classes {
        Classes(self.alarm_classes | self.forbidden)
    }
}

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
    /// Explicit padding.
    pub padding: u32,
}

/// What holds, in an [`AlarmRecord`].
pub mod condition {
    /// More requests than the alarm permits.
    pub const COUNT: u8 = 1;
    /// A packet of a class that is an alarm.
    pub const PROTOCOL: u8 = 2;
}

/// The side of the gateway on which a packet came in.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Side {
    /// Where the devices are: their packets go up, the source is the device.
    Access = 0,
    /// Where servers and the internet are: packets go down, the destination is the device.
    Network = 1,
}

/// What the kernel tells user space when it raises an alarm, with the frame it held.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AlarmRecord {
    /// The device's primary entry.
    pub entry: u32,
    /// The interface it came in on.
    pub ifindex: u32,
    /// When, as a [`crate::tick::Tick`].
    pub tick: u32,
    /// The frame's length on the wire.
    pub frame_length: u32,
    /// Bytes of `frame` in use; 0 if the frame was too long or could not be read.
    pub carried: u32,
    /// One of [`condition`].
    pub condition: u8,
    /// The [`Side`]'s number: which program judged it.
    pub side: u8,
    /// The [`AccessKind`]'s number.
    pub kind: u8,
    /// Whether an access is held: not so for a protocol seen inside an open session.
    pub access_held: u8,
    /// The alarmed classes, for a protocol alarm, as [`Classes`].
    pub classes: u64,
    /// The frame.
    pub frame: [u8; HELD_FRAME],
}

/// What the private copy of the program that replays captures says about a packet; the live one says nothing.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Device's side of the addresses, upper and lower half.
    pub source: [u64; 2],
    /// The other address.
    pub destination: [u64; 2],
    /// Classes recognised, as [`Classes`].
    pub classes: u64,
    /// The entry, [`NO_INDEX`] if none.
    pub entry: u32,
    /// Source port, 0 without one.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number.
    pub ip_protocol: u8,
    /// 4, 6 or 0.
    pub ip_version: u8,
    /// The reason's number.
    pub reason: u8,
    /// The access's kind + 1, or 0.
    pub access: u8,
    /// Whether an alarm was raised: one of [`condition`], or 0.
    pub raised: u8,
    /// Whether a new request was counted.
    pub counted: u8,
    /// Explicit padding.
    pub padding: [u8; 2],
}

/// An address's key in the hash of devices outside the pools: an IPv4 address or an IPv6 /64.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressKey {
    /// Upper half of the address.
    pub high: u64,
    /// Lower half for IPv4 (mapped), 0 for IPv6.
    pub low: u64,
}

const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Entry>() == 192 && align_of::<Entry>() == 64);
    assert!(offset_of!(Entry, session) == 8);
    assert!(offset_of!(Entry, owner) == 32);
    assert!(offset_of!(Entry, request_history) == 64);
    assert!(offset_of!(Entry, throttled_until) == 124);
    assert!(offset_of!(Entry, admission_history) == 128);
    assert!(offset_of!(Entry, rejected_until) == 188);
    assert!(size_of::<Rule>() == 32);
    assert!(size_of::<Profile>() == 192 && offset_of!(Profile, rules) == 64);
    assert!(size_of::<Pool4>() == 16 && size_of::<Pool6>() == 24 && size_of::<Prefix>() == 32);
    assert!(size_of::<Settings>() == POOLS * 40 + SERVERS * 32 + 16);
    assert!(size_of::<AlarmRecord>() == 32 + HELD_FRAME);
    assert!(size_of::<Trace>() == 56);
    assert!(size_of::<AddressKey>() == 16);
};
