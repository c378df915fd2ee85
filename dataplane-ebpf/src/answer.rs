//! The answer to a dropped packet: a program of its own, which the gate calls in its own place.
//!
//! Apart from the gate, so that the verifier does not walk it behind every path of the law, and a gate that
//! answers nothing carries none of it. Whoever comes here has been refused already: whatever goes wrong ends in a
//! drop. What is answered, and with which bytes, stands in [`weir_dataplane_common::answer`].
//!
//! Needs kernel 5.18 (`bpf_xdp_load_bytes`, `bpf_xdp_store_bytes`).

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    macros::xdp,
    programs::XdpContext,
};
use weir_dataplane_common::{
    abi::Side,
    answer::{self, Answer, Frame, LONGEST, Reply, SHORTEST},
};

use crate::{clock, maps};

/// Hands a dropped frame over, if it is to be answered; then this does not return.
#[inline(always)]
pub fn hand_over(ctx: &XdpContext, side: Side, reason: u32, profile: u32) {
    let answers = maps::settings().answers_per_second != 0;
    if answers && matches!(side, Side::Access) && answer::is_answered(reason, profile) {
        maps::call_answer(ctx);
    }
}

/// Answers the frame, which has been refused.
#[xdp]
pub fn weir_answer(ctx: XdpContext) -> u32 {
    let answer = answered(&ctx);
    maps::count_answer(answer);
    match answer {
        Answer::Reset | Answer::Prohibited => xdp_action::XDP_TX,
        Answer::Limited | Answer::Unanswerable => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn answered(ctx: &XdpContext) -> Answer {
    let (Some(limit), Some(reply)) = (maps::answer_limit(), maps::answer_room()) else {
        return Answer::Unanswerable;
    };
    let (now, per_second) = (clock::now().nanos(), maps::settings().answers_per_second);
    // First, since a flood must stay cheap to drop.
    if !limit.has_room(now, per_second) {
        return Answer::Limited;
    }
    let Some((answer, length)) = answer::build(&Received(ctx.ctx), reply) else {
        return Answer::Unanswerable;
    };
    if !limit.take(now, per_second) {
        return Answer::Limited;
    }
    if replace(ctx.ctx, reply, length) { answer } else { Answer::Unanswerable }
}

/// Makes the frame the reply.
#[inline(always)]
fn replace(ctx: *mut xdp_md, reply: &mut Reply, length: u32) -> bool {
    if !(SHORTEST..=LONGEST as u32).contains(&length) {
        return false;
    }
    // SAFETY: the context is the kernel's own, and the reply has the bytes that are stored.
    unsafe {
        let longer = length as i32 - bpf_xdp_get_buff_len(ctx) as i32;
        // Every driver has room before a frame, not every one behind it. All bytes are overwritten anyway.
        let failed =
            if longer > 0 { bpf_xdp_adjust_head(ctx, -longer) } else { bpf_xdp_adjust_tail(ctx, longer) };
        failed == 0 && bpf_xdp_store_bytes(ctx, 0, reply.0.as_mut_ptr().cast(), length) == 0
    }
}

/// The frame as it came in.
struct Received(*mut xdp_md);

impl Frame for Received {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the kernel's own.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: as above, and the target has `N` bytes.
        let failed = unsafe { bpf_xdp_load_bytes(self.0, at, bytes.as_mut_ptr().cast(), N as u32) };
        if failed == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn copy<const MOST: usize>(&self, at: u32, length: u32, target: &mut [u8; MOST]) -> bool {
        if length == 0 || length > MOST as u32 {
            return false;
        }
        // SAFETY: as above, and the target has room for `MOST` bytes.
        unsafe { bpf_xdp_load_bytes(self.0, at, target.as_mut_ptr().cast(), length) == 0 }
    }
}
