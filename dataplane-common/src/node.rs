//! From a frame to a judgement: parse it, find whose it is, apply the law.
//!
//! The XDP program and user space differ only in where tables lie, which [`Tables`] hides. Nothing here
//! decides about an access; that is [`crate::admit`].

use crate::{
    abi::{
        ALIAS, AddressKey, Control, EXEMPT, Entry, Ledger, NO_INDEX, NOT_M2M, Profile, STRANGER,
        STRANGER_PROFILE, Settings, Side, Switches, Trace, VALID,
    },
    admit::{Case, Outcome, admit},
    atomic::Word64,
    inspect::Classes,
    opaque::forget,
    parse::{self, Address, Cursor, Packet, Parsed},
    rate,
    reason::{Reason, Verdict},
    subwindow,
    tick::{LONGEST_AHEAD, Tick},
};

/// Where entries and profiles lie: kernel maps, mapped memory or a `Vec`.
pub trait Tables {
    /// The entry with this index.
    fn entry(&self, index: u32) -> Option<&Entry>;
    /// The ledger with this index.
    fn ledger(&self, index: u32) -> Option<&Ledger>;
    /// The profile with this number.
    fn profile(&self, number: u32) -> Option<&Profile>;
    /// The entry of a device whose address is in no pool.
    fn index_of(&self, key: &AddressKey) -> Option<u32>;
    /// What an operator has switched.
    fn switches(&self) -> Option<&Switches>;
    /// When the strangers who came in on the packet's interface so far are paid for.
    fn stranger_rate(&self) -> Option<&Word64>;
}

/// What was decided about a frame, and on what grounds.
pub struct Judgement {
    /// What the headers say; `None` for what is not IP or cannot be read.
    pub packet: Option<Packet>,
    /// The device's primary entry, or [`NO_INDEX`].
    pub entry: u32,
    /// The number of the profile it was judged by.
    pub profile: u32,
    /// The verdict and its effects.
    pub outcome: Outcome,
    /// On a node that only watches: why the packet would have been dropped.
    pub unenforced: Option<Reason>,
}

/// Judges a frame that came in on `side`.
#[inline(always)]
pub fn judge<T: Tables>(
    frame: Cursor<'_>,
    side: Side,
    settings: &Settings,
    tables: &T,
    clock: impl Fn() -> Tick,
) -> Judgement {
    let Some(switches) = tables.switches() else { return nobody(Reason::BrokenEntry) };
    let bypass_until = switches.bypass_until.load();
    if bypass_until != 0 && clock().before(bypass_until, LONGEST_AHEAD) {
        return nobody(Reason::Bypassed);
    }
    let judgement = match parse::ethernet(frame) {
        Parsed::Ip(packet) => judge_packet(packet, side, settings, tables, clock),
        Parsed::NotIp => nobody(Reason::NotIp),
        Parsed::Unparsable if settings.drop_unparsable != 0 => nobody(Reason::UnparsableDropped),
        Parsed::Unparsable => nobody(Reason::UnparsablePassed),
    };
    if settings.shadow != 0 { judgement.watched() } else { judgement }
}

#[inline(always)]
fn nobody(reason: Reason) -> Judgement {
    let outcome = Outcome::of(reason);
    Judgement { packet: None, entry: NO_INDEX, profile: 0, outcome, unenforced: None }
}

/// Whose packet it is: an entry in force.
struct Found<'t> {
    index: u32,
    entry: &'t Entry,
    control: Control,
}

