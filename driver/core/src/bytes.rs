//! Sizes in bytes, and the choice of a volume's size from what a claim asks.
//!
//! RouterOS takes and reports sizes in exact bytes; nothing here ever rounds to a
//! display unit, because a size that was cut to whole gigabytes once gave claims
//! less space than they showed.

use std::fmt;

use crate::kind::{Failure, Kind};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Bytes {
    /// Volume sizes are multiples of this: 4 MiB.
    pub const ALIGNMENT: Self = Self(4 * MIB);
    /// What a volume gets when nobody asks for a size: 1 GiB.
    pub const DEFAULT_VOLUME: Self = Self(GIB);
    /// The largest volume: 1 PiB. No backing filesystem of the device holds a larger
    /// file in practice; beyond it a request is a mistake.
    pub const MAX_VOLUME: Self = Self(GIB << 20);

    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many binary megabytes; saturates.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(MIB))
    }

    /// So many binary gigabytes; saturates.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count.saturating_mul(GIB))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as protocol buffers want it; sizes over `i64::MAX` saturate.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Sum, or `None` where it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Sum, at most the largest number.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, at least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The next multiple of [`Bytes::ALIGNMENT`], or `None` where it does not fit.
    #[must_use]
    pub fn align_up(self) -> Option<Self> {
        self.0.checked_next_multiple_of(Self::ALIGNMENT.0).map(Self)
    }

    /// The multiple of [`Bytes::ALIGNMENT`] at or below.
    #[must_use]
    pub const fn align_down(self) -> Self {
        Self(self.0 - self.0 % Self::ALIGNMENT.0)
    }
}

impl fmt::Display for Bytes {
    /// Exact: `1610612736 bytes (1.5 GiB)`; the unit in brackets only where it is exact
    /// to one decimal place or the number is a multiple of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)?;
        for (unit, name) in [
            (GIB << 20, "PiB"),
            (GIB << 10, "TiB"),
            (GIB, "GiB"),
            (MIB, "MiB"),
            (KIB, "KiB"),
        ] {
            if self.0 < unit {
                continue;
            }
            let tenths = u128::from(self.0) * 10;
            if tenths.is_multiple_of(u128::from(unit)) {
                let tenths = tenths / u128::from(unit);
                return match tenths % 10 {
                    0 => write!(f, " ({} {name})", tenths / 10),
                    rest => write!(f, " ({}.{rest} {name})", tenths / 10),
                };
            }
        }
        Ok(())
    }
}

/// What a claim asks: CSI's `CapacityRange`, whose zeros mean "not said".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRange {
    /// At least so much.
    pub required: Option<Bytes>,
    /// At most so much.
    pub limit: Option<Bytes>,
}

/// Why no size fits a [`CapacityRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// A negative number.
    #[error("capacity_range.{field} is {value}: it must be 0 (not said) or more")]
    Negative {
        /// `required_bytes` or `limit_bytes`.
        field: &'static str,
        /// What was sent.
        value: i64,
    },
    /// The limit lies below what is required.
    #[error("capacity_range.limit_bytes ({limit}) is below required_bytes ({required})")]
    LimitBelowRequired {
        /// At least.
        required: Bytes,
        /// At most.
        limit: Bytes,
    },
    /// Sizes are multiples of 4 MiB and at least `minimum`; none lies under the limit.
    #[error(
        "no volume size fits: at least {needed} after rounding up to 4 MiB, but limit_bytes is {limit}"
    )]
    NothingFits {
        /// The smallest size that would do.
        needed: Bytes,
        /// At most.
        limit: Bytes,
    },
    /// Larger than any volume can be.
    #[error("{asked} is more than the largest volume, {largest}", largest = Bytes::MAX_VOLUME)]
    TooLarge {
        /// What was asked.
        asked: Bytes,
    },
}

impl Failure for CapacityError {
    fn kind(&self) -> Kind {
        match self {
            Self::Negative { .. } | Self::LimitBelowRequired { .. } => Kind::Invalid,
            Self::NothingFits { .. } | Self::TooLarge { .. } => Kind::OutOfRange,
        }
    }
}

