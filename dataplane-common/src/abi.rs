//! The layout that kernel and user space share: entries, profiles, settings and the alarm record.
//!
//! Every struct is `repr(C)` with explicit padding and asserted sizes, since the same bytes are read by two
//! compilers. Whoever changes a layout or a meaning raises [`ABI_VERSION`]. Who may write a field is said
//! beside it: K kernel, U user space. Both change live fields by single-word operations only; the map
//! call would overwrite what the other side wrote meanwhile.
//!
//! Read first: ARCHITECTURE.md, "The entry".

mod profile;
mod settings;

use crate::{
    atomic::{Word32, Word64},
    window::History,
};

pub use profile::{Meter, Profile, Rule, action, alarm_order, alarm_when, meter_side, rule, rule_flag};
pub use settings::{Pool4, Pool6, Prefix, Settings};

/// Version of everything in this file and of the law's reading of it.
pub const ABI_VERSION: u32 = 2;

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

/// Profile of addresses that no device is bound to, where the node judges strangers: behind all others.
pub const STRANGER_PROFILE: u32 = PROFILES;
/// Interfaces, by the low bits of their index, whose new strangers are limited apart.
pub const STRANGER_RATES: u32 = 64;

/// What every packet of a device touches: one cache line, one look-up. What only accesses need stands in the
/// [`Ledger`] with the same index.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Entry {
    /// Profile, status, alarm and flags, which change together (K, U: compare-and-swap). See [`Control`].
    pub control: Word64,
    /// The access session: start in the upper half, end in the lower; none if the start is 0, whatever the end
    /// (K; U closes it).
    pub session: Word64,
    /// When the packets let through so far are paid for at the profile's first rate (K). See [`crate::rate`].
    pub bucket: Word64,
    /// Until when a dropped packet's repeats are the same request; 0 none (K).
    pub retry_until: Word32,
    /// Where the device may send from; 0: the access network guarantees it (U). Not yet checked.
    pub binding: Word32,
    /// A checksum of the device's identifier, by which the next agent knows whose entry this is; in an alias, the
    /// index of the primary entry (U). In a stranger's entry, the tag of its address (K).
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
    /// The alarm raised last, for the agent's sweep when the ring was full: one of [`condition`] in bits 0–7,
    /// the access kind in 8–15, bit 16 if an access is held, the first alarmed class in 24–29 (K).
    pub last_alarm: Word32,
    /// Exempt until then, if [`EXEMPT`] is set (U).
    pub exempt_until: Word32,
}

/// What a device's accesses are counted in: two cache lines that packets of an open session never touch.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Ledger {
    /// The last attempts (K). The same room as [`Ledger::words`].
    pub requests: History,
    /// Throttled until then, if the status says throttled (K, U).
    pub throttled_until: Word32,
    /// The last admissions (K).
    pub admissions: History,
    /// Rejected until then, if the status says reject; 0: until further notice (U).
    pub rejected_until: Word32,
}

/// Words in a ledger.
pub const WORDS: usize = 7;
/// The word in which the throttle's limit is counted; below it, the rules' by their place.
pub const THROTTLE_WORD: usize = RULES;
/// The word that is the second meter's bucket.
pub const BUCKET_WORD: usize = RULES + 1;
/// The word in which requests are counted for the alarm.
pub const ALARM_WORD: usize = RULES + 2;

/// Bit of [`Profile::by_words`]: set in all that have any.
pub const BY_WORDS: u8 = 1 << 7;

impl Ledger {
    /// The room of the last attempts, as the words in which large limits are counted, see
    /// [`crate::subwindow`]. Which of the two it is, the profile says: [`Profile::by_words`].
    #[inline(always)]
    pub fn words(&self) -> &[Word64; WORDS] {
        const { assert!(size_of::<[Word64; WORDS]>() <= size_of::<History>()) };
        // SAFETY: in bounds by the assertion, and the ledger is aligned to 64; every bit pattern is a word. Both
        // views are of atomic words.
        unsafe { &*(&raw const self.requests).cast() }
    }
}

