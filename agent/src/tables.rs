//! How full this node's tables are, and how often one of them had no room.
//!
//! What happens then is chosen for each and written down in `docs/full-tables.md`; here it is only shown. No map
//! evicts: an evicted offender would be a pardoned one. What can be seen from the reasons of packets alone
//! (strangers) is counted there too.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use weir_dataplane_common::reason::Reason;

/// A table's name in the metrics, and figures of it; those that nobody can tell are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The label.
    pub name: &'static str,
    /// Room, and how much of it is in use.
    pub filled: Option<Filled>,
    /// How often something found no room, ever.
    pub full: Option<u64>,
}

/// Room, and how much of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Room.
    pub places: usize,
    /// Of that in use.
    pub used: usize,
}

impl Table {
    /// A table that can be looked into.
    pub fn filled(name: &'static str, places: usize, used: usize) -> Self {
        Self { name, filled: Some(Filled { places, used }), full: None }
    }

    /// A table of which only the losses are known.
    pub fn lossy(name: &'static str, full: u64) -> Self {
        Self { name, filled: None, full: Some(full) }
    }

    /// With what it lost.
    #[must_use]
    pub fn with_full(self, full: u64) -> Self {
        Self { full: Some(full), ..self }
    }
}

/// New strangers that found no place, and those that came too fast for their interface.
pub(crate) fn turned_away(reasons: &[(Reason, u64)]) -> (u64, u64) {
    let count = |wanted: &[Reason]| reasons.iter().filter(|(r, _)| wanted.contains(r)).map(|(_, n)| n).sum();
    (count(&[Reason::StrangersFull, Reason::StrangerPassed]), count(&[Reason::StrangerFlood]))
}

/// The tables' figures for Prometheus.
pub(crate) struct TableMetrics {
    places: IntGaugeVec,
    used: IntGaugeVec,
    full: IntCounterVec,
}

impl TableMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name, help| Opts::new(name, help);
        let metrics = Self {
            places: IntGaugeVec::new(
                opts("weir_node_table_places", "Room in a table of this node"),
                &["table"],
            )?,
            used: IntGaugeVec::new(
                opts("weir_node_table_used", "Of that room, how much is in use"),
                &["table"],
            )?,
            full: IntCounterVec::new(
                opts("weir_node_table_full_total", "Times that something found no room in a table"),
                &["table"],
            )?,
        };
        registry.register(Box::new(metrics.places.clone()))?;
        registry.register(Box::new(metrics.used.clone()))?;
        registry.register(Box::new(metrics.full.clone()))?;
        Ok(metrics)
    }

    /// Brings everything up to a reading.
    pub fn show(&self, tables: &[Table]) {
        for Table { name, filled, full } in tables {
            if let Some(Filled { places, used }) = filled {
                self.places.with_label_values(&[name]).set(*places as i64);
                self.used.with_label_values(&[name]).set(*used as i64);
            }
            if let Some(full) = full {
                let counter = self.full.with_label_values(&[name]);
                counter.inc_by(full.saturating_sub(counter.get()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_figures_are_shown_under_its_name_and_what_was_lost_only_grows() {
        let registry = Registry::new();
        let metrics = TableMetrics::new(&registry).expect("names that do not clash");
        let profiles = Table::filled("profiles", 4095, 7).with_full(2);
        metrics.show(&[profiles, Table::lossy("alarms", 5)]);
        metrics.show(&[profiles, Table::lossy("alarms", 5)]);
        let value = |family: &IntCounterVec, table: &str| family.with_label_values(&[table]).get();
        assert_eq!((value(&metrics.full, "profiles"), value(&metrics.full, "alarms")), (2, 5));
        assert_eq!(metrics.used.with_label_values(&["profiles"]).get(), 7);
        assert_eq!(metrics.places.with_label_values(&["profiles"]).get(), 4095);
    }

    #[test]
    fn strangers_without_a_place_and_a_flood_of_them_are_told_apart() {
        let reasons = [
            (Reason::StrangersFull, 3),
            (Reason::StrangerPassed, 4),
            (Reason::StrangerFlood, 5),
            (Reason::Admitted, 6),
        ];
        assert_eq!(turned_away(&reasons), (7, 5));
    }
}
