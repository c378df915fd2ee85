//! What a node says to whoever captures: a line of JSON for each message, and behind a packet's line its bytes.
//!
//! What this is: values to bytes and back, both ends of one Unix socket. What it must not do: know HTTP, or trust
//! the other side's lengths. Fields are only ever added. A `Debug` of it names no device (R-X7).

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_dataplane_common::capture::LONGEST_SNAP;

/// The longest line: an interface's name, an identifier and some numbers.
const LONGEST_LINE: usize = 4096;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A judged packet.
    Packet(Packet),
    /// What was wanted and not copied so far.
    Losses(Losses),
    /// The capture is over: nothing follows.
    End {
        /// Why.
        why: Why,
        /// What was wanted and not copied in all.
        losses: Losses,
    },
}

/// A judged packet.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Packet {
    /// When, ns since the Unix epoch.
    pub at_ns: u64,
    /// The interface it came in on.
    pub interface: String,
    /// The device's primary entry; none if no device is bound to the address.
    pub entry: Option<u32>,
    /// The device's identifier, if identifiers were asked for.
    pub device: Option<String>,
    /// `access` or `network`.
    pub side: String,
    /// `pass` or `drop`.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
    /// On a node that only watches: that of the reason for which another would have dropped it.
    pub in_earnest: Option<String>,
    /// The frame's length on the wire.
    pub length: u32,
    /// How many bytes of it follow the line.
    pub captured: u32,
    /// These.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Packets that were wanted and not copied, since the capture began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// The ring had no room: they came faster than they were read.
    pub ring_full: u64,
    /// The second had its number of packets.
    pub over_rate: u64,
}

/// Why a capture is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// As many packets as were asked for.
    Count,
    /// As long as was asked for.
    Time,
    /// The node ends.
    Node,
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A line that does not end.
    #[error("a line of more than {LONGEST_LINE} bytes")]
    Line,
    /// A line that is no message.
    #[error("a line that is not understood ({0}); is the node of another version?")]
    Json(#[from] serde_json::Error),
    /// A packet of more bytes than one is captured with.
    #[error("a packet of {0} bytes, where {LONGEST_SNAP} are the most")]
    Packet(u32),
}

impl fmt::Debug for Packet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Packet")
            .field("at_ns", &self.at_ns)
            .field("reason", &self.reason)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Adds the message to `bytes`.
    ///
    /// # Panics
    /// Never: a message has text keys and no value that JSON cannot hold.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        serde_json::to_writer(&mut *bytes, self).expect("text keys and plain values");
        bytes.push(b'\n');
        if let Self::Packet(packet) = self {
            bytes.extend_from_slice(&packet.bytes);
        }
    }
}

/// Reads messages from bytes that come in pieces.
#[derive(Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Up to here they are read.
    read: usize,
    /// A packet whose bytes are not all here yet.
    begun: Option<Packet>,
}

impl Decoder {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole message; `None` until more bytes come.
    ///
    /// # Errors
    /// [`Malformed`]; nothing can be read after it.
    pub fn message(&mut self) -> Result<Option<Message>, Malformed> {
        if self.begun.is_none() {
            match self.line()? {
                Some(Message::Packet(packet)) => self.begun = Some(packet),
                other => return Ok(other),
            }
        }
        Ok(self.finish_packet().map(Message::Packet))
    }

    fn line(&mut self) -> Result<Option<Message>, Malformed> {
        let rest = &self.bytes[self.read..];
        let Some(length) = rest.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            return if rest.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed::Line) };
        };
        let message: Message = serde_json::from_slice(&rest[..length])?;
        if let Message::Packet(packet) = &message
            && packet.captured as usize > LONGEST_SNAP
        {
            return Err(Malformed::Packet(packet.captured));
        }
        self.read += length + 1;
        Ok(Some(message))
    }

    fn finish_packet(&mut self) -> Option<Packet> {
        let length = self.begun.as_ref()?.captured as usize;
        let bytes = self.bytes.get(self.read..self.read + length)?.to_vec();
        self.read += length;
        let packet = self.begun.take()?;
        Some(Packet { bytes, ..packet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet() -> impl Strategy<Value = Message> {
        let parts = (any::<u64>(), any::<Option<u32>>(), any::<Option<String>>(), any::<String>());
        (parts, prop::collection::vec(any::<u8>(), 0..200), any::<u32>()).prop_map(
            |((at_ns, entry, device, interface), bytes, length)| {
                let captured = bytes.len() as u32;
                let [side, verdict, reason] = ["access", "drop", "throttled"].map(str::to_owned);
                Message::Packet(Packet {
                    at_ns,
                    interface,
                    entry,
                    device,
                    side,
                    verdict,
                    reason,
                    in_earnest: None,
                    length,
                    captured,
                    bytes,
                })
            },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        let losses = (any::<u64>(), any::<u64>())
            .prop_map(|(ring_full, over_rate)| Losses { ring_full, over_rate })
            .boxed();
        let why = prop::sample::select(vec![Why::Count, Why::Time, Why::Node]);
        let end = (why, losses.clone()).prop_map(|(why, losses)| Message::End { why, losses });
        prop_oneof![packet(), losses.prop_map(Message::Losses), end]
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood_however_it_is_cut_into_pieces(
            said in prop::collection::vec(message(), 0..8), pieces in prop::collection::vec(1usize..300, 1..40),
        ) {
            let mut bytes = Vec::new();
            said.iter().for_each(|message| message.encode(&mut bytes));
            let (mut decoder, mut understood, mut rest) = (Decoder::default(), Vec::new(), &bytes[..]);
            for length in pieces.iter().cycle() {
                let (piece, later) = rest.split_at(rest.len().min(*length));
                decoder.push(piece);
                while let Some(message) = decoder.message().expect("well-formed") {
                    understood.push(message);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(understood, said);
        }
    }

    #[test]
    fn a_decoder_does_not_keep_what_it_has_read() {
        let (mut decoder, mut line) = (Decoder::default(), Vec::new());
        Message::Losses(Losses::default()).encode(&mut line);
        for _ in 0..1000 {
            decoder.push(&line);
            assert!(decoder.message().expect("well-formed").is_some());
        }
        assert!(decoder.bytes.len() <= line.len());
    }

    #[test]
    fn what_is_no_message_is_refused_and_bounded() {
        let refused = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            decoder.message().expect_err("malformed").to_string()
        };
        assert!(refused(&[b'x'; 5000]).contains("more than 4096 bytes"));
        assert!(refused(b"{\"weather\":1}\n").contains("another version"));
        let huge = br#"{"packet":{"captured":4065}}"#;
        assert!(refused(&[&huge[..], b"\n"].concat()).contains("4065 bytes"));
    }

    #[test]
    fn a_debug_output_names_no_device() {
        let packet = Packet { device: Some("001010000000001".to_owned()), ..Packet::default() };
        assert!(!format!("{:?}", Message::Packet(packet)).contains("00101"));
    }
}
