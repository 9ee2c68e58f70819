//! Kubernetes quantities as numbers of bytes.
//!
//! `1.5Gi`, `2G`, `12e6` and `1500m` are all quantities. Fractions of a byte are
//! rounded up, as Kubernetes does when it hands a size to a CSI driver, and numbers
//! beyond any volume saturate instead of wrapping.

/// A string that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity, such as 20Gi")]
pub struct QuantityError(String);

/// Integer digits from here on are more than any volume, and saturate.
const SATURATION_DIGITS: usize = 25;
/// Fraction digits that count for themselves; of the rest only whether any is not zero.
const FRACTION_DIGITS: usize = 18;

/// What a suffix multiplies with.
#[derive(Clone, Copy)]
enum Scale {
    /// Powers of ten.
    Ten(i32),
    /// Powers of two.
    Two(u32),
}

/// Reads a quantity as bytes, rounded up; saturates at `i64::MAX` and its negative.
pub fn bytes(text: &str) -> Result<i64, QuantityError> {
    let error = || QuantityError(text.chars().take(64).collect());
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (integer.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(error());
    }
    let integer = integer.trim_start_matches('0');
    let magnitude = match scale(suffix).ok_or_else(error)? {
        Scale::Ten(exponent) => decimal(integer, fraction, exponent),
        Scale::Two(power) => binary(integer, fraction, power),
    };
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    Ok(if negative { -magnitude } else { magnitude })
}

fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "" => Scale::Ten(0),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        _ => Scale::Ten(exponent(suffix)?),
    })
}

/// `e6`, `E-3`: an exponent of at most four digits, far beyond what saturates.
fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let plain = (1..=4).contains(&unsigned.len()) && unsigned.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// `integer.fraction * 10^exponent`, rounded up.
fn decimal(integer: &str, fraction: &str, exponent: i32) -> u128 {
    let digits: Vec<u8> = integer.bytes().chain(fraction.bytes()).collect();
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return 0;
    }
    let wide = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    // Where the point stands, counted from the first digit that is not zero.
    let point = wide(integer.len()) + i64::from(exponent) - wide(zeros);
    let Ok(point) = usize::try_from(point) else {
        return 1;
    };
    if point > SATURATION_DIGITS {
        return u128::MAX;
    }
    let whole = (0..point)
        .map(|place| digits.get(place).map_or(0, |digit| digit - b'0'))
        .fold(0, |sum: u128, digit| sum * 10 + u128::from(digit));
    let rest = digits.iter().skip(point).any(|digit| *digit != b'0');
    whole + u128::from(rest)
}

/// `integer.fraction * 2^power`, rounded up.
fn binary(integer: &str, fraction: &str, power: u32) -> u128 {
    if integer.len() > SATURATION_DIGITS {
        return u128::MAX;
    }
    let number = |digits: &str| {
        digits
            .bytes()
            .fold(0, |sum: u128, digit| sum * 10 + u128::from(digit - b'0'))
    };
    let (counted, rest) = fraction.split_at(fraction.len().min(FRACTION_DIGITS));
    let mut scaled_by = 1;
    for _ in 0..counted.len() {
        scaled_by *= 10;
    }
    let part = number(counted) << power;
    let inexact = !part.is_multiple_of(scaled_by) || rest.bytes().any(|digit| digit != b'0');
    (number(integer).saturating_mul(1 << power))
        .saturating_add(part / scaled_by + u128::from(inexact))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", 0)]
    #[case("0.0Gi", 0)]
    #[case("1", 1)]
    #[case("+5", 5)]
    #[case("-1Gi", -(1 << 30))]
    #[case("1.5Gi", 3 << 29)]
    #[case(".5Gi", 1 << 29)]
    #[case("1.Gi", 1 << 30)]
    #[case("20Gi", 20 << 30)]
    #[case("1Pi", 1 << 50)]
    #[case("7Ei", 7 << 60)]
    #[case("8Ei", i64::MAX)]
    #[case("0.1Ki", 103)]
    #[case("1k", 1000)]
    #[case("2G", 2_000_000_000)]
    #[case("1E", 1_000_000_000_000_000_000)]
    #[case("1E3", 1000)]
    #[case("1e3", 1000)]
    #[case("12e6", 12_000_000)]
    #[case("15e-1", 2)]
    #[case("1500m", 2)]
    #[case("500m", 1)]
    #[case("1n", 1)]
    #[case("0.000000001n", 1)]
    #[case("0.001k", 1)]
    #[case("1e9999", i64::MAX)]
    #[case("1e-9999", 1)]
    #[case("9223372036854775807", i64::MAX)]
    #[case("9223372036854775808", i64::MAX)]
    #[case("-9223372036854775808", -i64::MAX)]
    #[case("0000000000000000000000000000000000001Gi", 1 << 30)]
    #[case("0.00000000000000000000000000000001Gi", 1)]
    fn quantities_are_bytes_rounded_up(#[case] text: &str, #[case] expected: i64) {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }

    #[rstest]
    #[case("")]
    #[case("-")]
    #[case(".")]
    #[case("Gi")]
    #[case("1 Gi")]
    #[case("1gi")]
    #[case("1GB")]
    #[case("1K")]
    #[case("1..5Gi")]
    #[case("1.5.5")]
    #[case("--1")]
    #[case("1e")]
    #[case("1e+")]
    #[case("1e1.5")]
    #[case("1e99999")]
    #[case("1e3Gi")]
    #[case("0x10")]
    #[case("ten")]
    #[case("1\n")]
    #[case("١Gi")]
    fn other_strings_are_refused(#[case] text: &str) {
        assert!(bytes(text).is_err(), "{text:?}");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC*") {
            let _ = bytes(&text);
        }

        #[test]
        fn reading_numbers_never_panics(text in "[-+]?[0-9]{0,60}\\.?[0-9]{0,60}(|[KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,5})") {
            let _ = bytes(&text);
        }

        #[test]
        fn whole_numbers_read_back(number: i64) {
            prop_assert_eq!(bytes(&number.to_string()), Ok(number.max(-i64::MAX)));
        }

        #[test]
        fn binary_and_decimal_agree(number in 0..=(1_i64 << 40)) {
            prop_assert_eq!(bytes(&format!("{number}Ki")), bytes(&(number * 1024).to_string()));
        }
    }
}
