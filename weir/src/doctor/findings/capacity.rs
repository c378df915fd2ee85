//! Rules about what a configuration asks of the machine: memory, the clock's step, directories.
//!
//! What it must not do: judge a configuration for itself; that is `weir check`.

use std::time::Duration;

use weir_dataplane_common::abi::{Entry, Ledger, PROFILES, Profile};
use weir_dataplane_common::tick::TICK_NS;

use super::Finding;
use super::Severity::{Note, Problem, Warning};
use crate::doctor::intent::Room;
use crate::doctor::machine::{Directory, DirectoryState, Facts, Owner, Purpose};

/// The agent's ring of alarms and the counters.
const RING_BYTES: u64 = 2 << 20;
/// Bytes of a place in the kernel's hash of addresses, its own book-keeping included.
const HASHED_BYTES: u64 = 128;

/// Bytes of kernel memory that a node of this size takes.
fn bytes(room: Room) -> u64 {
    let entries = u64::from(room.entries) * (size_of::<Entry>() + size_of::<Ledger>()) as u64;
    let profiles = u64::from(PROFILES) * size_of::<Profile>() as u64;
    entries + profiles + u64::from(room.unpooled) * HASHED_BYTES + RING_BYTES
}

pub fn memory(room: Room, facts: &Facts) -> Finding {
    const CHECK: &str = "memory";
    let needed = bytes(room);
    let needs = format!("{} entries need {} of kernel memory", room.entries, mebibytes(needed));
    let Some(available) = facts.available_memory else {
        let advice = "see to it that there is so much beside what else runs here";
        return Finding::new(Note, CHECK, format!("{needs}; how much is available is not told"), advice);
    };
    let sentence = format!("{needs}; {} are available", mebibytes(available));
    if is_running(facts) {
        return Finding::ok(CHECK, format!("{sentence} beside what the running node has already"));
    }
    let advice =
        "write longer prefixes in node.pools, share the pools among nodes, or give this machine more memory";
    if needed > available {
        Finding::new(Problem, CHECK, sentence, advice)
    } else if needed > available / 2 {
        Finding::new(Warning, CHECK, sentence, advice)
    } else {
        Finding::ok(CHECK, sentence)
    }
}

fn is_running(facts: &Facts) -> bool {
    let adapters = facts.interfaces.iter().filter_map(|interface| interface.found.as_ref().ok()?.as_ref());
    adapters.flat_map(|adapter| &adapter.programs).any(|program| program.owner == Owner::Weir)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// A window ends never early, and late by two ticks of the entry and a step of the clock.
pub fn clock_step(step: Duration, inactivity: Option<Duration>) -> Finding {
    const CHECK: &str = "clock-step";
    let late = step + Duration::from_nanos(2 * TICK_NS);
    let sentence = format!(
        "the kernel's coarse clock steps by {} ms: sessions and windows end up to {} ms late",
        in_ms(step),
        in_ms(late)
    );
    match inactivity {
        Some(inactivity) if late * 10 > inactivity => Finding::new(
            Warning,
            CHECK,
            format!("{sentence}, more than a tenth of node.inactivity ({} ms)", in_ms(inactivity)),
            format!(
                "write at least \"{}ms\" there, or boot a kernel with more ticks a second (CONFIG_HZ)",
                in_ms(late * 10)
            ),
        ),
        _ => Finding::ok(CHECK, sentence),
    }
}

/// Milliseconds, begun ones included.
fn in_ms(time: Duration) -> u128 {
    time.as_nanos().div_ceil(1_000_000)
}

pub fn directory(directory: &Directory) -> Finding {
    let (check, files) = match directory.purpose {
        Purpose::Sockets => ("sockets", "sockets"),
        Purpose::Store => ("store", "store"),
    };
    let path = directory.path.display();
    let finding = match (directory.state, directory.purpose) {
        (DirectoryState::Writable, _) => {
            Finding::ok(check, format!("control can make its {files} in this directory"))
        }
        (DirectoryState::Creatable, Purpose::Sockets) => {
            Finding::ok(check, "this directory is not there yet; control can make it")
        }
        (DirectoryState::Creatable | DirectoryState::Missing, _) => Finding::new(
            Problem,
            check,
            format!("this directory, for control's {files}, is not there"),
            format!("`mkdir -p {path}`, owned by the user that control runs as"),
        ),
        (DirectoryState::Refused, _) => Finding::new(
            Problem,
            check,
            format!("this user cannot make control's {files} in this place"),
            format!("make {path} a directory of the user that control runs as, or run this as that user"),
        ),
    };
    finding.about(&path.to_string())
}
