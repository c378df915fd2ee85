//! Numbers of rounds, and what is said of them.

use serde::Serialize;

/// One measured figure, as it stands in `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The median of the rounds; `null` if the row is not there yet.
    pub value: Option<f64>,
    /// The smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The 10th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p10: Option<f64>,
    /// The largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What was promised, in the figure's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// Whether the promise holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What the numbers count.
    pub unit: &'static str,
    /// What else must be known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a goal asks of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// It is only told.
    None,
}

impl Figure {
    /// Of the rounds' values; at least one.
    pub fn of(rounds: &[f64], unit: &'static str, goal: Goal) -> Self {
        let value = quantile(rounds, 0.5);
        let (limit, holds) = match goal {
            Goal::AtMost(limit) => (Some(limit), Some(value <= limit)),
            Goal::AtLeast(limit) => (Some(limit), Some(value >= limit)),
            Goal::None => (None, None),
        };
        Self {
            value: Some(value),
            min: Some(quantile(rounds, 0.0)),
            p10: Some(quantile(rounds, 0.1)),
            max: Some(quantile(rounds, 1.0)),
            goal: limit,
            holds,
            unit,
            note: String::new(),
        }
    }

    /// Of one value.
    pub fn one(value: f64, unit: &'static str, goal: Goal) -> Self {
        Self { min: None, p10: None, max: None, ..Self::of(&[value], unit, goal) }
    }

    /// Of something that cannot be measured, and why.
    pub fn absent(unit: &'static str, why: impl Into<String>) -> Self {
        Self { value: None, min: None, p10: None, max: None, goal: None, holds: None, unit, note: why.into() }
    }

    /// The same with a note.
    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// The value below which this share of the values lies: the nearest one, never a value that was not measured.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_tells_median_extremes_and_whether_the_goal_holds() {
        let figure = Figure::of(&[3.0, 1.0, 2.0], "x", Goal::AtMost(2.0));
        assert_eq!((figure.value, figure.min, figure.max), (Some(2.0), Some(1.0), Some(3.0)));
        assert_eq!(figure.holds, Some(true));
        assert_eq!(Figure::one(3.0, "x", Goal::AtLeast(4.0)).holds, Some(false));
    }

    #[test]
    fn a_quantile_is_a_measured_value() {
        let values: Vec<f64> = (0..15).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.1), median(&values)), (1.0, 7.0));
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn an_absent_row_has_no_value_in_the_summary() {
        let text = serde_json::to_string(&Figure::absent("x", "not there yet")).expect("JSON");
        assert_eq!(text, r#"{"value":null,"unit":"x","note":"not there yet"}"#);
    }
}
