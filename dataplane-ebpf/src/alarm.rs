//! An alarm on its way to user space.
//!
//! Called once per alarm, never per packet: the law sets the alarm bit by compare-and-swap, and only the CPU
//! that set it comes here. If the ring is full the loss is counted; the bit stays and the agent's sweep
//! finds it, without the frame.

use aya_ebpf::{
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use weir_dataplane_common::{
    abi::{AccessKind, AlarmRecord, HELD_FRAME, Side},
    admit::Raised,
    node::Judgement,
};

use crate::{clock, maps};

#[inline(always)]
pub fn send(ctx: &XdpContext, side: Side, judgement: &Judgement, raised: Raised) {
    let Some(mut place) = maps::ALARMS.reserve::<AlarmRecord>(0) else {
        maps::count_lost_alarm();
        return;
    };
    let record = place.as_mut_ptr();
    // SAFETY: the context is the kernel's own.
    let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    let kind = judgement.outcome.access.unwrap_or(AccessKind::Packet);
    // SAFETY: the record is ours until it is submitted, and every byte that is read later is written here:
    // the frame's up to `carried`.
    unsafe {
        (*record).entry = judgement.entry;
        (*record).ifindex = ctx.ingress_ifindex() as u32;
        (*record).tick = clock::now().0;
        (*record).frame_length = length;
        (*record).condition = raised.condition;
        (*record).side = side as u8;
        (*record).classes = raised.classes.0;
        (*record).kind = kind as u8;
        (*record).access_held = u8::from(raised.access_held);
        (*record).carried = match judgement.unenforced {
            // The frame passes as it is: there is nothing to deliver later.
            Some(_) => 0,
            None => load_frame(ctx, (&raw mut (*record).frame).cast(), length),
        };
    }
    place.submit(0);
}

/// Copies the frame, if it fits; says how many bytes.
#[inline(always)]
unsafe fn load_frame(ctx: &XdpContext, target: *mut core::ffi::c_void, length: u32) -> u32 {
    if length == 0 || length > HELD_FRAME as u32 {
        return 0;
    }
    // SAFETY: `target` has room for `HELD_FRAME` bytes.
    let failed = unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, target, length) };
    if failed == 0 { length } else { 0 }
}
