//! What the bench's objects do otherwise: the live program has nothing of it.
//!
//! A frame that passes goes to the network stack, whose cost is many times the program's. The bench drops it
//! instead, as the floors and the peers it is compared with do. And for the cost by stage a program can end early;
//! what it found until then is hidden from the compiler, which would otherwise leave out the finding.

use aya_ebpf::bindings::xdp_action;

use crate::maps::Kernel;

/// Whether the program counts what it decided.
pub const COUNTS: bool = cfg!(not(feature = "stage-admit"));

/// What becomes of a frame that passes.
#[inline(always)]
pub fn passed() -> u32 {
    #[cfg(not(feature = "bench"))]
    return xdp_action::XDP_PASS;
    // Hidden, or the compiler would see that both verdicts are the same and leave out the question.
    #[cfg(feature = "bench")]
    core::hint::black_box(xdp_action::XDP_DROP)
}

/// The verdict of a program that ends before it judges; `None` for one that does not.
#[cfg(not(any(feature = "stage-parse", feature = "stage-lookup")))]
#[inline(always)]
pub fn ended_early(_frame: weir_dataplane_common::parse::Cursor<'_>, _tables: &Kernel<'_>) -> Option<u32> {
    None
}

/// The verdict of a program that parses, and perhaps looks up the entry of a pooled source and its profile.
#[cfg(any(feature = "stage-parse", feature = "stage-lookup"))]
#[inline(always)]
pub fn ended_early(frame: weir_dataplane_common::parse::Cursor<'_>, tables: &Kernel<'_>) -> Option<u32> {
    use core::hint::black_box;
    use weir_dataplane_common::parse::{Parsed, ethernet};

    let Parsed::Ip(packet) = ethernet(frame) else { return Some(xdp_action::XDP_ABORTED) };
    let ports = u32::from(packet.source_port) << 16 | u32::from(packet.destination_port);
    black_box(packet.source.low ^ packet.destination.low ^ packet.classes.0 ^ u64::from(ports));
    #[cfg(not(feature = "stage-lookup"))]
    let _ = tables;
    #[cfg(feature = "stage-lookup")]
    {
        use crate::maps::settings;
        use weir_dataplane_common::{abi::Control, node::Tables};

        let entry = settings().pool_index(packet.source).and_then(|index| tables.entry(index));
        let Some(entry) = entry else { return Some(xdp_action::XDP_ABORTED) };
        let profile = tables.profile(Control(entry.control.load()).profile());
        let Some(profile) = profile else { return Some(xdp_action::XDP_ABORTED) };
        black_box(entry.session.load() ^ profile.watched().0);
    }
    Some(xdp_action::XDP_DROP)
}
