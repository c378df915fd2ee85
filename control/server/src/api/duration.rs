//! Durations as people write them: a whole number and a unit, `500ms`, `10s`, `1m`, `24h`.
//!
//! One unit, no fractions, no default unit: what is written is what is meant. Use with serde as
//! `#[serde(with = "weir_server::api::duration")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration.
///
/// # Errors
/// A sentence that says what is wrong and shows the form.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
    let (Ok(number), Some(scale)) = (number.parse::<u64>(), scale) else {
        return Err(format!(
            "\"{text}\" is no duration; write a whole number and ms, s, m or h, e.g. \"10s\""
        ));
    };
    let ms = number.checked_mul(scale).ok_or_else(|| format!("\"{text}\" is too long a duration"))?;
    Ok(Duration::from_millis(ms))
}

/// Writes a duration with the largest unit that leaves it whole; parts of a millisecond are cut off.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    let whole =
        UNITS.iter().find(|(_, scale)| ms >= u128::from(*scale) && ms.is_multiple_of(u128::from(*scale)));
    match whole {
        Some((unit, scale)) => format!("{}{unit}", ms / u128::from(*scale)),
        None => "0ms".to_owned(),
    }
}

/// For serde.
///
/// # Errors
/// As the serializer does.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

/// For serde.
///
/// # Errors
/// As [`parse`] does.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["1ms", "500ms", "10s", "90s", "1m", "24h", "0ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(format(Duration::from_secs(60)), "1m");
    }

    #[test]
    fn anything_but_number_and_unit_is_refused() {
        for text in ["", "10", "s", "1.5s", "-1s", " 1s", "1 s", "1d", "1S", "99999999999999999h", "1s1s"] {
            assert!(parse(text).is_err(), "{text:?} was read");
        }
    }
}
