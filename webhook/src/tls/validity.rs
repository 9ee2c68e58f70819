//! From when until when an X.509 certificate is valid: the one field that readiness,
//! renewal and a metric need.
//!
//! Walks the DER of RFC 5280 §4.1 as far as `validity` and reads no more. It trusts
//! nothing: every length is checked against what is there.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT Version`.
const VERSION: u8 = 0xa0;

/// Bytes that are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's {0} cannot be read")]
pub struct ValidityError(&'static str);

/// The period in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
}

impl Validity {
    /// The period of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Result<Self, ValidityError> {
        let (body, _) = element(certificate, SEQUENCE, "outer sequence")?;
        let (mut fields, _) = element(body, SEQUENCE, "body")?;
        if fields.first() == Some(&VERSION) {
            (_, fields) = element(fields, VERSION, "version")?;
        }
        (_, fields) = element(fields, INTEGER, "serial number")?;
        (_, fields) = element(fields, SEQUENCE, "signature algorithm")?;
        (_, fields) = element(fields, SEQUENCE, "issuer")?;
        let (validity, _) = element(fields, SEQUENCE, "validity")?;
        let (not_before, rest) = next_time(validity, "notBefore")?;
        let (not_after, _) = next_time(rest, "notAfter")?;
        Ok(Self {
            not_before,
            not_after,
        })
    }
}

fn next_time<'a>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(Timestamp, &'a [u8]), ValidityError> {
    next_element(bytes)
        .and_then(|(tag, text, rest)| Some((time(tag, text)?, rest)))
        .ok_or(ValidityError(what))
}

/// The content of the next element, which must have this tag, and what follows it.
fn element<'a>(
    bytes: &'a [u8],
    tag: u8,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), ValidityError> {
    match next_element(bytes) {
        Some((found, content, rest)) if found == tag => Ok((content, rest)),
        _ => Err(ValidityError(what)),
    }
}

/// Tag, content and rest. Lengths of up to four bytes.
fn next_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        0x81..=0x84 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum: usize, digit| (sum << 8) | usize::from(*digit));
            (length, bytes)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (years 1950 to 2049) or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| {
        part.iter()
            .fold(0, |sum: i16, digit| sum * 10 + i16::from(digit - b'0'))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &digits[2..],
            )
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let mut parts = rest
        .chunks(2)
        .map(|part| i8::try_from(number(part)).unwrap_or(i8::MAX));
    let mut next = || parts.next();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    DateTime::new(year, month, day, hour, minute, second, 0)
        .ok()?
        .to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["webhook.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_spellings_of_a_time_are_read() {
        for (year, expected) in [
            (2031, "2031-03-31T00:00:00Z"),
            (2055, "2055-03-31T00:00:00Z"),
        ] {
            assert_eq!(
                Validity::of(&certificate(year)).unwrap(),
                Validity {
                    not_before: "1975-01-01T00:00:00Z".parse().unwrap(),
                    not_after: expected.parse().unwrap(),
                }
            );
        }
    }

    #[test]
    fn a_truncated_certificate_is_an_error_up_to_its_last_needed_byte() {
        let whole = certificate(2031);
        for end in 0..whole.len() {
            assert!(Validity::of(&whole[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Validity::of(&bytes);
        }

        #[test]
        fn no_changed_byte_panics(at in 0_usize..400, byte: u8) {
            let mut der = certificate(2031);
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            let _ = Validity::of(&der);
        }
    }
}
