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

/// What a rule restricts.
pub mod rule {
    /// No rule in this place.
    pub const ABSENT: u8 = 0;
    /// How often: at most `permitted` accesses in `window`.
    pub const ACCESS_LIMIT: u8 = 1;
    /// By which protocols: none of `classes`.
    pub const FORBIDDEN_PROTOCOLS: u8 = 2;
    /// How much: the profile's meters say.
    pub const RATE: u8 = 3;
}

/// How a rule is applied, in [`Rule::flags`].
pub mod rule_flag {
    /// Evaluated and counted, not enforced (R-X5).
    pub const SHADOW: u8 = 1;
    /// Counts requests, not admissions.
    pub const REQUESTS: u8 = 2;
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
    /// Bits of [`rule_flag`].
    pub flags: u8,
    /// Explicit padding.
    pub padding: u8,
    /// Accesses that may be admitted in any window: up to [`crate::window::SLOTS`] by the ledger's slots, above
    /// that, up to [`crate::subwindow::LARGEST`], by its words.
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

/// A rate that packets are paid for at. See [`crate::rate`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Meter {
    /// What a byte of an IP packet costs, in 2⁻¹⁶ ns.
    pub byte_cost: u64,
    /// What a packet costs, whatever its size, in ns.
    pub packet_cost: u32,
    /// How far packets may be ahead of their payment, in µs.
    pub burst: u32,
    /// Which directions are metered: bits of [`meter_side`]; 0: there is no meter.
    pub sides: u8,
    /// The rule's place + 1.
    pub place: u8,
    /// Bits of [`rule_flag`].
    pub flags: u8,
    /// Explicit padding.
    pub padding: [u8; 5],
}

/// Directions, in [`Meter::sides`].
pub mod meter_side {
    /// From the device.
    pub const UP: u8 = 1;
    /// To the device.
    pub const DOWN: u8 = 2;
}

/// Everything that a combination of policies means on this node. Compiled by user space, written before any
/// entry names it, never changed while one does. Its first line is what a packet of an open session needs.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// Silence of the device that ends a session, in ticks.
    pub inactivity: u32,
    /// Age at which a session ends whatever happens, in ticks.
    pub max_age: u32,
    /// Classes that are an alarm, as [`Classes`].
    pub alarm_classes: u64,
    /// Classes that any rule forbids, with an action above none or in shadow.
    pub forbidden: u64,
    /// The first rate, whose bucket stands in the entry.
    pub meter: Meter,
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
    /// Not 0 if the ledger's first room holds words, not the last attempts: bits of the words that count
    /// admissions, and [`BY_WORDS`].
    pub by_words: u8,
    /// Of those words, the ones whose limits are enforced whatever happens; the throttle's is while it throttles.
    pub bounded_words: u8,
    /// Explicit padding.
    pub padding: [u8; 2],
    /// More requests than this in the alarm's window are an alarm: counted as in [`Rule::permitted`].
    pub alarm_permitted: u32,
    /// The alarm's window, in ticks.
    pub alarm_window: u32,
    /// The second rate, whose bucket is a word of the ledger: only with `by_words`.
    pub second_meter: Meter,
    /// Of the rule that throttles, if there is one: its throttle's limit and window again.
    pub throttle_permitted: u32,
    /// In ticks.
    pub throttle_window: u32,
    /// Explicit padding to a cache line.
    pub reserved: [u64; 3],
    /// The policies, in ascending order of their identifiers.
    pub rules: [Rule; RULES],
}

impl Profile {
    /// The limit and the window that a word of admissions counts for.
    #[inline(always)]
    pub fn word_limit(&self, word: usize) -> (u32, u32) {
        match self.rules.get(word) {
            Some(rule) => (rule.permitted, rule.window),
            None => (self.throttle_permitted, self.throttle_window),
        }
    }

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
