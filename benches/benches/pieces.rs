//! Criterion benches of the small pure pieces, in user space: parser, windows, rate, directory, the law, a source
//! rewritten.
//!
//! `cargo bench --package weir-benches`. They say what a change did to one piece; what a packet costs in the kernel
//! is `cargo xtask bench`'s to say. Payload classifier and digest join when they exist.

#![allow(missing_docs, reason = "the macro generates an undocumented function")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use weir_benches::frames::{Kind, Packets};
use weir_dataplane_common::{
    abi::{AccessKind, AddressKey, Control, Entry, Ledger, Meter, Profile, Rule, VALID, action, rule},
    admit::{Case, admit},
    atomic::Word64,
    directory::{self, Bucket},
    inspect::Classes,
    load::LONGEST_HEADERS,
    parse::{Address, Cursor, ethernet},
    rate, subwindow,
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

fn large_limit(criterion: &mut Criterion) {
    let word = Word64::default();
    let mut now = NOW;
    criterion.bench_function("sub-windows-judge-and-take", |bencher| {
        bencher.iter(|| {
            now = now.after(60);
            let full = subwindow::is_full(black_box(&word), now, 1000, 60_000);
            full || subwindow::take(&word, now, 60_000, 1000)
        });
    });
}

fn paying(criterion: &mut Criterion) {
    let meter = Meter { byte_cost: 524_288, burst: 100_000, sides: 3, ..Meter::default() };
    let (bucket, mut now) = (Word64::default(), NOW);
    criterion.bench_function("rate-conforms-and-charge", |bencher| {
        bencher.iter(|| {
            now = now.after(1);
            if rate::conforms(black_box(&bucket), &meter, now) {
                rate::charge(&bucket, &meter, 577, now);
            }
        });
    });
}

fn looking_up(criterion: &mut Criterion) {
    const ADDRESSES: u32 = 1 << 16;
    let table: Vec<Bucket> = (0..directory::buckets(ADDRESSES)).map(|_| Bucket::default()).collect();
    let key = |number: u32| AddressKey::of(Address::v4(0xcb00_0000 + number % ADDRESSES));
    assert!((0..ADDRESSES).all(|number| directory::put(&table, key(number), number)), "room for all");
    let mut number = 1u32;
    criterion.bench_function("directory-find", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            directory::find(key(number >> 16), table.len() as u32, |bucket| table.get(bucket as usize))
        });
    });
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

criterion_group!(pieces, parser, window, large_limit, paying, looking_up, law, rewriting);
criterion_main!(pieces);
