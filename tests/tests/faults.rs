//! Bad input and faults, end to end: control that is away, subscribers nobody knows, nodes that cannot start,
//! frames that end too soon. The real binary, real packets, the kernel's own counters.
//!
//! One file for each theme under `faults/`. Every test has a world of its own and needs root and the BPF
//! program, so all are ignored under a plain `cargo test`; `cargo xtask test` runs them. Nothing here waits for a
//! time to pass where it can wait for something to happen.

mod faults {
    mod story;

    mod bad_start;
    mod control_away;
    mod frames;
    mod node_ends;
    mod operator;
    mod outage;
    mod restarts;
    mod ring;
    mod sessions;
    mod strangers;
    mod subscribers;
}
