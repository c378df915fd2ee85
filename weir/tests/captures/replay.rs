//! `weir replay`: the loaded program says what the law in user space says.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::files::{Packet, at_ms, pcap};
use crate::frames::{arp, esp, of_protocol, tcp, udp};
use crate::{Said, about, configured, path, weir};

/// Nodes' devices, a server, and addresses that are nobody's.
const FOUR: [&str; 6] =
    ["10.45.0.7", "10.45.0.99", "198.51.100.8", "192.0.2.10", "203.0.113.5", "203.0.113.6"];
const SIX: [&str; 3] = ["2001:db8:45:7::1", "2001:db8:45:7::2", "2001:db8:ffff::10"];

/// The generator of Park and Miller: the same packets in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 as usize % end
    }

    fn frame(&mut self) -> Vec<u8> {
        let (from, to) = match self.below(3) {
            0 => (SIX[self.below(SIX.len())], SIX[self.below(SIX.len())]),
            _ => (FOUR[self.below(FOUR.len())], FOUR[self.below(FOUR.len())]),
        };
        let mut frame = match self.below(12) {
            0 => arp(),
            1 => esp(from, to),
            2 => of_protocol(51, from, to),
            3 => of_protocol(self.below(256) as u8, from, to),
            4..=6 => tcp(from, to, self.below(100)),
            7 => tcp(from, to, self.below(9000)),
            _ => udp(from, to),
        };
        match self.below(10) {
            0 => frame.truncate(self.below(80)),
            1 => {
                let at = self.below(frame.len().min(60));
                frame[at] = self.below(256) as u8;
            }
            _ => {}
        }
        frame
    }

    /// Gaps from a burst to minutes, a step back now and then, and two silences of weeks.
    fn packets(&mut self, count: usize) -> Vec<Packet> {
        let mut now = 0;
        let mut packet = |number| {
            now += [0, 1, 40, 101, 900, 5_000, 20_000][self.below(7)];
            if number % 1500 == 1499 {
                now += 20 * 24 * 3_600 * 1000;
            }
            let back = if self.below(50) == 0 { 3_000.min(now) } else { 0 };
            (at_ms(now - back), self.frame())
        };
        (0..count).map(&mut packet).collect()
    }
}

/// Whether the program can be loaded here. Where it cannot, this is a failure, unless it is for want of rights or
/// program and skipping is allowed.
fn may_run(test: &str) -> bool {
    let said = about(&["replay"], &pcap(&[]));
    if said.code == Some(0) {
        return true;
    }
    let is_for_want = ["not permitted", "built without"].iter().any(|words| said.err.contains(words));
    if is_for_want && std::env::var_os("WEIR_ALLOW_SKIP").is_some_and(|allowed| allowed == "1") {
        println!("SKIPPED {test}: {}", said.err.trim_end());
        return false;
    }
    panic!("{test} cannot run: {} (WEIR_ALLOW_SKIP=1 skips it)", said.err.trim_end());
}

fn agree(options: &[&str], packets: &[Packet]) -> Said {
    let capture = pcap(packets);
    let [inspected, replayed] =
        ["inspect", "replay"].map(|command| about(&[&[command, "--json"], options].concat(), &capture));
    assert_eq!((inspected.code, replayed.code), (Some(0), Some(0)), "{}{}", inspected.err, replayed.err);
    let (ours, theirs) = (inspected.lines(), replayed.lines());
    assert_eq!((ours.len(), theirs.len()), (packets.len(), packets.len()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "inspect (left) and replay (right)");
    }
    assert_eq!((&inspected.out, &inspected.err), (&replayed.out, &replayed.err));
    replayed
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_loaded_program_and_the_law_in_user_space_say_the_same() {
    if !may_run("the_loaded_program_and_the_law_in_user_space_say_the_same") {
        return;
    }
    let packets = Dice(20_261_101).packets(4000);
    let said = agree(&[], &packets);
    assert!(said.err.contains("with a time before that of an earlier one"), "{}", said.err);
    let reasons = said.all("reason");
    for reason in ["admitted", "in-session", "not-ip", "unparsable-passed"] {
        assert!(reasons.iter().any(|found| found == reason), "no packet was {reason}");
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn they_say_the_same_of_a_configured_node() {
    if !may_run("they_say_the_same_of_a_configured_node") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("weir.toml");
    std::fs::write(&config, configured::CONFIGURATION.replace("SUBSCRIBER", "")).expect("a file");
    let packets = Dice(1).packets(4000);
    let reasons = agree(&["--config", path(&config)], &packets).all("reason");
    for reason in [
        "admitted",
        "throttled",
        "forbidden-protocol",
        "held",
        "alarm-active",
        "unknown-passed",
        "unparsable-dropped",
        "unsolicited-dropped",
    ] {
        assert!(reasons.iter().any(|found| found == reason), "no packet was {reason}");
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn they_say_the_same_of_strangers_with_a_limit() {
    if !may_run("they_say_the_same_of_strangers_with_a_limit") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("weir.toml");
    std::fs::write(&config, configured::limiting_strangers()).expect("a file");
    let reasons = agree(&["--config", path(&config)], &Dice(2).packets(4000)).all("reason");
    for reason in ["limit-exceeded", "strangers-full", "admitted", "throttled"] {
        assert!(reasons.iter().any(|found| found == reason), "no packet was {reason}");
    }
    assert!(!reasons.iter().any(|found| found == "unknown-passed"), "every stranger is judged");
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_capture_that_is_cut_short_is_replayed_as_far_as_it_goes() {
    if !may_run("a_capture_that_is_cut_short_is_replayed_as_far_as_it_goes") {
        return;
    }
    let whole = pcap(&[(at_ms(0), udp(FOUR[0], FOUR[4])), (at_ms(1), esp(FOUR[0], FOUR[4]))]);
    let said = about(&["replay", "--json"], &whole[..whole.len() - 1]);
    assert_eq!((said.code, said.all("reason")), (Some(1), vec!["admitted".to_owned()]));
    assert!(said.err.contains("packet 2: the file ends in the middle of it"), "{}", said.err);
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_pipe_is_replayed_with_a_configuration_only() {
    if !may_run("a_pipe_is_replayed_with_a_configuration_only") {
        return;
    }
    let said = weir(&["replay", "/dev/null"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("/dev/null: not a file; a capture is read twice"), "{}", said.err);
}

#[test]
fn without_rights_replay_says_what_is_missing_and_what_needs_none() {
    use rustix::thread::{CapabilitySet as Set, remove_capability_from_bounding_set};
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["replay", "capture-that-is-not-there"]);
    let drop_rights = || {
        for capability in [Set::SYS_ADMIN, Set::NET_ADMIN, Set::BPF, Set::PERFMON] {
            // Refused to those who have none to drop.
            let _refused = remove_capability_from_bounding_set(capability);
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(drop_rights) };
    let output = command.output().expect("weir runs");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    let built = !err.contains("built without the XDP program");
    assert!(!built || err.contains("weir inspect") && err.contains("CAP_BPF"), "{err}");
}
