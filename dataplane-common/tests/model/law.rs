//! The law's side: a real entry and real profiles, driven as a node drives them.
//!
//! [`LawSide::operate`] does what an agent does: instants first, then everything that must change together in
//! one swap of the control word. [`LawSide::sweep`] is the agent's housekeeping, without which instants of an
//! entry left alone for days look new again. Packets go through [`weir_dataplane_common::node::judge`] as frames;
//! `compile` makes the profiles.

use std::ptr;

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, ALARM_WORD, AddressKey, BUCKET_WORD, Control, EXEMPT, Entry,
        HELD, Ledger, NOT_M2M, Profile, REDEEM, STATUS_REJECT, STATUS_THROTTLED, Settings, Side, Switches,
        THROTTLE_WORD, VALID,
    },
    admit::{Case, Outcome, admit},
    atomic::{Word32, Word64},
    node::{Tables, judge},
    parse::Cursor,
    reason::Reason,
    subwindow::SubWindows,
    tick::{LONGEST_AHEAD, Tick},
};

use super::{
    compile::{classes, profile},
    frame::{frame, settings},
    policy::{Node, Operation, Packet, Policy, Status, Until, Way},
};

/// An instant of the model as an entry keeps it.
pub fn tick(at: u64) -> Tick {
    Tick::from_nanos(at << 20)
}

pub struct LawSide {
    node: Node,
    settings: Settings,
    pub entry: Entry,
    pub ledger: Ledger,
    profiles: Vec<Profile>,
    switches: Switches,
}

/// Beyond this age an instant is dated anew, in ticks.
const OLD: u32 = 1 << 28;

/// What an agent knows of a device's past: instants of its requests and of its counted admissions, oldest first.
#[derive(Default)]
pub struct Past {
    pub requests: Vec<u64>,
    pub admissions: Vec<u64>,
}

impl Tables for LawSide {
    fn entry(&self, index: u32) -> Option<&Entry> {
        (index == 0).then_some(&self.entry)
    }

    fn ledger(&self, index: u32) -> Option<&Ledger> {
        (index == 0).then_some(&self.ledger)
    }

    fn profile(&self, number: u32) -> Option<&Profile> {
        self.profiles.get(number as usize)
    }

    fn index_of(&self, _: &AddressKey) -> Option<u32> {
        None
    }

    fn switches(&self) -> Option<&Switches> {
        Some(&self.switches)
    }

    fn stranger_rate(&self) -> Option<&Word64> {
        None
    }
}

impl LawSide {
    pub fn new(node: Node, policies: Option<&Vec<Policy>>) -> Self {
        let profiles = vec![profile(&node, policies)];
        Self {
            settings: settings(&node),
            node,
            entry: Entry { control: Word64::new(VALID), ..Entry::default() },
            ledger: Ledger::default(),
            profiles,
            switches: Switches::default(),
        }
    }

    pub fn control(&self) -> Control {
        Control(self.entry.control.load())
    }

    /// The profile in force.
    pub fn profile(&self) -> &Profile {
        &self.profiles[self.control().profile() as usize]
    }

    pub fn packet(&self, now: u64, packet: Packet) -> Outcome {
        self.judged(now, packet).0
    }

    /// What becomes of a packet; and on a node that only watches, why it would have been dropped.
    pub fn judged(&self, now: u64, packet: Packet) -> (Outcome, Option<Reason>) {
        let side = if packet.way == Way::Up { Side::Access } else { Side::Network };
        self.judged_frame(now, side, &frame(packet))
    }

    /// The same of a frame as it came in.
    pub fn judged_frame(&self, now: u64, side: Side, frame: &[u8]) -> (Outcome, Option<Reason>) {
        let judgement = judge(Cursor::new(frame), side, &self.settings, self, || tick(now));
        (judgement.outcome, judgement.unenforced)
    }

