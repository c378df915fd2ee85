//! Device identifiers in eight bytes: an IMSI is at most fifteen digits, four bits each.
//!
//! Service control keeps one for every device it has heard of; as text they would be a third of its memory.
//! Everything outside sees [`DeviceId`].

use std::cmp::Ordering;
use std::fmt;

use crate::DeviceId;

/// Digits that fit beside their number.
const MOST_DIGITS: usize = 15;

/// An identifier, ordered like its text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum PackedId {
    /// The first digit in the highest four bits, and so on; how many there are in the lowest four.
    Digits(u64),
    /// Anything else, as it is.
    Other(Box<str>),
}

impl PackedId {
    pub(crate) fn new(id: &DeviceId) -> Self {
        let text = id.0.as_str();
        if text.len() > MOST_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Other(text.into());
        }
        let digits = text.bytes().zip((1..=MOST_DIGITS).rev());
        let packed = digits.fold(0, |packed, (byte, place)| packed | u64::from(byte & 0xF) << (4 * place));
        Self::Digits(packed | text.len() as u64)
    }

    pub(crate) fn id(&self) -> DeviceId {
        match self {
            Self::Digits(packed) => {
                let length = (packed & 0xF) as usize;
                let digit = |place: usize| char::from(b'0' + (packed >> (4 * place) & 0xF) as u8);
                DeviceId((1..=MOST_DIGITS).rev().take(length).map(digit).collect())
            }
            Self::Other(text) => DeviceId(text.to_string()),
        }
    }
}

impl Ord for PackedId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Digits(one), Self::Digits(other)) => one.cmp(other),
            _ => self.id().cmp(&other.id()),
        }
    }
}

impl PartialOrd for PackedId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for PackedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(text: &str) -> PackedId {
        PackedId::new(&DeviceId(text.to_owned()))
    }

    #[test]
    fn an_imsi_needs_no_memory_of_its_own() {
        assert!(matches!(packed("001010000000001"), PackedId::Digits(_)));
        assert_eq!(size_of::<PackedId>(), 16);
    }

    #[test]
    fn an_identifier_is_not_shown_whole() {
        assert_eq!(format!("{:?}", packed("001010000000042")), "DeviceId(…42)");
    }

    proptest! {
        #[test]
        fn any_identifier_comes_back_as_it_was(text in prop_oneof!["[0-9]{0,17}", "[0-9a-z:]{0,17}", any::<String>()]) {
            prop_assert_eq!(packed(&text).id(), DeviceId(text));
        }

        #[test]
        fn identifiers_are_equal_and_ordered_as_their_texts_are(
            (one, other) in ("[0-2]{0,4}", "[0-2]{0,4}").prop_union(("[0-9]{14,16}", "[0-9]{14,16}")),
        ) {
            prop_assert_eq!(packed(&one).cmp(&packed(&other)), one.cmp(&other));
            prop_assert_eq!(packed(&one) == packed(&other), one == other);
        }
    }
}
