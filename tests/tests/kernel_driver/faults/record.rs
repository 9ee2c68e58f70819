//! What a writer writes: records of 4 KiB, each with a content that is its number's own, so
//! that a byte in a wrong place is seen wherever it came from.

pub(super) const SIZE: usize = 4096;
/// The number in decimal, at the beginning, for people.
const HEAD: usize = 16;

/// The function `record NUMBER` of a guest's shell, which writes what [`record`] gives.
pub(super) const SHELL: &str = r#"record() {
  local x=$1 n words=() body
  for ((n = 0; n < 510; n++)); do
    ((x = x * 6364136223846793005 + 1442695040888963407))
    words[n]=$((x >> 32 & 0xffffffff))
  done
  printf -v body %08x "${words[@]}"
  printf '%-16d%s' $1 "$body"
}"#;

/// A record's bytes. The numbers are of the generator that Knuth made for MMIX.
pub(super) fn record(number: usize) -> Vec<u8> {
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
