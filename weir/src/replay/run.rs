//! The two commands' loop: packet by packet from the capture to the output.
//!
//! What this is: the order of things. What it must not do: know how any of them is done.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use anyhow::{Context, bail};
use weir_dataplane_common::abi::{NO_INDEX, Side};

use super::capture::{Capture, Frame};
use super::clock::Clock;
use super::judge::{Judge, Kernel, UserSpace};
use super::line::Line;
use super::printer::Printer;
use super::tally::{DeviceCounts, Summary, Tally};
use super::world::{MOST_SOURCES, World};
use crate::config;

/// What both commands say below their options.
pub const HELP: &str = "\
With --config, the file's [node], [[binding]], [[subscriber]] and [[policy]] apply. A packet from a device's \
address came in on the access side (uplink), else one to a device's address on the network side (downlink). Where \
strangers are limited, anything else came from one, or else from an application server to one. \
The policies of each [[subscriber]] are cached from the start, as if service control had answered before the \
first packet; device types that [control] does not count as machines are never limited. Nobody answers an \
alarm: it stays active to the end of the capture, and on_outage decides nothing.

Time is the capture's. Where it goes back, the newest time so far counts; a silence beyond three days counts as \
three days, which no session, window or throttle outlasts.

Exit code: 0 the whole capture was judged; 1 otherwise, after printing what could be read.";

/// What both commands are told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Print a JSON object in a line for each packet, and nothing else.
    #[arg(long)]
    json: bool,
    /// Judge as the node of this configuration; without it a device is a source address, and nothing is
    /// limited.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print configured devices by their identifiers rather than as device-1, device-2 in the order of their
    /// bindings.
    #[arg(long, requires = "config")]
    show_identifiers: bool,
    /// A pcap or pcapng file, captured on Ethernet.
    capture: PathBuf,
}

/// Judges a capture by the law in user space.
///
/// # Errors
/// Configuration or capture cannot be read, or standard output cannot be written to.
pub fn inspect(options: &Options) -> anyhow::Result<()> {
    let mut world = match configured(options)? {
        Some(world) => world,
        None => World::open(MOST_SOURCES)?,
    };
    let mut judge = UserSpace::new(world.settings, world.first_entries());
    world.install(&mut judge)?;
    run(options, &mut world, &mut judge)
}

/// Judges a capture by a private copy of the loaded program.
///
/// # Errors
/// As [`inspect`]; rights or the program are missing; the kernel refuses it.
pub fn replay(options: &Options) -> anyhow::Result<()> {
    Kernel::check_rights()?;
    let mut world = match configured(options)? {
        Some(world) => world,
        None => World::open(count_sources(options)?)?,
    };
    let mut judge = Kernel::load(world.settings, world.entries, world.unpooled)?;
    world.install(&mut judge)?;
    run(options, &mut world, &mut judge)
}

fn configured(options: &Options) -> anyhow::Result<Option<World>> {
    let Some(file) = &options.config else { return Ok(None) };
    let configuration = config::load(file)?;
    let world = World::configured(&configuration, options.show_identifiers);
    world.map(Some).with_context(|| file.display().to_string())
}

/// The kernel makes all entries at once, so sources are counted before. What cannot be read is met again,
/// and reported, when the capture is judged.
fn count_sources(options: &Options) -> anyhow::Result<u32> {
    let file = &options.capture;
    if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        bail!(
            "{}: not a file; a capture is read twice without --config, and a pipe cannot be",
            file.display()
        );
    }
    let (mut capture, mut frame) = (Capture::open(file)?, Frame::default());
    let mut world = World::open(MOST_SOURCES)?;
    let mut judge = UserSpace::new(world.settings, world.first_entries());
    while let Ok(true) = capture.next(&mut frame) {
        world.side_of(&frame.bytes, &mut judge)?;
    }
    Ok(world.devices().len() as u32)
}

/// Judges and prints packet by packet. What can be read of a damaged capture is printed before the error.
fn run(options: &Options, world: &mut World, judge: &mut impl Judge) -> anyhow::Result<()> {
    let mut capture = Capture::open(&options.capture)?;
    let mut printer = Printer::new(options.json, BufWriter::new(io::stdout().lock()));
    let (mut clock, mut tally, mut frame) = (Clock::default(), Tally::default(), Frame::default());
    let damage = loop {
        match capture.next(&mut frame) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
        let now = clock.read(frame.time);
        if now.keep_old {
            world.keep_old(judge, now.nanos);
        }
        let side = world.side_of(&frame.bytes, judge)?;
        // What is nobody's is a stranger's, who sends.
        let (verdict, trace) = judge.judge(&frame.bytes, side.unwrap_or(Side::Access), now.nanos)?;
        let device = (trace.entry != NO_INDEX).then(|| world.number_at(trace.entry)).flatten();
        tally.count(&frame, device, verdict, &trace);
        let name = device.and_then(|number| world.devices().get(number as usize));
        let name = name.map(|device| device.name.as_str());
        printer.line(&Line::new(tally.packets, &frame, side, name, verdict, &trace))?;
    };
    let entry = |entry: u32| &judge.entries()[entry as usize];
    let devices = world.devices().iter();
    let devices = devices.map(|device| DeviceCounts { name: &device.name, entry: entry(device.entry) });
    let summary = Summary { tally: &tally, devices: devices.collect() };
    printer.close(&summary, &tally.notes(clock.set_back, world.turned_away, world.room.unwrap_or(0)))?;
    damage.map_or(Ok(()), Err)
}
