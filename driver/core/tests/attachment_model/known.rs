//! What is known of worlds, by their numbers: millions of them, in little memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The number of a world, in bytes: so it lies closer to others, and what a search waits for is
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number([u8; 16]);

impl Number {
    pub(crate) const fn new(number: u128) -> Self {
        Self(number.to_ne_bytes())
    }

    /// Another number for every world and each of so many questions about it, 32 at most.
    pub(crate) const fn question(self, question: usize) -> Self {
        // Worlds leave the highest bits free.
        Self::new(u128::from_ne_bytes(self.0) | (question as u128) << 123)
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

/// What is known of worlds, by their numbers.
pub(crate) type Known<Value> = HashMap<Number, Value, BuildHasherDefault<Mix>>;

/// Mixes the numbers of worlds. Nobody chooses them so that they meet, and a hash that is safe
/// from that takes a tenth of a search.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // By the golden ratio, as Knuth has it; the product's high half has all of its bits.
        let product = u128::from(self.0.rotate_left(23) ^ number) * 0x9E37_79B9_7F4A_7C15;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let (high, low) = ((product >> 64) as u64, product as u64);
        self.0 = high ^ low;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u128(&mut self, number: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let (high, low) = ((number >> 64) as u64, number as u64);
        self.write_u64(high);
        self.write_u64(low);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