#[inline(always)]
fn judge_packet<T: Tables>(
    packet: Packet,
    side: Side,
    settings: &Settings,
    tables: &T,
    clock: impl Fn() -> Tick,
) -> Judgement {
    let (device, remote) = match side {
        Side::Access => (packet.source, packet.destination),
        Side::Network => (packet.destination, packet.source),
    };
    let found = match device_entry(device, settings, tables) {
        Some(found) => Ok(found),
        None if settings.strangers != 0 => stranger(device, side, settings, tables, &clock),
        None => Err(settings.unknown()),
    };
    let Found { index, entry, control } = match found {
        Ok(found) => found.forgotten(),
        Err(reason) => return Judgement { packet: Some(packet), ..nobody(reason) },
    };
    let judged = |outcome| {
        let (packet, profile) = (Some(packet), control.profile());
        Judgement { packet, entry: index, profile, outcome, unenforced: None }
    };
    let Some(profile) = tables.profile(control.profile()) else {
        return judged(Outcome::of(Reason::BrokenEntry));
    };
    let now = clock();
    if control.has(EXEMPT) && now.before(entry.exempt_until.load(), LONGEST_AHEAD) {
        return judged(Outcome::of(Reason::Exempt));
    }
    let case = Case {
        entry,
        profile,
        control,
        classes: packet.classes,
        length: packet.length,
        uplink: matches!(side, Side::Access),
        from_server: matches!(side, Side::Network) && settings.is_server(remote),
        drop_unsolicited: settings.drop_unsolicited != 0,
        now,
    };
    judged(admit(&case, || tables.ledger(index)))
}

impl Found<'_> {
    /// The same, whoever it is: the law is one path for the verifier.
    #[inline(always)]
    fn forgotten(self) -> Self {
        let (high, low) = (forget((self.control.0 >> 32) as u32), forget(self.control.0 as u32));
        let control = Control(u64::from(high) << 32 | u64::from(low));
        Self { index: forget(self.index), entry: self.entry, control }
    }
}

/// The primary entry of the device that an address is bound to.
#[inline(always)]
fn device_entry<'t, T: Tables>(device: Address, settings: &Settings, tables: &'t T) -> Option<Found<'t>> {
    let index = match settings.pool_index(device) {
        Some(index) => index,
        None => tables.index_of(&AddressKey::of(device))?,
    };
    let entry = tables.entry(index)?;
    let control = Control(entry.control.load());
    if !control.has(VALID) {
        return None;
    }
    if !control.has(ALIAS) {
        return Some(Found { index, entry, control });
    }
    let index = entry.owner.load();
    let entry = tables.entry(index)?;
    let control = Control(entry.control.load());
    // An alias of an alias is a mistake of user space; it belongs to nobody.
    if control.has(VALID) && !control.has(ALIAS) { Some(Found { index, entry, control }) } else { None }
}

/// Places a stranger may take.
const WAYS: u32 = 2;

/// The entry of an address that no device is bound to, on a node that judges strangers one by one.
///
/// Strangers share a bounded table without eviction of anybody who counts: a place is taken over only when its
/// stranger has been silent for so long that nothing of it is left to enforce, so its old history need not even
/// be cleared. Only what comes from the access side takes a place, and only at the interface's rate.
#[inline(always)]
fn stranger<'t, T: Tables>(
    address: Address,
    side: Side,
    settings: &Settings,
    tables: &'t T,
    clock: &impl Fn() -> Tick,
) -> Result<Found<'t>, Reason> {
    let hash = AddressKey::of(address).scattered(settings.strangers_seed);
    let (tag, first) = ((hash >> 32) as u32 | 1, hash as u32);
    let index_of = |way: u32| {
        settings.strangers_first.wrapping_add(first.wrapping_add(way) & settings.strangers.wrapping_sub(1))
    };
    let control = Control(VALID | STRANGER | NOT_M2M).with_profile(STRANGER_PROFILE);
    for way in 0..WAYS {
        let index = index_of(way);
        if let Some(entry) = tables.entry(index)
            && entry.owner.load() == tag
        {
            return Ok(Found { index, entry, control });
        }
    }
    if matches!(side, Side::Network) {
        return Err(if settings.drop_unsolicited != 0 {
            Reason::UnsolicitedDropped
        } else {
            Reason::UnsolicitedPassed
        });
    }
    let (now, bound) = (clock(), tables.profile(STRANGER_PROFILE).map_or(0, remembered));
    for way in 0..WAYS {
        let index = index_of(way);
        if let Some(entry) = tables.entry(index)
            && is_free(entry, now, bound)
        {
            if !is_within_rate(settings, tables, now) {
                return Err(Reason::StrangerFlood);
            }
            let before = entry.owner.load();
            if is_free(entry, now, bound) && entry.owner.replace(before, tag) {
                return Ok(Found { index, entry, control });
            }
        }
        // Another CPU may have taken the place for this very stranger.
        if let Some(entry) = tables.entry(index)
            && entry.owner.load() == tag
        {
            return Ok(Found { index, entry, control });
        }
    }
    Err(if settings.pass_when_full != 0 { Reason::StrangerPassed } else { Reason::StrangersFull })
}

