//! A node outlives its agent: killed, upgraded, started without control, on a bad disk, over interfaces that go.
//!
//! One file for each theme under `survival/`. The real binary, real packets, the kernel's own counters. Program and
//! maps are pinned in a BPF file system of the test's own, mounted in its world's directory and unmounted with it.
//! Every test needs root and the BPF program, so all are ignored under a plain `cargo test`; `cargo xtask test`
//! runs them.

mod survival {
    mod story;

    mod alone;
    mod disk;
    mod interfaces;
    mod killed;
    mod updates;
    mod upgrade;
}
