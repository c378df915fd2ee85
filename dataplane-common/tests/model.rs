//! The law held against what the requirements say.
//!
//! `device` is a slow model of one device that keeps every instant in a list; `law` drives the real
//! [`weir_dataplane_common::admit`] over a real entry, with the operations that an agent performs between packets;
//! `random` draws worlds and sequences and compares the two after each step. The other modules name the terms of
//! the ledger one by one, each with a test that fails without it. Nothing here may copy the law's own steps:
//! read the requirements ("Terms", R-D2 to R-D4, R-D7, R-D8, R-D12, R-D13) beside it, not `admit.rs`.

mod model {
    mod bench;
    mod compile;
    mod device;
    mod draw;
    mod findings;
    mod frame;
    mod law;
    mod meters;
    mod policy;

    mod alarms;
    mod break_glass;
    mod epochs;
    mod examples;
    mod large_limits;
    mod limits;
    mod random;
    mod rates;
    mod requests;
    mod sessions;
    mod several_cpus;
    mod shadow;
    mod strangers;
}
