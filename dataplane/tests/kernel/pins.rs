//! What outlives a gate, what the next one makes of it, and what `detach` leaves: nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use aya::{
    maps::{MapInfo, loaded_maps},
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
        loaded_links, loaded_programs,
    },
};
use weir_dataplane::{Error, Found, Gate, Mode, Pins, gate::Options, netlink, raw::RawPort, raw::index_of};
use weir_dataplane_common::{
    abi::{ABI_VERSION, ALARM_UNSEEN, Profile, Side, VALID},
    reason::Reason,
};

use super::{
    cable::BPFFS,
    pinned::{links, load, names, options, pins, set, start, with_pins},
    stream::{ADMITTED, Counts, REJECTED, Stream, frame},
    worlds::{DROP_ALL, World},
};

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_a_gate_leaves_goes_on_judging_and_the_next_gate_goes_on_counting() {
    with_pins("a gate's estate", || {
        let (mut gate, found) = start();
        assert_eq!(found, Found::Nothing);
        let counts = Counts::of(&set());
        let first = Stream::start(&set());
        counts.wait_for(50);
        let first = u64::from(first.end());
        drop(gate);
        let orphan = Stream::start(&set());
        counts.wait_for(first + 50);
        let both = first + u64::from(orphan.end());
        let (next, found) = start();
        gate = next;
        assert_eq!(found, Found::Taken);
        let by_gate: u64 = gate.reason_counts().expect("counters").iter().map(|(_, count)| count).sum();
        assert_eq!(by_gate, both, "counters go on");
        assert_eq!(counts.of_reason(Reason::Admitted), 1, "the session went on, too");
        assert_eq!(gate.entries()[usize::from(ADMITTED)].admitted.load(), 1);
        gate.inject(Side::Access, index_of("left").expect("there"), &frame(REJECTED, 0))
            .expect("the kernel runs the frame");
        assert_eq!(counts.all(), both + 1, "what is injected is judged by the same maps");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn twenty_upgrades_under_a_numbered_stream_leave_no_frame_unjudged() {
    with_pins("upgrades under traffic", || {
        let (mut gate, _) = start();
        let stream = Stream::start(&set());
        let counts = Counts::of(&set());
        for _ in 0..20 {
            drop(gate);
            let (next, found) = start();
            assert_eq!(found, Found::Taken);
            gate = next;
            assert!(gate.guards("left", Side::Access).expect("left is there"), "the new program judges");
            counts.wait_for(counts.all() + 20);
        }
        assert!(stream.end() >= 400);
        assert_eq!(counts.of_reason(Reason::Admitted), 1, "one session from the first frame to the last");
        assert_eq!(links().len(), 1);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_alarm_raised_while_nobody_runs_is_read_by_the_next_gate() {
    with_pins("an orphaned alarm", || {
        let (mut gate, _) = start();
        let alarming = Profile {
            alarm_counts: 1,
            alarm_window: 1000,
            inactivity: 10,
            max_age: 10,
            ..Profile::default()
        };
        gate.write_profile(1, &alarming).expect("room for the profile");
        gate.entries()[7].control.store(VALID | 1);
        drop(gate);
        let port = RawPort::open("right").expect("a raw socket");
        assert!(port.send(&frame(7, 1)).expect("right is up"));
        Counts::of(&set()).wait_for(1);
        let (mut gate, _) = load();
        let alarm = gate.take_alarms().expect("taken once").next_alarm().expect("one is there");
        assert_eq!((alarm.entry, &alarm.frame), (7, &frame(7, 1)));
        assert_ne!(gate.entries()[7].control.load() & ALARM_UNSEEN, 0);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn other_pools_of_the_same_size_are_another_layout_and_the_old_one_judges_until_the_new_is_attached() {
    with_pins("another layout", || {
        let (gate, _) = start();
        drop(gate);
        let old = Counts::of(&set());
        let stream = Stream::start(&set());
        let world = World::new(&["10.44.0.0/24", "10.45.0.0/24"], 64, vec![], DROP_ALL);
        let same_size = Options { entries: options().entries, ..world.options() };
        let (mut gate, found) = Gate::load_pinned(&same_size, &pins()).expect("it loads");
        assert_eq!(found, Found::Replaced);
        assert!(gate.entries().iter().all(|entry| entry.control.load() == 0), "nobody's entries");
        old.wait_for(old.all() + 20);
        stream.end();
        let entries = gate.entries();
        gate.write_profile(0, &Profile { inactivity: 1000, max_age: 1000, ..Profile::default() })
            .expect("room");
        entries[256 + usize::from(ADMITTED)].control.store(VALID);
        let before = old.all();
        gate.attach("left", Side::Access, Mode::Native).expect("in the place of the old program");
        let port = RawPort::open("right").expect("a raw socket");
        assert!(port.send(&frame(ADMITTED, 1)).expect("right is up"));
        let new = Counts::of(&set());
        new.wait_for(1);
        assert_eq!((new.of_reason(Reason::Admitted), old.all()), (1, before), "by the new maps alone");
        assert_eq!(names(&pins().directory()).len(), 2, "one set and one link are left");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn maps_of_another_size_are_replaced() {
    with_pins("other sizes", || {
        drop(start());
        let more = Options { unpooled: options().unpooled + 1, ..options() };
        let (gate, found) = Gate::load_pinned(&more, &pins()).expect("it loads");
        assert_eq!(found, Found::Replaced);
        drop(gate);
        assert_eq!(load().1, Found::Taken, "what was never attached has replaced nothing");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn another_abi_version_is_refused_with_both_ways_out_and_detach_removes_it() {
    with_pins("another ABI version", || {
        drop(start());
        let older = pins().directory().join("abi-1");
        fs::rename(set(), &older).expect("a directory");
        let error = Gate::load_pinned(&options(), &pins()).map(drop).expect_err("refused");
        assert!(matches!(error, Error::PinnedAbi { found: 1, needed: ABI_VERSION, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("weir node detach pgw.1") && text.contains("run the old weir"), "{text}");
        assert_eq!(links().len(), 1, "the old program goes on");
        let removed = pins().detach_all(false).expect("removed");
        assert_eq!(removed[0].kind, "link", "links first: {removed:?}");
        assert_eq!(names(Path::new(BPFFS)), Vec::<String>::new());
        assert_eq!(start().1, Found::Nothing);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn interfaces_that_are_no_longer_configured_are_detached_last() {
    with_pins("fewer interfaces", || {
        let (mut gate, _) = start();
        gate.attach("right", Side::Network, Mode::Native).expect("veth has native XDP");
        drop(gate);
        let (mut gate, _) = load();
        gate.attach("right", Side::Network, Mode::Native).expect("taken over");
        assert!(links().len() == 2);
        let gone = gate.detach_others().expect("detached");
        assert!(
            gone.len() == 1 && gone[0].to_str().is_some_and(|path| path.contains("link-left-")),
            "{gone:?}"
        );
        assert!(!gate.guards("left", Side::Access).expect("left is there"));
        assert!(gate.guards("right", Side::Network).expect("right is there"));
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn another_mode_is_taken_and_one_that_the_driver_refuses_leaves_the_old_one() {
    with_pins("another mode", || {
        drop(start());
        let (mut gate, _) = load();
        gate.attach("left", Side::Access, Mode::Generic).expect("generic mode works everywhere");
        assert!(gate.guards("left", Side::Access).expect("left is there"));
        gate.attach("lo", Side::Network, Mode::Generic).expect("generic mode works everywhere");
        let error = gate.attach("lo", Side::Network, Mode::Native).expect_err("lo has no native XDP");
        assert!(matches!(error, Error::Attach { mode: "native", .. }), "{error:?}");
        assert!(gate.guards("lo", Side::Network).expect("lo is there"), "generic as before");
        drop(gate);
        let (mut gate, _) = load();
        gate.attach("lo", Side::Network, Mode::Generic).expect("taken over");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_whose_gate_lives_is_not_loaded_twice_nor_detached_unless_forced() {
    with_pins("two gates of one node", || {
        let (mut gate, _) = start();
        let error = Gate::load_pinned(&options(), &pins()).map(drop).expect_err("held");
        assert!(matches!(error, Error::NodeRuns { .. }), "{error:?}");
        let error = pins().detach_all(false).expect_err("held");
        assert!(error.to_string().contains("pgw.1"), "{error}");
        assert!(gate.guards("left", Side::Access).expect("left is there"));
        pins().detach_all(true).expect("forced");
        assert!(!gate.guards("left", Side::Access).expect("left is there"));
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn detach_leaves_no_link_no_program_no_map_and_no_directory() {
    with_pins("no traces", || {
        drop(start());
        let pinned = |path: PathBuf| MapInfo::from_pin(path).expect("a map").id();
        let maps = ["ENTRIES", "REASON_COUNTS", "ALARMS", "layout"].map(|name| pinned(set().join(name)));
        let program = ProgramInfo::from_pin(set().join("weir_access")).expect("a program").id();
        let link = PinnedLink::from_pin(pins().directory().join(&links()[0])).expect("a link");
        let link = FdLink::from(link).info().expect("a link").id();

        let removed = pins().detach_all(false).expect("removed");
        let kinds: Vec<_> = removed.iter().map(|removed| removed.kind).collect();
        assert!(kinds.starts_with(&["link", "program", "program", "map"]), "{kinds:?}");
        assert!(kinds.ends_with(&["map", "directory", "directory", "directory"]), "{kinds:?}");
        assert_eq!(names(Path::new(BPFFS)), Vec::<String>::new());
        assert_eq!(netlink::link("left").expect("answers").expect("there").programs, []);
        // The kernel takes its objects apart a little later.
        wait_until("they are gone", || {
            loaded_links().flatten().all(|found| found.id() != link)
                && loaded_programs().flatten().all(|found| found.id() != program)
                && loaded_maps().flatten().all(|found| !maps.contains(&found.id()))
        });
        assert_eq!(pins().detach_all(false).expect("nothing to do"), []);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn where_no_bpf_file_system_is_mounted_nothing_is_loaded_and_the_ways_out_are_named() {
    with_pins("no BPF file system", || {
        let nowhere = Pins::new(Path::new("/sys/fs"), "pgw.1");
        let error = Gate::load_pinned(&options(), &nowhere).map(drop).expect_err("refused");
        assert!(matches!(error, Error::NoBpffs(_)), "{error:?}");
        assert!(error.to_string().contains("mount -t bpf bpf /sys/fs"), "{error}");
    });
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
