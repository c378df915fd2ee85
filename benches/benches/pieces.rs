//! Criterion benches of the small pure pieces, in user space: parser, access window, the law, a source rewritten.
//!
//! `cargo bench --package weir-benches`. They say what a change did to one piece; what a packet costs in the kernel
//! is `cargo xtask bench`'s to say. Payload classifier and digest join when they exist.

#![allow(missing_docs, reason = "the macro generates an undocumented function")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use weir_benches::frames::{Kind, Packets};
use weir_dataplane_common::{
    abi::{AccessKind, Control, Entry, Ledger, Profile, Rule, VALID, action, rule},
    admit::{Case, admit},
    inspect::Classes,
    load::LONGEST_HEADERS,
    parse::{Cursor, ethernet},
    tick::Tick,
    window::History,
};

const NOW: Tick = Tick(1_000_000);

fn parser(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for kind in Kind::ALL {
        let frame = Packets::pooled(kind, 1).expect("a frame").frame;
        group.bench_function(kind.name(), |bencher| {
            bencher.iter(|| ethernet(Cursor::new(black_box(&frame))));
        });
    }
}

fn window(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    for permitted in [1, 14] {
        let history = History::default();
        let mut now = NOW;
        group.bench_function(format!("judge-and-take-{permitted}"), |bencher| {
            bencher.iter(|| {
                now = now.after(1);
                let view = history.view().expect("nobody else is here");
                (view.room(black_box(now), permitted, 60_000), view.take(now))
            });
        });
        group.bench_function(format!("is-full-{permitted}"), |bencher| {
            bencher.iter(|| history.is_full(black_box(now), permitted, 60_000));
        });
    }
}

fn law(criterion: &mut Criterion) {
    let mut profile =
        Profile { max_age: 1 << 26, kinds: AccessKind::Packet.bit(), cached: 1, ..Profile::default() };
    profile.rules[0] = Rule {
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted: 3,
        window: 60_000,
        ..Rule::default()
    };
    let mut group = criterion.benchmark_group("admit");
    for (name, inactivity, window) in
        [("in-session", 10_000, 60_000), ("admitted", 0, 0), ("rejected", 0, 1 << 26)]
    {
        profile.inactivity = inactivity;
        profile.rules[0].window = window;
        let (entry, ledger) = (Entry::default(), Ledger::default());
        let control = Control(VALID).with_profile(1);
        let mut now = NOW;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now = now.after(1);
                let case = Case {
                    entry: black_box(&entry),
                    profile: black_box(&profile),
                    control,
                    classes: Classes::NONE,
                    length: 64,
                    uplink: true,
                    from_server: false,
                    drop_unsolicited: true,
                    now,
                };
                admit(&case, || Some(black_box(&ledger)))
            });
        });
    }
}

fn rewriting(criterion: &mut Criterion) {
    let Packets { mut frame, spread } = Packets::pooled(Kind::Tcp, 1 << 20).expect("a frame");
    let headers = frame.first_chunk_mut::<LONGEST_HEADERS>().expect("longer than its headers");
    let mut random = 1u32;
    criterion.bench_function("rewrite-tcp", |bencher| {
        bencher.iter(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            spread.rewrite(black_box(headers), random);
        });
    });
}

criterion_group!(pieces, parser, window, law, rewriting);
criterion_main!(pieces);
