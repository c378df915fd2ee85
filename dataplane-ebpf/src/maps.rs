//! The program's maps. Sizes are set at load; what is here are the smallest that work.
//!
//! No map here evicts: an evicted offender would be a pardoned one. When the hash of unpooled devices is
//! full, user space refuses the binding; when the ring is full, the loss is counted and the alarm bit stays.

use core::{hint::black_box, ptr::addr_of};

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use weir_dataplane_common::{
    abi::{AddressKey, Entry, PROFILES, Profile, Settings},
    node::Tables,
    reason::REASONS,
};

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The devices' entries: pools first, then room for devices outside them. User space maps it as memory.
#[map]
static ENTRIES: Array<Entry> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What combinations of policies mean. Written before an entry names them, never changed while one does.
#[map]
static PROFILE_TABLE: Array<Profile> = Array::with_max_entries(PROFILES, 0);

/// Entries of devices whose addresses are in no pool. Written by user space only.
#[map]
static UNPOOLED: HashMap<AddressKey, u32> = HashMap::with_max_entries(1, 0);

/// Packets by reason.
#[map]
static REASON_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS as u32, 0);

/// Alarms on their way to user space, with their held frames.
#[map]
pub static ALARMS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Alarms that found the ring full. The entry's alarm bit stays, so the agent finds them.
#[map]
static LOST_ALARMS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The clock of the private copy, ns.
#[cfg(feature = "replay")]
#[map]
pub static REPLAY_CLOCK: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the private copy decided about the last packet.
#[cfg(feature = "replay")]
#[map]
static REPLAY_TRACE: Array<weir_dataplane_common::abi::Trace> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The node's settings. In read-only data: the verifier knows the values and drops what they rule out.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::empty();

/// The layout this object was built for; user space refuses another one.
#[unsafe(no_mangle)]
static WEIR_ABI_VERSION: u32 = weir_dataplane_common::abi::ABI_VERSION;

/// The settings, hidden from the compiler, which would otherwise fold in the values of build time.
#[inline(always)]
pub fn settings() -> &'static Settings {
    black_box(&SETTINGS)
}

/// The kernel's side of [`Tables`].
pub struct Kernel;

impl Tables for Kernel {
    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&Entry> {
        ENTRIES.get(index)
    }

    #[inline(always)]
    fn profile(&self, number: u32) -> Option<&Profile> {
        PROFILE_TABLE.get(number)
    }

    #[inline(always)]
    fn index_of(&self, key: &AddressKey) -> Option<u32> {
        // SAFETY: the value is one word, replaced as a whole.
        unsafe { UNPOOLED.get(key) }.copied()
    }
}

/// Counts a packet by its reason's number.
#[inline(always)]
pub fn count(reason: u32) {
    add_one(&REASON_COUNTS, reason);
}

/// Counts an alarm that found the ring full.
#[inline(always)]
pub fn count_lost_alarm() {
    add_one(&LOST_ALARMS, 0);
}

#[inline(always)]
fn add_one(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the counter is this CPU's own, and programs are not preempted by themselves.
        unsafe { *counter += 1 };
    }
}

/// Says what was decided, and keeps the ABI version from being dropped by the linker.
#[cfg(feature = "replay")]
#[inline(always)]
pub fn trace(judgement: &weir_dataplane_common::node::Judgement) {
    if let Some(place) = REPLAY_TRACE.get_ptr_mut(0) {
        // SAFETY: the private copy is run by one thread at a time.
        unsafe { *place = judgement.trace() };
    }
}

#[used]
static KEEP_ABI_VERSION: &u32 = unsafe { &*addr_of!(WEIR_ABI_VERSION) };
