//! What is said when the program cannot be attached. In a network namespace of a thread of its own, which ends
//! with the thread and takes its interfaces along.

use std::{process::Command, thread};

use weir_dataplane::{Error, Gate, Mode};
use weir_dataplane_common::abi::Side;

use super::{rights, worlds::World};

/// Runs in a fresh network namespace that has a veth pair, `left` and `right`, beside `lo`.
fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: concerns this thread only, which was made for it.
        let failed = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(failed, 0, "a network namespace: {}", std::io::Error::last_os_error());
        let pair = ["link", "add", "left", "type", "veth", "peer", "name", "right"];
        let made = Command::new("ip").args(pair).status().expect("`ip` is installed");
        assert!(made.success(), "a veth pair");
        test();
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn gate() -> Gate {
    Gate::load(&World::empty().options()).expect("the live program loads")
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_is_not_there_is_named() {
    if !rights::at_hand("a missing interface") {
        return;
    }
    in_a_namespace(|| {
        let error = gate().attach("nowhere0", Side::Access, Mode::Native).expect_err("no such interface");
        assert!(matches!(&error, Error::NoInterface(name) if name == "nowhere0"), "{error:?}");
        assert!(error.to_string().contains("interface nowhere0 does not exist"), "{error}");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn where_the_driver_lacks_native_mode_it_is_refused_with_advice_and_generic_mode_works() {
    if !rights::at_hand("native mode refused") {
        return;
    }
    in_a_namespace(|| {
        let mut gate = gate();
        let error = gate.attach("lo", Side::Access, Mode::Native).expect_err("lo has no native XDP");
        assert!(matches!(&error, Error::Attach { mode: "native", .. }), "{error:?}");
        assert!(error.to_string().contains("xdp_mode = \"generic\""), "{error}");
        gate.attach("lo", Side::Access, Mode::Generic).expect("generic mode works everywhere");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_veth_pair_takes_both_programs_in_native_mode_and_each_end_only_one() {
    if !rights::at_hand("native mode") {
        return;
    }
    in_a_namespace(|| {
        let mut first = gate();
        first.attach("left", Side::Access, Mode::Native).expect("veth has native XDP");
        first.attach("right", Side::Network, Mode::Native).expect("veth has native XDP");
        let error = gate().attach("left", Side::Access, Mode::Native).expect_err("the hook is taken");
        assert!(error.to_string().contains("another XDP program is attached"), "{error}");
        drop(first);
        gate().attach("left", Side::Access, Mode::Native).expect("free again once the gate is gone");
    });
}
