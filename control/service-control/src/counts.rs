//! What nodes have counted for one device: cumulative per node and boot, so that repetition is harmless
//! (R-D16), with the latest admissions of each, and sums by sub-windows for limits above `EXACT_LIMIT`.
//!
//! It adds and forgets; what the numbers mean for a policy is judged in `gauge`.

use std::time::Duration;

use crate::history::History;
use crate::nodes::{BootIndex, NodeIndex};
use crate::sub_windows::{in_step, same_instant};
use crate::{DeviceCounts, EXACT_LIMIT, SubWindows, UnixMillis};

/// Admissions one node's entry keeps, and so the most it can report.
const MAX_ADMISSIONS: usize = EXACT_LIMIT as usize;

/// One node's counts within one boot, or within all its earlier boots together (`boot` is `None`).
#[derive(Debug)]
pub(crate) struct CountRow {
    pub(crate) node: NodeIndex,
    pub(crate) boot: Option<BootIndex>,
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    pub(crate) rejected: u64,
    pub(crate) unsolicited: u64,
    pub(crate) last_rejection: Option<Box<str>>,
    pub(crate) admissions: Box<[UnixMillis]>,
    pub(crate) windows: Box<[SubWindows]>,
}

/// Whose report, and what of it is worth keeping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) node: NodeIndex,
    pub(crate) boot: BootIndex,
    /// The longest window that may matter to the device.
    pub(crate) keep: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<CountRow>);

impl Counts {
    /// Replaces what the same boot of the same node said before. True if it has refused attempts since.
    pub(crate) fn take(&mut self, from: Origin, report: DeviceCounts, now: UnixMillis) -> bool {
        let Some(row) = self.row(from, now) else { return false };
        let stale = report.admitted < row.admitted || report.requests < row.requests;
        if stale {
            return false;
        }
        let refused = report.rejected > row.rejected;
        let new = usize::try_from(report.admitted - row.admitted).unwrap_or(usize::MAX);
        row.admissions = merged(&row.admissions, report.admissions, new, now, now.minus(from.keep));
        row.windows = in_step(&row.windows, report.windows, now);
        row.requests = report.requests;
        row.admitted = report.admitted;
        row.rejected = report.rejected;
        row.unsolicited = report.unsolicited;
        row.last_rejection = report.last_rejection.map(String::into_boxed_str);
        refused
    }

    /// `None`: a boot that has ended long ago.
    fn row(&mut self, from: Origin, now: UnixMillis) -> Option<&mut CountRow> {
        if let Some(found) = self.0.iter().position(|row| row.boot == Some(from.boot)) {
            return Some(&mut self.0[found]);
        }
        let ended = self.0.iter().any(|row| row.node == from.node && row.boot > Some(from.boot));
        if ended && self.0.iter().any(|row| row.node == from.node && row.boot.is_none()) {
            return None;
        }
        self.fold_earlier(from, now);
        // Nearly every device is counted by one node: room for four would be mostly empty.
        self.0.reserve_exact(1);
        self.0.push(CountRow::new(from.node, Some(from.boot)));
        self.0.last_mut()
    }

    /// Earlier boots of this node whose admissions no longer matter become one row: a node that restarts every
    /// day must not cost a row a day.
    fn fold_earlier(&mut self, from: Origin, now: UnixMillis) {
        let horizon = now.minus(from.keep);
        let mut earlier = CountRow::new(from.node, None);
        let mut folded = false;
        self.0.retain(|row| {
            let over = row.node == from.node
                && row.boot < Some(from.boot)
                && row.admissions.last().is_none_or(|at| *at <= horizon)
                && row.windows.iter().all(|windows| windows.end(0) <= horizon);
            if over {
                folded = true;
                earlier.add(row);
            }
            !over
        });
        if folded {
            self.0.push(earlier);
        }
    }

    /// All admissions known, with where they happened, by time. A node's entries outlive its agent, so the next
    /// boot reports once more what the boot before has reported: that is counted once.
    pub(crate) fn history(&self) -> History {
        let mut admissions: Vec<(UnixMillis, NodeIndex)> = Vec::new();
        for row in &self.0 {
            let of_node = admissions.iter().filter(|(_, node)| *node == row.node);
            let mut reported: Vec<_> = of_node.map(|(at, _)| *at).collect();
            for at in &row.admissions {
                match reported.iter().position(|known| same_instant(*at, *known)) {
                    Some(known) => _ = reported.swap_remove(known),
                    None => admissions.push((*at, row.node)),
                }
            }
        }
        admissions.sort_unstable();
        let sums = self.0.iter().flat_map(|row| row.windows.iter().map(|windows| (row.node, *windows)));
        History::new(admissions, sums.collect())
    }