/// For how long after its last session a stranger's place holds something that counts, in ticks: a window, and the
/// sub-window by which a large limit's room comes late.
#[inline(always)]
pub fn remembered(profile: &Profile) -> u32 {
    let window = profile.rules[0].window;
    if profile.by_words == 0 { window } else { window.wrapping_add(subwindow::length(window)) }
}

/// Whether a stranger's place holds nothing that still counts: its last session ended longer ago than it is
/// [`remembered`]. (Its last admission was before that.)
#[inline(always)]
pub fn is_free(entry: &Entry, now: Tick, remembered: u32) -> bool {
    let session = entry.session.load();
    let (start, end) = ((session >> 32) as u32, session as u32);
    // One window too many, for the age of a session that is still open and for the clock's tolerance.
    start == 0 || !now.is_within(end, remembered) && !now.before(end, LONGEST_AHEAD)
}

#[inline(always)]
fn is_within_rate<T: Tables>(settings: &Settings, tables: &T, now: Tick) -> bool {
    let Some(word) = tables.stranger_rate() else { return false };
    let meter = rate::of_packets(settings.stranger_cost);
    if !rate::conforms(word, &meter, now) {
        return false;
    }
    rate::charge(word, &meter, 0, now);
    true
}

impl Judgement {
    /// On a node that only watches, what would be dropped passes, and is said.
    #[inline(always)]
    fn watched(mut self) -> Self {
        let reason = self.outcome.reason;
        if matches!(Reason::verdict_of(reason as u32), Verdict::Drop) {
            self.unenforced = Some(reason);
            self.outcome.reason = Reason::ShadowPassed;
        }
        self
    }
}

impl AddressKey {
    /// The key of an address: itself for IPv4, its /64 for IPv6. Of the reserved 0::/16 no device ever has an
    /// address (RFC 4291 §2.4), so it is nobody's: all of it shares a key that is not bound.
    #[inline(always)]
    pub const fn of(address: Address) -> Self {
        match address.as_v4() {
            Some(_) => Self(address.low),
            None if address.high >> 48 == 0 => Self::NOBODY,
            None => Self(address.high),
        }
    }

    /// The key of addresses that are nobody's.
    pub const NOBODY: Self = Self(u64::MAX);

