//! From a frame to a judgement: parse it, find the device, apply the law.
//!
//! The XDP program and user space differ only in where tables lie, which [`Tables`] hides. Nothing here
//! decides about an access; that is [`crate::admit`].

use crate::{
    abi::{ALIAS, AddressKey, Control, Entry, NO_INDEX, Profile, Settings, Side, Trace, VALID},
    admit::{Case, Outcome, admit},
    inspect::Classes,
    parse::{self, Address, Cursor, Packet, Parsed},
    reason::Reason,
    tick::Tick,
};

/// Where entries and profiles lie: kernel maps, mapped memory or a `Vec`.
pub trait Tables {
    /// The entry with this index.
    fn entry(&self, index: u32) -> Option<&Entry>;
    /// The profile with this number.
    fn profile(&self, number: u32) -> Option<&Profile>;
    /// The entry of a device whose address is in no pool.
    fn index_of(&self, key: &AddressKey) -> Option<u32>;
}

/// What was decided about a frame, and on what grounds.
pub struct Judgement {
    /// What the headers say; `None` for what is not IP or cannot be read.
    pub packet: Option<Packet>,
    /// The device's primary entry, or [`NO_INDEX`].
    pub entry: u32,
    /// The verdict and its effects.
    pub outcome: Outcome,
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
    match parse::ethernet(frame) {
        Parsed::Ip(packet) => {
            let (entry, outcome) = judge_packet(&packet, side, settings, tables, clock);
            Judgement { packet: Some(packet), entry, outcome }
        }
        Parsed::NotIp => nobody(Outcome::of(Reason::NotIp)),
        Parsed::Unparsable if settings.drop_unparsable != 0 => nobody(Outcome::of(Reason::UnparsableDropped)),
        Parsed::Unparsable => nobody(Outcome::of(Reason::UnparsablePassed)),
    }
}

#[inline(always)]
fn nobody(outcome: Outcome) -> Judgement {
    Judgement { packet: None, entry: NO_INDEX, outcome }
}

#[inline(always)]
fn judge_packet<T: Tables>(
    packet: &Packet,
    side: Side,
    settings: &Settings,
    tables: &T,
    clock: impl Fn() -> Tick,
) -> (u32, Outcome) {
    let (device, remote) = match side {
        Side::Access => (packet.source, packet.destination),
        Side::Network => (packet.destination, packet.source),
    };
    let Some((index, entry, control)) = device_entry(device, settings, tables) else {
        let dropped = settings.drop_unknown != 0;
        let reason = if dropped { Reason::UnknownDropped } else { Reason::UnknownPassed };
        return (NO_INDEX, Outcome::of(reason));
    };
    let Some(profile) = tables.profile(control.profile()) else {
        return (index, Outcome::of(Reason::BrokenEntry));
    };
    let case = Case {
        entry,
        profile,
        control,
        classes: packet.classes,
        uplink: matches!(side, Side::Access),
        from_server: matches!(side, Side::Network) && settings.is_server(remote),
        drop_unsolicited: settings.drop_unsolicited != 0,
        now: clock(),
    };
    (index, admit(&case))
}

/// The primary entry of the device that an address is bound to.
#[inline(always)]
fn device_entry<'t, T: Tables>(
    device: Address,
    settings: &Settings,
    tables: &'t T,
) -> Option<(u32, &'t Entry, Control)> {
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
        return Some((index, entry, control));
    }
    let index = entry.owner.load();
    let primary = tables.entry(index)?;
    let control = Control(primary.control.load());
    // An alias of an alias is a mistake of user space; it belongs to nobody.
    if control.has(VALID) && !control.has(ALIAS) { Some((index, primary, control)) } else { None }
}

impl AddressKey {
    /// The key of an address: itself for IPv4, its /64 for IPv6.
    #[inline(always)]
    pub const fn of(address: Address) -> Self {
        match address.as_v4() {
            Some(_) => Self { high: address.high, low: address.low },
            None => Self { high: address.high, low: 0 },
        }
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
            padding: 0,
        }
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
