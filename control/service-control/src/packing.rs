//! Numbers and texts in as few bytes as they need, for memory only: nothing written here leaves the process, and
//! whatever reads it is built with what wrote it.
//!
//! A number takes seven bits a byte, the lowest first, and the highest bit of a byte says that more follow.

/// Writes one value after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

/// Reads the values in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl Writer {
    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        let mut rest = number.into();
        while rest > 0x7F {
            self.0.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    /// Small ones are short, whatever their sign.
    pub(crate) fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63).cast_unsigned());
    }

    /// How many values follow.
    pub(crate) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn number(&mut self) -> u64 {
        let (mut number, mut place) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first().expect("a value is read where one was written");
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << place;
            if byte & 0x80 == 0 {
                return number;
            }
            place += 7;
        }
    }

    /// A number that was no larger than this when it was written.
    pub(crate) fn small(&mut self) -> u32 {
        u32::try_from(self.number()).expect("a value is read as it was written")
    }

    pub(crate) fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }

    pub(crate) fn length(&mut self) -> usize {
        self.number() as usize
    }

    /// As many values as were announced.
    pub(crate) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.length();
        let mut list = Vec::with_capacity(length);
        list.extend((0..length).map(|_| read(self)));
        list
    }

    pub(crate) fn text(&mut self) -> &'a str {
        let length = self.length();
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        str::from_utf8(text).expect("a text is read where one was written")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_values_come_back_in_their_order(
            numbers in proptest::collection::vec(any::<u64>(), 0..9),
            signed in any::<i64>(),
            text in any::<String>(),
        ) {
            let mut writer = Writer::default();
            writer.length(numbers.len());
            numbers.iter().for_each(|number| writer.number(*number));
            writer.text(&text);
            writer.signed(signed);
            let mut reader = Reader::new(writer.bytes());
            prop_assert_eq!(reader.list(Reader::number), numbers);
            prop_assert_eq!(reader.text(), text);
            prop_assert_eq!(reader.signed(), signed);
            prop_assert!(reader.0.is_empty());
        }
    }

    #[test]
    fn small_numbers_take_a_byte_whatever_their_sign() {
        let mut writer = Writer::default();
        writer.number(127_u64);
        writer.signed(-64);
        writer.signed(63);
        assert_eq!(writer.bytes().len(), 3);
    }
}
