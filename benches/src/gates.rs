//! weir as a contender: its gate with a million devices, in the state that a row wants.
//!
//! Loaded by the product's own code and filled through the mapped entries, as the agent fills them. The object is
//! the product's but for one number: what would pass is dropped at the end, as the floors and the peers drop, so
//! that nobody pays for the network stack behind the gate.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use weir_dataplane::{
    Gate, Layout, Mode, clock,
    gate::Options,
    layout::{Strangers, to_address},
};
use weir_dataplane_common::{
    abi::{
        ALARM_SEEN, AccessKind, AddressKey, Control, Entry, Ledger, Meter, Profile, Rule, Settings, Side,
        VALID, action, alarm_when, meter_side, rule,
    },
    inspect::{Class, Classes},
    reason::Reason,
    tick::{LONGEST_WINDOW_NS, Tick, length_ticks, window_ticks},
};

use crate::bed::{Bed, Lane};
use crate::contender::Contender;
use crate::cpu_time::this_thread;
use crate::frames::{FIRST_OUTSIDE, POOL, POOL6};
use crate::plan::DEVICES;

/// A day: no session of a run ends before.
const DAY: u32 = length_ticks(LONGEST_WINDOW_NS);
const MINUTE_NS: u64 = 60_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What the devices are up to, and so what becomes of each of their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every device has an open session: no packet is an access.
    Open,
    /// Every packet is a new access and is admitted.
    Admitted,
    /// Every packet is a new access, a request of its own, and is rejected by the limit.
    Rejected,
    /// Every packet repeats a rejected access within the retry interval.
    Repeated,
    /// Every device has an active alarm and a held access: what its packets meet until control answers.
    Held,
    /// Open sessions of devices that pay for their bytes, and can.
    Metered,
    /// Rejected, on a node that only watches: every packet passes.
    Shadow,
}

impl State {
    /// All states.
    pub const ALL: [State; 7] = [
        State::Open,
        State::Admitted,
        State::Rejected,
        State::Repeated,
        State::Held,
        State::Metered,
        State::Shadow,
    ];

    /// What weir says to every packet in this state.
    pub fn reason(self) -> Reason {
        match self {
            Self::Open | Self::Metered => Reason::InSession,
            Self::Shadow => Reason::ShadowPassed,
            Self::Admitted => Reason::Admitted,
            Self::Rejected | Self::Repeated => Reason::LimitExceeded,
            Self::Held => Reason::AlarmActive,
        }
    }

    fn has_session(self) -> bool {
        matches!(self, Self::Open | Self::Metered)
    }

    fn profile_number(self) -> u32 {
        1 + self as u32
    }

    /// The policies of the worked examples (a limit, and a rule on ESP that does not forbid) and an alarm on ESP,
    /// so that nothing is switched off, with the times that keep the state as it is for a whole run.
    fn profile(self) -> Profile {
        let esp = Classes::of(Class::Esp).0;
        let mut profile = Profile {
            inactivity: if self.has_session() { DAY } else { 0 },
            max_age: DAY,
            kinds: AccessKind::Packet.bit(),
            cached: 1,
            alarm_when: alarm_when::NO_POLICY_CACHED,
            alarm_counts: 1,
            alarm_permitted: 3,
            alarm_window: window_ticks(MINUTE_NS),
            alarm_classes: esp,
            // Nothing is a repeat unless the row says so.
            retry: if matches!(self, Self::Repeated | Self::Held) { length_ticks(SECOND_NS) } else { 0 },
            ..Profile::default()
        };
        if self == Self::Metered {
            // 12.5 GB/s: no device of a run comes near.
            profile.meter = Meter {
                byte_cost: 5243,
                burst: 60_000_000,
                sides: meter_side::UP,
                place: 3,
                ..Meter::default()
            };
        }
        profile.rules[0] = Rule {
            policy: 1,
            restricts: rule::ACCESS_LIMIT,
            action: action::REJECT,
            permitted: 3,
            // A window of no length always has room.
            window: if self == Self::Admitted { 0 } else { window_ticks(LONGEST_WINDOW_NS) },
            ..Rule::default()
        };
        profile.rules[1] = Rule {
            policy: 2,
            restricts: rule::FORBIDDEN_PROTOCOLS,
            action: action::NONE,
            classes: esp,
            ..Rule::default()
        };
        profile
    }

    fn control(self) -> Control {
        let alarm = if self == Self::Held { ALARM_SEEN } else { 0 };
        Control(VALID | alarm).with_profile(self.profile_number())
    }

    /// Puts one device into this state.
    fn put(self, (entry, ledger): (&Entry, &Ledger), number: u32, now: Tick) {
        entry.owner.store(number);
        let open = u64::from(now.stored()) << 32 | u64::from(now.after(DAY).stored());
        entry.session.store(if self.has_session() { open } else { 0 });
        entry.retry_until.store(0);
        if matches!(self, Self::Rejected | Self::Repeated | Self::Shadow) {
            (0..3).for_each(|_| {
                ledger.admissions.record(now);
            });
        }
        entry.control.store(self.control().0);
    }
}

