//! The XDP program: a thin shell around the shared law.
//!
//! One function per side of the gateway; each finds the bytes, calls [`weir_dataplane_common::node::judge`],
//! counts the reason, hands a raised alarm to user space and returns the verdict. A third answers refused packets
//! (`answer.rs`). None may decide anything itself: what is not in `dataplane-common` cannot be tested without a
//! kernel.
//!
//! Maps are listed in `maps.rs`. Needs kernel 5.18 (`bpf_xdp_load_bytes`).
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute macros generate undocumented functions")]

mod alarm;
mod answer;
mod bench;
mod capture;
mod clock;
mod maps;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use weir_dataplane_common::{
    abi::Side,
    node::judge,
    opaque::forget,
    parse::Cursor,
    reason::{Reason, Verdict},
};

/// Frames that come in where the devices are.
#[xdp]
pub fn weir_access(ctx: XdpContext) -> u32 {
    gate(&ctx, Side::Access)
}

/// Frames that come in where servers and the internet are.
#[xdp]
pub fn weir_network(ctx: XdpContext) -> u32 {
    gate(&ctx, Side::Network)
}

#[inline(always)]
fn gate(ctx: &XdpContext, side: Side) -> u32 {
    // SAFETY: the kernel keeps the frame readable while the program runs.
    let frame = unsafe { Cursor::from_raw(ctx.data(), ctx.data_end()) };
    let tables = maps::Kernel { ctx };
    if let Some(verdict) = bench::ended_early(frame, &tables) {
        return verdict;
    }
    let judgement = judge(frame, side, maps::settings(), &tables, clock::now);
    // From here on every path is alike but for this number.
    let reason = forget(judgement.outcome.reason as u32);
    if bench::COUNTS {
        maps::count(reason);
    }
    if let Some(unenforced) = judgement.unenforced {
        maps::count_unenforced(unenforced as u32);
    }
    if judgement.outcome.shadow.reason() != 0 {
        maps::count_shadow(judgement.profile, judgement.outcome.shadow);
    }
    if let Some(raised) = judgement.outcome.raised {
        alarm::send(ctx, side, &judgement, raised);
    }
    if cfg!(not(feature = "replay")) {
        capture::offer(ctx, side, &judgement, reason);
    }
    #[cfg(feature = "replay")]
    maps::trace(&judgement);
    match Reason::verdict_of(reason) {
        Verdict::Pass => bench::passed(),
        Verdict::Drop => {
            if cfg!(not(feature = "replay")) {
                answer::hand_over(ctx, side, reason, judgement.profile);
            }
            xdp_action::XDP_DROP
        }
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never linked: the law has no panic, and the verifier would refuse the loop.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
