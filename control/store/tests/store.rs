//! The store through its public face, on files of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::TempDir;
use weir_service_control::{
    AccessKind, AccessLimit, Action, AlarmFate, AlarmId, CacheUpdate, Counted, Decision, DeviceId, Direction,
    NodeName, Policy, PolicyId, Rate, Rule, Scope, Status, UnixMillis, Until,
};
use weir_store::{AuditLine, AuditWho, Error, SCHEMA, Store, Subscriber};

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("weir.redb")
    }

    fn open(&self) -> Store {
        Store::open(self.path()).unwrap()
    }
}

fn device(number: u32) -> DeviceId {
    DeviceId(format!("00101{number:010}"))
}

fn limit(permitted: u32, seconds: u64) -> AccessLimit {
    AccessLimit { permitted, window: Duration::from_secs(seconds) }
}

fn policy(id: u32, rule: Rule, action: Action) -> Policy {
    Policy::new(id, rule, action)
}

fn rate(bytes: Option<u64>, packets: Option<u32>, direction: Direction) -> Rate {
    Rate {
        bytes_per_second: bytes,
        packets_per_second: packets,
        burst: Duration::from_millis(100),
        direction,
    }
}

/// One of everything a policy can say.
fn policies() -> Vec<Policy> {
    let at_most = |id, action| policy(id, Rule::AccessLimit(limit(3, 60)), action);
    vec![
        at_most(1, Action::Throttle(limit(5, 60))),
        policy(2, Rule::ForbiddenProtocols(vec!["esp".into(), "quic".into()]), Action::Reject),
        Policy {
            kinds: vec![AccessKind::Packet, AccessKind::Trigger, AccessKind::Signalling],
            ..at_most(3, Action::None)
        },
        Policy { scope: Scope::Node, ..at_most(4, Action::WithholdResources) },
        at_most(5, Action::Release),
        Policy { shadow: true, ..at_most(6, Action::Reject) },
        Policy { counts: Counted::Requests, scope: Scope::Node, ..at_most(7, Action::Reject) },
        policy(8, Rule::Rate(rate(Some(125_000), Some(100), Direction::Up)), Action::Reject),
        policy(9, Rule::Rate(rate(None, Some(1), Direction::Down)), Action::None),
        policy(10, Rule::Rate(rate(Some(100), None, Direction::Both)), Action::Reject),
    ]
}

fn subscriber(number: u32, policies: &[u32]) -> Subscriber {
    let policies = policies.iter().copied().map(PolicyId).collect();
    Subscriber { device: device(number), device_type: "meter".into(), policies }
}

fn decision(number: u32, revision: u64) -> Decision {
    Decision {
        at: UnixMillis(1_000 + i64::try_from(revision).unwrap()),
        device: device(number),
        alarm: Some(AlarmId { node: NodeName("a".into()), boot: "boot".into(), sequence: revision }),
        fate: AlarmFate::Reject,
        entry: CacheUpdate {
            revision,
            device: device(number),
            cached: true,
            policies: policies(),
            status: Status {
                throttled_until: Some(UnixMillis(5_000)),
                rejected: Some(Until::Instant(UnixMillis(6_000))),
            },
            not_m2m: false,
            release_session: true,
            answers: None,
            alarm: AlarmFate::Reject,
            explanation: "Rejected: policy 2 forbids esp.".into(),
        },
    }
}

/// A decision that uses what [`decision`] leaves out.
fn other_decision(number: u32, revision: u64) -> Decision {
    let mut other = decision(number, revision);
    other.alarm = None;
    other.fate = AlarmFate::Cancel;
    other.entry.cached = false;
    other.entry.not_m2m = true;
    other.entry.policies.clear();
    other.entry.status = Status { throttled_until: None, rejected: Some(Until::FurtherNotice) };
    other.entry.alarm = AlarmFate::Unchanged;
    other.entry.answers = decision(number, revision).alarm;
    other
}

#[test]
fn what_was_put_in_comes_out_and_survives_reopening() {
    let place = Place::new();
    let subscribers = [subscriber(1, &[1, 2]), subscriber(2, &[])];
    let decisions = [decision(1, 1), other_decision(2, 1), decision(1, 2)];
    {
        let store = place.open();
        for policy in policies().iter().rev() {
            store.put_policy(policy).unwrap();
        }
        for subscriber in &subscribers {
            store.put_subscriber(subscriber).unwrap();
        }
        for decision in &decisions {
            store.record(decision).unwrap();
        }
    }
    let store = place.open();
    assert_eq!(store.policies().unwrap(), policies());
    assert_eq!(store.policy(PolicyId(4)).unwrap().as_ref(), Some(&policies()[3]));
    assert_eq!(store.policy(PolicyId(99)).unwrap(), None);
    assert_eq!(store.subscribers().unwrap(), subscribers);
    assert_eq!(store.subscriber(&device(1)).unwrap().as_ref(), Some(&subscribers[0]));
    assert_eq!(store.subscriber(&device(9)).unwrap(), None);
    let mut entries = Vec::new();
    store.each_entry(|entry| entries.push(entry)).unwrap();
    assert_eq!(entries, [decisions[2].entry.clone(), decisions[1].entry.clone()]);
    let newest_first: Vec<_> = decisions.iter().rev().cloned().collect();
    assert_eq!(store.decisions(None, 10).unwrap(), newest_first);
}

