//! The program in the kernel: it loads, stays within the verifier's budget, and judges as user space does.

use weir_dataplane::{Layout, gate::Options, layout::Strangers, replay::PrivateCopy};

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn it_loads() {
    let layout = Layout::new(&["10.45.0.0/16".parse().unwrap()], 16).unwrap();
    let options = Options {
        entries: layout.entries(),
        unpooled: 16,
        ring_bytes: 1 << 16,
        settings: layout.settings(&[], Strangers::default()),
    };
    let mut copy = PrivateCopy::load(&options).unwrap();
    println!("live {}", weir_dataplane::Gate::load(&options).unwrap().verified_instructions().unwrap());
    println!("verified {}", copy.verified_instructions().unwrap());
    let t = std::time::Instant::now();
    for i in 0..1000 {
        copy.judge(&[0u8; 60], weir_dataplane_common::abi::Side::Access, i).unwrap();
    }
    println!("per run {:?}", t.elapsed() / 1000);
}
