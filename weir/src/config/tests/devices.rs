//! Pools, application servers and bindings.

use super::*;

const POOLS: &str = "pools = [\"10.45.0.0/16\", \"2001:db8:45::/48\"]";
const ADDRESSES: &str = "addresses = [\"10.45.0.7\", \"2001:db8:45:7::/64\"]";

#[test]
fn a_pool_with_host_bits_is_refused() {
    refused(
        POOLS,
        "pools = [»\"10.45.0.1/16\"]",
        "node.pools",
        "10.45.0.1/16 has host bits set; write \"10.45.0.0/16\"",
    );
}

#[test]
fn a_pool_that_is_no_prefix_is_refused() {
    for text in ["10.45.0.0", "10.45.0.0/33", "pool", ""] {
        refused(
            POOLS,
            &format!("pools = [»\"{text}\"]"),
            "node.pools",
            &format!(
                "\"{text}\" is not an address prefix; write one such as \"10.45.0.0/16\" or \"2001:db8::/48\""
            ),
        );
    }
}

#[test]
fn overlapping_ipv4_pools_are_refused() {
    refused(
        POOLS,
        "pools = [\"10.45.0.0/16\", \"2001:db8:45::/48\",\n»\"10.45.128.0/17\"]",
        "node.pools",
        "10.45.128.0/17 overlaps 10.45.0.0/16 in line 12; an address belongs to one pool: remove or narrow \
         one of them",
    );
    refused(
        POOLS,
        "pools = [\"10.45.0.0/16\", »\"10.45.0.0/16\", \"2001:db8:45::/48\"]",
        "node.pools",
        "10.45.0.0/16 overlaps 10.45.0.0/16 in line 12; an address belongs to one pool: remove or narrow one \
         of them",
    );
}

#[test]
fn overlapping_ipv6_pools_are_refused_whichever_comes_first() {
    refused(
        POOLS,
        "pools = [\"10.45.0.0/16\", \"2001:db8:45:8000::/49\", »\"2001:db8:45::/48\"]",
        "node.pools",
        "2001:db8:45::/48 overlaps 2001:db8:45:8000::/49 in line 12; an address belongs to one pool: remove \
         or narrow one of them",
    );
}

#[test]
fn adjoining_pools_are_no_overlap() {
    accepted(POOLS, "pools = [\"10.45.0.0/17\", \"10.45.128.0/17\", \"2001:db8:45::/48\"]");
}

#[test]
fn a_pool_with_more_addresses_than_a_node_has_entries_is_refused() {
    refused(
        POOLS,
        "pools = [»\"10.0.0.0/7\"]",
        "node.pools",
        "10.0.0.0/7 has more than 16777216 addresses, all that a node can have entries for; write a longer \
         prefix: IPv4 from /8, IPv6 from /40",
    );
    refused(
        POOLS,
        "pools = [»\"::/0\"]",
        "node.pools",
        "::/0 has more than 16777216 addresses, all that a node can have entries for; write a longer prefix: \
         IPv4 from /8, IPv6 from /40",
    );
}

#[test]
fn pools_too_large_together_are_refused_where_it_becomes_too_much() {
    refused(
        POOLS,
        "pools = [\"10.0.0.0/9\", »\"2001:db8::/41\", \"192.0.2.0/24\"]",
        "node.pools",
        "with this pool and unpooled_devices the node needs 16777217 entries or more; 16777216 is the most; \
         write longer prefixes or share the pools among nodes",
    );
}

#[test]
fn more_room_for_unpooled_devices_than_a_node_has_entries_is_refused() {
    refused(
        "pools = [\"10.45.0.0/16\", \"2001:db8:45::/48\"]\nunpooled_devices = 1",
        "pools = [\"10.45.0.0/16\", \"2001:db8:45::/48\"]\nunpooled_devices = »16777217",
        "node.unpooled_devices",
        "this is too much room; write at most 16777216",
    );
}

#[test]
fn an_ipv6_pool_longer_than_a_device_s_share_is_refused() {
    refused(
        POOLS,
        "pools = [\"10.45.0.0/16\", »\"2001:db8:45::/65\"]",
        "node.pools",
        "2001:db8:45::/65 is longer than /64, which is what one device gets; write a prefix from /40 to /64",
    );
}

#[test]
fn more_pools_of_a_family_than_the_packet_path_has_room_for_are_refused() {
    refused(
        POOLS,
        "pools = [\"10.45.0.0/24\", \"10.0.1.0/24\", \"10.0.2.0/24\", \"10.0.3.0/24\", »\"10.0.4.0/24\", \"2001:db8:45::/48\"]",
        "node.pools",
        "there are 5 IPv4 pools; write at most 4, shorter ones if they adjoin",
    );
}

