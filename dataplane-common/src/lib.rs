//! What the kernel program and user space agree on, and the law that both apply.
//!
//! The XDP program, the agent, `replay`, `inspect` and the tests all compile this crate: the bytes of a map
//! entry mean the same to each, and [`admit::admit`] judges the same packet alike for each. It has no
//! allocation, no clock and no I/O, and nothing in it may panic: a panic has no meaning in the kernel, and
//! the verifier refuses programs that could reach one.
//!
//! In the order in which a packet meets them: [`parse`] (bytes to headers), [`inspect`] (which security
//! protocol), [`node`] (whose packet), [`admit`] (the law) over an [`abi::Entry`] and its [`abi::Ledger`], with [`window`]s of slots,
//! [`subwindow`]s for large limits and [`rate`]s.
//! Beside that path: [`capture`], which copies judged packets to user space, and [`load`], for generated load.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]

pub mod abi;
pub mod admit;
pub mod answer;
pub mod atomic;
pub mod capture;
pub mod directory;
pub mod inspect;
pub mod load;
pub mod node;
pub mod opaque;
pub mod parse;
pub mod rate;
pub mod reason;
pub mod subwindow;
pub mod tick;
pub mod window;
