//! A test for each rule, on machines nobody has.
//!
//! What it must not do: look at the machine it runs on.

use std::path::PathBuf;
use std::time::Duration;

use weir_dataplane::Mode;

use super::Severity::{Note, Ok as Fine, Problem, Warning};
use super::*;
use crate::doctor::ethtool::Offloads;
use crate::doctor::intent::Room;
use crate::doctor::machine::{
    Adapter, Attached, Clock, Directory, DirectoryState, Interface, Owner, Place, Purpose, Wanted,
};

/// A machine with which nothing is wrong.
fn sound() -> Facts {
    Facts {
        kernel: "6.18.44-amd64".to_owned(),
        missing_capabilities: Vec::new(),
        program_embedded: true,
        jit: Some(true),
        type_information: true,
        bpf_file_system: true,
        clock: Ok(Clock { synchronised: true, max_error: Duration::from_millis(20) }),
        clock_step: Duration::from_millis(4),
        available_memory: Some(8 << 30),
        interfaces: vec![Interface { name: "access0".to_owned(), found: Ok(Some(adapter())) }],
        directories: Vec::new(),
    }
}

fn adapter() -> Adapter {
    Adapter {
        is_up: true,
        has_ethernet: true,
        mtu: 1500,
        driver: Some("ice".to_owned()),
        native_xdp: Some(true),
        programs: Vec::new(),
        offloads: Some(Offloads::default()),
    }
}

/// A node of 65,536 devices.
fn node() -> Intent {
    Intent {
        judges: true,
        mode: Some(Mode::Native),
        room: Some(Room { entries: 1 << 16, unpooled: 1024 }),
        inactivity: Some(Duration::from_secs(10)),
        wanted: Wanted::default(),
    }
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = sound();
    change(&mut facts);
    facts
}

fn with_adapter(change: impl FnOnce(&mut Adapter)) -> Facts {
    let mut adapter = adapter();
    change(&mut adapter);
    with(|facts| facts.interfaces[0].found = Ok(Some(adapter)))
}

/// The findings above ok, each of which must say what to do.
fn bad(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    let mut findings = examine(facts, intent);
    findings.retain(|finding| finding.severity != Fine);
    assert!(findings.iter().all(|finding| finding.advice.is_some()), "{findings:?}");
    findings
}

/// The only finding above ok: how bad, which rule, and its words.
fn only(facts: &Facts, intent: &Intent) -> (Severity, &'static str, String) {
    let findings = bad(facts, intent);
    let [Finding { severity, check, finding, advice, .. }] = findings.as_slice() else {
        panic!("not one finding: {findings:?}");
    };
    (*severity, *check, format!("{finding}; {}", advice.as_deref().unwrap_or_default()))
}

#[track_caller]
fn finds(facts: &Facts, intent: &Intent, severity: Severity, check: &str, words: &str) {
    let found = only(facts, intent);
    assert_eq!((found.0, found.1), (severity, check), "{}", found.2);
    assert!(found.2.contains(words), "{}", found.2);
}

#[test]
fn a_sound_machine_has_nothing_but_good_findings() {
    assert_eq!(bad(&sound(), &node()), []);
}

#[test]
fn a_kernel_older_than_5_18_is_a_problem() {
    for old in ["5.17.9", "4.19.0-27-amd64", "5.4"] {
        finds(&with(|facts| facts.kernel = old.to_owned()), &node(), Problem, "kernel", "too old");
    }
    for new in ["5.18.0", "5.18", "6.1.0-rc3+", "10.0.1"] {
        assert_eq!(bad(&with(|facts| facts.kernel = new.to_owned()), &node()), [], "{new}");
    }
}

#[test]
fn a_kernel_without_a_version_is_a_warning() {
    for strange in ["", "linux", "6", "6.x"] {
        finds(&with(|facts| facts.kernel = strange.to_owned()), &node(), Warning, "kernel", "no version");
    }
}

#[test]
fn missing_capabilities_are_a_problem_and_named() {
    let facts = with(|facts| facts.missing_capabilities = vec!["CAP_PERFMON", "CAP_BPF"]);
    finds(&facts, &node(), Problem, "capabilities", "CAP_PERFMON, CAP_BPF missing");
}

#[test]
fn a_binary_without_the_program_is_a_problem() {
    let facts = with(|facts| facts.program_embedded = false);
    finds(&facts, &node(), Problem, "program", "cargo xtask build-ebpf");
}

#[test]
fn interpreted_programs_are_a_warning_unless_the_kernel_does_not_tell() {
    let facts = with(|facts| facts.jit = Some(false));
    finds(&facts, &node(), Warning, "jit", "sysctl net.core.bpf_jit_enable=1");
    assert_eq!(bad(&with(|facts| facts.jit = None), &node()), []);
}