#[test]
fn no_pool_at_all_is_refused() {
    refused(
        POOLS,
        "pools = »[]",
        "node.pools",
        "the list is empty; write at least one prefix of device addresses",
    );
}

#[test]
fn more_application_servers_than_the_packet_path_has_room_for_are_refused() {
    let servers: Vec<_> = (1..=9).map(|host| format!("\"192.0.2.{host}/32\"")).collect();
    refused(
        "application_servers = [\"192.0.2.10/32\"]",
        &format!("application_servers = »[{}]", servers.join(", ")),
        "node.application_servers",
        "there are 9 application servers; write at most 8 prefixes, shorter ones if they adjoin",
    );
}

#[test]
fn an_identifier_that_is_no_imsi_is_refused_without_repeating_it() {
    for text in ["12345", "0010100000000012", "00101000000000x"] {
        refused(
            "[[binding]]\ndevice = \"001010000000001\"",
            &format!("[[binding]]\ndevice = »\"{text}\""),
            "binding.device",
            "is no IMSI; write 6 to 15 decimal digits",
        );
    }
}

#[test]
fn a_second_binding_of_a_device_is_refused() {
    refused(
        "# the end",
        "[[binding]]\ndevice = »\"001010000000001\"\naddresses = [\"10.45.0.8\"]",
        "binding.device",
        "this device has a binding already; list all its addresses in one",
    );
}

#[test]
fn an_address_of_two_devices_is_refused() {
    refused(
        "# the end",
        "[[binding]]\ndevice = \"001010000000002\"\naddresses = [»\"10.45.0.7/32\"]",
        "binding.addresses",
        "10.45.0.7/32 is bound already, in line 26; an address belongs to one device: remove one",
    );
}

#[test]
fn a_binding_without_addresses_is_refused() {
    refused(
        ADDRESSES,
        "addresses = »[]",
        "binding.addresses",
        "the list is empty; write at least one address or remove the binding",
    );
}

#[test]
fn an_ipv6_binding_is_a_slash_64() {
    for text in ["2001:db8:45:7::1", "2001:db8:45:7::1/128", "2001:db8:45:7::/63"] {
        refused(
            ADDRESSES,
            &format!("addresses = [»\"{text}\"]"),
            "binding.addresses",
            &format!("\"{text}\" is not a /64, which is what one device gets; write \"2001:db8:45:7::/64\""),
        );
    }
    refused(
        ADDRESSES,
        "addresses = [»\"2001:db8:45:7::1/64\"]",
        "binding.addresses",
        "2001:db8:45:7::1/64 has host bits set; write \"2001:db8:45:7::/64\"",
    );
}

#[test]
fn an_ipv4_binding_is_one_address() {
    refused(
        ADDRESSES,
        "addresses = [»\"10.45.0.0/24\"]",
        "binding.addresses",
        "10.45.0.0/24 is more than one IPv4 address; write one IPv4 address or one IPv6 /64: \"10.45.0.7\" or \
         \"2001:db8:45:7::/64\"",
    );
    refused(
        ADDRESSES,
        "addresses = [»\"meter-7\"]",
        "binding.addresses",
        "\"meter-7\" is not an address; write one IPv4 address or one IPv6 /64: \"10.45.0.7\" or \
         \"2001:db8:45:7::/64\"",
    );
}

#[test]
fn an_address_that_no_device_can_have_is_refused() {
    for text in ["0.0.0.0", "224.0.0.1", "127.0.0.1", "ff02::/64"] {
        let network = if text.contains('/') { text.to_owned() } else { format!("{text}/32") };
        refused(
            ADDRESSES,
            &format!("addresses = [»\"{text}\"]"),
            "binding.addresses",
            &format!(
                "{network} is no address that a device can have; write one IPv4 address or one IPv6 /64: \
                 \"10.45.0.7\" or \"2001:db8:45:7::/64\""
            ),
        );
    }
}

#[test]
fn an_address_outside_the_pools_takes_one_of_the_unpooled_places() {
    accepted(ADDRESSES, "addresses = [\"192.0.2.7\", \"2001:db8:45:7::/64\"]");
    refused(
        ADDRESSES,
        "addresses = [\"192.0.2.7\", \"10.45.0.7\", »\"2001:db8:46:7::/64\"]",
        "binding.addresses",
        "2001:db8:46:7::/64 is in no pool, and node.unpooled_devices leaves no room for a 2nd such address; \
         raise node.unpooled_devices, or add a pool that contains it",
    );
}
