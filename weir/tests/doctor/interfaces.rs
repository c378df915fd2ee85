//! The doctor on veth pairs in namespaces of their own.

use std::sync::Mutex;

use anyhow::{Context, Result};
use weir_dataplane::{
    Gate, Layout, Mode,
    gate::{Options, SMALLEST_RING},
    layout::Strangers,
};
use weir_dataplane_common::abi::Side;
use weir_tests::{names::WorldName, namespace::Namespace, rights};

use crate::{Said, stranger};

/// A namespace with both ends of a veth pair, up.
fn pair(label: &str) -> Result<Namespace> {
    let namespace = Namespace::create(WorldName::next(), label)?;
    namespace.ip("link add access0 type veth peer name far0\nlink set access0 up\nlink set far0 up")?;
    Ok(namespace)
}

fn doctor(namespace: &Namespace, interface: &str) -> Result<Said> {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_weir"))?;
    command.args(["doctor", "--json", "--interface", interface]).env_remove("RUST_LOG");
    Ok(Said::of(command.output().context("weir runs")?))
}

/// The live program, loaded for a handful of devices.
fn gate() -> Result<Gate> {
    let layout = Layout::new(&[], 4)?;
    let settings = layout.settings(&[], Strangers::default());
    let options = Options { entries: layout.entries(), unpooled: 4, ring_bytes: SMALLEST_RING, settings };
    Ok(Gate::load(&options)?)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_veth_interface_has_native_xdp_and_receive_vlan_offload() {
    if !rights::require_world("a_veth_interface_has_native_xdp_and_receive_vlan_offload") {
        return;
    }
    let namespace = pair("doctor-veth").expect("a pair");
    let said = doctor(&namespace, "access0").expect("weir runs");
    assert_eq!(said.finding("interface", "access0"), ("ok".into(), "it is up; its driver is veth".into()));
    let (severity, words) = said.finding("native-xdp", "access0");
    // Kernels before 6.3 do not tell.
    assert!(severity == "ok" || severity == "note" && words.contains("6.3"), "{words}");
    assert_eq!(said.finding("xdp-programs", "access0").0, "ok");
    assert_eq!(said.finding("vlan-offload", "access0").0, "warning");

    namespace.ip("link set access0 down mtu 9000").expect("a changed interface");
    let said = doctor(&namespace, "access0").expect("weir runs");
    assert_eq!(said.finding("interface", "access0").0, "warning");
    assert_eq!(said.finding("mtu", "access0").0, "warning");
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn weir_s_own_program_is_told_from_another_s() {
    let test = "weir_s_own_program_is_told_from_another_s";
    if !rights::require(test) {
        return;
    }
    let namespace = pair("doctor-xdp").expect("a pair");
    let gate = Mutex::new(gate().expect("a loaded program"));
    let attach = || {
        let mut gate = gate.lock().expect("nobody panicked with it");
        Ok(gate.attach("access0", Side::Access, Mode::Native)?)
    };
    namespace.enter(attach).expect("an attached program");
    let _link = namespace.enter(|| stranger::attach("far0")).expect("another attached program");

    let own = doctor(&namespace, "access0").expect("weir runs");
    let (severity, words) = own.finding("xdp-programs", "access0");
    assert_eq!(severity, "note");
    assert!(words.starts_with("weir's own XDP program") && words.ends_with("in native mode"), "{words}");

    let other = doctor(&namespace, "far0").expect("weir runs");
    let (severity, words) = other.finding("xdp-programs", "far0");
    assert_eq!((severity.as_str(), other.code), ("problem", Some(1)));
    assert!(words.starts_with("another XDP program"), "{words}");
    drop(gate);
}
