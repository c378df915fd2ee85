//! How deep a program's stack is, read off its instructions: the verifier says it only in a log that a successful
//! load does not return.
//!
//! Counts what is reached through the frame pointer itself or a copy of it with a constant added, which is all
//! that the compiler emits. Read first: RFC 9669 §3 (instruction encoding).

use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

/// The register that points behind the stack.
const FRAME: u8 = 10;

/// Bytes of stack that the programs of an object's `xdp` section use at most.
///
/// # Errors
/// If the file cannot be read or is no BPF object.
pub fn depth(path: &Path) -> Result<u32> {
    let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let object = object::File::parse(&*file)?;
    let section = object.section_by_name("xdp").context("the object has no section xdp")?;
    Ok(depth_of(section.data()?))
}

fn depth_of(code: &[u8]) -> u32 {
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut deepest = 0;
    let mut copy: Option<u8> = None;
    for instruction in code.chunks_exact(8) {
        let (operation, registers) = (instruction[0], instruction[1]);
        let (target, source) = (registers & 0xf, registers >> 4);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let constant = i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        let reached = match operation & 7 {
            // Loads reach through the source register, stores through the target.
            1 if source == FRAME => offset,
            2 | 3 if target == FRAME => offset,
            7 if operation == ADD && copy == Some(target) => constant,
            _ => 0,
        };
        copy = (operation == MOVE && source == FRAME).then_some(target);
        deepest = deepest.min(reached);
    }
    deepest.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_place_counts_however_it_is_reached() {
        let store = [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0]; // *(u64 *)(r10 - 16) = r1
        let load = [0x79, 0xa1, 0xe0, 0xff, 0, 0, 0, 0]; // r1 = *(u64 *)(r10 - 32)
        let copy = [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]; // r2 = r10
        let add = [0x07, 0x02, 0, 0, 0xd8, 0xff, 0xff, 0xff]; // r2 += -40
        assert_eq!(depth_of(&store), 16);
        assert_eq!(depth_of(&[store, load].concat()), 32);
        assert_eq!(depth_of(&[store, copy, add].concat()), 40);
        assert_eq!(depth_of(&add), 0, "r2 is no copy of the frame pointer here");
    }
}
