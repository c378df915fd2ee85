//! `weir load packets` sends what it was told to and no more, and its packets arrive.

use std::path::Path;

use anyhow::{Context, Result};
use weir_benches::bed::{Bed, Lane};
use weir_benches::contender::Contender;
use weir_benches::frames::{NODE_MAC, SENDER_MAC};
use weir_benches::peers::{Kind, Peer};
use weir_tests::{cable::Mac, rights};

fn bed() -> Result<Bed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf-objects");
    Bed::make(&root)
}

/// Runs `weir load packets` in the sender's namespace; what it printed.
fn load(bed: &Bed, words: &str) -> Result<serde_json::Value> {
    let weir = rights::weir_binary()?;
    let weir = weir.to_str().context("the binary's path is text")?;
    let to = Mac(NODE_MAC).to_string();
    let words: Vec<&str> =
        ["load", "packets", "--json", "--to", &to].into_iter().chain(words.split(' ')).collect();
    let printed = bed.sender.exec(&[&[weir], &words[..]].concat())?;
    Ok(serde_json::from_str(&printed)?)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_generator_sends_the_number_it_was_given() {
    if !rights::require("the number of generated packets") {
        return;
    }
    let bed = bed().expect("a bed");
    // The interface counts; the rules behind it are not asked.
    let mut peer = Peer::attach(&bed, Kind::Iptables, "counted");
    if peer.is_err() {
        println!("SKIPPED the number of generated packets: no iptables");
        return;
    }
    let peer = peer.as_mut().expect("just looked");
    let told = load(&bed, "--interface counted --count 20000 --rate 1000000").expect("a run");
    assert_eq!(told["sent"], 20_000);
    weir_benches::contender::check(peer, "load", Some(0), 20_000).expect("all of them arrive");
    assert_eq!(peer.lane().name, "counted");
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn latency_is_measured_through_a_node_that_forwards() {
    if !rights::require("latency through a node") {
        return;
    }
    let bed = bed().expect("a bed");
    let [up, down] = ["access", "network"].map(|name| bed.two_way_lane(name).expect("a lane"));
    forward(&bed, &up, &down).expect("a node that forwards");
    let told =
        load(&bed, "--interface access --receive network --length 128 --count 500 --rate 5000 --seconds 20");
    let told = told.expect("a run");
    assert_eq!(told["sent"], 500);
    // The first ones may come before the queues of a new lane are ready.
    assert!(told["received"].as_u64().is_some_and(|received| received > 250), "{told}");
    assert!(told["p50_ns"].as_u64().is_some_and(|p50| p50 > 0), "{told}");
}

/// The node routes everything that comes up one lane down the other.
fn forward(bed: &Bed, up: &Lane, down: &Lane) -> Result<()> {
    let zero = |name: &str| format!("ipv4/conf/{name}/rp_filter");
    let parameters = [zero("all"), zero(&up.name), zero(&down.name), "ipv4/conf/all/forwarding".to_owned()];
    let values = ["0", "0", "0", "1"];
    let settings: Vec<(&str, &str)> = parameters.iter().map(String::as_str).zip(values).collect();
    bed.node.set(&settings)?;
    bed.node.ip(&format!(
        "address add 192.0.2.1/30 dev {down}\nneighbour add 192.0.2.2 lladdr {} dev {down}\n\
         address add 192.0.2.5/30 dev {up}\nroute add default via 192.0.2.2 dev {down}\n\
         route add 10.16.0.0/12 dev {up}",
        Mac(SENDER_MAC),
        up = up.name,
        down = down.name,
    ))
}
