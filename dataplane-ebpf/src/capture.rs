//! A judged packet on its way to whoever captures.
//!
//! Dead code unless the program was loaded to capture: the verifier knows the setting and drops all of it. Only
//! packets that the filter asks for pay more than a look at it. It must not change a verdict: what cannot be copied
//! is counted and goes its way.

use aya_ebpf::{
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use weir_dataplane_common::{
    abi::Side,
    capture::{Facts, Filter, HEAD, LONGEST_SNAP, Record, loss, wanted},
    node::Judgement,
    opaque::forget,
};

use crate::maps;

const NANOS: u64 = 1_000_000_000;

/// Copies the packet, if it is wanted. `reason` is the number of what it was judged.
#[inline(always)]
pub fn offer(ctx: &XdpContext, side: Side, judgement: &Judgement, reason: u32) {
    if maps::settings().capture == 0 {
        return;
    }
    let in_earnest = judgement.unenforced.map_or(reason, |unenforced| unenforced as u32);
    let facts = Facts { reason, in_earnest, entry: judgement.entry, side };
    let Some(filter) = maps::capture_filter() else { return };
    if wanted(filter, facts) {
        copy(ctx, filter, facts);
    }
}

#[inline(always)]
fn copy(ctx: &XdpContext, filter: &Filter, facts: Facts) {
    // SAFETY: helpers without arguments.
    let (random, nanos) = unsafe { (bpf_get_prandom_u32(), bpf_ktime_get_ns()) };
    if !filter.drawn(random) {
        return;
    }
    if !filter.has_room((nanos / NANOS) as u32) {
        maps::count_lost_copy(loss::OVER_RATE);
        return;
    }
    let Some(record) = maps::capture_scratch() else { return };
    // SAFETY: the context is the kernel's own.
    let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    // SAFETY: the scratch record is this CPU's own, and programs are not preempted by themselves. Every byte that is
    // sent is written here: the frame's up to `captured`.
    let sent = unsafe {
        (*record).nanos = nanos;
        (*record).ifindex = ctx.ingress_ifindex() as u32;
        (*record).entry = facts.entry;
        (*record).frame_length = length;
        (*record).reason = facts.reason as u8;
        (*record).in_earnest = facts.in_earnest as u8;
        (*record).side = facts.side as u8;
        (*record).captured = load(ctx, (&raw mut (*record).frame).cast(), filter.snapped(length));
        send(record)
    };
    if !sent {
        maps::count_lost_copy(loss::RING_FULL);
    }
}

/// Copies so many bytes of the frame; says how many it were.
#[inline(always)]
unsafe fn load(ctx: &XdpContext, target: *mut core::ffi::c_void, length: u32) -> u32 {
    let length = bounded(length);
    if length == 0 {
        return 0;
    }
    // SAFETY: `target` has room for `LONGEST_SNAP` bytes.
    let failed = unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, target, length) };
    if failed == 0 { length } else { 0 }
}

/// Sends the head and what there is of the frame; false if the ring is full.
#[inline(always)]
unsafe fn send(record: *mut Record) -> bool {
    // SAFETY: the caller wrote it.
    let captured = bounded(unsafe { (*record).captured });
    let size = HEAD + captured as usize;
    // SAFETY: so many bytes of the record are there, and they were written.
    let bytes = unsafe { core::slice::from_raw_parts(record.cast::<u8>(), size) };
    maps::CAPTURES.output::<[u8]>(bytes, 0).is_ok()
}

/// The same number, within the bounds that the verifier wants to see where it is used.
#[inline(always)]
fn bounded(length: u32) -> u32 {
    let length = forget(length);
    if length < LONGEST_SNAP as u32 { length } else { LONGEST_SNAP as u32 }
}
