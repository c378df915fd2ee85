//! Starts that were cut short, and interfaces that went: the next start goes on from whatever it finds.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use weir_dataplane::{Error, Found, Mode, raw::index_of};
use weir_dataplane_common::abi::{ABI_VERSION, Side};

use super::{
    cable::{self, ip},
    pinned::{links, load, names, pins, set, start, with_pins},
    stream::Stream,
};

/// What is wrong, how it is made wrong, and what the next start finds.
type State = (&'static str, Box<dyn Fn()>, Found);

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn every_half_made_state_is_recovered_from() {
    with_pins("half-made pins", || {
        let staged = || pins().directory().join(format!("abi-{ABI_VERSION}-new"));
        let without = |pins: &'static [&str]| {
            move || pins.iter().for_each(|pin| fs::remove_file(set().join(pin)).expect("a pin"))
        };
        let empty = || names(&set()).iter().for_each(|pin| fs::remove_file(set().join(pin)).expect("a pin"));
        let unlinked = || {
            let link = |name: &String| fs::remove_file(pins().directory().join(name)).expect("a pin");
            links().iter().for_each(link);
        };
        let half_replaced = || {
            fs::rename(set().join("weir_access"), set().join("weir_access-new")).expect("a pin");
        };
        let states: [State; 8] = [
            ("an empty set", Box::new(empty), Found::Replaced),
            ("a set without a map", Box::new(without(&["PROFILE_TABLE"])), Found::Replaced),
            ("a set without a layout", Box::new(without(&["layout"])), Found::Replaced),
            ("no programs", Box::new(without(&["weir_access", "weir_network"])), Found::Taken),
            ("a program half replaced", Box::new(half_replaced), Found::Taken),
            (
                "an empty staged set",
                Box::new(move || fs::create_dir(staged()).expect("a place")),
                Found::Taken,
            ),
            (
                "no set but a staged one",
                Box::new(move || fs::rename(set(), staged()).expect("a set")),
                Found::Nothing,
            ),
            ("no link", Box::new(unlinked), Found::Taken),
        ];
        drop(start());
        let whole = names(&set());
        for (name, make, expected) in states {
            make();
            let (mut gate, found) = start();
            assert_eq!(found, expected, "{name}");
            assert!(gate.guards("left", Side::Access).expect("left is there"), "{name}");
            assert_eq!((links().len(), names(&pins().directory()).len()), (1, 2), "{name}");
            assert_eq!(names(&set()), whole, "{name}");
        }
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_was_removed_is_attached_to_again_when_it_returns() {
    with_pins("a returning interface", || {
        let (mut gate, _) = start();
        ip("link delete left");
        let error = gate.guards("left", Side::Access).expect_err("gone");
        assert!(matches!(error, Error::NoInterface(_)), "{error:?}");
        cable::add_pair();
        assert!(!gate.guards("left", Side::Access).expect("it is back"));
        gate.attach("left", Side::Access, Mode::Native).expect("it is back");
        assert!(gate.guards("left", Side::Access).expect("it is back"));
        assert_eq!(links().len(), 1, "the dead link's pin is gone");
        drop(gate);
        ip("link delete left");
        cable::add_pair();
        let (mut gate, found) = start();
        assert_eq!(found, Found::Taken, "maps outlive interfaces");
        assert!(gate.guards("left", Side::Access).expect("it is back"));
        Stream::start(&set()).end();
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_with_a_new_name_is_taken_over_under_it() {
    with_pins("a renamed interface", || {
        drop(start());
        ip("link set left down");
        ip("link set left name left.7");
        let (mut gate, _) = load();
        gate.attach("left.7", Side::Access, Mode::Native).expect("it is weir's own program that is there");
        assert_eq!(gate.detach_others().expect("none"), Vec::<std::path::PathBuf>::new());
        let index = index_of("left.7").expect("there");
        assert_eq!(links(), [format!("link-left%2e7-{index}")]);
    });
}

/// In the environment of a process that is to start a gate and be killed at it.
const VICTIM: &str = "WEIR_TEST_PINS_VICTIM";

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_start_for_the_next_test_to_kill() {
    if std::env::var_os(VICTIM).is_some() {
        start();
    }
}

/// Starts a gate in another process, in this thread's namespaces, and kills it after a while.
fn kill_a_start_after(while_it_starts: Duration) {
    let path =
        format!("{}::a_start_for_the_next_test_to_kill", module_path!().split_once("::").expect("a crate").1);
    let mut victim = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", &path, "--ignored"])
        .env(VICTIM, "1")
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let begun = Instant::now();
    while begun.elapsed() < while_it_starts && victim.try_wait().expect("a child").is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    victim.kill().expect("a child");
    victim.wait().expect("a child");
}

/// Eight moments between the beginning and the end of a start.
fn moments() -> impl Iterator<Item = Duration> {
    let begun = Instant::now();
    kill_a_start_after(Duration::from_secs(60));
    let whole = begun.elapsed();
    assert_eq!(links().len(), 1, "a start that nobody kills is whole");
    (1..=8).map(move |part| whole * part / 8)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_agent_killed_at_any_moment_of_its_start_leaves_no_frame_unjudged() {
    with_pins("killed starts under traffic", || {
        drop(start());
        let stream = Stream::start(&set());
        for moment in moments() {
            kill_a_start_after(moment);
        }
        let (mut gate, found) = start();
        assert_eq!(found, Found::Taken);
        assert!(gate.guards("left", Side::Access).expect("left is there"));
        assert!(stream.end() > 100);
        assert_eq!((links().len(), names(&pins().directory()).len()), (1, 2));
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_first_start_killed_at_any_moment_does_not_hinder_the_second() {
    with_pins("killed first starts", || {
        for moment in moments() {
            pins().detach_all(false).expect("nothing is left");
            kill_a_start_after(moment);
            let (mut gate, _) = start();
            assert!(gate.guards("left", Side::Access).expect("left is there"), "killed after {moment:?}");
            assert_eq!((links().len(), names(&pins().directory()).len()), (1, 2), "killed after {moment:?}");
        }
    });
}
