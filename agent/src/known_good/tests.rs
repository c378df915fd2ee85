//! The journal on a disk that tears, flips and fills up.

use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    format::{header, read},
    *,
};
use weir_proto::v1;

const NODE: &str = "pgw-1";

fn record(device: u32, revision: u64) -> Record {
    let update = v1::CacheUpdate {
        nonce: 7,
        revision,
        device: format!("{device:015}"),
        cached: true,
        status: Some(v1::Status { rejected_until_ms: revision as i64 + 1, ..v1::Status::default() }),
        explanation: "As the test says.".to_owned(),
        ..v1::CacheUpdate::default()
    };
    Record::of(&update, 0)
}

fn kept(device: u32, revision: u64) -> Keep {
    Keep::Record(record(device, revision))
}

fn open(directory: &TempDir) -> (KnownGood, Found) {
    KnownGood::open(directory.path(), NODE).expect("nobody else has it")
}

/// Revisions by device, in the order of devices.
fn standing(journal: &KnownGood) -> Vec<(String, u64)> {
    let mut standing: Vec<_> =
        journal.records().into_iter().map(|it| (it.update.device, it.update.revision)).collect();
    standing.sort();
    standing
}

fn devices(numbers: &[(u32, u64)]) -> Vec<(String, u64)> {
    numbers.iter().map(|(device, revision)| (format!("{device:015}"), *revision)).collect()
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("pgw-1.journal")
}

#[test]
fn what_was_kept_stands_at_the_next_start_and_only_the_latest_of_each_device() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, found) = open(&directory);
    assert_eq!(found, Found { devices: 0, end: End::Clean });
    journal.keep(&[kept(1, 1), kept(2, 1)]).expect("room");
    journal.keep(&[kept(1, 2), Keep::Record(Record::nothing(&record(2, 0).update.device))]).expect("room");
    drop(journal);
    let (journal, found) = open(&directory);
    assert_eq!((standing(&journal), found.end), (devices(&[(1, 2)]), End::Clean));
}

#[test]
fn only_the_owner_may_read_it() {
    let directory = TempDir::new().expect("a directory");
    let _journal = open(&directory);
    for name in ["pgw-1.journal", "pgw-1.lock"] {
        let mode = fs::metadata(directory.path().join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_second_agent_of_the_same_node_is_refused_and_one_of_another_is_not() {
    let directory = TempDir::new().expect("a directory");
    let first = open(&directory);
    let refused = KnownGood::open(directory.path(), NODE).expect_err("locked").to_string();
    assert!(refused.contains("another agent") && refused.contains("pgw-1.lock"), "{refused}");
    KnownGood::open(directory.path(), "pgw-2").expect("another node");
    drop(first);
    open(&directory);
}

#[test]
fn a_torn_journal_is_cut_off_where_it_is_torn_and_goes_on() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    journal.keep(&[kept(1, 1), kept(2, 1)]).expect("room");
    drop(journal);
    let bytes = fs::read(file(&directory)).expect("it is there");
    fs::write(file(&directory), &bytes[..bytes.len() - 3]).expect("torn");
    let (mut journal, found) = open(&directory);
    assert_eq!((found.end, found.devices, journal.failures()), (End::Torn, 1, 0));
    journal.keep(&[kept(2, 1)]).expect("room");
    drop(journal);
    assert_eq!(standing(&open(&directory).0), devices(&[(1, 1), (2, 1)]));
}

#[test]
fn a_flipped_journal_is_distrusted_from_there_on_and_a_snapshot_makes_it_whole() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    journal.keep(&[kept(1, 1), kept(2, 1), kept(3, 1)]).expect("room");
    drop(journal);
    let mut bytes = fs::read(file(&directory)).expect("it is there");
    let place = header(NODE).len() + record(1, 1).to_frame().len() + 12;
    bytes[place] ^= 0x10;
    fs::write(file(&directory), &bytes).expect("flipped");
    let (mut journal, found) = open(&directory);
    assert_eq!((found.end, found.devices, journal.failures()), (End::Distrusted, 1, 1));
    // Device 1 has been dropped meanwhile, device 2 is as it was, device 4 is new.
    let snapshot = [Keep::SnapshotBegins, kept(2, 1), kept(4, 1), Keep::SnapshotComplete];
    journal.keep(&snapshot).expect("room");
    drop(journal);
    let (journal, found) = open(&directory);
    assert_eq!((found.end, standing(&journal)), (End::Clean, devices(&[(2, 1), (4, 1)])));
}

#[test]
fn what_control_names_and_the_node_refuses_stands_as_it_was() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    journal.keep(&[kept(1, 1), kept(2, 1)]).expect("room");
    let named = Keep::Named(record(1, 0).update.device);
    journal.keep(&[Keep::SnapshotBegins, named, Keep::SnapshotComplete]).expect("room");
    assert_eq!(standing(&journal), devices(&[(1, 1)]));
}

