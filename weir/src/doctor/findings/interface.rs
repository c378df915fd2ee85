//! Rules about an interface: is it there, what does its driver do, what else is on it?
//!
//! What it must not do: guess what a driver can from its name; the kernel tells, or the doctor says that it
//! does not.

use weir_dataplane::Mode;

use super::Finding;
use super::Severity::{Note, Problem, Warning};
use crate::doctor::ethtool::Offloads;
use crate::doctor::machine::{Adapter, Attached, Interface, Owner, Place};

/// In a page of 4 KiB beside the head room and the tail that XDP wants; a driver's own limit is near.
const LARGEST_MTU: u32 = 3498;

/// Everything about one interface; `mode` is how the program is to be attached, if that is known.
pub fn examine(interface: &Interface, mode: Option<Mode>) -> Vec<Finding> {
    let findings = match &interface.found {
        Ok(Some(adapter)) => of_adapter(&interface.name, adapter, mode),
        Ok(None) => vec![Finding::new(
            Problem,
            "interface",
            "there is no such interface in this network namespace",
            "`ip link` lists those there are; correct the name, or make it before the node starts",
        )],
        Err(words) => vec![Finding::new(
            Warning,
            "interface",
            format!("the kernel could not be asked about it: {words}"),
            "look with `ip -details link`",
        )],
    };
    findings.into_iter().map(|finding| finding.about(&interface.name)).collect()
}

pub fn none_named() -> Finding {
    let advice = "name a configuration FILE with a [node] section, or --interface NAME";
    Finding::new(Note, "interface", "no interface was looked at", advice)
}

fn of_adapter(name: &str, adapter: &Adapter, mode: Option<Mode>) -> Vec<Finding> {
    let mut findings = vec![state(name, adapter), native_xdp(adapter, mode)];
    if adapter.programs.is_empty() {
        findings.push(Finding::ok("xdp-programs", "no XDP program is attached"));
    }
    findings.extend(adapter.programs.iter().map(|program| attached(name, *program)));
    if mode != Some(Mode::Generic) {
        findings.push(mtu(name, adapter.mtu));
    }
    match adapter.offloads {
        Some(offloads) => {
            findings.push(vlan_offload(name, adapter, offloads));
            findings.push(merging(name, offloads));
        }
        None => findings.push(Finding::new(
            Note,
            "vlan-offload",
            "the driver does not tell its offloads",
            format!("look with `ethtool -k {name}`: rx-vlan-offload, large-receive-offload and rx-gro-hw should be off"),
        )),
    }
    findings
}

fn state(name: &str, adapter: &Adapter) -> Finding {
    const CHECK: &str = "interface";
    if !adapter.has_ethernet {
        return Finding::new(
            Problem,
            CHECK,
            "its frames have no Ethernet header, which weir reads first",
            "attach to the Ethernet interface that carries these packets",
        );
    }
    if !adapter.is_up {
        let advice = format!("`ip link set {name} up`");
        return Finding::new(Warning, CHECK, "it is down: no packet reaches the program", advice);
    }
    let driver = adapter.driver.as_deref().unwrap_or("unknown");
    Finding::ok(CHECK, format!("it is up; its driver is {driver}"))
}

fn native_xdp(adapter: &Adapter, mode: Option<Mode>) -> Finding {
    const CHECK: &str = "native-xdp";
    let driver =
        adapter.driver.as_deref().map_or("the driver".to_owned(), |name| format!("the driver {name}"));
    match (adapter.native_xdp, mode) {
        (Some(true), Some(Mode::Generic)) => Finding::new(
            Note,
            CHECK,
            format!("{driver} runs XDP programs itself, and xdp_mode is \"generic\""),
            "write xdp_mode = \"native\", which is faster",
        ),
        (_, Some(Mode::Generic)) => {
            Finding::ok(CHECK, "xdp_mode is \"generic\", which works with every driver, more slowly")
        }
        (Some(true), _) => Finding::ok(CHECK, format!("{driver} runs XDP programs itself")),
        (Some(false), mode) => Finding::new(
            if mode.is_some() { Problem } else { Warning },
            CHECK,
            format!("{driver} does not run XDP programs itself"),
            "write xdp_mode = \"generic\", which is slower, or use an adapter whose driver does",
        ),
        (None, _) => Finding::new(
            Note,
            CHECK,
            format!("this kernel does not tell whether {driver} runs XDP programs itself (6.3 and later do)"),
            "start the node with xdp_mode = \"native\": where the driver does not, it refuses and says so",
        ),
    }
}

fn attached(name: &str, Attached { place, program, owner }: Attached) -> Finding {
    const CHECK: &str = "xdp-programs";
    let (place, word) = match place {
        Place::Native => ("in native mode", "xdpdrv"),
        Place::Generic => ("in generic mode", "xdpgeneric"),
        Place::Offloaded => ("in the adapter", "xdpoffload"),
    };
    let remove = format!("end what attached it, or, if nobody holds it, `ip link set dev {name} {word} off`");
    match owner {
        Owner::Weir => Finding::new(
            Note,
            CHECK,
            format!("weir's own XDP program {program} is attached {place}"),
            "nothing, if a node is to be running here; a second one would be refused",
        ),
        Owner::Other => Finding::new(
            Problem,
            CHECK,
            format!("another XDP program, {program}, is attached {place}; weir does not replace it"),
            format!(
                "see what it is with `bpftool prog show id {program}`; {remove}; or use another interface"
            ),
        ),
        Owner::Hidden => Finding::new(
            Warning,
            CHECK,
            format!("the XDP program {program} is attached {place}, and this user may not see whose it is"),
            format!("run this as root; unless it is weir's, {remove}"),
        ),
    }
}

fn mtu(name: &str, mtu: u32) -> Finding {
    const CHECK: &str = "mtu";
    if mtu <= LARGEST_MTU {
        return Finding::ok(CHECK, format!("packets of up to {mtu} bytes leave room for native XDP"));
    }
    Finding::new(
        Warning,
        CHECK,
        format!("packets may have {mtu} bytes; most drivers refuse native XDP above about {LARGEST_MTU}"),
        format!(
            "`ip link set {name} mtu 1500` on both ends if packets need not be so large, else xdp_mode = \"generic\""
        ),
    )
}

fn vlan_offload(name: &str, adapter: &Adapter, offloads: Offloads) -> Finding {
    const CHECK: &str = "vlan-offload";
    if !offloads.receive_vlan {
        return Finding::ok(CHECK, "VLAN tags stay in the frame, where XDP sees them");
    }
    let mut advice =
        format!("if tagged frames are to be judged by their tags: `ethtool -K {name} rxvlan off`");
    if adapter.driver.as_deref() == Some("veth") {
        advice += ", and `txvlan off` on the other end of the pair";
    }
    let sentence = "VLAN tags may be taken off before XDP sees the frame: a tagged frame then looks untagged";
    Finding::new(Warning, CHECK, sentence, advice)
}

fn merging(name: &str, offloads: Offloads) -> Finding {
    const CHECK: &str = "receive-merging";
    if !offloads.large_receive {
        return Finding::ok(CHECK, "the adapter does not merge packets by LRO");
    }
    Finding::new(
        Warning,
        CHECK,
        "the adapter merges packets (LRO) before XDP sees them; many drivers refuse native XDP so",
        format!("`ethtool -K {name} lro off rx-gro-hw off`"),
    )
}
