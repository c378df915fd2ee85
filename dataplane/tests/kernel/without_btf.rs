//! A kernel that tells nothing of its types. Every kernel these tests run on has BTF, so the loader is told to do
//! without; nothing in the program needs it.

use std::path::Path;

use aya::{EbpfLoader, programs::Xdp};

use super::rights;

/// Where the objects embedded in this build came from.
const OBJECTS: Option<&str> = option_env!("WEIR_BPF_DIR");

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_program_loads_where_the_kernel_has_no_btf() {
    if !rights::at_hand("loading without BTF") {
        return;
    }
    let object = Path::new(OBJECTS.expect("set where the program was embedded")).join("weir.o");
    let mut ebpf = EbpfLoader::new().btf(None).load_file(&object).expect("the object is read");
    for name in ["weir_access", "weir_network"] {
        let program: &mut Xdp = ebpf.program_mut(name).expect(name).try_into().expect("it is an XDP program");
        program.load().expect(name);
    }
}
