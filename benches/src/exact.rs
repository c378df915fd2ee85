//! P4: two CPUs drive one device through the live program, with its real clock, and no window ever holds more
//! admissions than the limit.
//!
//! How times are known: before and after each run the thread reads the clock that the program reads
//! (`CLOCK_MONOTONIC_COARSE`), so the program's reading lies between the two; for nearly all requests they are
//! equal. *Early* is a set of limit + 1 admissions of which even the widest reading fits into a window. *Late* is
//! a refusal while even the widest reading finds fewer than limit admissions within window + two ticks.
//!
//! Two packets that find the device idle at the same moment are one access: the second passes inside the session
//! that the first opened. Passes of the two threads that overlap (by the fine clock) are therefore counted once,
//! and there may not be more of them than the program counted as in-session and the clock cannot tell apart.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_dataplane::{Gate, Layout, clock, gate::Options, layout::Strangers};
use weir_dataplane_common::{
    abi::{AccessKind, Control, Profile, Rule, Side, VALID, action, rule},
    reason::Reason,
    tick::{LONGEST_WINDOW_NS, TICK_NS, length_ticks, window_ticks},
    window::SLOTS,
};

use crate::bed::{cpus, pin};
use crate::figure::{Figure, Goal};
use crate::frames::{Kind, Packets};
use crate::plan::Plan;
use crate::report::Report;

const XDP_PASS: u32 = 2;
/// Short, so that the limit is reached and left again thousands of times.
const WINDOW: Duration = Duration::from_millis(20);
/// Requests come at random, up to this far apart.
const LONGEST_GAP_NS: u64 = 100_000;

/// One request: what came of it, and when it was judged.
#[derive(Clone, Copy, Debug)]
struct Request {
    passed: bool,
    /// Coarse clock before and after, ns.
    coarse: [u64; 2],
    /// Fine clock before and after, ns since the start.
    fine: [u64; 2],
}

/// What a limit's run came to.
#[derive(Debug, Default)]
struct Outcome {
    admitted: u64,
    refused: u64,
    contended: u64,
    early: u64,
    late: u64,
}

/// Measures P4.
///
/// # Errors
/// If the program cannot be loaded, or this machine has one CPU only.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let cpus = cpus()?;
    if cpus.len() < 2 {
        report.add("P4", Figure::absent("early admissions", "this machine has one CPU"));
        return Ok(());
    }
    let mut sum = Outcome::default();
    for limit in 1..=SLOTS as u32 {
        let outcome = run(limit, plan.requests, [cpus[0], cpus[1]])?;
        sum.admitted += outcome.admitted;
        sum.refused += outcome.refused;
        sum.contended += outcome.contended;
        sum.early += outcome.early;
        sum.late += outcome.late;
    }
    let note = format!(
        "limits 1 to {SLOTS}, {} requests each on two CPUs: {} admitted, {} refused, {} of them for contention",
        plan.requests, sum.admitted, sum.refused, sum.contended
    );
    let early = Figure::one(sum.early as f64, "admissions above the limit", Goal::AtMost(0.0));
    report.add("P4", early.noted(note));
    let late =
        Figure::one(sum.late as f64, "refusals later than two ticks", Goal::AtMost(sum.contended as f64));
    report.add("P4.late", late.noted("goal: no more than were refused for contention"));
    Ok(())
}

