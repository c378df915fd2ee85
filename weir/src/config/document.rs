//! The parsed file as tables and items that know where they stand.
//!
//! What this is: a thin reader over TOML's spanned tree. Sections ask it for their keys; what they never ask
//! for is unknown and is reported at the end. What it must not do: know any key by name.
//!
//! Why not `serde`'s derive with `deny_unknown_fields`: it stops at the first fault and does not say the key
//! of a wrong value. An operator gets every fault of the file, each with its key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use weir_server::api::{Invalid, duration};

use super::fault::{Fault, Faults, Place};

/// A text being read.
pub struct Document<'t> {
    root: Spanned<DeTable<'t>>,
    /// Everything wrong that was found so far.
    pub faults: Faults<'t>,
    asked: RefCell<BTreeSet<String>>,
}

/// A table and the dotted key it stands under (empty at the top).
pub struct Table<'d> {
    document: &'d Document<'d>,
    entries: &'d DeTable<'d>,
    /// Where the table begins.
    pub place: Place,
}

/// A value under a key.
pub struct Item<'d> {
    document: &'d Document<'d>,
    value: &'d DeValue<'d>,
    /// Where the value begins.
    pub place: Place,
}

impl<'t> Document<'t> {
    /// Reads TOML. Syntax faults are noted; the tree is then incomplete and not worth judging.
    pub fn parse(text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let faults = Faults::new(text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let key = key_at(text, span.clone());
            let remedy = match error.message() {
                "duplicate key" => "keep one of them",
                _ => "this is not TOML: mend the syntax",
            };
            faults.add(&Place { key, offset: span.start }, error.message(), remedy);
        }
        Self { root, faults, asked: RefCell::default() }
    }

    /// The table at the top.
    pub fn root(&'t self) -> Table<'t> {
        let place = Place { key: String::new(), offset: 0 };
        Table { document: self, entries: self.root.get_ref(), place }
    }

    /// Every key that was asked for, dotted.
    #[cfg(test)]
    pub fn known_keys(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Notes every key of the file that no section asked for.
    pub fn refuse_unknown_keys(&self) {
        self.refuse_unknown_in("", self.root.get_ref());
    }

    /// All faults, in the order of the text.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults.into_sorted()
    }

    fn refuse_unknown_in(&self, prefix: &str, table: &DeTable<'t>) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            if self.asked.borrow().contains(&key) {
                self.refuse_unknown_below(&key, value.get_ref());
            } else {
                let offset = name.span().start;
                self.faults.add(&Place { key, offset }, "this key is unknown", self.known_beside(prefix));
            }
        }
    }

    fn refuse_unknown_below(&self, key: &str, value: &DeValue<'t>) {
        match value {
            DeValue::Table(table) => self.refuse_unknown_in(key, table),
            DeValue::Array(items) => items.iter().for_each(|i| self.refuse_unknown_below(key, i.get_ref())),
            _ => {}
        }
    }

    fn known_beside(&self, prefix: &str) -> String {
        let asked = self.asked.borrow();
        let siblings: Vec<_> = asked
            .iter()
            .filter_map(|key| key.rsplit_once('.').map_or(Some(("", key.as_str())), Some))
            .filter(|(parent, _)| *parent == prefix)
            .map(|(_, name)| name)
            .collect();
        if siblings.is_empty() {
            return "remove it: no keys are known below this one".to_owned();
        }
        format!("remove it or choose one of: {}", siblings.join(", "))
    }
}

impl<'d> Table<'d> {
    /// Where faults go.
    pub fn faults(&self) -> &'d Faults<'d> {
        &self.document.faults
    }

    /// The item of that name, if the file has it. Asking makes the key known.
    pub fn get(&self, name: &str) -> Option<Item<'d>> {
        let key = join(&self.place.key, name);
        self.document.asked.borrow_mut().insert(key.clone());
        let value = self.entries.get(name)?;
        let place = Place { key, offset: value.span().start };
        Some(Item { document: self.document, value: value.get_ref(), place })
    }

    /// The item of that name; its absence is a fault, `remedy` says what to write.
    pub fn require(&self, name: &str, remedy: &str) -> Option<Item<'d>> {
        let item = self.get(name);
        if item.is_none() {
            let place = Place { key: join(&self.place.key, name), offset: self.place.offset };
            self.faults().add(&place, "this key is required and missing", remedy);
        }
        item
    }

    /// `read` applied to the item of that name, or `default` where the file does not have it.
    pub fn or<T>(&self, name: &str, default: T, read: impl FnOnce(Item<'d>) -> Option<T>) -> Option<T> {
        match self.get(name) {
            Some(item) => read(item),
            None => Some(default),
        }
    }

    /// `read` applied to the item of that name; `Some(None)` where the file does not have it.
    pub fn optional<T>(&self, name: &str, read: impl FnOnce(Item<'d>) -> Option<T>) -> Option<Option<T>> {
        self.or(name, None, |item| read(item).map(Some))
    }

    /// The table of that name, if the file has it.
    pub fn table(&self, name: &str) -> Option<Table<'d>> {
        self.get(name)?.table()
    }

    /// The tables written `[[name]]`, in their order.
    pub fn tables(&self, name: &str) -> Vec<Table<'d>> {
        let Some(item) = self.get(name) else { return Vec::new() };
        if item.is_table() {
            let remedy = format!("write [[{name}]], once for each");
            item.fault::<()>(format!("[{name}] is one table where a list of them is expected"), remedy);
            return item.table().into_iter().collect();
        }
        item.items().unwrap_or_default().into_iter().filter_map(Item::table).collect()
    }

    /// Notes what a check of the finished value found; its keys are below this table.
    pub fn refuse(&self, invalid: &[Invalid]) {
        for Invalid { key, reason } in invalid {
            self.faults().add_reason(&self.place_of(key), reason.clone());
        }
    }

    /// True if the table has nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where a dotted key below this table stands, or the deepest part of it that the file has.
    pub fn place_of(&self, key: &str) -> Place {
        let mut offset = self.place.offset;
        let mut entries = Some(self.entries);
        for name in key.split('.') {
            let Some(value) = entries.and_then(|table| table.get(name)) else { break };
            offset = value.span().start;
            entries = value.get_ref().as_table();
        }
        Place { key: join(&self.place.key, key), offset }
    }
}

