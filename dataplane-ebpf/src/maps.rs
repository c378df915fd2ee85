//! The program's maps. Sizes are set at load; what is here are the smallest that work.
//!
//! No map here evicts: an evicted offender would be a pardoned one. When the hash of unpooled devices is
//! full, user space refuses the binding; when the ring is full, the loss is counted and the alarm bit stays.

use core::{hint::black_box, ptr::addr_of};

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray, ProgramArray, RingBuf},
    programs::XdpContext,
};
use weir_dataplane_common::{
    abi::{
        AddressKey, Entry, Ledger, NO_INDEX, PROFILES, Profile, RULES, STRANGER_PROFILE, STRANGER_RATES,
        Settings, Switches,
    },
    admit::Shadow,
    answer::{Answer, Reply, limit::Limit},
    atomic::Word64,
    capture::{Filter, Record, loss::LOSSES},
    directory::{self, Bucket},
    node::Tables,
    reason::REASONS,
};

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The devices' entries: pools first, then room for devices outside them. User space maps it as memory.
#[map]
static ENTRIES: Array<Entry> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Their ledgers, with the same indices: what only accesses touch.
#[map]
static LEDGERS: Array<Ledger> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What an operator has switched.
#[map]
static SWITCHES: Array<Switches> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// When the new strangers of each interface are paid for.
#[map]
static STRANGER_RATE: Array<Word64> = Array::with_max_entries(STRANGER_RATES, 0);

/// What combinations of policies mean; behind them, what strangers are judged by. Written before an entry names them, never changed while one does.
#[map]
static PROFILE_TABLE: Array<Profile> = Array::with_max_entries(STRANGER_PROFILE + 1, 0);

/// Entries of devices whose addresses are in no pool. Written by user space only.
#[map]
static UNPOOLED: Array<Bucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Packets by reason.
#[map]
static REASON_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS as u32, 0);

/// On a node that only watches: what would have been dropped, by reason.
#[map]
static SHADOW_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS as u32, 0);

/// What policies in shadow would have dropped, by profile and place.
#[map]
static RULE_SHADOWS: PerCpuArray<u64> = PerCpuArray::with_max_entries(PROFILES * RULES as u32, 0);

/// Alarms on their way to user space, with their held frames.
#[map]
pub static ALARMS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Alarms that found the ring full. The entry's alarm bit stays, so the agent finds them.
#[map]
static LOST_ALARMS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// What is to be copied, in a program that captures. Written by user space before that program is put in place.
#[map]
static CAPTURE_FILTER: Array<Filter> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Copies on their way to user space. The private copy, which is never captured from, has no room for any.
#[map]
pub static CAPTURES: RingBuf =
    RingBuf::with_byte_size(if cfg!(feature = "replay") { 1 << 12 } else { 1 << 20 }, 0);

/// Where a copy is put together: too large for the stack.
#[map]
static CAPTURE_SCRATCH: PerCpuArray<Record> = PerCpuArray::with_max_entries(1, 0);

/// Packets that were wanted and not copied, by [`weir_dataplane_common::capture::loss`].
#[map]
static CAPTURE_LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSSES, 0);

/// The program that answers, in its only place; empty where nothing is answered.
#[map]
static ANSWERS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// How many answers the node may still send.
#[map]
static ANSWER_LIMIT: Array<Limit> = Array::with_max_entries(1, 0);

/// Where an answer is put together: too large for the stack.
#[map]
static ANSWER_ROOM: PerCpuArray<Reply> = PerCpuArray::with_max_entries(1, 0);

/// What became of packets that could have been answered, by the numbers of [`Answer`].
#[map]
static ANSWER_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Answer::ALL.len() as u32, 0);

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

/// The kernel's side of [`Tables`], for a packet that came in on this interface.
pub struct Kernel<'c> {
    pub ctx: &'c XdpContext,
}

impl Tables for Kernel<'_> {
    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&Entry> {
        ENTRIES.get(index)
    }

    #[inline(always)]
    fn ledger(&self, index: u32) -> Option<&Ledger> {
        LEDGERS.get(index)
    }

    #[inline(always)]
    fn profile(&self, number: u32) -> Option<&Profile> {
        PROFILE_TABLE.get(number)
    }

    #[inline(always)]
    fn switches(&self) -> Option<&Switches> {
        SWITCHES.get(0)
    }

    #[inline(always)]
    fn stranger_rate(&self) -> Option<&Word64> {
        STRANGER_RATE.get(self.ctx.ingress_ifindex() as u32 % STRANGER_RATES)
    }

    #[inline(always)]
    fn index_of(&self, key: &AddressKey) -> Option<u32> {
        let index = directory::find(*key, settings().directory_buckets, |number| UNPOOLED.get(number));
        if index == NO_INDEX { None } else { Some(index) }
    }
}

/// Counts a packet by its reason's number.
#[inline(always)]
pub fn count(reason: u32) {
    add_one(&REASON_COUNTS, reason);
}

/// Counts what a node that only watches would have dropped.
#[inline(always)]
pub fn count_unenforced(reason: u32) {
    add_one(&SHADOW_COUNTS, reason);
}

/// Counts what a policy in shadow would have dropped.
#[inline(always)]
pub fn count_shadow(profile: u32, shadow: Shadow) {
    add_one(&RULE_SHADOWS, profile.wrapping_mul(RULES as u32).wrapping_add(shadow.place()));
}

/// Counts an alarm that found the ring full.
#[inline(always)]
pub fn count_lost_alarm() {
    add_one(&LOST_ALARMS, 0);
}

/// Counts a packet that was wanted and not copied.
#[inline(always)]
pub fn count_lost_copy(loss: u32) {
    add_one(&CAPTURE_LOSSES, loss);
}

/// What is to be copied.
#[inline(always)]
pub fn capture_filter() -> Option<&'static Filter> {
    CAPTURE_FILTER.get(0)
}

/// Where this CPU puts a copy together.
#[inline(always)]
pub fn capture_scratch() -> Option<*mut Record> {
    CAPTURE_SCRATCH.get_ptr_mut(0)
}

/// Goes on as the answering program, if it is there; otherwise returns.
#[inline(always)]
pub fn call_answer(ctx: &XdpContext) {
    // SAFETY: nothing of this program needs to be dropped.
    unsafe { ANSWERS.tail_call(ctx, 0) }
}

/// The limit of answers.
#[inline(always)]
pub fn answer_limit() -> Option<&'static Limit> {
    ANSWER_LIMIT.get(0)
}

/// Where this CPU puts an answer together.
#[inline(always)]
pub fn answer_room() -> Option<&'static mut Reply> {
    let room = ANSWER_ROOM.get_ptr_mut(0)?;
    // SAFETY: the room is this CPU's own, programs are not preempted by themselves, and each asks once.
    Some(unsafe { &mut *room })
}

/// Counts what became of an answer.
#[inline(always)]
pub fn count_answer(answer: Answer) {
    add_one(&ANSWER_COUNTS, answer as u32);
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
