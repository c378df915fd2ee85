//! P5: how fast user space writes device entries: as memory, by one `bpf()` call each, by a batch call.
//!
//! The calls go to a map of the same shape that no program uses, since a live entry may not be written so at all.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_dataplane::{Gate, Layout, gate::Options, layout::Strangers};
use weir_dataplane_common::abi::{Control, Entry, Ledger, VALID};

use crate::figure::{Figure, Goal, median};
use crate::plan::{DEVICES, Plan};
use crate::report::Report;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
/// A device: its entry and its ledger.
const VALUE: usize = size_of::<Entry>() + size_of::<Ledger>();
/// Entries of a batch call.
const BATCH: u32 = 4096;

/// `union bpf_attr`, the part for creating a map.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The part for one element.
#[repr(C)]
struct Update {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part for a batch.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Measures P5.
///
/// # Errors
/// If the kernel refuses something.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let layout = Layout::new(&["10.16.0.0/12".parse()?], 0)?;
    let gate = load(&layout)?;
    let map = create()?;
    let (mut mapped, mut single, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.few_rounds {
        let times = [
            timed(|| write_mapped(&gate, round as u64))?,
            timed(|| write_singly(&map))?,
            timed(|| write_batches(&map))?,
        ];
        // The first round touches the pages for the first time.
        if round > 0 {
            mapped.push(times[0]);
            single.push(times[1]);
            batch.push(times[2]);
        }
    }
    let ratios: Vec<f64> = single.iter().zip(&mapped).map(|(single, mapped)| single / mapped).collect();
    let note = format!(
        "{:.1} ns per entry as memory, {:.0} by a batch call, {:.0} by one call each",
        median(&mapped),
        median(&batch),
        median(&single)
    );
    report.add("P5", Figure::of(&ratios, "× one bpf() call each", Goal::AtLeast(30.0)).noted(note));
    large_pool(plan, report)
}

fn load(layout: &Layout) -> Result<Gate> {
    Ok(Gate::load(&Options {
        entries: layout.entries(),
        unpooled: 0,
        ring_bytes: weir_dataplane::gate::SMALLEST_RING,
        settings: layout.settings(&[], Strangers::default()),
    })?)
}

/// Nanoseconds per entry.
fn timed(write: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    write()?;
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(DEVICES))
}

/// As the agent does: the words that others do not write, then the control word by compare-and-swap.
fn write_mapped(gate: &Gate, generation: u64) -> Result<()> {
    let entries = gate.entries();
    for ((number, entry), ledger) in (0u32..).zip(entries.iter()).zip(entries.ledgers()) {
        entry.owner.store(number);
        ledger.rejected_until.store(0);
        let old = entry.control.load();
        entry.control.replace(old, Control(VALID).with_profile(1).with_generation(generation as u16).0);
    }
    Ok(())
}

fn write_singly(map: &OwnedFd) -> Result<()> {
    let value = [1u8; VALUE];
    for key in 0..DEVICES {
        let attr = Update {
            map: map.as_raw_fd() as u32,
            padding: 0,
            key: (&raw const key) as u64,
            value: value.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: key and value live across the call and have the map's sizes.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attr) }.context("writing an entry by a call")?;
    }
    Ok(())
}

fn write_batches(map: &OwnedFd) -> Result<()> {
    let values = vec![1u8; VALUE * BATCH as usize];
    let mut keys: Vec<u32> = (0..BATCH).collect();
    for first in (0..DEVICES).step_by(BATCH as usize) {
        (first..).zip(&mut keys).for_each(|(number, key)| *key = number);
        let attr = Batch {
            in_batch: 0,
            out_batch: 0,
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: BATCH,
            map: map.as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: keys and values live across the call and hold `count` elements.
        unsafe { bpf(BPF_MAP_UPDATE_BATCH, &attr) }.context("writing a batch of entries")?;
    }
    Ok(())
}

fn create() -> Result<OwnedFd> {
    let attr = Create {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: VALUE as u32,
        max_entries: DEVICES,
        flags: 0,
    };
    // SAFETY: the attributes describe a map; the kernel gives a descriptor that is ours alone.
    unsafe {
        let fd = bpf(BPF_MAP_CREATE, &attr).context("making a map to write to by calls")?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// # Safety
/// Every pointer in `attr` must be valid for what the command does.
unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the size is the attributes' own.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// A pool of ten million devices: how long it takes to load and to bind, and how much memory it holds.
fn large_pool(plan: &Plan, report: &mut Report) -> Result<()> {
    const UNIT: &str = "s to load and bind 10.5 M devices";
    if plan.quick {
        report.add("P5.10M", Figure::absent(UNIT, "left out of the quick run"));
        return Ok(());
    }
    let layout = Layout::new(&["10.0.0.0/9".parse()?, "10.128.0.0/11".parse()?], 0)?;
    let need = u64::from(layout.entries()) * VALUE as u64 + (1 << 30);
    if available_memory()? < need {
        report
            .add("P5.10M", Figure::absent(UNIT, format!("this machine has not {} MiB to spare", need >> 20)));
        return Ok(());
    }
    let begin = Instant::now();
    let gate = load(&layout)?;
    let loaded = begin.elapsed();
    write_mapped(&gate, 1)?;
    let bound: Duration = begin.elapsed();
    let bytes: u64 = gate.memory()?.iter().map(|(_, bytes)| bytes).sum();
    let note = format!("{:.2} s of it loading; {} MiB of kernel memory", loaded.as_secs_f64(), bytes >> 20);
    report.add("P5.10M", Figure::one(bound.as_secs_f64(), UNIT, Goal::None).noted(note));
    Ok(())
}

fn available_memory() -> Result<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.context("/proc/meminfo tells no available memory")? << 10)
}
