//! Two CPUs drive one device through the loaded program, up to a hundred thousand requests for a limit, and every
//! admission and refusal is held against a log of all of them (R-D2: exact on several CPUs).
//!
//! The device's sessions end at once and nothing is a repeat, so that every packet is a request and the two CPUs
//! meet in the ledger again and again. The law reads the coarse clock somewhere within a call, so a call bounds its
//! instant from both sides; an error is only what holds for every instant within the bounds.

use std::{
    hint,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
};

use weir_dataplane::{Gate, clock, gate::Options};
use weir_dataplane_common::{
    abi::{BY_WORDS, Entry, Pool4, Profile, Rule, Settings, Side, VALID, action, rule},
    reason::Reason,
    subwindow,
    tick::{TICK_NS, window_ticks},
    window::SLOTS,
};

use super::{random::Random, rights};

const XDP_PASS: u32 = 2;
const DEVICE: [u8; 4] = [10, 45, 0, 1];

/// A limit, its window in milliseconds, and the requests of each of the two CPUs. The windows are short, so that many
/// begin and end, and wide enough to be filled; a small and a large limit get a hundred thousand requests.
const LIMITS: [(u32, u64, usize); 6] = [
    (1, 9, 20_000),
    (5, 21, 50_000),
    (14, 33, 20_000),
    (15, 30, 20_000),
    (100, 45, 50_000),
    (1000, 90, 30_000),
];