/// Where the devices' addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// In the node's pools: an address is an index.
    Pooled,
    /// In a pool of IPv6 /64s.
    Pooled6,
    /// Outside: an address is looked up in a hash.
    Unpooled,
}

/// A loaded gate with a million devices.
pub struct Loaded {
    gate: Gate,
    state: State,
    first: u32,
    lane: Option<Lane>,
}

/// The object whose passed frames are dropped.
pub const OBJECT: &str = "weir-bench.o";

impl Loaded {
    /// Loads an object from the directory and puts every device into `state`.
    ///
    /// # Errors
    /// If the object is missing or refused.
    pub fn load(objects: &Path, object: &str, addresses: Addresses, state: State) -> Result<Self> {
        let path = objects.join(object);
        let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (layout, unpooled) = layout(addresses)?;
        let servers = ["203.0.113.0/24".parse()?, "2001:db8:ffff::/48".parse()?];
        let strangers = Strangers { drop_unknown: true, drop_unparsable: true, drop_unsolicited: true };
        let mut gate = Gate::load_object(
            &object,
            &Options {
                entries: layout.entries(),
                unpooled,
                ring_bytes: 1 << 20,
                settings: Settings {
                    shadow: (state == State::Shadow).into(),
                    ..layout.settings(&servers, strangers)
                },
            },
        )?;
        for state in State::ALL {
            gate.write_profile(state.profile_number(), &state.profile())?;
        }
        let first = layout.unpooled().start;
        for device in 0..unpooled {
            let address = to_address(std::net::Ipv4Addr::from(FIRST_OUTSIDE + device).into());
            gate.put_unpooled(AddressKey::of(address), first + device)?;
        }
        let first = if addresses == Addresses::Unpooled { first } else { 0 };
        let mut loaded = Self { gate, state, first, lane: None };
        loaded.enter(state);
        Ok(loaded)
    }

    /// Puts every device into a state.
    pub fn enter(&mut self, state: State) {
        let entries = self.gate.entries();
        let now = clock::now();
        let pairs = entries.iter().zip(entries.ledgers());
        let devices = pairs.skip(self.first as usize).take(DEVICES as usize);
        (0..).zip(devices).for_each(|(number, pair)| state.put(pair, number, now));
        self.state = state;
    }

    /// Attaches it to the node's end of a lane of its own.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach(mut self, bed: &Bed, name: &str) -> Result<Self> {
        let lane = bed.lane(name)?;
        bed.node.enter(|| Ok(self.gate.attach(name, Side::Access, Mode::Native)?))?;
        self.lane = Some(lane);
        Ok(self)
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Puts the first device into a state.
    pub fn enter_first(&mut self, state: State) {
        let (entries, first) = (self.gate.entries(), self.first as usize);
        state.put((&entries[first], &entries.ledgers()[first]), 0, clock::now());
        self.state = state;
    }

    /// Runs a frame `repeat` times; the processor's time for one run, in ns.
    ///
    /// # Errors
    /// If not every run ended as the state says.
    pub fn run(&mut self, row: &str, frame: &[u8], repeat: u32) -> Result<f64> {
        let before = self.counted()?;
        let each = self.run_unchecked(frame, repeat)?;
        let counted = self.counted()? - before;
        ensure!(
            counted == u64::from(repeat),
            "{row}: {repeat} runs, {counted} of them {}",
            self.state.reason().name()
        );
        Ok(each)
    }

    /// The same for a program that ends before it counts.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn run_unchecked(&self, frame: &[u8], repeat: u32) -> Result<f64> {
        let before = this_thread();
        self.gate.run(Side::Access, frame, repeat)?;
        Ok((this_thread() - before) as f64 / f64::from(repeat))
    }

    fn counted(&mut self) -> Result<u64> {
        let wanted = self.state.reason();
        let counts = self.gate.reason_counts()?;
        Ok(counts.iter().find(|(reason, _)| *reason == wanted).map_or(0, |(_, count)| *count))
    }
}

fn layout(addresses: Addresses) -> Result<(Layout, u32)> {
    Ok(match addresses {
        Addresses::Pooled => (Layout::new(&[POOL.parse()?], 0)?, 0),
        Addresses::Pooled6 => (Layout::new(&[POOL6.parse()?], 0)?, 0),
        Addresses::Unpooled => (Layout::new(&[], DEVICES)?, DEVICES),
    })
}

impl Contender for Loaded {
    fn lane(&self) -> &Lane {
        self.lane.as_ref().expect("a contender is attached before it is measured")
    }

    fn treated(&mut self) -> Result<Option<u64>> {
        self.counted().map(Some)
    }
}