#[test]
fn missing_type_information_is_a_note() {
    finds(&with(|facts| facts.type_information = false), &node(), Note, "btf", "does not need it");
}

#[test]
fn a_bpf_file_system_that_is_not_mounted_is_a_note() {
    finds(&with(|facts| facts.bpf_file_system = false), &node(), Note, "bpffs", "mount -t bpf");
}

#[test]
fn a_clock_that_nothing_keeps_right_is_a_warning() {
    let clock = Clock { synchronised: false, max_error: Duration::from_secs(16) };
    finds(&with(|facts| facts.clock = Ok(clock)), &node(), Warning, "clock", "chrony");
}

#[test]
fn a_clock_that_may_be_wrong_by_more_than_half_a_second_is_a_warning() {
    let clock = |ms| Clock { synchronised: true, max_error: Duration::from_millis(ms) };
    finds(&with(|facts| facts.clock = Ok(clock(501))), &node(), Warning, "clock", "wrong by 501 ms");
    assert_eq!(bad(&with(|facts| facts.clock = Ok(clock(500))), &node()), []);
}

#[test]
fn a_clock_that_cannot_be_asked_about_is_a_note() {
    let facts = with(|facts| facts.clock = Err("not permitted".to_owned()));
    finds(&facts, &node(), Note, "clock", "not permitted");
}

#[test]
fn a_clock_step_that_matters_beside_the_inactivity_time_is_a_warning() {
    // Late by 10 ms and two ticks, 12.1 ms in all.
    let coarse = with(|facts| facts.clock_step = Duration::from_millis(10));
    let inactivity = |ms| Intent { inactivity: Some(Duration::from_millis(ms)), ..node() };
    finds(&coarse, &inactivity(100), Warning, "clock-step", "at least \"121ms\"");
    assert_eq!(bad(&coarse, &inactivity(121)), []);
    assert_eq!(bad(&coarse, &Intent { inactivity: None, ..node() }), []);
}

#[test]
fn entries_that_do_not_fit_into_memory_are_a_problem() {
    // 65,536 entries of 192 bytes are 12 MiB; profiles, hash and rings are a little more than 3.
    let available = |mib: u64| with(|facts| facts.available_memory = Some(mib << 20));
    finds(&available(14), &node(), Problem, "memory", "need 16 MiB");
    finds(&available(16), &node(), Warning, "memory", "16 MiB are available");
    assert_eq!(bad(&available(32), &node()), []);
}

#[test]
fn memory_that_is_not_told_is_a_note_and_memory_not_asked_for_is_nothing() {
    let untold = with(|facts| facts.available_memory = None);
    finds(&untold, &node(), Note, "memory", "not told");
    assert_eq!(bad(&untold, &Intent { room: None, ..node() }), []);
}

#[test]
fn a_running_node_has_its_memory_already() {
    let mut facts = running(Owner::Weir, Place::Native);
    facts.available_memory = Some(1 << 20);
    finds(&facts, &node(), Note, "xdp-programs", "weir's own");
}

#[test]
fn an_absent_interface_is_a_problem_and_named() {
    let facts = with(|facts| facts.interfaces[0].found = Ok(None));
    finds(&facts, &node(), Problem, "interface", "no such interface");
    assert_eq!(bad(&facts, &node())[0].about.as_deref(), Some("access0"));
}

#[test]
fn an_interface_that_cannot_be_asked_about_is_a_warning() {
    let facts = with(|facts| facts.interfaces[0].found = Err("timed out".to_owned()));
    finds(&facts, &node(), Warning, "interface", "timed out");
}

#[test]
fn an_interface_that_is_down_is_a_warning() {
    let facts = with_adapter(|adapter| adapter.is_up = false);
    finds(&facts, &node(), Warning, "interface", "ip link set access0 up");
}

#[test]
fn an_interface_without_ethernet_headers_is_a_problem() {
    let facts = with_adapter(|adapter| adapter.has_ethernet = false);
    finds(&facts, &node(), Problem, "interface", "no Ethernet header");
}

#[test]
fn a_driver_without_native_xdp_is_a_problem_for_a_native_node_alone() {
    let facts = with_adapter(|adapter| adapter.native_xdp = Some(false));
    let mode = |mode| Intent { mode, ..node() };
    finds(&facts, &mode(Some(Mode::Native)), Problem, "native-xdp", "the driver ice does not");
    finds(&facts, &mode(None), Warning, "native-xdp", "xdp_mode = \"generic\"");
    assert_eq!(bad(&facts, &mode(Some(Mode::Generic))), []);
}

#[test]
fn a_kernel_that_does_not_tell_native_xdp_is_a_note_that_says_how_to_try() {
    let facts = with_adapter(|adapter| (adapter.native_xdp, adapter.driver) = (None, None));
    finds(&facts, &node(), Note, "native-xdp", "start the node");
}

