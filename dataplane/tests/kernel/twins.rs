//! Twins: the private copy in the kernel and the law in user space, over the same devices, policies and clock.

use std::sync::Arc;

use weir_dataplane::{
    entries::Entries,
    gate::Options,
    replay::{PrivateCopy, SHORTEST_FRAME},
    ring::AlarmRing,
    tables::MemoryTables,
};
use weir_dataplane_common::{
    abi::{AddressKey, Entry, Ledger, NO_INDEX, Profile, STRANGER_PROFILE, Side, Switches, Trace},
    node::judge,
    parse::Cursor,
    reason::{Reason, Verdict},
    tick::Tick,
};

pub struct Twins {
    options: Options,
    copy: PrivateCopy,
    in_kernel: Arc<Entries>,
    pub in_memory: MemoryTables,
    alarms: AlarmRing,
}

impl Twins {
    /// Twins with these profiles, number 0 first, and no device yet.
    pub fn new(options: Options, profiles: &[Profile]) -> Self {
        let mut copy = PrivateCopy::load(&options).expect("the private copy loads");
        for (number, profile) in (0..).zip(profiles) {
            copy.write_profile(number, profile).expect("room for the profile");
        }
        let mut in_memory = MemoryTables::new(options.entries, profiles[0]);
        in_memory.profiles = profiles.to_vec();
        let stranger = super::operator::stranger_profile();
        copy.write_profile(STRANGER_PROFILE, &stranger).expect("room for the strangers' profile");
        in_memory.stranger_profile = stranger;
        let alarms = copy.take_alarms().expect("taken once");
        Self { options, in_kernel: copy.entries(), copy, in_memory, alarms }
    }

    /// Leads an unpooled address to an entry, on both sides.
    pub fn put_unpooled(&mut self, key: AddressKey, entry: u32) {
        self.copy.put_unpooled(key, entry).expect("room for the address");
        self.in_memory.unpooled.insert(key, entry);
    }

    /// Does the same to an entry and its ledger on both sides.
    pub fn change(&self, entry: u32, change: impl Fn(&Entry, &Ledger)) {
        let entry = entry as usize;
        change(&self.in_kernel[entry], &self.in_kernel.ledgers()[entry]);
        change(&self.in_memory.entries[entry], &self.in_memory.ledgers[entry]);
    }

    /// Does the same to the switches on both sides.
    pub fn switch(&self, switch: impl Fn(&Switches)) {
        switch(self.in_kernel.switches());
        switch(&self.in_memory.switches);
    }

    /// Judges a frame in user space alone, which takes any length.
    pub fn judge_in_memory(&self, frame: &[u8], side: Side, nanos: u64) -> Trace {
        let clock = || Tick::from_nanos(nanos);
        judge(Cursor::new(frame), side, &self.options.settings, &self.in_memory, clock).trace()
    }

    /// Judges a frame on both sides and compares all that can be seen of it.
    pub fn judge(&mut self, frame: &[u8], side: Side, nanos: u64) -> Trace {
        let expected = self.judge_in_memory(frame, side, nanos);
        if frame.len() < SHORTEST_FRAME {
            return expected;
        }
        let (verdict, found) = self.copy.judge(frame, side, nanos).expect("the kernel runs the frame");
        assert_eq!(found, expected, "{side:?} at {nanos} ns: {frame:02x?}");
        assert_eq!(verdict, verdict_of(&found), "{side:?} at {nanos} ns: {frame:02x?}");
        if found.entry != NO_INDEX {
            self.compare(found.entry);
        }
        self.compare_alarm(&found, side, frame);
        found
    }

    /// A raised alarm comes with its frame; where none was raised, none comes.
    fn compare_alarm(&mut self, trace: &Trace, side: Side, frame: &[u8]) {
        let alarm = self.alarms.next_alarm();
        assert_eq!(alarm.is_some(), trace.raised != 0, "{trace:?}");
        let Some(alarm) = alarm else { return };
        let access = if trace.access == 0 { 0 } else { trace.access - 1 };
        assert_eq!((alarm.entry, alarm.kind as u8, alarm.side), (trace.entry, access, side));
        // A node that only watches passes what it holds, so there is nothing to deliver later.
        let watched = trace.reason == Reason::ShadowPassed as u8;
        let held = trace.access != 0 && trace.reason == Reason::Held as u8;
        assert!(watched || alarm.access_held == held, "{trace:?}");
        assert_eq!(alarm.frame, if watched { &[] } else { frame });
    }

    /// Compares every word of an entry and of its ledger.
    pub fn compare(&self, entry: u32) {
        let at = entry as usize;
        let (found, expected) = (&self.in_kernel[at], &self.in_memory.entries[at]);
        assert_eq!(words(found), words(expected), "entry {entry} in the kernel and in memory");
        let (found, expected) = (&self.in_kernel.ledgers()[at], &self.in_memory.ledgers[at]);
        assert_eq!(words(found), words(expected), "ledger {entry} in the kernel and in memory");
    }

    pub fn compare_all(&self) {
        (0..self.options.entries).for_each(|entry| self.compare(entry));
    }
}

fn verdict_of(trace: &Trace) -> Verdict {
    Reason::from_number(trace.reason).expect("a reason of the list").verdict()
}

fn words<T>(of: &T) -> Vec<u32> {
    let first = std::ptr::from_ref(of).cast::<u32>();
    // SAFETY: entries and ledgers are plain words, aligned, and nobody writes them between two frames.
    (0..size_of::<T>() / 4).map(|word| unsafe { first.add(word).read_volatile() }).collect()
}
