//! What `record-writer` writes: records of 4 KiB, each with a content that is its number's own, so
//! that a byte in a wrong place is seen wherever it came from.

/// The bytes of a record.
pub const SIZE: usize = 4096;
/// The number in decimal, at the beginning, for people.
const HEAD: usize = 16;

/// A record's bytes. The numbers are of the generator that Knuth made for MMIX.
#[must_use]
pub fn record(number: usize) -> Vec<u8> {
    let mut text = format!("{number:<HEAD$}");
    let mut x = number as u64;
    while text.len() < SIZE {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", x >> 32));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_one_size_and_nothing_in_common() {
        let (one, other) = (record(7), record(8));
        assert_eq!((one.len(), other.len()), (SIZE, SIZE));
        assert!(one.starts_with(b"7      ") && other.starts_with(b"8      "));
        let alike = |at: &usize| one[*at..at + 8] == other[*at..at + 8];
        assert_eq!((HEAD..SIZE).step_by(8).filter(alike).count(), 0);
    }
}