#[test]
fn a_snapshot_that_says_nothing_new_writes_nothing() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    journal.keep(&[kept(1, 1), kept(2, 1)]).expect("room");
    let before = fs::read(file(&directory)).expect("it is there");
    journal.keep(&[Keep::SnapshotBegins, kept(1, 1), kept(2, 1), Keep::SnapshotComplete]).expect("room");
    assert_eq!(fs::read(file(&directory)).expect("it is there"), before);
}

#[test]
fn a_journal_of_dead_records_is_written_anew() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    for revision in 0..400 {
        let batch: Vec<Keep> = (0..100).map(|device| kept(device, revision)).collect();
        journal.keep(&batch).expect("room");
    }
    let length = fs::metadata(file(&directory)).expect("it is there").len();
    assert!(length < 2 * journal.live_bytes + TOLERATED, "{length} bytes");
    drop(journal);
    let (journal, found) = open(&directory);
    assert_eq!((found.end, found.devices), (End::Clean, 100));
    assert!(standing(&journal).iter().all(|(_, revision)| *revision == 399));
}

#[test]
fn a_disk_that_refuses_is_said_and_the_journal_is_whole_when_it_takes_again() {
    let directory = TempDir::new().expect("a directory");
    let state = directory.path().join("state");
    let (mut journal, _) = KnownGood::open(&state, NODE).expect("nobody else has it");
    journal.keep(&[kept(1, 1)]).expect("room");
    // Its descriptor is one that nothing can be written through, and a new file has no directory to be in.
    journal.file = File::open(state.join("pgw-1.journal")).ok();
    fs::rename(&state, directory.path().join("gone")).expect("moved");
    let refused = journal.keep(&[kept(2, 1)]).expect_err("not to be written").to_string();
    assert!(refused.contains("pgw-1.journal"), "{refused}");
    assert_eq!(journal.keep(&[]).expect_err("still not kept").to_string(), refused);
    assert!(!journal.is_kept() && journal.failures() == 1);
    assert!(journal.retry().is_err() && journal.failures() == 2);
    fs::rename(directory.path().join("gone"), &state).expect("moved back");
    journal.retry().expect("room");
    assert!(journal.is_kept());
    drop(journal);
    let (journal, _) = KnownGood::open(&state, NODE).expect("nobody else has it");
    assert_eq!(standing(&journal), devices(&[(1, 1), (2, 1)]));
}

#[test]
fn a_file_that_cannot_be_read_is_left_alone_until_control_has_said_everything() {
    let directory = TempDir::new().expect("a directory");
    // Reading a directory fails for everybody, root too.
    fs::create_dir(file(&directory)).expect("made");
    let (mut journal, found) = open(&directory);
    assert_eq!((found.devices, journal.is_kept(), journal.failures()), (0, false, 1));
    assert!(journal.keep(&[kept(1, 1)]).is_err() && journal.retry().is_err());
    fs::remove_dir(file(&directory)).expect("still there, and empty");
    assert!(journal.retry().is_err(), "who knows what it held");
    let snapshot = [Keep::SnapshotBegins, kept(1, 1), Keep::SnapshotComplete];
    assert!(journal.keep(&snapshot).is_err() && journal.retry().is_ok());
    assert_eq!(standing(&journal), devices(&[(1, 1)]));
}

