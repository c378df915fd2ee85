//! Addresses outside the pools and the entries they lead to: a hash table that user space writes as memory.
//!
//! A look-up costs one cache line where the kernel's own hash map costs two or three: a bucket is a line of four
//! slots, and an address stands in the first bucket with room from its home on, at most [`REACH`] further. Only
//! user space writes, one writer at a time, by single words: first a slot's entry is struck out, then its key is
//! written, then its entry with a check of the key. So a reader who meets a slot while it changes hands finds
//! nothing, never another's entry.
//!
//! Nothing here evicts, grows or allocates: where there is no room within reach, the address is refused.

use crate::{
    abi::{AddressKey, NO_INDEX},
    atomic::Word64,
    opaque::forget,
};

/// Slots in a bucket.
const SLOTS: usize = 4;
/// Buckets in which an address may stand. Half full, nearly every address stands in its home or the next; that so many
/// in a row are full is not to be expected even once in a table of sixteen million.
pub const REACH: u32 = 32;

/// The key of a slot that was never used: a look-up ends at its bucket.
const EMPTY: u64 = 0;
/// The key of a slot that was used: a look-up goes on, a new address takes it.
const LEFT: u64 = AddressKey::NOBODY.0;
/// A slot's entry while there is none.
const STRUCK_OUT: u64 = 0;

/// A cache line of slots.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Bucket {
    slots: [Slot; SLOTS],
}

#[repr(C)]
#[derive(Default)]
struct Slot {
    key: Word64,
    /// A check of the key in the upper half, the entry in the lower.
    entry: Word64,
}

/// Buckets for so many addresses: two slots for each, and enough for the smallest numbers never to be refused.
pub const fn buckets(addresses: u32) -> u32 {
    let half = addresses.div_ceil(2);
    if half <= REACH { REACH } else { half.next_power_of_two() }
}

impl AddressKey {
    /// Where it stands, if there is room, and the check that stands beside its entry: never zero.
    #[inline(always)]
    const fn home_and_check(self) -> (u32, u32) {
        let mut hash = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        // The upper bits of a product are the mixed ones.
        ((hash >> 32) as u32, (hash ^ hash >> 29) as u32 | 1)
    }
}

impl Slot {
    /// The entry, if it is this key's.
    #[inline(always)]
    fn entry_of(&self, check: u32) -> u32 {
        let entry = self.entry.load();
        if (entry >> 32) as u32 == check { entry as u32 } else { NO_INDEX }
    }
}

/// The entry that an address leads to, or [`NO_INDEX`]. `bucket` gives the bucket with a number below `buckets`, a
/// power of two.
#[inline(always)]
pub fn find<'t>(key: AddressKey, buckets: u32, bucket: impl Fn(u32) -> Option<&'t Bucket>) -> u32 {
    let (home, check) = key.home_and_check();
    for step in 0..REACH {
        let number = home.wrapping_add(step) & buckets.wrapping_sub(1);
        let Some(bucket) = bucket(number) else { return NO_INDEX };
        let mut is_last = 0;
        for slot in &bucket.slots {
            let standing = slot.key.load();
            if standing == key.0 {
                return forget(slot.entry_of(check));
            }
            is_last |= u32::from(standing == EMPTY);
        }
        if forget(is_last) != 0 {
            break;
        }
    }
    NO_INDEX
}

/// Leads an address to an entry, in the place of another if it led there. False if there is no room within reach.
pub fn put(table: &[Bucket], key: AddressKey, entry: u32) -> bool {
    let (_, check) = key.home_and_check();
    let Some(slot) = standing(table, key).or_else(|| free(table, key)) else { return false };
    if slot.key.load() != key.0 {
        slot.entry.store(STRUCK_OUT);
        slot.key.store(key.0);
    }
    slot.entry.store(u64::from(check) << 32 | u64::from(entry));
    true
}

/// Forgets an address. False if it leads nowhere.
pub fn remove(table: &[Bucket], key: AddressKey) -> bool {
    let Some(slot) = standing(table, key) else { return false };
    slot.entry.store(STRUCK_OUT);
    slot.key.store(LEFT);
    true
}

/// All addresses with their entries, in no order.
pub fn all(table: &[Bucket]) -> impl Iterator<Item = (AddressKey, u32)> + '_ {
    let slots = table.iter().flat_map(|bucket| &bucket.slots);
    slots.filter(|slot| is_taken(slot)).map(|slot| (AddressKey(slot.key.load()), slot.entry.load() as u32))
}

