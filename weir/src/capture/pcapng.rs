//! Judged packets as a pcapng.
//!
//! What this is: values to blocks. What it must not do: know where they come from. Blocks are in network byte order:
//! in the other one the writing library turns the two halves of a statistics block's time around. Read first:
//! draft-ietf-opsawg-pcapng §4 (blocks) and §4.6 (what was lost).

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use weir_agent::capture::{Losses, Packet};

use super::comment;

/// Times are in 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// A capture being written.
pub struct Pcapng<W: Write> {
    writer: PcapNgWriter<W>,
    snap: u32,
    /// Names, in the order of the blocks that describe them.
    interfaces: Vec<String>,
    written: u64,
    lost: Losses,
    /// Of which the packets say.
    said: Losses,
    last_ns: u64,
}

impl<W: Write> Pcapng<W> {
    /// Begins a capture of at most `snap` bytes a packet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(writer: W, snap: u32) -> anyhow::Result<Self> {
        let program = concat!("weir ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Big,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(program))],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(writer, section).map_err(plain)?;
        let (lost, said) = (Losses::default(), Losses::default());
        Ok(Self { writer, snap, interfaces: Vec::new(), written: 0, lost, said, last_ns: 0 })
    }

    /// Packets written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What was lost so far; the next packet says how many since the one before.
    pub fn lose(&mut self, lost: Losses) {
        self.lost = lost;
    }

    /// What was lost so far.
    pub fn lost(&self) -> Losses {
        self.lost
    }

    /// Writes a packet, and its interface before the first one of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn packet(&mut self, packet: &Packet) -> anyhow::Result<()> {
        let interface_id = self.interface(&packet.interface)?;
        let mut options = vec![EnhancedPacketOption::Comment(Cow::Owned(comment::of(packet)))];
        let since = total(self.lost) - total(self.said);
        if since != 0 {
            options.push(EnhancedPacketOption::DropCount(since));
        }
        self.write(EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(packet.at_ns),
            original_len: packet.length,
            data: Cow::Borrowed(&packet.bytes),
            options,
        })?;
        (self.said, self.last_ns) = (self.lost, packet.at_ns);
        self.written += 1;
        Ok(())
    }

    /// Writes out what waits in a buffer: somebody may be watching.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.get_mut().flush()?)
    }

    /// Ends the capture with what was lost. It is known for all interfaces together, so one of them bears it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> anyhow::Result<W> {
        if !self.interfaces.is_empty() {
            let Losses { ring_full, over_rate } = self.lost;
            let comment = format!(
                "Not captured, of all interfaces: {ring_full} packets for which the ring had no room, {over_rate} \
                 above the rate."
            );
            self.write(InterfaceStatisticsBlock {
                interface_id: 0,
                timestamp: self.last_ns,
                options: vec![
                    InterfaceStatisticsOption::Comment(Cow::Owned(comment)),
                    InterfaceStatisticsOption::IsbIfDrop(total(self.lost)),
                ],
            })?;
        }
        self.flush()?;
        Ok(self.writer.into_inner())
    }

    fn interface(&mut self, name: &str) -> anyhow::Result<u32> {
        if let Some(number) = self.interfaces.iter().position(|known| known == name) {
            return Ok(number as u32);
        }
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        self.write(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: self.snap, options })?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }

    fn write<'b>(&mut self, block: impl PcapNgBlock<'b>) -> anyhow::Result<()> {
        self.writer.write_pcapng_block(block).map(drop).map_err(plain)
    }
}

fn total(losses: Losses) -> u64 {
    losses.ring_full + losses.over_rate
}

/// Without the library around what the system said, so that a closed pipe can be told from a full disk.
fn plain(error: PcapError) -> anyhow::Error {
    match error {
        PcapError::IoError(error) => error.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