#[test]
fn a_record_that_could_not_be_read_back_is_not_written() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    let mut long = record(1, 1);
    long.update.device = "1".repeat(2 << 20);
    journal.keep(&[Keep::Record(long), kept(2, 1)]).expect("room");
    assert_eq!(journal.failures(), 1);
    drop(journal);
    assert_eq!(standing(&open(&directory).0), devices(&[(2, 1)]));
}

#[test]
fn a_journal_of_another_node_is_not_used() {
    let directory = TempDir::new().expect("a directory");
    let (mut journal, _) = open(&directory);
    journal.keep(&[kept(1, 1)]).expect("room");
    drop(journal);
    fs::rename(file(&directory), directory.path().join("pgw-2.journal")).expect("moved");
    let (journal, found) = KnownGood::open(directory.path(), "pgw-2").expect("nobody else has it");
    assert_eq!((found.end, journal.records()), (End::Distrusted, vec![]));
}

#[test]
fn what_was_meant_for_one_moment_is_not_kept_and_nothing_shows_the_device() {
    let mut update = record(1, 1).update;
    update.nonce = 9;
    update.answers = Some(v1::AlarmId::default());
    update.set_alarm(v1::AlarmFate::Reject);
    update.status.get_or_insert_default().release_session = true;
    assert_eq!(Record::of(&update, 0), record(1, 1));
    assert!(!format!("{:?}", record(1, 1)).contains(&update.device));
}

/// Prints how many updates a second are kept, by the size of a batch: `cargo test --release -p weir-agent --lib
/// updates_a_second -- --ignored --nocapture`, with `TMPDIR` on the disk in question.
#[test]
#[ignore = "a measurement"]
fn updates_a_second() {
    for size in [1, 16, 256, 1024] {
        let directory = TempDir::new().expect("a directory");
        let (mut journal, _) = open(&directory);
        let (began, mut batches) = (std::time::Instant::now(), 0u64);
        while began.elapsed().as_secs() < 2 {
            let batch: Vec<Keep> = (0..size).map(|device| kept(device, batches)).collect();
            journal.keep(&batch).expect("room");
            batches += 1;
        }
        let per_second = (batches * u64::from(size)) as f64 / began.elapsed().as_secs_f64();
        println!("batches of {size}: {per_second:.0} updates/s");
    }
}

/// A random history: devices, revisions, endings.
fn histories() -> impl Strategy<Value = Vec<Record>> {
    let record =
        (0u32..6, 0u64..1000, 0u32..3, any::<bool>()).prop_map(|(device, revision, alarm, stands)| {
            let record = record(device, revision);
            if stands { Record { alarm, ..record } } else { Record::nothing(&record.update.device) }
        });
    prop::collection::vec(record, 0..20)
}

fn written(history: &[Record]) -> Vec<u8> {
    header(NODE).into_iter().chain(history.iter().flat_map(Record::to_frame)).collect()
}

proptest! {
    #[test]
    fn any_beginning_of_a_journal_is_read_as_a_beginning_of_the_history(
        history in histories(), cut in any::<prop::sample::Index>(),
    ) {
        let bytes = written(&history);
        let cut = cut.index(bytes.len() + 1);
        let reading = read(&bytes[..cut], NODE);
        prop_assert!(history.starts_with(&reading.records));
        prop_assert!(reading.sound <= cut);
        let is_whole = reading.sound == cut;
        prop_assert_eq!(reading.end, if is_whole { End::Clean } else { End::Torn });
    }

    #[test]
    fn a_byte_changed_anywhere_is_noticed_and_what_precedes_it_is_read(
        history in histories(), place in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let mut bytes = written(&history);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let reading = read(&bytes, NODE);
        prop_assert!(history.starts_with(&reading.records));
        prop_assert!(reading.records.len() < history.len() || history.is_empty());
        prop_assert!(reading.sound <= place && reading.end != End::Clean);
    }

    #[test]
    fn any_bytes_at_all_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes, NODE);
        read(&[header(NODE), bytes].concat(), NODE);
    }
}
