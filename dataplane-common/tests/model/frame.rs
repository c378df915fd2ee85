//! A packet of the model as the frame that a gateway sees, and the settings under which it is the device's.

use weir_dataplane_common::{
    abi::{Pool4, Prefix, Settings},
    inspect::Class,
    parse::Address,
};

use super::policy::{Node, Packet, Way};

const DEVICE: u32 = 0x0a2d_0001;
const SERVER: u32 = 0xc000_0201;
const ANYBODY: u32 = 0x0808_0808;
const UDP: u8 = 17;

/// One device, one application server.
pub fn settings(node: &Node) -> Settings {
    let mut settings = Settings::empty();
    settings.pools4[0] = Pool4 { base: DEVICE, mask: u32::MAX, first: 0, padding: 0 };
    let server = Address::v4(SERVER);
    settings.servers[0] =
        Prefix { high: server.high, low: server.low, high_mask: u64::MAX, low_mask: u64::MAX };
    settings.drop_unsolicited = node.drop_unsolicited.into();
    settings.shadow = node.shadow.into();
    settings
}

/// A packet from or to the device.
pub fn frame(packet: Packet) -> Vec<u8> {
    frame_of(DEVICE, packet)
}

/// A plain IPv4 packet of this length, from or to a device with this address; only what is looked at stands in it.
pub fn frame_of(device: u32, packet: Packet) -> Vec<u8> {
    let (source, destination) = match packet.way {
        Way::Up => (device, ANYBODY),
        Way::FromServer => (SERVER, device),
        Way::Down => (ANYBODY, device),
    };
    let protocol = match packet.class {
        None => UDP,
        Some(Class::Esp) => 50,
        Some(Class::Ah) => 51,
    };
    let mut frame = vec![0; 14 + usize::from(packet.length)];
    frame[12..14].copy_from_slice(&[8, 0]);
    let header = &mut frame[14..];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&packet.length.to_be_bytes());
    (header[8], header[9]) = (64, protocol);
    header[12..16].copy_from_slice(&source.to_be_bytes());
    header[16..20].copy_from_slice(&destination.to_be_bytes());
    if packet.class == Some(Class::Ah) {
        // Twelve bytes, UDP behind them.
        header[20..22].copy_from_slice(&[UDP, 1]);
    }
    frame
}
