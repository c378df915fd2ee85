//! A node whose gate is pinned: how it starts, and what is pinned of it.
//!
//! Every test has a BPF file system of its own (see `cable.rs`), so that node names need not differ.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_dataplane::{Found, Gate, Mode, Pins, gate::Options};
use weir_dataplane_common::abi::{ABI_VERSION, Side};

use super::{
    cable::{BPFFS, in_a_namespace},
    rights,
    stream::fill,
    worlds::World,
};

pub fn pins() -> Pins {
    Pins::new(Path::new(BPFFS), "pgw.1")
}

pub fn set() -> PathBuf {
    pins().directory().join(format!("abi-{ABI_VERSION}"))
}

pub fn options() -> Options {
    World::full().options()
}

pub fn load() -> (Gate, Found) {
    Gate::load_pinned(&options(), &pins()).expect("the live program loads")
}

/// A whole start, as an agent does it.
pub fn start() -> (Gate, Found) {
    let (mut gate, found) = load();
    fill(&mut gate);
    gate.attach("left", Side::Access, Mode::Native).expect("veth has native XDP");
    gate.detach_others().expect("the others are ours");
    (gate, found)
}

/// Runs a test that needs the kernel.
pub fn with_pins(name: &str, test: impl FnOnce() + Send + 'static) {
    if rights::at_hand(name) {
        in_a_namespace(test);
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().expect("an ASCII name"))
        .collect();
    // The kernel's own, at the root.
    names.retain(|name| !name.ends_with(".debug"));
    names.sort();
    names
}

pub fn links() -> Vec<String> {
    names(&pins().directory()).into_iter().filter(|name| name.starts_with("link-")).collect()
}