#[test]
fn decisions_are_listed_newest_first_by_device_and_up_to_a_limit() {
    let place = Place::new();
    let store = place.open();
    for revision in 1..=4 {
        store.record(&decision(1, revision)).unwrap();
        store.record(&decision(2, revision)).unwrap();
        store.record(&decision(12, revision)).unwrap();
    }
    let revisions = |device: Option<&DeviceId>, limit| -> Vec<(DeviceId, u64)> {
        let decisions = store.decisions(device, limit).unwrap();
        decisions.into_iter().map(|it| (it.device, it.entry.revision)).collect()
    };
    assert_eq!(revisions(None, 2), [(device(12), 4), (device(2), 4)]);
    assert_eq!(revisions(Some(&device(2)), 3), [(device(2), 4), (device(2), 3), (device(2), 2)]);
    assert_eq!(revisions(Some(&device(2)), 100).len(), 4);
    assert_eq!(revisions(Some(&device(3)), 100), []);
    assert_eq!(revisions(None, 0), []);
}

#[test]
fn seeding_overwrites_nothing() {
    let place = Place::new();
    let store = place.open();
    let changed = policy(1, Rule::AccessLimit(limit(9, 9)), Action::Reject);
    store.put_policy(&changed).unwrap();
    store.put_subscriber(&Subscriber { device_type: "tracker".into(), ..subscriber(1, &[]) }).unwrap();
    for _ in 0..2 {
        store.seed(&[subscriber(1, &[1]), subscriber(2, &[2])], &policies()).unwrap();
    }
    assert_eq!(store.policy(PolicyId(1)).unwrap(), Some(changed));
    assert_eq!(store.subscriber(&device(1)).unwrap().unwrap().device_type, "tracker");
    assert_eq!(store.subscriber(&device(2)).unwrap(), Some(subscriber(2, &[2])));
    assert_eq!(store.policies().unwrap().len(), policies().len());
}

#[test]
fn a_seed_that_names_a_missing_policy_changes_nothing() {
    let place = Place::new();
    let store = place.open();
    let error = store.seed(&[subscriber(1, &[77])], &policies()).unwrap_err();
    assert_eq!(error.to_string(), "there is no policy 77; create it first");
    assert_eq!(store.policies().unwrap(), []);
}

#[test]
fn the_policies_of_a_subscriber_are_found_in_both_directions() {
    let place = Place::new();
    let store = place.open();
    store.seed(&[subscriber(1, &[2, 1, 2]), subscriber(2, &[2]), subscriber(3, &[])], &policies()).unwrap();
    assert_eq!(store.policies_of(&device(1)).unwrap(), policies()[..2]);
    assert_eq!(store.policies_of(&device(3)).unwrap(), []);
    assert_eq!(store.policies_of(&device(9)).unwrap(), []);
    assert_eq!(store.devices_with_policy(PolicyId(2)).unwrap(), [device(1), device(2)]);
    assert_eq!(store.devices_with_policy(PolicyId(5)).unwrap(), []);
}

#[test]
fn a_policy_that_subscribers_have_is_not_deleted() {
    let place = Place::new();
    let store = place.open();
    store.seed(&[subscriber(1, &[1, 2]), subscriber(2, &[2])], &policies()).unwrap();
    let error = store.delete_policy(PolicyId(2)).unwrap_err();
    assert!(matches!(error, Error::PolicyInUse { policy: PolicyId(2), users: 2 }));
    assert_eq!(error.to_string(), "policy 2 is held by 2 subscriber(s); take it from them first");
    assert!(store.delete_subscriber(&device(1)).unwrap());
    assert!(!store.delete_subscriber(&device(1)).unwrap());
    assert!(store.delete_policy(PolicyId(1)).unwrap());
    assert!(!store.delete_policy(PolicyId(1)).unwrap());
}

#[test]
fn a_subscriber_cannot_name_a_policy_that_does_not_exist() {
    let place = Place::new();
    let error = place.open().put_subscriber(&subscriber(1, &[7])).unwrap_err();
    assert!(matches!(error, Error::NoSuchPolicy(PolicyId(7))));
}

