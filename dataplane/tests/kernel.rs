//! The program in the kernel: it loads within the verifier's budget, judges as the law in user space does, loses
//! nothing in silence, and says plainly why it cannot be attached.
//!
//! Every test needs root and the BPF program, so all are ignored under a plain `cargo test`; `cargo xtask test`
//! runs them. Nothing here touches an interface outside a network namespace that the test made itself.

mod kernel {
    mod devices;
    mod frames;
    mod operator;
    mod random;
    mod reading;
    mod rights;
    mod twins;
    mod worlds;

    mod attach;
    mod budget;
    mod differential;
    mod ring;
    mod truncated;
    mod without_btf;
}
