//! Frames cut short: every length has a verdict, in the kernel and out of it.

use weir_dataplane_common::{abi::Side, reason::Reason};

use super::{devices, frames, operator, random::Random, rights, twins::Twins, worlds::World};

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn truncated_packets_of_every_length_give_a_verdict_and_never_a_fault() {
    if !rights::at_hand("truncated packets") {
        return;
    }
    let world = World::full();
    let mut twins = Twins::new(world.options(), &operator::profiles(&mut Random::of(7), 1, false));
    devices::bind(&mut twins, &world.layout);
    let pairs = [("10.45.0.1", "192.0.2.5"), ("2001:db8:45::1", "2001:db8:fffe::10")];
    for (device, remote) in pairs {
        let (device, remote) = (device.parse().expect("an address"), remote.parse().expect("an address"));
        for frame in frames::one_of_each(device, remote) {
            for length in 0..=frame.len().min(128) {
                for side in [Side::Access, Side::Network] {
                    // Below 14 bytes in user space only: the kernel does not run such a frame.
                    let trace = twins.judge(&frame[..length], side, 1 << 40);
                    assert!(Reason::from_number(trace.reason).is_some(), "{length} bytes of {frame:02x?}");
                    let readable = trace.ip_version != 0 || trace.reason == Reason::NotIp as u8;
                    assert!(length >= 14 || !readable, "{length} bytes of {frame:02x?}");
                }
            }
        }
    }
}
