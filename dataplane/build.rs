//! Embeds the BPF objects that `cargo xtask build-ebpf` left in `WEIR_BPF_DIR`, if they are there.
//!
//! A build without them is a build without root, BPF toolchain or kernel program: everything compiles and
//! every test that needs no kernel runs; loading then says what is missing.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=WEIR_BPF_DIR");
    let directory = env::var_os("WEIR_BPF_DIR").map(PathBuf::from);
    let mut source = String::new();
    for (name, file) in [("LIVE", "weir.o"), ("REPLAY", "weir-replay.o"), ("FLOORS", "floors.o")] {
        let object = directory.as_ref().map(|directory| directory.join(file));
        if let Some(object) = &object {
            println!("cargo:rerun-if-changed={}", object.display());
        }
        let embedded = match object.filter(|object| object.is_file()) {
            Some(object) => format!("Some(include_bytes_aligned!({:?}))", object.display().to_string()),
            None => "None".to_owned(),
        };
        source += &format!("pub(crate) const {name}: Option<&[u8]> = {embedded};\n");
    }
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("objects.rs");
    fs::write(&target, source).unwrap_or_else(|error| panic!("cannot write {}: {error}", target.display()));
}
