//! What the command line can say about generated load, and the packets that follow from it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use ipnet::IpNet;
use weir_dataplane::traffic::{Kind, LONGEST, SHORTEST, Traffic};

/// The most that one run sends.
const MOST_PACKETS: u64 = 10_000_000_000;
/// The longest that one run lasts.
const LONGEST_RUN: u64 = 24 * 3600;

/// The load.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Send out of this interface of the present network namespace.
    #[arg(long, value_name = "INTERFACE")]
    pub interface: String,
    /// The next hop's Ethernet address.
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub to: [u8; 6],
    /// The sender's Ethernet address.
    #[arg(long, value_name = "MAC", value_parser = mac, default_value = "02:45:00:09:00:02")]
    pub from: [u8; 6],
    /// What the packets are.
    #[arg(long, default_value = "udp", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    pub kind: String,
    /// Sources: each packet has a random IPv4 address, or IPv6 /64, of this prefix.
    #[arg(long, value_name = "PREFIX", default_value = "10.16.0.0/12")]
    pub devices: IpNet,
    /// Destination.
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.5")]
    pub server: IpAddr,
    /// Length of a frame in bytes, without its check sequence.
    #[arg(long, value_name = "BYTES", default_value_t = SHORTEST)]
    pub length: usize,
    /// Packets to send.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=MOST_PACKETS))]
    pub count: u64,
    /// Packets a second, at most.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// End after so many seconds even if not all are sent.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=LONGEST_RUN))]
    pub seconds: u64,
    /// Measure: send from user space, read the packets on this interface, print their latency.
    #[arg(long, value_name = "INTERFACE")]
    pub receive: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// When the run ends at the latest.
    pub fn longest(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The packets.
    ///
    /// # Errors
    /// If what was asked for does not go together.
    pub fn traffic(&self) -> anyhow::Result<Traffic> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let traffic = Traffic {
            kind: kind.with_context(|| format!("no packets of kind {:?}", self.kind))?,
            devices: self.devices,
            server: self.server,
            from: self.from,
            to: self.to,
            length: self.length,
        };
        if let IpNet::V6(prefix) = self.devices
            && prefix.prefix_len() > 64
        {
            bail!("--devices {prefix}: a device has an IPv6 /64 of its own");
        }
        if self.length > LONGEST {
            bail!("--length {}: at most {LONGEST}", self.length);
        }
        Ok(traffic)
    }
}

/// Six bytes in hexadecimal between colons.
fn mac(text: &str) -> Result<[u8; 6], String> {
    let fault = || format!("{text:?} is no Ethernet address such as 02:45:00:00:00:01");
    let bytes = text.split(':').map(|byte| match byte.len() {
        2 => u8::from_str_radix(byte, 16).map_err(|_| fault()),
        _ => Err(fault()),
    });
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::mac;

    #[test]
    fn an_ethernet_address_has_six_bytes_in_hexadecimal() {
        assert_eq!(mac("02:45:00:09:00:fF"), Ok([2, 0x45, 0, 9, 0, 255]));
        for text in ["", "02:45:00:09:00", "02:45:00:09:00:01:02", "02:45:00:09:00:xx", "2:45:0:9:0:1"] {
            assert!(mac(text).is_err(), "{text:?}");
        }
    }
}
