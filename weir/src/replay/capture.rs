//! Captures: pcap and pcapng files, packet by packet.
//!
//! What this is: bytes on disk to frames with times, in both byte orders and all resolutions. What it must
//! not do: look into a frame, or hide damage: a file that ends inside a packet yields what came before and
//! then an error. Read first: the pcap and pcapng drafts of the IETF's opsawg (draft-ietf-opsawg-pcap,
//! draft-ietf-opsawg-pcapng §4). Blocks are taken raw from the reading library, which takes every time in a
//! pcapng file for nanoseconds and refuses a pcap packet whose length on the wire exceeds the snapshot length.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::{DataLink, PcapError, TsResolution};

use super::block;

/// A packet as it was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// When, ns since the Unix epoch; `None` where the format has no time for it.
    pub time: Option<u64>,
    /// Its length on the wire; more than `bytes` holds if the capture cut it short.
    pub wire_length: u32,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// An open capture.
pub struct Capture {
    file: PathBuf,
    format: Format,
    /// Packets read so far.
    read: u64,
}

enum Format {
    Pcap(PcapReader<Source>),
    PcapNg(PcapNgReader<Source>),
}

/// The bytes that told the format, and the rest: the file may be a pipe, which cannot be rewound.
type Source = io::Chain<io::Cursor<Vec<u8>>, File>;

const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Micro- and nanoseconds, each in both byte orders.
const PCAP: [[u8; 4]; 4] =
    [[0xa1, 0xb2, 0xc3, 0xd4], [0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d], [0x4d, 0x3c, 0xb2, 0xa1]];
/// What gzip, zstd and xz files begin with.
const COMPRESSED: [&[u8]; 3] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X']];

impl Capture {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// The file cannot be read, is no capture, or was not captured on Ethernet.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let format = open_format(file).with_context(|| file.display().to_string())?;
        Ok(Self { file: file.to_owned(), format, read: 0 })
    }

    /// Reads the next packet into `frame`; false at the end of the file.
    ///
    /// # Errors
    /// The file ends inside a packet, is damaged, or its next packet was not captured on Ethernet. No more
    /// can be read then.
    pub fn next(&mut self, frame: &mut Frame) -> anyhow::Result<bool> {
        let more = match &mut self.format {
            Format::Pcap(reader) => next_pcap(reader, frame),
            Format::PcapNg(reader) => next_pcapng(reader, frame),
        };
        let more = more.with_context(|| format!("{}: packet {}", self.file.display(), self.read + 1))?;
        self.read += u64::from(more);
        Ok(more)
    }
}

fn open_format(path: &Path) -> anyhow::Result<Format> {
    let mut file = File::open(path).context("cannot be opened")?;
    let mut magic = Vec::new();
    (&mut file).take(4).read_to_end(&mut magic).context("cannot be read")?;
    if magic.is_empty() {
        bail!("the file is empty; a capture has at least a header");
    }
    let known = |magic: &[u8]| magic == PCAPNG || PCAP.iter().any(|pcap| magic == pcap);
    if COMPRESSED.iter().any(|start| magic.starts_with(start)) {
        bail!("the file is compressed; unpack it first");
    }
    if !known(&magic) {
        bail!("this is neither a pcap nor a pcapng file");
    }
    let is_pcapng = magic == PCAPNG;
    let source = io::Cursor::new(magic).chain(file);
    if is_pcapng {
        let reader = PcapNgReader::new(source).map_err(Damage::from).context("the capture's header")?;
        return Ok(Format::PcapNg(reader));
    }
    let reader = PcapReader::new(source).map_err(Damage::from).context("the capture's header")?;
    check_link(reader.header().datalink)?;
    Ok(Format::Pcap(reader))
}

/// The upper bits of a pcap link type say how long the frame check sequence is, which stands behind the packet.
fn check_link(link: DataLink) -> anyhow::Result<()> {
    let number = u32::from(link) & 0xffff;
    if number == u32::from(DataLink::ETHERNET) {
        return Ok(());
    }
    let link = DataLink::from(number);
    bail!("captured on link type {number} ({link:?}); only Ethernet captures (link type 1) can be read")
}

fn next_pcap(reader: &mut PcapReader<Source>, frame: &mut Frame) -> anyhow::Result<bool> {
    let nanos_per_unit = match reader.header().ts_resolution {
        TsResolution::MicroSecond => 1000,
        TsResolution::NanoSecond => 1,
    };
    let Some(packet) = reader.next_raw_packet() else { return Ok(false) };
    let packet = packet.map_err(Damage::from)?;
    // 32 bits of seconds and of parts: the sum stays far below 64.
    let parts = u64::from(packet.ts_frac) * nanos_per_unit;
    frame.time = Some(u64::from(packet.ts_sec) * 1_000_000_000 + parts);
    frame.wire_length = packet.orig_len;
    frame.bytes.clear();
    frame.bytes.extend_from_slice(&packet.data);
    Ok(true)
}

fn next_pcapng(reader: &mut PcapNgReader<Source>, frame: &mut Frame) -> anyhow::Result<bool> {
    loop {
        // A packet belongs to the section before it, so its byte order is known already.
        let order = reader.section().endianness;
        let Some(raw) = reader.next_raw_block() else { return Ok(false) };
        let raw = raw.map_err(Damage::from)?;
        let Some(packet) = block::Packet::read(raw.type_, &raw.body, order) else { continue };
        let packet = packet?;
        frame.wire_length = packet.wire_length;
        frame.bytes.clear();
        frame.bytes.extend_from_slice(packet.bytes);
        let (number, units) = (packet.interface, packet.units);
        let interface = reader.interfaces().get(number as usize);
        let interface =
            interface.with_context(|| format!("names interface {number}, which is not described"))?;
        check_link(interface.linktype)?;
        if units.is_none() && interface.snaplen != 0 {
            // A simple packet does not say how much of it was captured; its padding is not part of it.
            frame.bytes.truncate(interface.snaplen as usize);
        }
        frame.time = units.map(|units| block::Clock::of(&interface.options).nanos(units));
        return Ok(true);
    }
}

/// What is wrong with the bytes.
#[derive(Debug)]
enum Damage {
    /// They end too early.
    CutShort,
    /// They cannot be read from the disk.
    Unreadable(io::Error),
    /// They cannot be.
    Impossible(PcapError),
}

impl From<PcapError> for Damage {
    fn from(error: PcapError) -> Self {
        match error {
            PcapError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::CutShort,
            PcapError::IoError(error) => Self::Unreadable(error),
            other => Self::Impossible(other),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => {
                f.write_str("the file ends in the middle of it: it was cut short or is damaged")
            }
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Impossible(error) => write!(f, "the file is damaged: {error}"),
        }
    }
}

impl std::error::Error for Damage {}

#[cfg(test)]
mod tests;
