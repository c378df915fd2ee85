//! What weir is measured against, as small as each can be: a plain drop, one array look-up, one hash look-up;
//! and the generator whose frames all of them receive.
//!
//! The floors judge nothing. Each finds the source address, touches that device's 64 bytes (a counter and the
//! coarse clock) and drops: no gate that keeps state per device can do less. The generator gives each frame a
//! random source address and sends it out of the interface that the run names; what it rewrites is
//! `dataplane-common`'s, tested there.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute macros generate undocumented functions")]

use aya_ebpf::{
    bindings::xdp_action,
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns},
    macros::{map, xdp},
    maps::{Array, HashMap, PerCpuArray},
    programs::XdpContext,
};
use weir_dataplane_common::load::{LONGEST_HEADERS, Slot, Spread};

/// The array floor's devices.
#[map]
static FLOOR_ARRAY: Array<Slot> = Array::with_max_entries(1, 0);

/// The wide floor's devices: as far apart as weir's entries, of which a packet in an open session touches a third.
#[map]
static FLOOR_WIDE: Array<[Slot; 3]> = Array::with_max_entries(1, 0);

/// The hash floor's devices, by address.
#[map]
static FLOOR_HASH: HashMap<u32, Slot> = HashMap::with_max_entries(1, 0);

/// Packets received by each program here: 0 drop, 1 array floor, 2 hash floor, 3 wide floor.
#[map]
static RECEIVED: PerCpuArray<u64> = PerCpuArray::with_max_entries(4, 0);

/// What the generator draws from.
#[map]
static SPREAD: Array<Spread> = Array::with_max_entries(1, 0);

/// Drops and nothing else, not even count: the counter of the others is part of what they cost.
#[xdp]
pub fn floor_drop(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Passes everything: for an interface that only generates.
#[xdp]
pub fn pass_all(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// One array element by the low bits of the IPv4 source address.
#[xdp]
pub fn floor_array(ctx: XdpContext) -> u32 {
    if let Some(source) = ipv4_source(&ctx)
        && let Some(slot) = FLOOR_ARRAY.get_ptr_mut(source & 0xf_ffff)
    {
        touch(slot);
        received(1);
    }
    xdp_action::XDP_DROP
}

/// The same, in an array as large as weir's: what the size of an entry costs by itself.
#[xdp]
pub fn floor_wide(ctx: XdpContext) -> u32 {
    if let Some(source) = ipv4_source(&ctx)
        && let Some(slots) = FLOOR_WIDE.get_ptr_mut(source & 0xf_ffff)
    {
        touch(slots.cast());
        received(3);
    }
    xdp_action::XDP_DROP
}

/// One hash element by the IPv4 source address.
#[xdp]
pub fn floor_hash(ctx: XdpContext) -> u32 {
    if let Some(source) = ipv4_source(&ctx)
        && let Some(slot) = FLOOR_HASH.get_ptr_mut(source)
    {
        touch(slot);
        received(2);
    }
    xdp_action::XDP_DROP
}

/// Gives the frame a random source and sends it out.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    let (start, end) = (ctx.data(), ctx.data_end());
    let Some(spread) = SPREAD.get(0) else { return xdp_action::XDP_ABORTED };
    if start + LONGEST_HEADERS > end {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: that many bytes lie before the end, and the frame is this program's own.
    let frame = unsafe { &mut *(start as *mut [u8; LONGEST_HEADERS]) };
    // SAFETY: a helper without arguments.
    spread.rewrite(frame, unsafe { bpf_get_prandom_u32() });
    xdp_action::XDP_TX
}

#[inline(always)]
fn ipv4_source(ctx: &XdpContext) -> Option<u32> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + 34 > end {
        return None;
    }
    // SAFETY: 34 bytes lie before the end.
    let frame = unsafe { &*(start as *const [u8; 34]) };
    if frame[12] != 8 || frame[13] != 0 {
        return None;
    }
    Some(u32::from_be_bytes([frame[26], frame[27], frame[28], frame[29]]))
}

#[inline(always)]
fn touch(slot: *mut Slot) {
    // SAFETY: the element is the map's; a count lost to another CPU is no matter here.
    unsafe {
        (*slot).packets += 1;
        (*slot).last_ns = bpf_ktime_get_coarse_ns();
    }
}

/// The floors count their packets in all, as weir counts its reasons, so that a run can be checked.
#[inline(always)]
fn received(program: u32) {
    if let Some(counter) = RECEIVED.get_ptr_mut(program) {
        // SAFETY: the counter is this CPU's own.
        unsafe { *counter += 1 };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never linked: nothing here panics.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
