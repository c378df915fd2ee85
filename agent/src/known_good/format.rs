//! The journal as bytes: a header, then one frame for each thing that control said and this node accepted.
//!
//! Pure: bytes in, records out. Whatever the bytes are, reading gives a beginning of the history that was written and
//! says why it ends where it does; it never panics and never guesses. A frame is
//! `[length u32][CRC-32 u32][payload]`, little-endian, the sum over length and payload; a record's payload is
//! `[alarm u32][CacheUpdate]`. Instants are Unix time: a node's own clock means nothing after its next start.

use prost::Message;
use weir_proto::v1;

/// What every journal begins with; the digits are the version.
const MAGIC: [u8; 12] = *b"weir-good-01";
/// No record is longer: four policies and two identifiers need a few hundred bytes.
pub(super) const LONGEST: usize = 1 << 20;
const FRAME_HEAD: usize = 8;

/// What stands for one device.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// A rejected alarm that is to stay active, as the entry's `last_alarm` word; 0: none.
    pub alarm: u32,
    /// The entry as control wants it, without what was meant for one moment only.
    pub update: v1::CacheUpdate,
}

impl std::fmt::Debug for Record {
    /// Without the device (R-X7).
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let revision = self.update.revision;
        formatter.debug_struct("Record").field("revision", &revision).finish_non_exhaustive()
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was read.
    Clean,
    /// The last frame is incomplete, as a power cut leaves it.
    Torn,
    /// Something was changed after it was written; it and what follows is distrusted.
    Distrusted,
}

/// What a journal's bytes say.
#[derive(Debug)]
pub struct Reading {
    /// The records, in the order in which they were written.
    pub records: Vec<Record>,
    /// Bytes up to the end of the last sound frame.
    pub sound: usize,
    /// Why there are no more.
    pub end: End,
}

impl Record {
    /// What an update leaves standing: answers, explanations and a session's release are of the moment.
    pub fn of(update: &v1::CacheUpdate, alarm: u32) -> Self {
        let status = update.status.map(|status| v1::Status { release_session: false, ..status });
        let update = v1::CacheUpdate {
            nonce: 0,
            answers: None,
            alarm: v1::AlarmFate::Unspecified.into(),
            explanation: String::new(),
            status,
            ..update.clone()
        };
        Self { alarm, update }
    }

    /// That a device has no entry.
    pub fn nothing(device: &str) -> Self {
        Self { alarm: 0, update: v1::CacheUpdate { device: device.to_owned(), ..v1::CacheUpdate::default() } }
    }

    /// Whether nothing stands for the device: such a record ends earlier ones.
    pub fn is_nothing(&self) -> bool {
        let update = &self.update;
        let status = update.status.unwrap_or_default();
        !update.cached && !update.not_m2m && status == v1::Status::default() && self.alarm == 0
    }

    /// As a frame.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut payload = self.alarm.to_le_bytes().to_vec();
        payload.extend(self.update.encode_to_vec());
        frame(&payload)
    }

    fn from_payload(payload: &[u8]) -> Option<Self> {
        let (alarm, update) = payload.split_first_chunk()?;
        let update = v1::CacheUpdate::decode(update).ok()?;
        Some(Self { alarm: u32::from_le_bytes(*alarm), update })
    }
}

/// The record in a frame of ours.
pub(super) fn record_of(frame: &[u8]) -> Option<Record> {
    Record::from_payload(first_frame(frame).ok()?)
}

/// The first bytes of a node's journal.
pub fn header(node: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(frame(node.as_bytes()));
    bytes
}

/// Reads a node's journal. A file without a single byte is a clean one.
pub fn read(bytes: &[u8], node: &str) -> Reading {
    let mut reading = Reading { records: Vec::new(), sound: 0, end: End::Clean };
    if bytes.is_empty() {
        return reading;
    }
    let head = header(node);
    if !bytes.starts_with(&head) {
        reading.end = if head.starts_with(bytes) { End::Torn } else { End::Distrusted };
        return reading;
    }
    reading.sound = head.len();
    while reading.sound < bytes.len() {
        let payload = match first_frame(&bytes[reading.sound..]) {
            Ok(payload) => payload,
            Err(end) => {
                reading.end = end;
                break;
            }
        };
        let Some(record) = Record::from_payload(payload) else {
            reading.end = End::Distrusted;
            break;
        };
        reading.records.push(record);
        reading.sound += FRAME_HEAD + payload.len();
    }
    reading
}

/// The payload of the frame that the bytes begin with.
fn first_frame(bytes: &[u8]) -> Result<&[u8], End> {
    let (length, rest) = bytes.split_first_chunk().ok_or(End::Torn)?;
    let size = u32::from_le_bytes(*length) as usize;
    if size > LONGEST {
        return Err(End::Distrusted);
    }
    let (sum, rest) = rest.split_first_chunk().ok_or(End::Torn)?;
    let payload = rest.get(..size).ok_or(End::Torn)?;
    if checksum(length, payload) == u32::from_le_bytes(*sum) { Ok(payload) } else { Err(End::Distrusted) }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    let sum = checksum(&length, payload).to_le_bytes();
    [&length, &sum, payload].concat()
}

fn checksum(length: &[u8; 4], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(length);
    sum.update(payload);
    sum.finalize()
}
