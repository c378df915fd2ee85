//! Where the program can be attached, and what is said when it cannot.

use weir_dataplane::{Error, Gate, Mode, generator::Generator, raw::RawPort};
use weir_dataplane_common::{abi::Side, reason::Reason};

use super::{
    cable::{in_a_namespace, ip},
    pinned::{set, start, with_pins},
    rights,
    stream::{ADMITTED, Counts, frame},
    worlds::World,
};

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
        assert!(matches!(error, Error::Occupied { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("cannot attach to left: another XDP program is attached"), "{text}");
        assert!(text.contains("weir_access") && text.contains("weir node detach"), "weir's own: {text}");
        drop(first);
        gate().attach("left", Side::Access, Mode::Native).expect("free again once the gate is gone");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_strangers_program_is_named_and_left_in_its_place() {
    if !rights::at_hand("a stranger's program") {
        return;
    }
    in_a_namespace(|| {
        let mut generator = Generator::load().expect("the generator loads");
        generator.attach("left").expect("veth has native XDP");
        let error = gate().attach("left", Side::Access, Mode::Native).expect_err("the hook is taken");
        let text = error.to_string();
        assert!(text.contains("pass_all") && text.contains("bpftool prog"), "{text}");
        assert!(!text.contains("weir node detach"), "not weir's own: {text}");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_comes_in_on_several_interfaces_and_queues_is_one_devices_account() {
    with_pins("several interfaces and queues", || {
        ip(
            "link add left2 numrxqueues 4 numtxqueues 4 type veth peer name right2 numrxqueues 4 numtxqueues 4",
        );
        ip("link set left2 up");
        ip("link set right2 up");
        let (mut gate, _) = start();
        gate.attach("left2", Side::Access, Mode::Native).expect("veth has native XDP");
        let counts = Counts::of(&set());
        let frames = 40;
        for (before, right) in [(0, "right"), (frames, "right2")] {
            let port = RawPort::open(right).expect("a raw socket");
            for number in 0..frames {
                assert!(port.send(&frame(ADMITTED, number)).expect("it is up"));
            }
            counts.wait_for(u64::from(before + frames));
        }
        assert_eq!(counts.of_reason(Reason::Admitted), 1, "one session over all");
        assert_eq!(counts.of_reason(Reason::InSession), u64::from(2 * frames - 1));
    });
}
