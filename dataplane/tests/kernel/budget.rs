//! Goal P11: the verifier processes at most 100,000 instructions, in every configuration.

use weir_dataplane::{Gate, layout::Strangers, replay::PrivateCopy};

use super::{rights, worlds::World};

const BUDGET: u32 = 100_000;

/// From nothing at all to everything, and parts of it: what is absent is known to the verifier as well.
fn worlds() -> [(&'static str, World); 6] {
    let full = World::full;
    let strangers = Strangers::default();
    let pools = |pools: &[&str]| World::new(pools, 16, full().servers, full().strangers);
    [
        ("empty settings", World::empty()),
        ("full settings", full()),
        ("full settings, strangers pass", World { strangers, ..full() }),
        ("one IPv4 pool", pools(&["10.45.0.0/24"])),
        ("one IPv6 pool", pools(&["2001:db8:45::/56"])),
        ("full settings, no servers", World { servers: vec![], ..full() }),
    ]
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_verifier_stays_within_its_budget_in_every_configuration() {
    if !rights::at_hand("the verifier's budget") {
        return;
    }
    for (name, world) in worlds() {
        let options = world.options();
        let mut live = Gate::load(&options).expect("the live program loads");
        let mut copy = PrivateCopy::load(&options).expect("the private copy loads");
        let live = live.verified_instructions().expect("the kernel tells");
        let copy = copy.verified_instructions().expect("the kernel tells");
        println!("{name}: {live} instructions live, {copy} in the private copy, of {BUDGET}");
        assert!(live <= BUDGET && copy <= BUDGET, "{name}: {live} live, {copy} in the private copy");
    }
}