    /// Nodes that have reported the device.
    pub(crate) fn nodes(&self) -> Vec<NodeIndex> {
        let mut nodes: Vec<_> = self.0.iter().map(|row| row.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// The rows that [`Counts::rows`] has shown.
    pub(crate) fn of(rows: Vec<CountRow>) -> Self {
        Self(rows)
    }

    pub(crate) fn rows(&self) -> &[CountRow] {
        &self.0
    }
}

impl CountRow {
    fn new(node: NodeIndex, boot: Option<BootIndex>) -> Self {
        Self {
            node,
            boot,
            requests: 0,
            admitted: 0,
            rejected: 0,
            unsolicited: 0,
            last_rejection: None,
            admissions: Box::default(),
            windows: Box::default(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.admitted = self.admitted.saturating_add(other.admitted);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.unsolicited = self.unsolicited.saturating_add(other.unsolicited);
        if other.last_rejection.is_some() {
            self.last_rejection.clone_from(&other.last_rejection);
        }
    }
}

/// The reported times, except that an admission known before keeps the time it had: the last `new` are new, those
/// before them are the last known ones. What lies in the future by the node's clock happened now at the latest.
fn merged(
    known: &[UnixMillis],
    mut reported: Vec<UnixMillis>,
    new: usize,
    now: UnixMillis,
    horizon: UnixMillis,
) -> Box<[UnixMillis]> {
    for at in &mut reported {
        *at = (*at).min(now);
    }
    reported.sort_unstable();
    reported.drain(..reported.len().saturating_sub(MAX_ADMISSIONS));
    let repeated = reported.len().saturating_sub(new);
    for (at, known) in reported[..repeated].iter_mut().rev().zip(known.iter().rev()) {
        if same_instant(*at, *known) {
            *at = *known;
        }
    }
    reported.retain(|at| *at > horizon);
    reported.sort_unstable();
    reported.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeName, nodes::NodeTable};

    fn report(admitted: u64, times: &[i64]) -> DeviceCounts {
        DeviceCounts {
            requests: admitted,
            admitted,
            admissions: times.iter().copied().map(UnixMillis).collect(),
            ..DeviceCounts::default()
        }
    }

    fn origins<const N: usize>(boots: [&str; N]) -> [Origin; N] {
        let mut nodes = NodeTable::default();
        let node = nodes.index(&NodeName("a".into()));
        boots.map(|boot| Origin { node, boot: nodes.boot(node, boot), keep: Duration::from_secs(60) })
    }

    fn times(counts: &Counts) -> Vec<i64> {
        counts.history().instants(None).map(|(at, _)| at.0).collect()
    }

    #[test]
    fn a_report_replaces_the_same_boots_and_adds_to_other_boots() {
        let [first, second] = origins(["x", "y"]);
        let mut counts = Counts::default();
        let now = UnixMillis(10_000);
        counts.take(first, report(2, &[1_000, 2_000]), now);
        counts.take(first, report(3, &[1_000, 2_000, 3_000]), now);
        counts.take(second, report(1, &[4_000]), now);
        assert_eq!(times(&counts), [1_000, 2_000, 3_000, 4_000]);
    }

    #[test]
    fn what_a_restarted_agent_finds_in_its_entries_is_counted_once() {
        let [first, second] = origins(["x", "y"]);
        let mut counts = Counts::default();
        let now = UnixMillis(10_000);
        counts.take(first, report(3, &[1_000, 2_000, 2_050]), now);
        counts.take(second, report(1, &[1_003, 1_997, 2_051, 4_000]), now);
        assert_eq!(times(&counts), [1_000, 2_000, 2_050, 4_000]);
    }

    #[test]
    fn an_older_report_that_arrives_late_changes_nothing() {
        let [origin] = origins(["x"]);
        let mut counts = Counts::default();
        counts.take(origin, report(2, &[1_000, 2_000]), UnixMillis(3_000));
        counts.take(origin, report(1, &[1_000]), UnixMillis(3_000));
        assert_eq!(times(&counts), [1_000, 2_000]);
    }

    #[test]
    fn a_known_admission_keeps_its_time_though_the_nodes_clock_trembles() {
        let [origin] = origins(["x"]);
        let mut counts = Counts::default();
        counts.take(origin, report(2, &[1_000, 2_000]), UnixMillis(3_000));
        counts.take(origin, report(3, &[1_004, 1_998, 2_500]), UnixMillis(3_000));
        assert_eq!(times(&counts), [1_000, 2_000, 2_500]);
    }

    #[test]
    fn an_admission_from_the_future_happened_now() {
        let [origin] = origins(["x"]);
        let mut counts = Counts::default();
        counts.take(origin, report(1, &[9_000]), UnixMillis(3_000));
        assert_eq!(times(&counts), [3_000]);
    }

    #[test]
    fn admissions_older_than_the_longest_window_are_dropped() {
        let [origin] = origins(["x"]);
        let mut counts = Counts::default();
        counts.take(origin, report(2, &[1_000, 50_000]), UnixMillis(61_000));
        assert_eq!(times(&counts), [50_000]);
    }

    #[test]
    fn earlier_boots_become_one_row_and_their_sums_stay() {
        let boots = origins(["1", "2", "3", "4", "5"]);
        let mut counts = Counts::default();
        for (day, origin) in boots.into_iter().enumerate() {
            let now = UnixMillis(86_400_000 * (day as i64 + 1));
            counts.take(origin, report(10, &[now.0 - 1]), now);
        }
        assert_eq!(counts.rows().len(), 2);
        assert_eq!(counts.rows().iter().map(|row| row.admitted).sum::<u64>(), 50);
        counts.take(boots[0], report(10, &[]), UnixMillis(86_400_000 * 6));
        assert_eq!(
            counts.rows().iter().map(|row| row.admitted).sum::<u64>(),
            50,
            "a dead boot is not counted twice"
        );
    }

    #[test]
    fn growth_of_the_refusals_is_noticed_once() {
        let [origin] = origins(["x"]);
        let mut counts = Counts::default();
        let refused = DeviceCounts { requests: 1, rejected: 1, ..DeviceCounts::default() };
        assert!(counts.take(origin, refused.clone(), UnixMillis(0)));
        assert!(!counts.take(origin, refused, UnixMillis(0)));
    }
}
