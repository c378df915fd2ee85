//! Goal P11: the verifier processes at most 100,000 instructions, in every configuration.

use weir_dataplane::{Gate, replay::PrivateCopy};

use super::{rights, worlds::World};

const BUDGET: u32 = 100_000;

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_verifier_stays_within_its_budget_in_every_configuration() {
    if !rights::at_hand("the verifier's budget") {
        return;
    }
    for (name, world) in [("empty", World::empty()), ("full", World::full())] {
        let options = world.options();
        let mut live = Gate::load(&options).expect("the live program loads");
        let mut copy = PrivateCopy::load(&options).expect("the private copy loads");
        let live = live.verified_instructions().expect("the kernel tells");
        let copy = copy.verified_instructions().expect("the kernel tells");
        println!("{name} settings: {live} instructions live, {copy} in the private copy, of {BUDGET}");
        assert!(live <= BUDGET && copy <= BUDGET, "{name} settings: {live} live, {copy} in the private copy");
    }
}
