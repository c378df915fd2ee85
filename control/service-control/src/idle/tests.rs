//! Packing loses nothing that is looked at again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::judge::Throttle;
use crate::lifecycle::Question;
use crate::{Action, Rule};

fn any_instant() -> impl Strategy<Value = UnixMillis> {
    prop_oneof![any::<i64>(), 1_700_000_000_000_i64..1_900_000_000_000].prop_map(UnixMillis)
}

fn any_node() -> impl Strategy<Value = NodeIndex> {
    any::<u32>().prop_map(NodeIndex)
}

fn any_windows() -> impl Strategy<Value = SubWindows> {
    let length =
        prop_oneof![Just(Duration::MAX), any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))];
    let values = (any::<u32>(), any::<bool>(), any_instant(), length, any::<[u32; 4]>());
    values.prop_map(|(policy, throttle, newest_start, length, counts)| SubWindows {
        policy: PolicyId(policy),
        throttle,
        newest_start,
        length,
        counts,
    })
}

fn any_row() -> impl Strategy<Value = CountRow> {
    let whose = (any_node(), proptest::option::of(any::<u32>().prop_map(BootIndex)));
    let reason = proptest::option::of(any::<String>().prop_map(String::into_boxed_str));
    let totals = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (whose, totals, reason, vec(any_instant(), 0..15), vec(any_windows(), 0..6)).prop_map(
        |((node, boot), (requests, admitted, rejected, unsolicited), last_rejection, admissions, windows)| {
            CountRow {
                node,
                boot,
                requests,
                admitted,
                rejected,
                unsolicited,
                last_rejection,
                admissions: admissions.into(),
                windows: windows.into(),
            }
        },
    )
}

fn any_concluded() -> impl Strategy<Value = TrackedAlarm> {
    let source = proptest::option::of((any_node(), any::<u32>(), any::<u64>()));
    let told = proptest::option::of(vec(any_node(), 0..3));
    (source, told).prop_map(|(source, told)| TrackedAlarm {
        source: source.map(|(node, boot, sequence)| (node, AlarmKey { boot: BootIndex(boot), sequence })),
        raised_at: UnixMillis::default(),
        condition: None,
        kind: None,
        access_held: false,
        phase: told.map_or(AlarmPhase::Cancelled, |told| AlarmPhase::Lifted { told }),
    })
}

fn any_idle() -> impl Strategy<Value = Device> {
    let policy = Policy::new(1, Rule::ForbiddenProtocols(vec!["esp".into()]), Action::Reject);
    let entry = prop_oneof![
        Just(None),
        Just(Some(Entry { policies: [policy].into(), ..Entry::default() })),
        any_instant().prop_map(|until| Some(Entry { not_m2m_until: Some(until), ..Entry::default() })),
    ];
    (any::<u64>(), entry, vec(any_row(), 0..3), vec(any_concluded(), 0..3), any::<String>()).prop_map(
        |(revision, entry, rows, alarms, explanation)| Device {
            revision,
            stage: Stage::Settled,
            entry: entry.map(Box::new),
            alarms,
            counts: Counts::of(rows),
            explanation: explanation.into(),
        },
    )
}

/// All of it: a field that is not packed shows.
fn shown(device: &Device) -> String {
    format!("{device:?}")
}

proptest! {
    #[test]
    fn an_idle_device_comes_back_as_it_was(one in any_idle(), other in any_idle()) {
        let mut packer = Packer::default();
        let mut idle = packer.pack(&one, None).expect("it is idle");
        prop_assert_eq!(shown(&idle.unpack()), shown(&one));
        let other_idle = packer.pack(&other, Some(&mut idle)).expect("it is idle");
        prop_assert_eq!(shown(&other_idle.unpack()), shown(&other));
        let settled = other.entry.as_deref().filter(|entry| entry.not_m2m_until.is_none());
        prop_assert_eq!(other_idle.settled_policies(), settled.map(|entry| &*entry.policies));
        prop_assert_eq!(other_idle.unknown_to_nodes(), other.entry.is_none() && other.alarms.is_empty());
    }
}

#[test]
fn a_device_about_which_something_goes_on_is_not_packed() {
    let at = Some(UnixMillis(1));
    let waiting = || TrackedAlarm {
        source: None,
        raised_at: UnixMillis(1),
        condition: None,
        kind: None,
        access_held: false,
        phase: AlarmPhase::Waiting,
    };
    let entry = |entry| Device { entry: Some(Box::new(entry)), ..Device::default() };
    let busy = [
        Device { alarms: vec![waiting()], ..Device::default() },
        Device {
            stage: Stage::Pausing { question: Question::Policies, attempt: 0, until: UnixMillis(1) },
            ..Device::default()
        },
        entry(Entry { rejected: at, ..Entry::default() }),
        entry(Entry { own: vec![NodeIndex(1)], ..Entry::default() }),
        entry(Entry { release: true, ..Entry::default() }),
        entry(Entry {
            throttles: vec![Throttle { policy: PolicyId(1), node: None, until: UnixMillis(1) }],
            ..Entry::default()
        }),
    ];
    for device in busy {
        assert!(Packer::default().pack(&device, None).is_none(), "{}", shown(&device));
    }
}

#[test]
fn what_has_not_changed_is_not_copied() {
    let mut packer = Packer::default();
    let device = Device { revision: 7, explanation: "text".into(), ..Device::default() };
    let mut idle = packer.pack(&device, None).expect("it is idle");
    let (text, memory) = (idle.explanation.as_ptr(), idle.memory.as_ptr());
    let again = packer.pack(&idle.unpack(), Some(&mut idle)).expect("it is idle");
    assert_eq!((again.explanation.as_ptr(), again.memory.as_ptr()), (text, memory));
}
