//! The queue against agents that die, disks that are full, and files that were cut.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use weir_proto::v1::from_node::Message as Up;

use super::*;

const IMSI: &str = "001010000000001";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state/pgw-1.audit")
    }

    fn open(&self) -> Queue {
        Queue::open(&self.path())
    }
}

fn deed(what: What, device: Option<&str>) -> Deed {
    Deed {
        at_ms: 1_000,
        who: Some(Who { uid: 0, name: Some("root".to_owned()), pid: 7 }),
        what,
        device: device.map(str::to_owned),
        until_ms: 61_000,
        reason: "meter recall".to_owned(),
    }
}

fn said(queue: &Queue) -> Vec<u64> {
    let lines = queue.messages().into_iter().flat_map(|message| match message {
        Up::Audit(lines) => lines.lines,
        other => panic!("{other:?} is no audit"),
    });
    lines.map(|line| line.sequence).collect()
}

#[test]
fn a_line_survives_an_agent_that_is_killed_before_control_has_it() {
    let place = Place::new();
    let mut queue = place.open();
    let (line, kept) = queue.append(deed(What::ExemptionBegun, Some(IMSI)));
    assert_eq!(kept, Kept::OnDisk);
    let line = line.clone();
    std::mem::forget(queue);

    let queue = place.open();
    assert_eq!(queue.waiting().collect::<Vec<_>>(), [&line]);
    assert_eq!(said(&queue), [line.sequence]);
    assert!(!format!("{line:?} {queue:?}").contains(IMSI));
}

#[test]
fn lines_are_said_until_control_has_them_and_then_forgotten() {
    let place = Place::new();
    let mut queue = place.open();
    let first = queue.append(deed(What::ExemptionBegun, Some(IMSI))).0.sequence;
    let second = queue.append(deed(What::ExemptionEnded, Some(IMSI))).0.sequence;
    assert!(second > first);
    assert_eq!(said(&queue), [first, second]);
    queue.acknowledged(first);
    assert_eq!(said(&queue), [second]);
    queue.acknowledged(second);
    queue.acknowledged(first);
    assert!(said(&queue).is_empty());
    assert_eq!(fs::read_to_string(place.path()).expect("the file"), "", "no device is left in it");
    assert!(queue.append(deed(What::BypassBegun, None)).0.sequence > second, "numbers go on");
}

#[test]
fn a_beginning_is_kept_for_the_next_agent_until_it_is_over_or_begun_again() {
    let place = Place::new();
    let mut queue = place.open();
    queue.append(deed(What::BypassBegun, None));
    queue.append(deed(What::ExemptionBegun, Some(IMSI)));
    let again = queue.append(deed(What::BypassBegun, None)).0.sequence;
    queue.acknowledged(again);
    drop(queue);

    let mut queue = place.open();
    let begun: Vec<What> = queue.begun().iter().map(|line| line.what).collect();
    assert_eq!(begun, [What::ExemptionBegun, What::BypassBegun]);
    let end = queue.append(deed(What::ExemptionEnded, Some(IMSI))).0.sequence;
    queue.acknowledged(end);
    assert_eq!(queue.begun().iter().map(|line| line.sequence).collect::<Vec<_>>(), [again]);
    assert!(!fs::read_to_string(place.path()).expect("the file").contains(IMSI));
}

#[test]
fn a_torn_tail_costs_its_line_and_no_other() {
    let place = Place::new();
    let mut queue = place.open();
    let first = queue.append(deed(What::BypassBegun, None)).0.sequence;
    let second = queue.append(deed(What::BypassEnded, None)).0.sequence;
    drop(queue);
    let whole = fs::read(place.path()).expect("the file");
    for length in [whole.len() - 1, whole.len() - 20] {
        fs::write(place.path(), &whole[..length]).expect("a cut file");
        let mut queue = place.open();
        assert_eq!(said(&queue), [first]);
        let third = queue.append(deed(What::BypassBegun, None)).0.sequence;
        assert_eq!(said(&place.open()), [first, third], "what follows a torn line is whole");
        assert!(third >= second);
    }
}

#[test]
fn a_flipped_bit_costs_its_line_and_no_other() {
    let place = Place::new();
    let mut queue = place.open();
    queue.append(deed(What::BypassBegun, None));
    let second = queue.append(deed(What::BypassEnded, None)).0.sequence;
    drop(queue);
    let mut bytes = fs::read(place.path()).expect("the file");
    bytes[30] ^= 1;
    fs::write(place.path(), bytes).expect("a changed file");
    assert_eq!(said(&place.open()), [second]);
}

#[test]
fn a_disk_that_takes_nothing_keeps_no_operator_from_acting() {
    let place = Place::new();
    // A file where the directory should be: nobody can write below it, not even root.
    fs::write(place.0.path().join("state"), "").expect("a file in the way");
    let mut queue = place.open();
    let (line, kept) = queue.append(deed(What::BypassBegun, None));
    assert_eq!(kept, Kept::InMemory);
    let sequence = line.sequence;
    assert_eq!(said(&queue), [sequence]);

    fs::remove_file(place.0.path().join("state")).expect("the way is free");
    queue.retry();
    assert!(queue.is_on_disk());
    assert_eq!(said(&place.open()), [sequence]);
}

#[test]
fn a_queue_begun_anew_gives_no_number_twice() {
    let place = Place::new();
    let lost = place.open().append(deed(What::BypassBegun, None)).0.sequence;
    fs::remove_file(place.path()).expect("the queue is lost");
    let later = Deed { at_ms: 1_001, ..deed(What::BypassBegun, None) };
    assert!(place.open().append(later).0.sequence > lost);
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let place = Place::new();
    let mut queue = place.open();
    let line = queue.append(deed(What::ExemptionBegun, Some(IMSI))).0.sequence;
    queue.append(deed(What::ExemptionEnded, Some(IMSI)));
    queue.acknowledged(line);
    let mode = fs::metadata(place.path()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