fn run(limit: u32, requests: u32, cpus: [usize; 2]) -> Result<Outcome> {
    let mut gate = one_device(limit)?;
    let start = Barrier::new(2);
    let begin = Instant::now();
    let shared = &gate;
    let logs = std::thread::scope(|scope| {
        let drivers = cpus.map(|cpu| {
            let start = &start;
            scope.spawn(move || drive(shared, cpu, requests / 2, begin, start))
        });
        drivers.map(|driver| driver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let [one, other] = logs;
    let (one, other) = (one?, other?);
    let counts = gate.reason_counts()?;
    let count = |wanted| counts.iter().find(|(reason, _)| *reason == wanted).map_or(0, |(_, count)| *count);
    let admitted = u64::from(gate.entries()[0].admitted.load());
    let refused = count(Reason::LimitExceeded) + count(Reason::Contended);
    let all = admitted + refused + count(Reason::InSession);
    ensure!(
        all == u64::from(requests / 2 * 2),
        "limit {limit}: {all} of {requests} requests are accounted for"
    );
    let admissions = merged(&one, &other);
    let window = WINDOW.as_nanos() as u64;
    let late_after = window + 2 * TICK_NS;
    let refusals = one.iter().chain(&other).filter(|request| !request.passed);
    Ok(Outcome {
        admitted,
        refused,
        contended: count(Reason::Contended),
        early: early(&admissions, limit as usize, window),
        late: refusals.filter(|refusal| is_late(refusal, &one, &other, limit as usize, late_after)).count()
            as u64,
    })
}

/// A gate with one device whose every packet is an access.
fn one_device(limit: u32) -> Result<Gate> {
    let layout = Layout::new(&["10.16.0.0/32".parse()?], 0)?;
    let mut gate = Gate::load(&Options {
        entries: layout.entries(),
        unpooled: 0,
        ring_bytes: weir_dataplane::gate::SMALLEST_RING,
        settings: layout.settings(&[], Strangers::default()),
    })?;
    let mut profile = Profile {
        max_age: length_ticks(LONGEST_WINDOW_NS),
        kinds: AccessKind::Packet.bit(),
        cached: 1,
        ..Profile::default()
    };
    profile.rules[0] = Rule {
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted: limit,
        window: window_ticks(WINDOW.as_nanos() as u64),
        ..Rule::default()
    };
    gate.write_profile(1, &profile)?;
    let entries = gate.entries();
    let entry = entries.first().context("the gate has one entry")?;
    entry.control.store(Control(VALID).with_profile(1).0);
    Ok(gate)
}

fn drive(gate: &Gate, cpu: usize, requests: u32, begin: Instant, start: &Barrier) -> Result<Vec<Request>> {
    pin(cpu)?;
    let frame = Packets::pooled(Kind::Udp, 1)?.frame;
    let mut draw = fastrand::Rng::with_seed(cpu as u64 + 1);
    let mut log = Vec::with_capacity(requests as usize);
    start.wait();
    for _ in 0..requests {
        let until = Instant::now() + Duration::from_nanos(draw.u64(0..LONGEST_GAP_NS));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let fine = begin.elapsed().as_nanos() as u64;
        let coarse = clock::coarse_nanos();
        let (verdict, _) = gate.run(Side::Access, &frame, 1)?;
        log.push(Request {
            passed: verdict == XDP_PASS,
            coarse: [coarse, clock::coarse_nanos()],
            fine: [fine, begin.elapsed().as_nanos() as u64],
        });
    }
    Ok(log)
}

/// The passes of both, in order; of two that overlap, one.
fn merged(one: &[Request], other: &[Request]) -> Vec<Request> {
    let mut passes: Vec<(usize, Request)> = Vec::new();
    for (thread, log) in [one, other].into_iter().enumerate() {
        passes.extend(log.iter().filter(|request| request.passed).map(|request| (thread, *request)));
    }
    passes.sort_by_key(|(_, request)| request.fine[0]);
    let mut admissions: Vec<(usize, Request)> = Vec::new();
    for (thread, pass) in passes {
        let twin =
            admissions.last().is_some_and(|(last, kept)| *last != thread && kept.fine[1] > pass.fine[0]);
        if !twin {
            admissions.push((thread, pass));
        }
    }
    admissions.into_iter().map(|(_, request)| request).collect()
}

/// Admissions that surely lie in one window with `limit` before them.
fn early(admissions: &[Request], limit: usize, window: u64) -> u64 {
    let spans = admissions.windows(limit + 1);
    spans.filter(|span| span[limit].coarse[1] - span[0].coarse[0] < window).count() as u64
}

/// Whether fewer than `limit` passes can have been within `reach` before this refusal.
fn is_late(refusal: &Request, one: &[Request], other: &[Request], limit: usize, reach: u64) -> bool {
    let since = refusal.coarse[0].saturating_sub(reach);
    let within = |log: &[Request]| {
        let from = log.partition_point(|request| request.coarse[1] < since);
        let to = log.partition_point(|request| request.fine[0] <= refusal.fine[1]);
        log.get(from..to).map_or(0, |log| log.iter().filter(|request| request.passed).count())
    };
    within(one) + within(other) < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, passed: bool) -> Request {
        let ns = ms * 1_000_000;
        Request { passed, coarse: [ns, ns], fine: [ns, ns + 10] }
    }

    #[test]
    fn one_admission_too_many_in_a_window_is_found() {
        let admissions = [at(0, true), at(10, true), at(19, true), at(40, true)];
        assert_eq!(early(&admissions, 2, 20_000_000), 1);
        assert_eq!(early(&admissions, 3, 20_000_000), 0);
    }

    #[test]
    fn a_refusal_with_room_is_late_and_one_without_is_not() {
        let log = [at(0, true), at(10, true), at(15, false)];
        assert!(!is_late(&log[2], &log, &[], 2, 20_000_000));
        assert!(is_late(&log[2], &log, &[], 3, 20_000_000));
        assert!(is_late(&at(31, false), &log, &[], 1, 20_000_000));
    }

    #[test]
    fn two_passes_at_once_are_one_access() {
        let overlapping = Request { fine: [5, 20], ..at(0, true) };
        assert_eq!(merged(&[at(0, true)], &[overlapping]).len(), 1);
        assert_eq!(merged(&[at(0, true), at(1, true)], &[at(2, true)]).len(), 3);
    }
}
