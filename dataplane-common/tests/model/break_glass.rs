//! Break-glass (R-X8): an exempted device and a bypassed node, each until its end.

use weir_dataplane_common::{inspect::Class, reason::Reason::*};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, forbid, node},
    policy::{Action, Operation, Way},
};

#[test]
fn every_packet_of_an_exempted_device_passes_until_the_end() {
    let policies = [at_most(1, 0, MINUTE, Action::Reject), forbid(2, Class::Esp, Action::Release)];
    let mut bench = Bench::with(node(), &policies);
    bench.operate(&Operation::Exempt(MINUTE));
    for _ in 0..30 {
        let packets = [bench.up(), bench.down(), bench.trigger(), bench.up_with(Class::Esp)];
        assert_eq!(packets, [Exempt; 4]);
        bench.after(2 * SECOND);
    }
    assert_eq!(bench.up(), LimitExceeded, "a minute is over");
    assert_eq!(bench.counts(), [1, 0, 1, 0], "nothing was counted meanwhile");
}

#[test]
fn an_exemption_outranks_an_active_alarm_and_leaves_it_as_it_is() {
    let mut bench = Bench::stranger(alarming_node(0));
    assert_eq!(bench.up(), Held);
    bench.operate(&Operation::Exempt(MINUTE));
    assert_eq!(bench.up(), Exempt);
    assert_eq!(bench.after(MINUTE).up(), AlarmActive);
}

#[test]
fn an_open_session_outlives_an_exemption_and_is_not_refreshed_by_it() {
    let mut bench = Bench::with(node(), &[]);
    bench.up();
    bench.operate(&Operation::Exempt(SECOND / 2));
    assert_eq!(bench.after(SECOND / 4).up(), Exempt);
    assert_eq!(bench.after(SECOND / 4).down(), InSession);
    assert!(!bench.after(SECOND / 2).session_is_open());
}

#[test]
fn a_bypassed_node_passes_everything_until_the_end_and_touches_nothing() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    bench.operate(&Operation::Bypass(MINUTE)).operate(&Operation::Exempt(2 * MINUTE));
    assert_eq!([bench.up(), bench.down()], [Bypassed; 2]);
    assert_eq!(bench.packet(Way::Up, Some(Class::Esp)).access, None);
    assert_eq!(bench.after(MINUTE).up(), Exempt, "the device's own mark goes on");
    assert_eq!(bench.after(MINUTE).up(), LimitExceeded);
    assert_eq!(bench.counts(), [1, 0, 1, 0]);
}