#[test]
fn generic_mode_where_native_would_do_is_a_note() {
    let intent = Intent { mode: Some(Mode::Generic), ..node() };
    finds(&sound(), &intent, Note, "native-xdp", "which is faster");
}

fn running(owner: Owner, place: Place) -> Facts {
    with_adapter(|adapter| adapter.programs = vec![Attached { place, program: 42, owner }])
}

#[test]
fn another_s_xdp_program_is_a_problem_that_says_how_to_take_it_off() {
    for (place, word) in
        [(Place::Native, "xdpdrv"), (Place::Generic, "xdpgeneric"), (Place::Offloaded, "xdpoffload")]
    {
        let advice = format!("ip link set dev access0 {word} off");
        finds(&running(Owner::Other, place), &node(), Problem, "xdp-programs", &advice);
    }
}

#[test]
fn weir_s_own_program_is_a_note() {
    finds(&running(Owner::Weir, Place::Native), &node(), Note, "xdp-programs", "program 42 is attached");
}

#[test]
fn a_program_whose_owner_is_hidden_is_a_warning() {
    finds(&running(Owner::Hidden, Place::Native), &node(), Warning, "xdp-programs", "run this as root");
}

#[test]
fn a_large_mtu_is_a_warning_unless_the_mode_is_generic() {
    let jumbo = with_adapter(|adapter| (adapter.mtu, adapter.native_xdp) = (9000, Some(false)));
    assert_eq!(bad(&jumbo, &Intent { mode: Some(Mode::Generic), ..node() }), []);
    finds(&with_adapter(|adapter| adapter.mtu = 3499), &node(), Warning, "mtu", "3499 bytes");
    assert_eq!(bad(&with_adapter(|adapter| adapter.mtu = 3498), &node()), []);
}

#[test]
fn receive_vlan_offload_is_a_warning() {
    let offloads = Some(Offloads { receive_vlan: true, ..Offloads::default() });
    let facts = with_adapter(|adapter| adapter.offloads = offloads);
    finds(&facts, &node(), Warning, "vlan-offload", "ethtool -K access0 rxvlan off");
    let pair = with_adapter(|adapter| {
        (adapter.offloads, adapter.driver) = (offloads, Some("veth".to_owned()));
    });
    finds(&pair, &node(), Warning, "vlan-offload", "`txvlan off` on the other end");
}

#[test]
fn merging_by_the_adapter_is_a_warning() {
    let offloads = Offloads { large_receive: true, ..Offloads::default() };
    let facts = with_adapter(|adapter| adapter.offloads = Some(offloads));
    finds(&facts, &node(), Warning, "receive-merging", "lro off");
}

#[test]
fn offloads_that_are_not_told_are_a_note() {
    finds(
        &with_adapter(|adapter| adapter.offloads = None),
        &node(),
        Note,
        "vlan-offload",
        "ethtool -k access0",
    );
}

#[test]
fn no_interface_at_all_is_a_note() {
    finds(&with(|facts| facts.interfaces.clear()), &node(), Note, "interface", "--interface NAME");
}

#[test]
fn control_makes_directories_for_sockets_but_not_for_its_store() {
    use DirectoryState::{Creatable, Missing, Refused, Writable};
    let findings = |purpose, state| {
        let directory = Directory { purpose, path: PathBuf::from("/srv/weir"), state };
        bad(&with(|facts| facts.directories = vec![directory]), &node()).pop()
    };
    for purpose in [Purpose::Sockets, Purpose::Store] {
        assert_eq!(findings(purpose, Writable), None);
        for state in [Refused, Missing] {
            assert_eq!(findings(purpose, state).expect("a finding").severity, Problem, "{state:?}");
        }
    }
    assert_eq!(findings(Purpose::Sockets, Creatable), None);
    let store = findings(Purpose::Store, Creatable).expect("a finding");
    assert_eq!((store.check, store.about.as_deref()), ("store", Some("/srv/weir")));
    assert!(store.advice.expect("advice").contains("mkdir -p /srv/weir"));
}

#[test]
fn a_machine_for_control_alone_is_not_asked_for_what_a_node_needs() {
    let facts = with(|facts| {
        facts.kernel = "4.4.0".to_owned();
        facts.missing_capabilities = vec!["CAP_BPF"];
        facts.program_embedded = false;
        facts.interfaces.clear();
    });
    assert_eq!(bad(&facts, &Intent { judges: false, mode: None, room: None, ..node() }), []);
}

#[test]
fn problems_come_last() {
    let facts = with(|facts| {
        facts.kernel = "4.4.0".to_owned();
        facts.type_information = false;
        facts.jit = Some(false);
    });
    let severities: Vec<_> = examine(&facts, &node()).iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    assert_eq!(severities[severities.len() - 3..], [Note, Warning, Problem]);
}
