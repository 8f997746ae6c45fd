//! Lengths of time as people write and read them: `90s`, `10m`, `1h30m`, `250ms`.

use std::time::Duration;

use orch_proto::Timestamp;

/// A text that is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time such as `90s`, `10m` or `1h30m`")]
pub struct ParseDurationError(String);

/// Reads numbers with units `ms`, `s`, `m`, `h`, `d`, one after the other.
///
/// # Errors
/// When there is no number, an unknown unit, or too much.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError(text.chars().take(40).collect());
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let after = &rest[digits..];
        let unit = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let ms = match &after[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        let part = number.checked_mul(ms).ok_or_else(error)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(error)?;
        rest = &after[unit..];
    }
    if text.is_empty() { Err(error()) } else { Ok(total) }
}

/// A length of time in at most two units: `0.4s`, `12s`, `3m05s`, `2h14m`, `3d4h`.
#[must_use]
pub fn short(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..=9 => format!("{seconds}.{}s", ms % 1_000 / 100),
        10..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// The same, in milliseconds below a second: `12ms`, `1.2s`, `3m05s`.
#[must_use]
pub fn fine(ms: u64) -> String {
    if ms < 1_000 { format!("{ms}ms") } else { short(ms) }
}

/// How long ago `at` was, in the coarsest unit: `12s`, `3m`, `2h`, `5d`.
#[must_use]
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.ms_since(at) / 1_000;
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m", seconds / 60),
        3_600..=86_399 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A band of minutes: `2m`, `4-9m`, `1-3h`.
#[must_use]
pub fn band((low, high): (u32, u32)) -> String {
    let (low, high, unit) = if low >= 120 { (low / 60, high.div_ceil(60), 'h') } else { (low, high, 'm') };
    if low == high { format!("{low}{unit}") } else { format!("{low}-{high}{unit}") }
}

/// A number of bytes: `812 B`, `4.2 kB`, `1.3 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    match count {
        0..=999 => format!("{count} B"),
        1_000..=999_999 => format!("{}.{} kB", count / 1_000, count % 1_000 / 100),
        1_000_000..=999_999_999 => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", count / 1_000_000_000, count % 1_000_000_000 / 100_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        for (text, ms) in [("250ms", 250), ("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "m", "-3s", "1.5h", "10 m", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_and_sizes_are_written() {
        let shown: Vec<_> = [0, 450, 9_999, 12_345, 185_000, 8_040_000, 273_600_000].map(short).into();
        assert_eq!(shown, ["0.0s", "0.4s", "9.9s", "12s", "3m05s", "2h14m", "3d4h"]);
        assert_eq!([0, 999, 1_000, 60_000].map(fine), ["0ms", "999ms", "1.0s", "1m00s"]);
        let at = Timestamp::from_unix_us(0);
        assert_eq!(age(at, at.plus_ms(59_999)), "59s");
        assert_eq!(age(at.plus_ms(1), at), "0s");
        assert_eq!(age(at, at.plus_ms(7_200_000)), "2h");
        assert_eq!((band((4, 9)), band((2, 2)), band((120, 200))), ("4-9m".into(), "2m".into(), "2-4h".into()));
        assert_eq!((bytes(812), bytes(4_250), bytes(1_300_000)), ("812 B".into(), "4.2 kB".into(), "1.3 MB".into()));
    }
}
