//! Goal P11: the verifier processes at most 100,000 instructions, in every configuration.

use weir_dataplane::{Gate, gate::Options, layout::Strangers, replay::PrivateCopy};
use weir_dataplane_common::abi::Settings;

use super::{rights, worlds::World};

const BUDGET: u32 = 100_000;

/// From nothing at all to everything, and parts of it: what is absent is known to the verifier as well.
fn worlds() -> Vec<(&'static str, Options)> {
    let full = World::full;
    let strangers = Strangers::default();
    let pools = |pools: &[&str]| World::new(pools, 16, full().servers, full().strangers);
    let with = |change: fn(&mut Settings)| {
        let mut options = full().with_strangers(1 << 10, true).options();
        change(&mut options.settings);
        options
    };
    vec![
        ("empty settings", World::empty().options()),
        ("full settings", full().options()),
        ("full settings, strangers pass", World { strangers, ..full() }.options()),
        ("one IPv4 pool", pools(&["10.45.0.0/24"]).options()),
        ("one IPv6 pool", pools(&["2001:db8:45::/56"]).options()),
        ("full settings, no servers", World { servers: vec![], ..full() }.options()),
        ("no pools, strangers one by one", World::empty().with_strangers(1 << 10, false).options()),
        ("full settings, strangers one by one", with(|_| {})),
        ("the same, watching only", with(|settings| settings.shadow = 1)),
        ("the same, captured", with(|settings| settings.capture = 1)),
        (
            "everything at once",
            with(|settings| (settings.shadow, settings.capture, settings.answers_per_second) = (1, 1, 100)),
        ),
        ("all but watching", with(|settings| (settings.capture, settings.answers_per_second) = (1, 100))),
    ]
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_verifier_stays_within_its_budget_in_every_configuration() {
    if !rights::at_hand("the verifier's budget") {
        return;
    }
    for (name, options) in worlds() {
        let mut live = Gate::load(&options).expect("the live program loads");
        let mut copy = PrivateCopy::load(&options).expect("the private copy loads");
        let live = live.verified_instructions().expect("the kernel tells");
        let copy = copy.verified_instructions().expect("the kernel tells");
        println!("{name}: {live} instructions live, {copy} in the private copy, of {BUDGET}");
        assert!(live <= BUDGET && copy <= BUDGET, "{name}: {live} live, {copy} in the private copy");
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn answering_costs_the_verifier_a_program_of_its_own_and_the_gate_next_to_nothing() {
    if !rights::at_hand("the verifier's budget for answers") {
        return;
    }
    for (name, mut silent) in worlds() {
        silent.settings.answers_per_second = 0;
        let settings = Settings { answers_per_second: 100, ..silent.settings };
        let verified = |options| {
            let mut gate = Gate::load(options).expect("the live program loads");
            let answer = gate.verified_answer_instructions().expect("the kernel tells");
            (gate.verified_instructions().expect("the kernel tells"), answer)
        };
        let (without, absent) = verified(&silent);
        let (with, answer) = verified(&Options { settings, ..silent });
        let answer = answer.expect("loaded");
        println!("{name}: {with} instructions with answers, {without} without; {answer} in weir_answer");
        assert!(with <= BUDGET && answer <= BUDGET, "{name}: {with}, and {answer} in weir_answer");
        assert!(absent.is_none() && with <= without + without / 10, "{name}: {with} instead of {without}");
    }
}