    /// A number that spreads keys evenly and cannot be foreseen without the seed (a multiply-and-fold mix).
    #[inline(always)]
    const fn scattered(self, seed: u64) -> u64 {
        let mut hash = (self.0 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = (hash ^ seed.rotate_left(32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 29
    }
}

impl Settings {
    /// No pools and no servers, and nothing dropped for want of a device.
    pub const fn empty() -> Self {
        use crate::abi::{POOLS, Pool4, Pool6, Prefix, SERVERS};
        // A base outside its own mask matches no address.
        Self {
            pools4: [Pool4 { base: 1, mask: 0, first: 0, padding: 0 }; POOLS],
            pools6: [Pool6 { base: 1, mask: 0, first: 0, padding: 0 }; POOLS],
            servers: [Prefix { high: 1, low: 0, high_mask: 0, low_mask: 0 }; SERVERS],
            drop_unknown: 0,
            drop_unparsable: 0,
            drop_unsolicited: 0,
            shadow: 0,
            answers_per_second: 0,
            capture: 0,
            strangers: 0,
            strangers_first: 0,
            pass_when_full: 0,
            stranger_cost: 0,
            directory_buckets: 1,
            padding: 0,
            strangers_seed: 0,
        }
    }

    /// What becomes of a packet of nobody.
    #[inline(always)]
    const fn unknown(&self) -> Reason {
        if self.drop_unknown != 0 { Reason::UnknownDropped } else { Reason::UnknownPassed }
    }

    /// The index of a pooled address: one per IPv4 address, one per IPv6 /64.
    #[inline(always)]
    pub fn pool_index(&self, address: Address) -> Option<u32> {
        match address.as_v4() {
            Some(address) => {
                for pool in &self.pools4 {
                    if address & pool.mask == pool.base {
                        return Some(pool.first.wrapping_add(address & !pool.mask));
                    }
                }
            }
            None => {
                for pool in &self.pools6 {
                    if address.high & pool.mask == pool.base {
                        return Some(pool.first.wrapping_add((address.high & !pool.mask) as u32));
                    }
                }
            }
        }
        None
    }

    /// Whether an address is that of an application server, which may wake a device.
    #[inline(always)]
    pub fn is_server(&self, address: Address) -> bool {
        // One comparison each, and out at the first match: the verifier keeps one path, not one for every
        // combination of matches.
        for prefix in &self.servers {
            let high = address.high & prefix.high_mask ^ prefix.high;
            let low = address.low & prefix.low_mask ^ prefix.low;
            if high | low == 0 {
                return true;
            }
        }
        false
    }
}

impl Judgement {
    /// As the record that replay reads.
    #[inline(always)]
    pub fn trace(&self) -> Trace {
        let mut trace = Trace {
            entry: self.entry,
            reason: self.outcome.reason as u8,
            access: self.outcome.access.map_or(0, |kind| kind as u8 + 1),
            raised: self.outcome.raised.map_or(0, |raised| raised.condition),
            counted: u8::from(self.outcome.counted),
            ..Trace::default()
        };
        if let Some(packet) = &self.packet {
            trace.source = [packet.source.high, packet.source.low];
            trace.destination = [packet.destination.high, packet.destination.low];
            trace.classes = packet.classes.0;
            trace.source_port = packet.source_port;
            trace.destination_port = packet.destination_port;
            trace.ip_protocol = packet.ip_protocol;
            trace.ip_version = packet.version;
        }
        trace
    }
}

impl Trace {
    /// The classes recognised.
    pub const fn class_set(&self) -> Classes {
        Classes(self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Pool4, Pool6, Prefix};

    fn settings() -> Settings {
        let mut settings = Settings::empty();
        settings.pools4[0] = Pool4 { base: 0x0a2d_0000, mask: 0xffff_0000, first: 0, padding: 0 };
        settings.pools4[1] = Pool4 { base: 0x0a2e_0100, mask: 0xffff_ff00, first: 65536, padding: 0 };
        settings.pools6[0] =
            Pool6 { base: 0x2001_0db8_0045_0000, mask: !0xffff, first: 65536 + 256, padding: 0 };
        let server = Address::v4(0xc000_020a);
        settings.servers[0] =
            Prefix { high: server.high, low: server.low, high_mask: u64::MAX, low_mask: u64::MAX };
        settings
    }

    #[test]
    fn a_pooled_address_is_an_index() {
        let settings = settings();
        assert_eq!(settings.pool_index(Address::v4(0x0a2d_0007)), Some(7));
        assert_eq!(settings.pool_index(Address::v4(0x0a2e_01ff)), Some(65536 + 255));
        assert_eq!(settings.pool_index(Address::v4(0x0a2e_0200)), None);
        let address = Address::v6(0x2001_0db8_0045_0007_dead_beef_0000_0001);
        assert_eq!(settings.pool_index(address), Some(65536 + 256 + 7));
    }

    #[test]
    fn empty_settings_know_no_pool_and_no_server() {
        let settings = Settings::empty();
        for address in [Address::v4(0), Address::v4(1), Address::v6(0), Address::v6(1 << 64)] {
            assert_eq!(settings.pool_index(address), None);
            assert!(!settings.is_server(address));
        }
    }

    #[test]
    fn only_configured_servers_are_servers() {
        let settings = settings();
        assert!(settings.is_server(Address::v4(0xc000_020a)));
        assert!(!settings.is_server(Address::v4(0xc000_020b)));
        assert!(!settings.is_server(Address::v6(0xc000_020a)));
    }
}
