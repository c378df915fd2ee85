//! Replies of a kernel 6.18 on a little-endian machine, recorded; link statistics are cut out and lengths
//! corrected. What it must not do: need a kernel.

use super::*;

/// A veth interface without a program: struct ifinfomsg, name, queue length, MTU, XDP.
const LINK: &[u8] = &[
    0x48, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0x54, 0x78, 0, 0, // header
    0, 0, 1, 0, 3, 0, 0, 0, 3, 0x10, 0, 0, 0, 0, 0,
    0, // ifinfomsg: Ethernet, number 3, up and broadcast
    0x0a, 0, 3, 0, b'v', b'e', b't', b'h', b'0', 0, 0, 0, // name, padded
    8, 0, 0x0d, 0, 0xe8, 3, 0, 0, // queue length
    8, 0, 4, 0, 0xdc, 5, 0, 0, // MTU
    0x0c, 0, 0x2b, 0, 5, 0, 2, 0, 0, 0, 0, 0, // XDP: attached nowhere
];

/// What stands under XDP with a program in the driver.
const ONE_PROGRAM: &[u8] =
    &[8, 0, 5, 0, 0xfb, 0x14, 0, 0, 5, 0, 2, 0, 1, 0, 0, 0, 8, 0, 4, 0, 0xfb, 0x14, 0, 0];

/// The generic netlink controller about the family `netdev`, up to its version.
const FAMILY: &[u8] = &[
    0x30, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0x54, 0x78, 0, 0, // header
    1, 2, 0, 0, // genlmsghdr
    0x0b, 0, 2, 0, b'n', b'e', b't', b'd', b'e', b'v', 0, 0, // name, padded
    6, 0, 1, 0, 0x14, 0, 0, 0, // number
    8, 0, 3, 0, 1, 0, 0, 0, // version
];

/// The controller about a family that it does not know: error 2, no such entry.
const NO_FAMILY: &[u8] = &[
    0x34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0x54, 0x78, 0, 0, // header
    0xfe, 0xff, 0xff, 0xff, // minus 2; then the request
    0x20, 0, 0, 0, 0x10, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, //
    0x0b, 0, 2, 0, b'n', b'o', b's', b'u', b'c', b'h', 0, 0,
];

/// The family `netdev` about a veth interface: basic, redirect and fragments on receipt.
const DEVICE: &[u8] = &[
    0x40, 0, 0, 0, 0x14, 0, 0, 0, 1, 0, 0, 0, 0x54, 0x78, 0, 0, // header
    1, 1, 0, 0, // genlmsghdr
    8, 0, 1, 0, 3, 0, 0, 0, // interface
    0x0c, 0, 3, 0, 0x23, 0, 0, 0, 0, 0, 0, 0, // XDP features
    0x0c, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, // metadata
    0x0c, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, // AF_XDP metadata
];

fn body(message: &[u8]) -> &[u8] {
    read_message(message).expect("no error")
}

#[test]
fn a_link_is_read() {
    let expected = Link { index: 3, hardware: 1, is_up: true, mtu: 1500, programs: Vec::new() };
    assert_eq!(read_link(body(LINK)), Some(expected));
}

#[test]
fn a_program_is_found_where_it_is_attached() {
    assert_eq!(read_programs(ONE_PROGRAM), [(1, 5371)]);
}

#[test]
fn a_program_without_a_number_of_its_place_is_found_by_the_place() {
    assert_eq!(read_programs(&[5, 0, 2, 0, 2, 0, 0, 0, 8, 0, 4, 0, 9, 0, 0, 0]), [(2, 9)]);
}

#[test]
fn programs_in_driver_and_stack_are_both_found() {
    let both = [5, 0, 2, 0, 4, 0, 0, 0, 8, 0, 5, 0, 7, 0, 0, 0, 8, 0, 6, 0, 8, 0, 0, 0];
    assert_eq!(read_programs(&both), [(1, 7), (2, 8)]);
}

#[test]
fn family_and_features_are_read() {
    assert_eq!(read_family(body(FAMILY)), Some(0x14));
    assert_eq!(read_features(body(DEVICE)), Some(0x23));
}

#[test]
fn an_error_comes_out_as_its_number() {
    let error = read_message(NO_FAMILY).expect_err("an error");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
}

#[test]
fn a_reply_cut_short_anywhere_is_no_fault_of_ours() {
    for message in [LINK, FAMILY, DEVICE, NO_FAMILY] {
        for length in 0..message.len() {
            assert!(read_message(&message[..length]).is_err(), "{length}");
        }
        let Ok(body) = read_message(message) else { continue };
        for length in 0..body.len() {
            let cut = &body[..length];
            let _values = (read_link(cut), read_family(cut), read_features(cut), read_programs(cut));
        }
    }
}

#[test]
fn an_attribute_that_claims_too_much_or_too_little_ends_the_list() {
    assert_eq!(attributes(&[0xff, 0, 4, 0, 1, 2, 3, 4]).count(), 0);
    assert_eq!(attributes(&[0, 0, 4, 0, 1, 2, 3, 4]).count(), 0);
    assert_eq!(attributes(&[4, 0, 4, 0]).next(), Some((4, &[][..])));
}

#[test]
fn a_nested_attribute_is_known_by_its_kind_alone() {
    assert_eq!(attributes(&[5, 0, 43, 0x80, 1, 0, 0, 0]).next(), Some((43, &[1][..])));
}

#[test]
fn what_is_put_is_read_back() {
    let mut bytes = Vec::new();
    put(&mut bytes, 3, b"access0\0");
    put(&mut bytes, 2, b"netdev\0");
    let read: Vec<_> = attributes(&bytes).collect();
    assert_eq!(read, [(3, &b"access0\0"[..]), (2, &b"netdev\0"[..])]);
}