/// One packet: when, as the coarse clock said before and after the call, whether it passed, whether as an admission,
/// or was refused because the other CPU came between: that is no word about room.
#[derive(Clone, Copy)]
struct Call {
    before: u64,
    after: u64,
    passed: bool,
    admitted: bool,
    contended: bool,
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn two_cpus_and_a_hundred_thousand_requests_stay_within_every_limit_and_lose_no_room() {
    if !rights::at_hand("two CPUs and one device") {
        return;
    }
    let cpus = cpus();
    if cpus.len() < 2 {
        println!("SKIPPED two CPUs and one device: this machine has one CPU");
        return;
    }
    let mut random = Random::seeded("two CPUs and one device");
    for (permitted, window_ms, requests) in LIMITS {
        let window = window_ms * 1_000_000;
        let mut gate = gate(permitted, window);
        let calls = drive(&gate, [cpus[0], cpus[1]], requests, random.next());
        compare_counts(&mut gate, &calls, permitted);
        let admitted: Vec<Call> = calls.iter().filter(|call| call.admitted).copied().collect();
        println!("at most {permitted} in {window_ms} ms: {} of {} admitted", admitted.len(), calls.len());
        assert!(admitted.len() > 3 * permitted as usize, "several windows were filled");
        never_early(&admitted, permitted, window);
        never_late(&calls, &admitted, permitted, window);
    }
}

fn gate(permitted: u32, window_ns: u64) -> Gate {
    let mut settings = Settings::empty();
    settings.pools4[0] = Pool4 { base: u32::from_be_bytes(DEVICE), mask: u32::MAX, first: 0, padding: 0 };
    let options = Options { entries: 1, unpooled: 0, ring_bytes: 4096, settings };
    let mut gate = Gate::load(&options).expect("the live program loads");
    gate.write_profile(0, &profile(permitted, window_ticks(window_ns))).expect("room for a profile");
    gate.entries()[0].control.store(VALID);
    gate
}

/// Sessions and retry intervals of no length: each packet is an access, each access a request.
fn profile(permitted: u32, window: u32) -> Profile {
    let large = permitted > SLOTS as u32;
    let limit = Rule {
        policy: 1,
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted,
        window,
        ..Rule::default()
    };
    let mut profile = Profile {
        max_age: 1,
        kinds: 1,
        cached: 1,
        by_words: if large { BY_WORDS | 1 } else { 0 },
        bounded_words: large.into(),
        ..Profile::default()
    };
    profile.rules[0] = limit;
    profile
}

/// Both CPUs at once; all calls in the order of their beginnings.
fn drive(gate: &Gate, cpus: [usize; 2], requests: usize, seed: u64) -> Vec<Call> {
    let ready = AtomicU32::new(0);
    let mut calls: Vec<Call> = thread::scope(|scope| {
        let threads = cpus.map(|cpu| {
            let ready = &ready;
            let random = Random::of(seed.wrapping_add(cpu as u64));
            scope.spawn(move || on_cpu(gate, cpu, requests, random, ready))
        });
        threads.into_iter().flat_map(|thread| thread.join().expect("a CPU's thread")).collect()
    });
    calls.sort_by_key(|call| call.before);
    calls
}

fn on_cpu(gate: &Gate, cpu: usize, requests: usize, mut random: Random, ready: &AtomicU32) -> Vec<Call> {
    pin_to(cpu);
    let frame = frame();
    ready.fetch_add(1, SeqCst);
    while ready.load(SeqCst) < 2 {
        hint::spin_loop();
    }
    let mut counted = [0; 2];
    // Whether this CPU has counted one more of them.
    let mut is_new = |place: usize, reason: Reason| {
        let count = gate.count_on(cpu, reason).expect("the kernel's counters");
        std::mem::replace(&mut counted[place], count) < count
    };
    let call = |_| {
        pause(&mut random);
        let before = clock::coarse_nanos();
        let (verdict, _) = gate.run(Side::Access, &frame, 1).expect("the kernel runs the frame");
        let (after, passed) = (clock::coarse_nanos(), verdict == XDP_PASS);
        let admitted = passed && is_new(0, Reason::Admitted);
        let contended = !passed && is_new(1, Reason::Contended);
        Call { before, after, passed, admitted, contended }
    };
    (0..requests).map(call).collect()
}

/// Bursts without a pause, and now and then about a millisecond of silence.
fn pause(random: &mut Random) {
    let nanos = match random.below(100) {
        0..70 => 0,
        70..98 => random.below(40_000),
        _ => random.below(1_500_000),
    };
    let until = clock::monotonic_nanos() + nanos;
    while nanos != 0 && clock::monotonic_nanos() < until {
        hint::spin_loop();
    }
}

/// The CPUs that this process may run on.
fn cpus() -> Vec<usize> {
    // SAFETY: a zeroed set is a valid set, the call writes no more than its size, and every number is below that.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

fn pin_to(cpu: usize) {
    // SAFETY: a zeroed set is a valid set, and the calls write to nothing else.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(failed, 0, "a CPU of our own set");
}

/// UDP over IPv4, from the device.
fn frame() -> Vec<u8> {
    let mut frame = vec![0; 14 + 40];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&40u16.to_be_bytes());
    (frame[22], frame[23]) = (64, 17);
    frame[26..30].copy_from_slice(&DEVICE);
    frame[30..34].copy_from_slice(&[8, 8, 8, 8]);
    frame
}

/// What the entry and the kernel's counters say adds up to the calls.
fn compare_counts(gate: &mut Gate, calls: &[Call], permitted: u32) {
    let reasons = gate.reason_counts().expect("the kernel's counters");
    let count = |reason: Reason| {
        reasons.iter().find(|(counted, _)| *counted == reason).map_or(0, |(_, count)| *count)
    };
    let entries = gate.entries();
    let entry: &Entry = &entries[0];
    let (requests, admitted, rejected) =
        (entry.requests.load(), entry.admitted.load(), entry.rejected.load());
    let all: u64 = reasons.iter().map(|(_, count)| count).sum();
    assert_eq!(all, calls.len() as u64, "every call has one reason");
    assert_eq!(requests, admitted + rejected, "each request is one or the other");
    assert_eq!(count(Reason::Admitted), u64::from(admitted), "each admission is counted");
    let passed = calls.iter().filter(|call| call.passed).count() as u64;
    let in_session = count(Reason::InSession);
    assert_eq!(passed, u64::from(admitted) + in_session);
    // Of two first packets at once, one finds the other's session; a refusal may lose its retry time to another's.
    let (refused, contended) = (count(Reason::LimitExceeded), count(Reason::Contended));
    assert_eq!(refused + contended, calls.len() as u64 - passed);
    assert!(u64::from(rejected) <= refused + contended);
    println!("  limit {permitted}: {in_session} found the other's session, {contended} met the other CPU");
}

/// In no window more than the limit: whatever instants within the calls are taken.
fn never_early(admitted: &[Call], permitted: u32, window: u64) {
    for some in admitted.windows(permitted as usize + 1) {
        let last = some.iter().map(|call| call.after).max().expect("not empty");
        let hull = last - some[0].before;
        assert!(hull >= window, "{} admitted within {hull} ns of {window}", some.len());
    }
}

/// Where a packet was refused, the limit's number of admissions can have been in the window before, and the two
/// ticks or the sub-window by which room may come late.
fn never_late(calls: &[Call], admitted: &[Call], permitted: u32, window: u64) {
    let late = if permitted <= SLOTS as u32 {
        2 * TICK_NS
    } else {
        u64::from(subwindow::length(window_ticks(window)) + 2) * TICK_NS
    };
    for call in calls.iter().filter(|call| !call.passed && !call.contended) {
        // Sorted by their beginnings, and a call takes far less than a window.
        let begun = admitted.partition_point(|other| other.before <= call.after);
        let recent = admitted[..begun].iter().rev().take(2 * permitted as usize + 4);
        let counted = recent.filter(|other| other.after + window + late > call.before).count();
        assert!(counted >= permitted as usize, "refused after {counted} of {permitted} admissions");
    }
}