    /// The same with a control word read earlier, or on a copy of the entry.
    pub fn judge(
        &self,
        entry: &Entry,
        ledger: &Ledger,
        control: Control,
        now: u64,
        packet: Packet,
    ) -> Outcome {
        self.judge_by(&self.profiles[control.profile() as usize], entry, ledger, control, now, packet)
    }

    fn judge_by(
        &self,
        profile: &Profile,
        entry: &Entry,
        ledger: &Ledger,
        control: Control,
        now: u64,
        packet: Packet,
    ) -> Outcome {
        let case = Case {
            entry,
            profile,
            control,
            classes: classes(packet.class.as_slice()),
            length: packet.length.into(),
            uplink: packet.way == Way::Up,
            from_server: packet.way == Way::FromServer,
            drop_unsolicited: self.node.drop_unsolicited,
            now: tick(now),
        };
        admit(&case, || Some(ledger))
    }

    /// Whether a session is open, asked of a copy, so that the question changes nothing.
    pub fn session_is_open(&self, now: u64) -> bool {
        // SAFETY: an entry is plain words and frees nothing; nobody else writes this one.
        let copy = unsafe { ptr::read(&raw const self.entry) };
        let question = Packet { way: Way::Down, class: None, length: 40 };
        let unmetered = Profile { meter: Default::default(), ..*self.profile() };
        self.judge_by(&unmetered, &copy, &Ledger::default(), self.control(), now, question).reason
            == Reason::InSession
    }