#[test]
fn a_file_of_a_later_weir_is_refused_and_left_as_it_is() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let place = Place::new();
    drop(place.open());
    let set = |version: u64| {
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("schema", version).unwrap();
        transaction.commit().unwrap();
    };
    set(SCHEMA + 1);
    let error = Store::open(place.path()).unwrap_err().to_string();
    let path = place.path().display().to_string();
    assert!(error.contains(&path) && error.contains(&format!("schema version {}", SCHEMA + 1)), "{error}");
    assert!(error.contains("use the weir that wrote it"), "{error}");
    let database = Database::open(place.path()).unwrap();
    let found =
        database.begin_read().unwrap().open_table(META).unwrap().get("schema").unwrap().unwrap().value();
    assert_eq!(found, SCHEMA + 1);
}

/// Bytes as the first weir wrote them.
#[test]
fn a_policy_of_the_first_schema_is_read_as_one_that_is_enforced_and_counts_admissions() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    const POLICIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("policies");
    let place = Place::new();
    drop(place.open());
    let written = br#"{"id":1,"rule":{"access-limit":{"permitted":3,"window_ms":60000}},"kinds":["packet"],
        "scope":"network","action":{"throttle":{"permitted":5,"window_ms":60000}}}"#;
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 1).unwrap();
    transaction.open_table(POLICIES).unwrap().insert(1, &written[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let kinds = vec![AccessKind::Packet];
    let meant =
        Policy { kinds, ..policy(1, Rule::AccessLimit(limit(3, 60)), Action::Throttle(limit(5, 60))) };
    assert_eq!(place.open().policies().unwrap(), [meant]);
    let database = Database::open(place.path()).unwrap();
    let found =
        database.begin_read().unwrap().open_table(META).unwrap().get("schema").unwrap().unwrap().value();
    assert_eq!(found, SCHEMA, "an earlier weir would enforce what is only watched from now on");
}

#[test]
fn a_file_that_is_open_is_not_opened_again() {
    let place = Place::new();
    let _open = place.open();
    let error = Store::open(place.path()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }));
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let place = Place::new();
    std::fs::write(place.path(), "[policies]\n".repeat(1000)).unwrap();
    let error = Store::open(place.path()).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[test]
fn the_database_of_another_program_is_refused() {
    let place = Place::new();
    {
        let database = Database::create(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("something")).unwrap();
        transaction.commit().unwrap();
    }
    let error = Store::open(place.path()).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_missing_directory_is_named_with_what_to_do() {
    let place = Place::new();
    let path = place.directory.path().join("absent/weir.redb");
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("create the directory"), "{error}");
    let error = Store::open(place.directory.path()).unwrap_err().to_string();
    assert!(error.contains("configure a file"), "{error}");
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let place = Place::new();
    drop(place.open());
    let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn errors_and_debug_output_name_no_device() {
    let place = Place::new();
    let store = place.open();
    let subscriber = subscriber(1, &[7]);
    let error = store.put_subscriber(&subscriber).unwrap_err();
    let text = format!("{subscriber:?} {error:?} {error} {store:?}");
    assert!(!text.contains(&device(1).0), "{text}");
}

fn exempted(node: &str, sequence: u64) -> AuditLine {
    AuditLine {
        node: NodeName(node.into()),
        sequence,
        at: UnixMillis(1_000),
        received: UnixMillis(2_000),
        who: Some(AuditWho { uid: 0, name: Some("root".into()), pid: 7 }),
        what: "exemption-begun".into(),
        device: Some(device(1)),
        until: UnixMillis(3_600_000),
        reason: "meter recall".into(),
    }
}

#[test]
fn an_audit_line_said_twice_is_kept_once_as_it_was_first_said() {
    let place = Place::new();
    let mut bypass = exempted("b", 5);
    (bypass.device, bypass.who) = (None, None);
    let lines = [exempted("a", 5), exempted("a", 9), bypass];
    {
        let store = place.open();
        assert_eq!(store.audit(&lines[..1]).unwrap(), 1);
        let again = AuditLine { received: UnixMillis(9_000), ..lines[0].clone() };
        assert_eq!(store.audit(&[again, lines[1].clone(), lines[2].clone()]).unwrap(), 2);
        assert_eq!(store.audit(&lines).unwrap(), 0);
    }
    let newest_first: Vec<_> = lines.iter().rev().cloned().collect();
    let store = place.open();
    assert_eq!(store.audit_lines(None, 10).unwrap(), newest_first);
    assert_eq!(store.audit_lines(Some(&NodeName("a".into())), 10).unwrap(), newest_first[1..]);
    assert_eq!(store.audit_lines(None, 1).unwrap(), newest_first[..1]);
    assert!(!format!("{lines:?}").contains(&device(1).0));
}

#[test]
fn a_store_from_before_the_audit_gets_its_tables() {
    let place = Place::new();
    drop(place.open());
    {
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(TableDefinition::<u64, &[u8]>::new("audit")).unwrap();
        transaction.delete_table(TableDefinition::<(&str, u64), u64>::new("audit_of")).unwrap();
        transaction.commit().unwrap();
    }
    assert_eq!(place.open().audit_lines(None, 10).unwrap(), []);
}
