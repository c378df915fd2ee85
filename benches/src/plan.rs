//! How much is measured: the full run, and the quick one that only proves that the bench works.

use std::path::PathBuf;

/// Devices in the large rows: a /12 of IPv4 addresses, a /44 of IPv6 /64s.
pub const DEVICES: u32 = 1 << 20;

/// Amounts of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whether this is the quick run.
    pub quick: bool,
    /// Where the BPF objects lie.
    pub objects: PathBuf,
    /// Another build of `weir-bench.o`, to be measured in the same rounds: what did a change bring?
    pub beside: Option<String>,
    /// Rows of P1 and P2 to measure; empty means all.
    pub rows: Vec<String>,
    /// Interleaved rounds for P1 and P2.
    pub rounds: usize,
    /// Interleaved rounds of the other rows.
    pub few_rounds: usize,
    /// Packets of a live run.
    pub live_packets: u32,
    /// Repetitions of a test-run.
    pub repeats: u32,
    /// Requests per limit in P4.
    pub requests: u32,
}

impl Plan {
    /// The full run: some ten minutes.
    pub fn full(objects: PathBuf) -> Self {
        Self {
            quick: false,
            objects,
            beside: None,
            rows: Vec::new(),
            rounds: 15,
            few_rounds: 5,
            live_packets: 1_000_000,
            repeats: 20_000_000,
            requests: 100_000,
        }
    }

    /// The quick run: under two minutes; its figures are no measurement.
    pub fn quick(objects: PathBuf) -> Self {
        Self {
            quick: true,
            rounds: 3,
            few_rounds: 2,
            live_packets: 200_000,
            repeats: 1_000_000,
            requests: 4_000,
            ..Self::full(objects)
        }
    }
}
