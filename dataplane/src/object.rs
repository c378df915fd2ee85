//! The BPF objects inside this binary.

use aya_obj::EbpfSectionKind;
use object::{Object, ObjectSection, ObjectSymbol};
use weir_dataplane_common::abi::ABI_VERSION;

use crate::{Error, pins::MapShape};

macro_rules! include_bytes_aligned {
    ($path:literal) => {{
        // ELF structures are read in place and want their alignment.
        #[repr(C, align(32))]
        struct Aligned<T: ?Sized>(T);
        const OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &OBJECT.0
    }};
}

include!(concat!(env!("OUT_DIR"), "/objects.rs"));

/// The program that judges live traffic.
pub(crate) fn live() -> Result<&'static [u8], Error> {
    checked(LIVE)
}

/// The private copy with a settable clock.
pub(crate) fn replay() -> Result<&'static [u8], Error> {
    checked(REPLAY)
}

/// The packet generator, and the floors that the bench measures beside the gate.
pub(crate) fn floors() -> Result<&'static [u8], Error> {
    FLOORS.ok_or(Error::NotBuilt)
}

/// Whether this binary carries the program at all.
pub(crate) fn is_embedded() -> bool {
    LIVE.is_some()
}

fn checked(object: Option<&'static [u8]>) -> Result<&'static [u8], Error> {
    let object = object.ok_or(Error::NotBuilt)?;
    let found = abi_version(object);
    if found == Some(ABI_VERSION) { Ok(object) } else { Err(Error::Abi { found, needed: ABI_VERSION }) }
}

/// The maps that an object asks for, with these sizes instead of its own; without those that hold its own data.
pub(crate) fn maps(object: &[u8], sizes: &[(&str, u32)]) -> Result<Vec<MapShape>, Error> {
    let object = aya_obj::Object::parse(object).map_err(|error| Error::Load(Box::new(error)))?;
    let shape = |(name, map): (&String, &aya_obj::Map)| {
        let size = sizes.iter().find(|(sized, _)| sized == name).map(|(_, size)| *size);
        MapShape {
            name: name.clone(),
            kind: map.map_type(),
            key: map.key_size(),
            value: map.value_size(),
            entries: size.unwrap_or(map.max_entries()),
            flags: map.map_flags(),
        }
    };
    let is_map =
        |map: &aya_obj::Map| matches!(map.section_kind(), EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps);
    Ok(object.maps.iter().filter(|(_, map)| is_map(map)).map(shape).collect())
}

/// The value of the object's `WEIR_ABI_VERSION`.
fn abi_version(bytes: &[u8]) -> Option<u32> {
    let object = object::File::parse(bytes).ok()?;
    let symbol = object.symbols().find(|symbol| symbol.name() == Ok("WEIR_ABI_VERSION"))?;
    let section = object.section_by_index(symbol.section_index()?).ok()?;
    let at = usize::try_from(symbol.address() - section.address()).ok()?;
    let value = section.data().ok()?.get(at..at + 4)?;
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_the_program_says_how_to_build_it() {
        let error = checked(None).expect_err("nothing to load");
        assert!(matches!(error, Error::NotBuilt));
        assert!(error.to_string().contains("run `cargo xtask build-ebpf`"), "{error}");
    }

    #[test]
    fn an_object_that_does_not_say_its_layout_is_refused() {
        for object in [&b""[..], b"not an object at all"] {
            let error = checked(Some(object)).expect_err("refused");
            assert!(matches!(error, Error::Abi { found: None, needed: ABI_VERSION }), "{error:?}");
        }
    }

    #[test]
    fn the_objects_in_this_binary_have_the_layout_of_this_code() {
        for object in [LIVE, REPLAY].into_iter().flatten() {
            assert_eq!(abi_version(object), Some(ABI_VERSION));
        }
    }
}
