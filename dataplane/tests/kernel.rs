//! The program in the kernel: it loads within the verifier's budget, judges as the law in user space does, loses
//! nothing in silence, and says plainly why it cannot be attached.
//!
//! Every test needs root and the BPF program, so all are ignored under a plain `cargo test`; `cargo xtask test`
//! runs them. Nothing here touches an interface outside a network namespace that the test made itself.

mod kernel {
    mod cable;
    mod devices;
    mod frames;
    mod operator;
    mod pinned;
    mod random;
    mod reading;
    mod rights;
    mod stream;
    mod twins;
    mod worlds;

    mod answers;
    mod attach;
    mod budget;
    mod capture;
    mod differential;
    mod interrupted;
    mod pins;
    mod ring;
    mod several_cpus;
    mod strangers;
    mod truncated;
    mod without_btf;
}
