//! The worked examples, end to end: real packets, the real binary, the kernel's counters and the far end's bytes.

use std::time::Duration;

use weir_tests::{
    draw::Draw,
    examples::{drawn_example, worked_example_one, worked_example_two},
    forecast::Numbers,
    story::tell,
    world::Plan,
};

fn print(line: &str) {
    println!("{line}");
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_first_worked_example_is_counted_alarmed_decided_and_gated() {
    tell("worked example R-D17", &Plan::new("rd17"), |world| worked_example_one(world, &mut print));
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_trigger_with_esp_is_held_cancelled_and_delivered() {
    tell("worked example R-D18", &Plan::new("rd18"), |world| worked_example_two(world, false, &mut print));
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_trigger_with_esp_is_rejected_where_a_policy_rejects_esp() {
    tell("R-D18, ESP rejected", &Plan::new("rd18r"), |world| worked_example_two(world, true, &mut print));
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn drawn_numbers_take_the_course_that_the_model_computes() {
    tell("R-D17 with drawn numbers", &Plan::new("drawn"), |world| {
        let mut draw = Draw::new("R-D17 with drawn numbers")?;
        let numbers = Numbers {
            alarm: draw.number(1..=4) as u32,
            rule: draw.number(1..=6) as u32,
            throttle: draw.number(1..=8) as u32,
        };
        let window = draw.duration(Duration::from_secs(3)..=Duration::from_secs(5));
        drawn_example(world, numbers, window, &mut print)
    });
}
