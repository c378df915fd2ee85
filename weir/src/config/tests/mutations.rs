//! Whatever is written, reading ends with a configuration or with faults that stand in the file.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::super::read_bytes;
use super::super::summary::Summary;
use super::example::EXAMPLE;

/// Pieces of the language, and values near the edges of what is allowed.
const PIECES: [&str; 24] = [
    "\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ",",
    "\n",
    "#",
    ".",
    "0",
    "-1",
    "15",
    "4294967296",
    "\"0s\"",
    "\"24h\"",
    "\"18446744073709551615h\"",
    "\"::/0\"",
    "\"0.0.0.0/0\"",
    "\"2001:db8::/64\"",
    "true",
    "1979-05-27",
    "ü",
];

#[derive(Clone, Debug)]
enum Mutation {
    Remove(Index, u8),
    Insert(Index, usize),
    Overwrite(Index, u8),
    CopyLine(Index, Index),
    RemoveLine(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), 1u8..40).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 0..PIECES.len()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Overwrite(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::CopyLine(from, to)),
        any::<Index>().prop_map(Mutation::RemoveLine),
    ]
}

fn apply(text: &mut Vec<u8>, mutation: &Mutation) {
    if text.is_empty() {
        return;
    }
    match mutation {
        Mutation::Remove(at, count) => {
            let start = at.index(text.len());
            let end = (start + usize::from(*count)).min(text.len());
            text.drain(start..end);
        }
        Mutation::Insert(at, piece) => {
            let at = at.index(text.len());
            text.splice(at..at, PIECES[*piece].bytes());
        }
        Mutation::Overwrite(at, byte) => {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        Mutation::CopyLine(from, to) => {
            let mut lines = lines(text);
            lines.insert(to.index(lines.len()), lines[from.index(lines.len())].clone());
            *text = lines.concat();
        }
        Mutation::RemoveLine(at) => {
            let mut lines = lines(text);
            lines.remove(at.index(lines.len()));
            *text = lines.concat();
        }
    }
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    match read_bytes(text) {
        Ok(configuration) => prop_assert!(!Summary(&configuration).to_string().is_empty()),
        Err(faults) => {
            prop_assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                prop_assert!((1..=lines).contains(&fault.line) && fault.column >= 1, "{fault}");
                prop_assert!(!fault.key.is_empty() && !fault.reason.is_empty(), "{fault}");
            }
        }
    }
    Ok(())
}

/// A fixed seed: the same cases on every machine, every time.
fn settings() -> ProptestConfig {
    ProptestConfig {
        cases: 1500,
        rng_seed: RngSeed::Fixed(20261122),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_mutated_example_gives_a_configuration_or_faults(mutations in prop::collection::vec(mutation(), 1..8)) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        mutations.iter().for_each(|mutation| apply(&mut text, mutation));
        check(&text)?;
    }

    #[test]
    fn a_truncated_example_gives_a_configuration_or_faults(end in 0..EXAMPLE.len()) {
        check(&EXAMPLE.as_bytes()[..end])?;
    }

    #[test]
    fn any_bytes_give_a_configuration_or_faults(text in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&text)?;
    }
}
