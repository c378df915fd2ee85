//! "Session" and "unsolicited": what an admitted access opens, what keeps it open, what ends it, and what is no
//! access at all.

use weir_dataplane_common::{
    abi::{AccessKind, Side},
    inspect::Class,
    reason::Reason::*,
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, forbid, node},
    frame::frame,
    policy::{Action, Node, Operation, Packet, Way},
};

#[test]
fn a_thousand_packets_on_ten_flows_in_one_open_session_are_one_access() {
    let mut bench = Bench::with(node(), &[at_most(1, 1, MINUTE, Action::Reject)]);
    for number in 0..1000u16 {
        let mut packet = frame(Packet { way: Way::Up, class: None, length: 40 });
        // Another server and other ports for each flow.
        let flow = number as u8 % 10;
        (packet[33], packet[35], packet[37]) = (flow, flow, 10 + flow);
        let outcome = bench.law.judged_frame(bench.now, Side::Access, &packet).0;
        assert_eq!(outcome.reason, if number == 0 { Admitted } else { InSession }, "packet {number}");
        bench.after(SECOND - 1);
    }
    assert_eq!(bench.counts(), [1, 1, 0, 0]);
}

#[test]
fn a_session_lasts_until_the_inactivity_time_has_passed_and_no_longer() {
    let mut bench = Bench::stranger(node());
    assert_eq!(bench.up(), Admitted);
    assert_eq!(bench.after(SECOND - 1).up(), InSession);
    let second = bench.after(SECOND).packet(Way::Up, None);
    assert_eq!((second.reason, second.access), (Admitted, Some(AccessKind::Packet)));
}

#[test]
fn only_uplink_packets_refresh_a_session() {
    for way in [Way::Down, Way::FromServer] {
        let mut bench = Bench::stranger(node());
        bench.up();
        assert_eq!(bench.after(SECOND - 1).packet(way, None).reason, InSession, "{way:?}");
        assert!(!bench.after(1).session_is_open(), "{way:?}");
    }
}

#[test]
fn a_packet_that_was_dropped_refreshes_nothing() {
    let mut bench = Bench::with(node(), &[forbid(1, Class::Esp, Action::Reject)]);
    bench.up();
    assert_eq!(bench.after(SECOND - 1).up_with(Class::Esp), ForbiddenProtocol);
    assert!(!bench.after(1).session_is_open());
}

#[test]
fn a_session_ends_at_its_maximum_age_however_busy_it_is() {
    let mut bench = Bench::stranger(Node { max_age: MINUTE, ..node() });
    bench.up();
    for _ in 0..119 {
        assert_eq!(bench.after(SECOND / 2).up(), InSession);
    }
    assert_eq!(bench.after(SECOND / 2).up(), Admitted);
}

#[test]
fn after_a_release_the_next_packet_is_a_new_access() {
    let mut bench = Bench::stranger(node());
    bench.up();
    assert_eq!(bench.operate(&Operation::Release).up(), Admitted);
    assert_eq!(bench.counts(), [2, 2, 0, 0]);
}

#[test]
fn an_admitted_trigger_opens_a_session_for_one_inactivity_time_so_that_the_device_can_answer() {
    let mut bench = Bench::stranger(node());
    let trigger = bench.packet(Way::FromServer, None);
    assert_eq!((trigger.reason, trigger.access), (Admitted, Some(AccessKind::Trigger)));
    assert_eq!(bench.after(SECOND - 1).up(), InSession);
    assert_eq!(bench.counts(), [1, 1, 0, 0]);

    let mut silent = Bench::stranger(node());
    silent.trigger();
    assert!(!silent.after(SECOND).session_is_open());
}

#[test]
fn unsolicited_downlink_opens_nothing_and_is_charged_to_nobody() {
    for (drop_unsolicited, reason) in [(true, UnsolicitedDropped), (false, UnsolicitedPassed)] {
        let mut bench = Bench::stranger(Node { drop_unsolicited, ..alarming_node(0) });
        let outcome = bench.packet(Way::Down, None);
        assert_eq!((outcome.reason, outcome.access, outcome.raised), (reason, None, None));
        assert_eq!(bench.packet(Way::Down, Some(Class::Esp)).raised, None);
        assert_eq!(bench.counts(), [0, 0, 0, 2]);
        assert!(!bench.session_is_open());
    }
}

#[test]
fn a_forbidden_protocol_is_stopped_also_where_unsolicited_packets_pass() {
    let passing = Node { drop_unsolicited: false, ..node() };
    for (action, reason) in
        [(Action::None, UnsolicitedPassed), (Action::Reject, ForbiddenProtocol), (Action::Release, Released)]
    {
        let mut bench = Bench::with(passing.clone(), &[forbid(1, Class::Esp, action)]);
        assert_eq!(bench.packet(Way::Down, Some(Class::Esp)).reason, reason);
        assert_eq!(bench.counts(), [0, 0, 0, 1]);
    }
}

#[test]
fn anybody_may_answer_a_device_in_its_open_session() {
    let mut bench = Bench::stranger(node());
    bench.up();
    assert_eq!(bench.down(), InSession);
    assert_eq!(bench.trigger(), InSession);
    assert_eq!(bench.counts(), [1, 1, 0, 0]);
}

#[test]
fn a_scan_of_downlink_packets_opens_nothing_and_keeps_nothing_open() {
    let mut bench = Bench::with(node(), &[at_most(1, 1, MINUTE, Action::Reject)]);
    for _ in 0..1000 {
        assert_eq!(bench.down(), UnsolicitedDropped);
        assert!(!bench.session_is_open());
    }
    assert_eq!(bench.up(), Admitted, "the device is charged for none of them");
    for _ in 0..999 {
        assert_eq!(bench.after(1).down(), InSession);
    }
    assert_eq!(bench.after(1).down(), UnsolicitedDropped);
    assert_eq!(bench.counts(), [1, 1, 0, 1001]);
}
