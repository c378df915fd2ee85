//! Ten thousand updates a second into entries that packets are judged by: not one count is lost.
//!
//! A gate in this process, its program run over frames as fast as it goes, and the agent's own way of writing an
//! entry. (A read-modify-write through the map call loses more than half of the counts.)

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weir_agent::entry::{self, Fate, Instruction, Rejected};
use weir_dataplane::{
    Gate, Layout, clock,
    gate::{Options, SMALLEST_RING},
    layout::Strangers,
};
use weir_dataplane_common::{
    abi::{AccessKind, Entry, Profile, Side, VALID},
    reason::Reason,
};
use weir_tests::{
    addresses::{DEVICE_POOL, device},
    cable::Mac,
    rights,
};

use super::story::uplink;

const DEVICES: u16 = 8;
const LONG_ENOUGH: Duration = Duration::from_secs(3);
const BATCH: u32 = 1000;
const BURST: u64 = 64;
const PAUSE: Duration = Duration::from_micros(500);
const UPDATES_A_SECOND: u64 = 10_000;

/// Two profiles, so that updates change the number too. Every refused packet is a request of its own.
fn profile(number: u32) -> Profile {
    let mut profile = Profile { inactivity: 2, max_age: 1000 + number, ..Profile::default() };
    profile.kinds = AccessKind::Packet.bit();
    profile.cached = 1;
    profile
}

fn gate() -> Result<Gate> {
    let layout = Layout::new(&[DEVICE_POOL.parse()?], 0)?;
    let settings = layout.settings(&[], Strangers::default());
    let options = Options { entries: layout.entries(), unpooled: 0, ring_bytes: SMALLEST_RING, settings };
    let mut gate = Gate::load(&options)?;
    for number in 1..=2 {
        gate.write_profile(number, &profile(number))?;
    }
    Ok(gate)
}

/// An update as control may send it: other policies, rejected or not, throttled or not, perhaps a release.
fn instruction(turn: u64) -> Instruction {
    let soon = clock::now().after(5);
    Instruction {
        profile: 1 + (turn / u64::from(DEVICES) % 2) as u32,
        throttled_until: turn.is_multiple_of(3).then_some(soon),
        rejected: turn.is_multiple_of(5).then_some(Rejected::Until(soon)),
        release_session: turn.is_multiple_of(7),
        not_m2m: turn.is_multiple_of(2),
        fate: Fate::Unchanged,
        generation: turn as u16,
    }
}

/// Writes entries until it is told to end; how many.
fn write(gate: &Gate, first: u32, is_over: &AtomicBool) -> u64 {
    let (entries, profiles) = (gate.entries(), [profile(1), profile(2)]);
    let mut turn = 0;
    while !is_over.load(Ordering::Relaxed) {
        let index = first as usize + (turn % u64::from(DEVICES)) as usize;
        let pair = (&entries[index], &entries.ledgers()[index]);
        entry::write(pair, &instruction(turn), [&profiles[0], &profiles[1]], clock::now());
        turn += 1;
        if turn.is_multiple_of(BURST) {
            // Room for the packets: the entries' cache lines are wanted by both.
            std::thread::sleep(PAUSE);
        }
    }
    turn
}

/// Runs the devices' frames until it is told to end; how many.
fn drive(gate: &Gate, is_over: &AtomicBool) -> Result<u64> {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let frames = (1..=DEVICES).map(|number| uplink(number).frame(mac, mac)).collect::<Result<Vec<_>>>()?;
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        for frame in &frames {
            gate.run(Side::Access, frame, BATCH)?;
            sent += u64::from(BATCH);
        }
    }
    Ok(sent)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn no_count_is_lost_while_ten_thousand_entries_a_second_are_written() {
    if !rights::require("ten thousand updates a second") {
        return;
    }
    story().expect("the counts");
}

fn story() -> Result<()> {
    let mut gate = gate()?;
    let entries = gate.entries();
    let layout = Layout::new(&[DEVICE_POOL.parse()?], 0)?;
    let weir_dataplane::layout::Place::Pooled(first) = layout.place(device(1).into()) else {
        anyhow::bail!("device 1 is in the pool");
    };
    let bound: Vec<&Entry> = entries[first as usize..][..usize::from(DEVICES)].iter().collect();
    bound.iter().for_each(|entry| entry.control.store(VALID | 1));
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let (written, driven) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&gate, first, &is_over));
        let driver = scope.spawn(|| drive(&gate, &is_over));
        std::thread::sleep(LONG_ENOUGH);
        is_over.store(true, Ordering::Relaxed);
        (writer.join(), driver.join())
    });
    let gone = |_| anyhow::anyhow!("a thread panicked");
    let (written, sent) = (written.map_err(gone)?, driven.map_err(gone)??);
    let a_second = (written as f64 / began.elapsed().as_secs_f64()) as u64;
    println!("{a_second} updates a second beside {sent} packets");
    ensure!(a_second >= UPDATES_A_SECOND, "only {a_second} updates a second");

    let counts = gate.reason_counts()?;
    let of =
        |wanted: Reason| counts.iter().find(|(reason, _)| *reason == wanted).map_or(0, |(_, count)| *count);
    let judged: u64 = counts.iter().map(|(_, count)| count).sum();
    ensure!(judged == sent, "{judged} packets were counted of {sent}: {counts:?}");
    let sum = |count: fn(&Entry) -> u32| bound.iter().map(|entry| u64::from(count(entry))).sum::<u64>();
    let requests = sum(|entry| entry.requests.load());
    let (admitted, rejected) = (sum(|entry| entry.admitted.load()), sum(|entry| entry.rejected.load()));
    ensure!(admitted == of(Reason::Admitted), "{admitted} admissions, {} counted", of(Reason::Admitted));
    ensure!(requests == admitted + rejected, "{requests} requests, {admitted} admitted, {rejected} rejected");
    ensure!(
        rejected == of(Reason::StatusReject),
        "{rejected} rejected, {} counted",
        of(Reason::StatusReject)
    );
    ensure!(
        admitted > 0 && rejected > 0 && of(Reason::InSession) > 0,
        "the story was to be eventful: {counts:?}"
    );
    Ok(())
}
