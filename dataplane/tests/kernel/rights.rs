//! Whether this process may run the program at all. Missing rights fail a test; only `WEIR_ALLOW_SKIP=1` skips it,
//! visibly.

use weir_dataplane::gate::{is_built, missing_capabilities};

/// True if the test can run; false if it was skipped.
///
/// # Panics
/// With the reason, unless skipping is allowed.
pub fn at_hand(test: &str) -> bool {
    let missing = missing_capabilities();
    let reason = if !is_built() {
        "the BPF program was not built; run `cargo xtask build-ebpf`".to_owned()
    } else if !missing.is_empty() {
        format!("{} missing; run as root", missing.join(", "))
    } else {
        return true;
    };
    let skip = std::env::var_os("WEIR_ALLOW_SKIP").is_some_and(|value| value == "1");
    assert!(skip, "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}