fn is_taken(slot: &Slot) -> bool {
    !matches!(slot.key.load(), EMPTY | LEFT)
}

/// The slots within reach of an address, in the order of a look-up.
fn within_reach(table: &[Bucket], key: AddressKey) -> impl Iterator<Item = &Slot> {
    let (home, _) = key.home_and_check();
    let mask = table.len() - 1;
    (0..REACH as usize).flat_map(move |step| &table[(home as usize).wrapping_add(step) & mask].slots)
}

fn standing(table: &[Bucket], key: AddressKey) -> Option<&Slot> {
    within_reach(table, key).find(|slot| slot.key.load() == key.0)
}

fn free(table: &[Bucket], key: AddressKey) -> Option<&Slot> {
    within_reach(table, key).find(|slot| !is_taken(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Address;
    use proptest::prelude::*;
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
        thread,
    };

    fn table(addresses: u32) -> Vec<Bucket> {
        (0..buckets(addresses)).map(|_| Bucket::default()).collect()
    }

    fn found(table: &[Bucket], key: AddressKey) -> Option<u32> {
        let index = find(key, table.len() as u32, |number| table.get(number as usize));
        (index != NO_INDEX).then_some(index)
    }

    fn v4(address: u32) -> AddressKey {
        AddressKey::of(Address::v4(address))
    }

    proptest! {
        #[test]
        fn the_table_does_what_a_map_does(
            addresses in 1u32..200,
            steps in prop::collection::vec((any::<bool>(), 0u32..400, 0u32..1000), 1..600),
        ) {
            let (table, mut model) = (table(addresses), HashMap::new());
            for (puts, address, entry) in steps {
                let key = v4(address);
                if puts && (model.contains_key(&key) || model.len() < addresses as usize) {
                    prop_assert!(put(&table, key, entry), "{} of {}", model.len(), addresses);
                    model.insert(key, entry);
                } else if !puts {
                    prop_assert_eq!(remove(&table, key), model.remove(&key).is_some());
                }
                prop_assert_eq!(found(&table, key), model.get(&key).copied());
            }
            prop_assert_eq!(all(&table).collect::<HashMap<_, _>>(), model);
        }
    }

    #[test]
    fn as_many_neighbouring_addresses_and_prefixes_as_it_is_made_for_find_room() {
        let count = 1u32 << 18;
        let (fours, sixes) = (table(count), table(count));
        for number in 0..count {
            let six = AddressKey::of(Address { high: 0x2001_0db8_0000_0000 + u64::from(number), low: 7 });
            assert!(put(&fours, v4(0x0a00_0000 + number), number) && put(&sixes, six, number), "{number}");
        }
        assert!((0..count).all(|number| found(&fours, v4(0x0a00_0000 + number)) == Some(number)));
        assert_eq!(found(&fours, v4(0x0a00_0000 + count)), None);
    }

    #[test]
    fn what_is_nobodys_leads_nowhere_also_where_addresses_have_left() {
        let table = table(8);
        assert!(put(&table, v4(1), 1) && remove(&table, v4(1)));
        assert_eq!(found(&table, AddressKey::NOBODY), None);
        assert_eq!(found(&table, v4(1)), None);
    }

    #[test]
    fn where_there_is_no_room_within_reach_the_address_is_refused_and_the_others_stay() {
        let table = table(1);
        let room = REACH as usize * SLOTS;
        let taken = (0..1000).filter(|address| put(&table, v4(*address), *address)).count();
        assert_eq!(taken, room);
        assert!((0..room as u32).all(|address| found(&table, v4(address)) == Some(address)));
    }

    #[test]
    fn a_reader_never_finds_anothers_entry_while_slots_change_hands() {
        let (table, over) = (table(1), AtomicBool::new(false));
        let keys: Vec<AddressKey> = (0..200).map(v4).collect();
        let looks = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut looks = 0;
                while !over.load(SeqCst) {
                    for (number, key) in (0..).zip(&keys) {
                        if let Some(entry) = found(&table, *key) {
                            assert_eq!(entry, number, "another's entry");
                            looks += 1;
                        }
                    }
                }
                looks
            });
            for round in 0..2_000 {
                let window = round % 80..round % 80 + 120;
                (0..).zip(&keys).for_each(|(number, key)| {
                    if window.contains(&number) {
                        put(&table, *key, number)
                    } else {
                        remove(&table, *key)
                    };
                });
            }
            over.store(true, SeqCst);
            reader.join().expect("the reader")
        });
        assert!(looks > 0);
    }
}
