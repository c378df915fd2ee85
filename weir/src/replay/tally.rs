//! What a capture came to: packets, reasons, devices, and what a reader should know about the reading.
//!
//! What this is: counting, and the closing summary in words. What it must not do: keep packets.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use weir_dataplane_common::abi::{Entry, Trace};
use weir_dataplane_common::reason::{REASONS, Reason, Verdict};

use super::capture::Frame;
use crate::table::Table;

/// Devices the summary shows, those with the most requests first.
const SHOWN: usize = 20;

/// Counts of a capture so far.
#[derive(Debug)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    passed: u64,
    cut_short: u64,
    without_time: u64,
    by_reason: [u64; REASONS],
    by_device: Vec<u64>,
    span: Option<(u64, u64)>,
}

/// What the summary says of a device.
pub struct DeviceCounts<'e> {
    /// Its name.
    pub name: &'e str,
    /// Its primary entry.
    pub entry: &'e Entry,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            packets: 0,
            passed: 0,
            cut_short: 0,
            without_time: 0,
            by_reason: [0; REASONS],
            by_device: Vec::new(),
            span: None,
        }
    }
}

impl Tally {
    /// Counts a packet.
    pub fn count(&mut self, frame: &Frame, device: Option<u32>, verdict: Verdict, trace: &Trace) {
        self.packets += 1;
        self.passed += u64::from(verdict == Verdict::Pass);
        self.cut_short += u64::from(frame.bytes.len() < frame.wire_length as usize);
        self.without_time += u64::from(frame.time.is_none());
        if let Some(count) = self.by_reason.get_mut(usize::from(trace.reason)) {
            *count += 1;
        }
        if let Some(device) = device.map(|number| number as usize) {
            if self.by_device.len() <= device {
                self.by_device.resize(device + 1, 0);
            }
            self.by_device[device] += 1;
        }
        if let Some(time) = frame.time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
    }

    /// What a reader should know about how the capture was read.
    pub fn notes(&self, set_back: u64, turned_away: u64, room: u32) -> Vec<String> {
        let note =
            |count: u64, text: &str| (count != 0).then(|| format!("{} {text}", counted(count, "packet")));
        let no_room = format!("from further sources: only the first {room} are devices");
        [
            note(set_back, "with a time before that of an earlier one: judged at the later time"),
            note(self.without_time, "without a time: judged at that of the one before"),
            note(self.cut_short, "cut short when captured: a node would have seen the rest"),
            note(turned_away, &no_room),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Writes the summary in words.
    ///
    /// # Errors
    /// `f`'s.
    pub fn write(&self, f: &mut Formatter<'_>, devices: &[DeviceCounts<'_>]) -> fmt::Result {
        let dropped = self.packets - self.passed;
        write!(f, "{}: {} passed, {dropped} dropped", counted(self.packets, "packet"), self.passed)?;
        write!(f, "; {}", counted(devices.len() as u64, "device"))?;
        if let Some((first, last)) = self.span {
            write!(f, "; {:.3} s from first to last", Duration::from_nanos(last - first).as_secs_f64())?;
        }
        writeln!(f)?;
        if self.packets != 0 {
            write!(f, "\n{}", self.reasons())?;
        }
        if devices.is_empty() { Ok(()) } else { self.write_devices(f, devices) }
    }

    fn reasons(&self) -> Table<4> {
        let mut table = Table::new(["reason", "verdict", "packets", "meaning"]);
        let mut counted: Vec<_> =
            Reason::ALL.iter().map(|reason| (self.by_reason[*reason as usize], *reason)).collect();
        counted.retain(|(count, _)| *count != 0);
        counted.sort_by_key(|(count, reason)| (std::cmp::Reverse(*count), *reason as u8));
        for (count, reason) in counted {
            let (name, verdict) = (reason.name(), reason.verdict().name());
            table.row([name.into(), verdict.into(), count.to_string(), reason.sentence().into()]);
        }
        table
    }

    fn write_devices(&self, f: &mut Formatter<'_>, devices: &[DeviceCounts<'_>]) -> fmt::Result {
        let mut table = Table::new(["device", "packets", "requests", "admitted", "rejected", "unsolicited"]);
        let packets = |number: usize| self.by_device.get(number).copied().unwrap_or(0);
        let mut numbers: Vec<usize> = (0..devices.len()).collect();
        let rank = |number: &usize| (devices[*number].entry.requests.load(), packets(*number));
        numbers.sort_by_key(|number| (std::cmp::Reverse(rank(number)), *number));
        for number in numbers.iter().take(SHOWN) {
            let DeviceCounts { name, entry } = &devices[*number];
            let counters = [&entry.requests, &entry.admitted, &entry.rejected, &entry.unsolicited];
            let [requests, admitted, rejected, unsolicited] = counters.map(|word| word.load().to_string());
            let packets = packets(*number).to_string();
            table.row([(*name).to_owned(), packets, requests, admitted, rejected, unsolicited]);
        }
        write!(f, "\n{table}")?;
        let hidden = devices.len().saturating_sub(SHOWN);
        if hidden == 0 {
            Ok(())
        } else {
            writeln!(f, "and {} with fewer requests", counted(hidden as u64, "device"))
        }
    }
}

/// A tally with its devices, to be displayed.
pub struct Summary<'t> {
    /// The counts.
    pub tally: &'t Tally,
    /// The devices, by number.
    pub devices: Vec<DeviceCounts<'t>>,
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.tally.write(f, &self.devices)
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
