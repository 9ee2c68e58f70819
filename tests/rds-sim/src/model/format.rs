//! How the console writes numbers, sizes and times.

use std::time::SystemTime;

use crate::variants::ClockFormat;

/// `1 099 511 627 776` (hw).
pub(super) fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut spaced = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced
}

/// `50.0GiB`; exactly 1024 of a unit is not yet one of the next: a TiB is `1024.0GiB` (hw).
pub(super) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes <= 1024 {
        return bytes.to_string();
    }
    let mut unit = 0;
    let mut divisor = 1024_u64;
    while unit + 1 < UNITS.len() && bytes > divisor.saturating_mul(1024) {
        divisor *= 1024;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `12.8Mbps`: bits per second with decimal units (hw).
pub(super) fn rate(bits: u64) -> String {
    let (divisor, unit) = match bits {
        0..1_000 => return format!("{bits}bps"),
        1_000..1_000_000 => (1_000, "kbps"),
        1_000_000..1_000_000_000 => (1_000_000, "Mbps"),
        _ => (1_000_000_000, "Gbps"),
    };
    let tenths = (u128::from(bits) * 10 + divisor / 2) / divisor;
    if tenths.is_multiple_of(10) {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

/// A time as the device's local clock shows it: no zone is said (hw).
pub(super) fn time(time: SystemTime, offset: i64, format: ClockFormat) -> String {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let seconds = since.saturating_add(offset).max(0);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let name = usize::try_from(month - 1)
        .ok()
        .and_then(|index| MONTHS.get(index));
    match format {
        ClockFormat::Iso => format!("{year:04}-{month:02}-{day:02} {clock}"),
        ClockFormat::Legacy => {
            format!("{}/{day:02}/{year:04} {clock}", name.unwrap_or(&"jan"))
        }
    }
}

/// Year, month and day of a number of days since 1970 (the proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sizes_are_written_as_in_the_captures() {
        assert_eq!(spaced(1_099_511_627_776), "1 099 511 627 776");
        assert_eq!(spaced(53), "53");
        assert_eq!(binary_size(1 << 40), "1024.0GiB");
        assert_eq!(binary_size(50 << 30), "50.0GiB");
        assert_eq!(binary_size(1 << 30), "1024.0MiB");
        assert_eq!(binary_size(5), "5");
        assert_eq!(binary_size(u64::MAX), "16777216.0TiB");
        assert_eq!(rate(12_800_000), "12.8Mbps");
        assert_eq!(rate(0), "0bps");
    }

    #[test]
    fn times_are_written_in_both_formats() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_762_879_627);
        assert_eq!(time(at, 0, ClockFormat::Iso), "2025-11-11 16:47:07");
        assert_eq!(time(at, 3600, ClockFormat::Legacy), "nov/11/2025 17:47:07");
        let leap = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_800);
        assert_eq!(time(leap, 0, ClockFormat::Iso), "2024-02-29 00:00:00");
    }
}
