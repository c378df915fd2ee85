//! A three-part version as tools print it, and nothing more: no pre-release order, no ranges.
//! Must not touch the machine. Read first: nothing; `toolchain.rs` and `linker.rs` use it.

use std::fmt;

/// `major.minor.patch`, compared in that order. What follows the patch number (`-nightly`, `+dfsg1`) is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 where the text has only two.
    pub patch: u32,
}

impl Version {
    /// A version from its three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The version at the start of `text`: `1.97.0-nightly`, `1.95`, `22.1.8`. `None` if there are not at
    /// least two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').filter(|n| !n.is_empty()).map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().unwrap_or(Ok(0)).ok()?;
        Some(Self { major, minor, patch })
    }

    /// The first word of `output` that is a version: `bpf-linker 0.10.3` gives 0.10.3.
    pub fn in_output(output: &str) -> Option<Self> {
        output
            .split_whitespace()
            .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .find_map(Self::parse)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn a_suffix_is_dropped() {
        assert_eq!(Version::parse("1.97.0-nightly"), Some(Version::new(1, 97, 0)));
        assert_eq!(Version::parse("1.96.0+dfsg1-1"), Some(Version::new(1, 96, 0)));
    }

    #[test]
    fn a_missing_patch_number_is_zero() {
        assert_eq!(Version::parse("1.95"), Some(Version::new(1, 95, 0)));
    }

    #[test]
    fn text_without_two_numbers_is_no_version() {
        for text in ["", "22", "nightly", ".", "1.x", "99999999999.1"] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_version_is_found_behind_the_name_of_the_tool() {
        assert_eq!(Version::in_output("bpf-linker 0.10.3\n"), Some(Version::new(0, 10, 3)));
        assert_eq!(Version::in_output("cargo-deny 0.20.2"), Some(Version::new(0, 20, 2)));
        assert_eq!(Version::in_output("bpf-linker"), None);
    }

    #[test]
    fn order_is_by_number_and_not_by_text() {
        assert!(Version::new(0, 9, 15) < Version::new(0, 10, 3));
        assert!(Version::new(0, 11, 0) > Version::new(0, 10, 30));
    }
}