/// What an operator's hand sets on a running node, in a map of its own.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Switches {
    /// Every packet passes until then; 0: none does for that reason (U).
    pub bypass_until: Word32,
    /// How many agents have taken these maps over (U).
    pub incarnation: Word32,
    /// What tells these maps from any others, ever: counters and alarms belong to them; 0: not drawn yet (U).
    pub boot: [Word64; 2],
    /// Explicit padding.
    pub reserved: [Word64; 5],
}

/// The control word: what must change together changes in one compare-and-swap.
///
/// | bits | 0–15 | 16 | 17 | 18 | 20–21 | 23–24 | 25 | 26 | 27 | 28 | 30 | 31 | 32–47 | 48–63 |
/// |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
/// | | profile | exempt | unsettled | stranger | status | alarm | held | redeem | registered | not M2M | alias | valid | SPN | generation |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control(pub u64);

/// Every packet of the device passes until `exempt_until` (R-X8).
pub const EXEMPT: u64 = 1 << 16;
/// User space is writing the words that large limits are counted in: they refuse meanwhile.
pub const UNSETTLED: u64 = 1 << 17;
/// The entry is a stranger's: no device is bound to the address.
pub const STRANGER: u64 = 1 << 18;
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
/// This entry points to the device's primary entry.
pub const ALIAS: u64 = 1 << 30;
/// A device is bound to this entry.
pub const VALID: u64 = 1 << 31;
/// What makes a packet inside an open session worth a second look.
pub const ATTENTION: u64 = ALARM_ACTIVE | REDEEM;

const PROFILE_MASK: u64 = (1 << 16) - 1;

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
/// Where the first alarmed class stands in [`Entry::last_alarm`].
pub const LAST_ALARM_CLASS: u32 = 24;

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
    pub tick: u64,
    /// The frame's length on the wire.
    pub frame_length: u32,
    /// Bytes of `frame` in use; 0 if the frame was too long, could not be read, or has passed already.
    pub carried: u32,
    /// One of [`condition`].
    pub condition: u8,
    /// The [`Side`]'s number: which program judged it.
    pub side: u8,
    /// The [`AccessKind`]'s number.
    pub kind: u8,
    /// Whether an access is held: not so for a protocol seen inside an open session.
    pub access_held: u8,
    /// Explicit padding.
    pub padding: u32,
    /// The alarmed classes, for a protocol alarm, as [`crate::inspect::Classes`].
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
    /// Classes recognised, as [`crate::inspect::Classes`].
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

/// An address's key in the directory of devices outside the pools, see [`crate::directory`]: the upper half of an IPv6
/// address, or an IPv4 address below 48 bits that no /64 in use has.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressKey(pub u64);

const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Entry>() == 64 && align_of::<Entry>() == 64);
    assert!(offset_of!(Entry, session) == 8);
    assert!(offset_of!(Entry, owner) == 32);
    assert!(offset_of!(Entry, exempt_until) == 60);
    assert!(size_of::<Ledger>() == 128 && align_of::<Ledger>() == 64);
    assert!(offset_of!(Ledger, requests) == 0);
    assert!(offset_of!(Ledger, throttled_until) == 60);
    assert!(offset_of!(Ledger, admissions) == 64);
    assert!(offset_of!(Ledger, rejected_until) == 124);
    assert!(size_of::<Switches>() == 64);
    assert!(size_of::<Rule>() == 32 && size_of::<Meter>() == 24);
    assert!(size_of::<Profile>() == 256 && offset_of!(Profile, rules) == 128);
    assert!(offset_of!(Profile, by_words) == 60 && offset_of!(Profile, alarm_permitted) == 64);
    assert!(size_of::<Pool4>() == 16 && size_of::<Pool6>() == 24 && size_of::<Prefix>() == 32);
    assert!(size_of::<Settings>() == POOLS * 40 + SERVERS * 32 + 56);
    assert!(size_of::<AlarmRecord>() == 40 + HELD_FRAME);
    assert!(size_of::<Trace>() == 56);
    assert!(size_of::<AddressKey>() == 8);
};