impl<'d> Item<'d> {
    /// Notes that this item is wrong. `None`, so that a reader can end with it.
    pub fn fault<T>(&self, what: impl Display, remedy: impl Display) -> Option<T> {
        self.document.faults.add(&self.place, what, remedy);
        None
    }

    /// Notes that this item is wrong, for a reason that also says what to do.
    pub fn refuse(&self, reason: String) {
        self.document.faults.add_reason(&self.place, reason);
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let found = self.value.type_str();
        self.fault(format!("this is {} {found}", article(found)), format!("write {expected}"))
    }

    /// A string.
    pub fn text(&self) -> Option<&'d str> {
        self.value.as_str().or_else(|| self.wrong_type("a string in quotation marks"))
    }

    /// True if the item is a table, not a plain value.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number, 0 to 2^32 − 1.
    pub fn number(&self) -> Option<u32> {
        let Some(integer) = self.value.as_integer() else { return self.wrong_type("a whole number") };
        let digits = integer.as_str();
        match u32::from_str_radix(digits.trim_start_matches('+'), integer.radix()) {
            Ok(number) => Some(number),
            Err(_) => self.fault("this number is out of range", format!("write one from 0 to {}", u32::MAX)),
        }
    }

    /// A whole number, 0 to 2^63 − 1, where TOML's integers end.
    pub fn large_number(&self) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else { return self.wrong_type("a whole number") };
        let digits = integer.as_str().trim_start_matches('+');
        match i64::from_str_radix(digits, integer.radix()).ok().and_then(|number| u64::try_from(number).ok())
        {
            Some(number) => Some(number),
            None => self.fault("this number is out of range", format!("write one from 0 to {}", i64::MAX)),
        }
    }

    /// A duration such as `"10s"`.
    pub fn duration(&self) -> Option<Duration> {
        if let DeValue::Integer(number) = self.value {
            return self.fault(format!("{number} has no unit"), format!("write \"{number}s\" for seconds"));
        }
        match duration::parse(self.text()?) {
            Ok(duration) => Some(duration),
            Err(reason) => {
                self.refuse(reason);
                None
            }
        }
    }

    /// A duration from `least` to `most`.
    pub fn duration_within(&self, least: Duration, most: Duration) -> Option<Duration> {
        let value = self.duration()?;
        let written = duration::format(value);
        if value < least {
            let remedy = format!("write at least \"{}\"", duration::format(least));
            return self.fault(format!("{written} is too short"), remedy);
        }
        if value > most {
            let remedy = format!("write at most \"{}\"", duration::format(most));
            return self.fault(format!("{written} is too long"), remedy);
        }
        Some(value)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.choice_or(words, &format!("write one of {}", known.join(", ")))
    }

    /// One of a few words; `remedy` says what else may be written.
    pub fn choice_or<T: Copy>(&self, words: &[(&str, T)], remedy: &str) -> Option<T> {
        let text = self.text()?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => self.fault(format!("{text:?} is not known here"), remedy),
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> Option<Vec<Item<'d>>> {
        let Some(list): Option<&'d DeArray<'d>> = self.value.as_array() else {
            return self.wrong_type("a list in square brackets");
        };
        let element = |value: &'d Spanned<DeValue<'d>>| Item {
            document: self.document,
            value: value.get_ref(),
            place: Place { key: self.place.key.clone(), offset: value.span().start },
        };
        Some(list.iter().map(element).collect())
    }

    /// Every element of a list through `read`; `None` if one of them failed, after all were read.
    pub fn list<T>(&self, read: impl FnMut(Item<'d>) -> Option<T>) -> Option<Vec<T>> {
        let read_all: Vec<Option<T>> = self.items()?.into_iter().map(read).collect();
        read_all.into_iter().collect()
    }

    /// A table.
    pub fn table(self) -> Option<Table<'d>> {
        let Some(entries) = self.value.as_table() else { return self.wrong_type("a table") };
        Some(Table { document: self.document, entries, place: self.place })
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What a syntax fault is about: the key it points at, or the file as a whole.
fn key_at(text: &str, span: std::ops::Range<usize>) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match text.get(span) {
        Some(word) if !word.is_empty() && word.chars().all(bare) => word.to_owned(),
        _ => "syntax".to_owned(),
    }
}