impl CapacityRange {
    /// Reads the two numbers of a CSI request. Refuses negative ones and a limit below
    /// what is required.
    pub fn from_csi(required_bytes: i64, limit_bytes: i64) -> Result<Self, CapacityError> {
        let read = |field, value: i64| match u64::try_from(value) {
            Ok(0) => Ok(None),
            Ok(bytes) => Ok(Some(Bytes(bytes))),
            Err(_) => Err(CapacityError::Negative { field, value }),
        };
        let range = Self {
            required: read("required_bytes", required_bytes)?,
            limit: read("limit_bytes", limit_bytes)?,
        };
        match (range.required, range.limit) {
            (Some(required), Some(limit)) if limit < required => {
                Err(CapacityError::LimitBelowRequired { required, limit })
            }
            _ => Ok(range),
        }
    }

    /// The size to make: what is required (or 1 GiB where nothing is said, less if the
    /// limit is lower), at least `minimum`, rounded up to 4 MiB, never over the limit.
    pub fn choose(&self, minimum: Bytes) -> Result<Bytes, CapacityError> {
        let asked = match (self.required, self.limit) {
            (Some(required), _) => required,
            (None, Some(limit)) => Bytes::DEFAULT_VOLUME.min(limit.align_down()),
            (None, None) => Bytes::DEFAULT_VOLUME,
        };
        if asked > Bytes::MAX_VOLUME {
            return Err(CapacityError::TooLarge { asked });
        }
        let size = asked
            .max(minimum)
            .align_up()
            .ok_or(CapacityError::TooLarge { asked })?;
        match self.limit {
            Some(limit) if size > limit => Err(CapacityError::NothingFits {
                needed: size,
                limit,
            }),
            _ => Ok(size),
        }
    }

    /// Whether a volume of this size satisfies the range.
    #[must_use]
    pub fn admits(&self, size: Bytes) -> bool {
        self.required.is_none_or(|required| size >= required)
            && self.limit.is_none_or(|limit| size <= limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const SMALLEST: Bytes = Bytes::mib(16);

    #[rstest]
    #[case::nothing_said(0, 0, GIB)]
    #[case::one_byte(1, 0, 16 * MIB)]
    #[case::one_and_a_half_gib(3 * GIB / 2, 0, 3 * GIB / 2)]
    #[case::one_over_a_gib(GIB + 1, 0, GIB + 4 * MIB)]
    #[case::only_a_low_limit(0, 100 * MIB + 1, 100 * MIB)]
    #[case::only_a_high_limit(0, 1 << 62, GIB)]
    #[case::exact(GIB, GIB, GIB)]
    fn a_range_gets_a_size(#[case] required: u64, #[case] limit: u64, #[case] expected: u64) {
        let range =
            CapacityRange::from_csi(required.try_into().unwrap(), limit.try_into().unwrap())
                .unwrap();
        assert_eq!(range.choose(SMALLEST).unwrap(), Bytes(expected));
    }

    #[rstest]
    #[case::minus_one(-1, 0, Kind::Invalid)]
    #[case::two_to_the_63_wraps_negative(i64::MIN, 0, Kind::Invalid)]
    #[case::negative_limit(GIB as i64, -5, Kind::Invalid)]
    #[case::limit_below_required(2 * GIB as i64, GIB as i64, Kind::Invalid)]
    #[case::largest_number(i64::MAX, 0, Kind::OutOfRange)]
    #[case::no_multiple_of_4_mib_fits(GIB as i64 + 1, GIB as i64 + 2, Kind::OutOfRange)]
    #[case::limit_below_the_smallest_volume(0, MIB as i64, Kind::OutOfRange)]
    fn an_impossible_range_is_refused(
        #[case] required: i64,
        #[case] limit: i64,
        #[case] kind: Kind,
    ) {
        let error = CapacityRange::from_csi(required, limit)
            .and_then(|range| range.choose(SMALLEST))
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }

    #[rstest]
    #[case(0, "0 bytes")]
    #[case(1000, "1000 bytes")]
    #[case(3 * GIB / 2, "1610612736 bytes (1.5 GiB)")]
    #[case(GIB + 1, "1073741825 bytes")]
    #[case(2 * (GIB << 10), "2199023255552 bytes (2 TiB)")]
    fn display_is_exact(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(Bytes(bytes).to_string(), text);
    }

    proptest! {
        #[test]
        fn a_chosen_size_is_aligned_and_admitted(required in 0..=i64::MAX, limit in 0..=i64::MAX, minimum in 1..=1024u64) {
            let Ok(range) = CapacityRange::from_csi(required, limit) else { return Ok(()) };
            if let Ok(size) = range.choose(Bytes::mib(minimum)) {
                prop_assert_eq!(size.get() % Bytes::ALIGNMENT.get(), 0);
                prop_assert!(size >= Bytes::mib(minimum));
                prop_assert!(range.admits(size));
            }
        }
    }
}