    pub fn operate(&mut self, now: u64, operation: &Operation, past: &Past) {
        match operation {
            Operation::Cancel { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status, past);
                self.change(|control| end_alarm(store(control)));
            }
            Operation::NotAMachine => self.change(|control| end_alarm(control.with(NOT_M2M))),
            Operation::Reject { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status, past);
                self.change(|control| store(control).without(HELD));
            }
            Operation::Push { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status, past);
                self.change(store);
            }
            Operation::Release => {
                self.entry.session.store(0);
                // A packet that another CPU had already found in the session refreshes it late: that opens nothing.
                self.entry.session.store_low(tick(now).after(1000).stored());
            }
            Operation::Exempt(length) => {
                self.entry.exempt_until.store(tick(now).after(*length as u32).stored());
                self.change(|control| control.with(EXEMPT));
            }
            Operation::Bypass(length) => {
                self.switches.bypass_until.store(tick(now).after(*length as u32).stored());
            }
            Operation::Seen => self.change(|control| {
                let seen = control.without(ALARM_UNSEEN).with(ALARM_SEEN);
                if control.has(ALARM_UNSEEN) { seen } else { control }
            }),
        }
    }

    /// Writes a profile and the status's instants; gives back the change of the control word that makes them count.
    fn store(
        &mut self,
        now: u64,
        policies: Option<&Vec<Policy>>,
        status: Status,
        past: &Past,
    ) -> impl Fn(Control) -> Control + use<> {
        let number = self.profiles.len() as u32;
        let old = *self.profile();
        self.profiles.push(profile(&self.node, policies));
        self.settle(now, &old, &self.profiles[number as usize], past);
        let mut bits = 0;
        if let Some(length) = status.throttled_for {
            self.ledger.throttled_until.store(tick(now).after(length as u32).stored());
            bits |= STATUS_THROTTLED;
        }
        if let Some(until) = status.rejected {
            self.ledger.rejected_until.store(match until {
                Until::Lapses(length) => tick(now).after(length as u32).stored(),
                Until::FurtherNotice => 0,
            });
            bits |= STATUS_REJECT;
        }
        move |control| control.with_profile(number).without(STATUS_THROTTLED | STATUS_REJECT).with(bits)
    }

    /// Writes what the ledger's first room holds under a new profile, and empties the buckets of rates that changed.
    fn settle(&self, now: u64, old: &Profile, new: &Profile, past: &Past) {
        if old.meter != new.meter {
            self.entry.bucket.store(0);
        }
        let bucket = &self.ledger.words()[BUCKET_WORD];
        let bucket = if old.second_meter == new.second_meter { bucket.load() } else { 0 };
        if new.by_words == 0 {
            if old.by_words != 0 {
                self.ledger.requests.clear();
                let oldest = now.saturating_sub(OLD.into());
                past.requests
                    .iter()
                    .for_each(|at| assert!(self.ledger.requests.record(tick(oldest.max(*at)))));
            }
            return;
        }
        let alarm = &self.ledger.words()[ALARM_WORD];
        // The alarm's window is the node's: it goes on counting.
        let alarm = if old.by_words == 0 { None } else { Some(alarm.load()) };
        self.ledger.requests.clear();
        let ages = |instants: &[u64]| {
            let recent = instants.iter().filter(|at| now - **at < u64::from(LONGEST_AHEAD));
            recent.map(|at| ((now - at) as u32, 1)).collect::<Vec<_>>()
        };
        let word = |word: usize, window: u32, instants: &[u64]| {
            let counts = SubWindows::of_ages(tick(now), window, ages(instants).into_iter());
            self.ledger.words()[word].store(counts.0);
        };
        for number in (0..=THROTTLE_WORD).filter(|number| new.by_words & 1 << number != 0) {
            word(number, new.word_limit(number).1, &past.admissions);
        }
        word(ALARM_WORD, new.alarm_window, &past.requests);
        alarm.inspect(|counts| self.ledger.words()[ALARM_WORD].store(*counts));
        self.ledger.words()[BUCKET_WORD].store(bucket);
    }

    fn change(&self, change: impl Fn(Control) -> Control) {
        let control = self.control();
        assert!(self.entry.control.replace(control.0, change(control).0), "nobody else writes this entry");
    }

    /// Every few days: keeps old what is old, and takes back a status that has lapsed.
    pub fn sweep(&self, now: u64) {
        let now = tick(now);
        let old = OLD;
        if self.profile().by_words == 0 {
            self.ledger.requests.keep_old(now, old);
        } else {
            self.forget_old(now);
        }
        self.ledger.admissions.keep_old(now, old);
        self.end_old(now);
        let (throttled, rejected) = (self.ledger.throttled_until.load(), self.ledger.rejected_until.load());
        self.change(|mut control| {
            if !now.before(throttled, LONGEST_AHEAD) {
                control = control.without(STATUS_THROTTLED);
            }
            if rejected != 0 && !now.before(rejected, LONGEST_AHEAD) {
                control = control.without(STATUS_REJECT);
            }
            control
        });
    }

    /// Sessions and retry intervals that are over.
    fn end_old(&self, now: Tick) {
        let entry = &self.entry;
        let (session, retry) = (entry.session.load(), entry.retry_until.load());
        if !now.before(session as u32, LONGEST_AHEAD) {
            entry.session.store(0);
        }
        if !now.before(retry, LONGEST_AHEAD) {
            entry.retry_until.store(0);
        }
    }

    fn forget_old(&self, now: Tick) {
        let profile = self.profile();
        for number in (0..=THROTTLE_WORD).chain([ALARM_WORD]) {
            let window =
                if number == ALARM_WORD { profile.alarm_window } else { profile.word_limit(number).1 };
            let word: &Word64 = &self.ledger.words()[number];
            if window != 0 {
                word.store(SubWindows(word.load()).forget_old(now, window).0);
            }
        }
    }

    /// Requests, admitted, rejected, unsolicited.
    pub fn counts(&self) -> [u32; 4] {
        let entry = &self.entry;
        [&entry.requests, &entry.admitted, &entry.rejected, &entry.unsolicited].map(Word32::load)
    }
}

/// The alarm is off; what it held may be redeemed. One change, or the next request alarms again.
fn end_alarm(control: Control) -> Control {
    let redeem = if control.has(HELD) { REDEEM } else { 0 };
    control.without(ALARM_ACTIVE | HELD).with(redeem)
}
