//! Wall-clock time on the wire and in the audit: microseconds since 1970, written as RFC 3339 in UTC.
//!
//! Reads no clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time with microsecond resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as `2026-11-20T09:05:57.123456Z`")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_us(self) -> i64 {
        self.0
    }

    /// This time plus `ms` milliseconds, saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        let ms = if ms > i64::MAX as u64 / 1_000 { i64::MAX / 1_000 } else { ms.cast_signed() };
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// This time less `ms` milliseconds, saturating.
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Self {
        let ms = if ms > i64::MAX as u64 / 1_000 { i64::MAX / 1_000 } else { ms.cast_signed() };
        Self(self.0.saturating_sub(ms.saturating_mul(1_000)))
    }

    /// Milliseconds from `earlier` to this time, 0 if it lies after it.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        let us = self.0.saturating_sub(earlier.0);
        if us <= 0 { 0 } else { us.cast_unsigned() / 1_000 }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at:.6}"),
            Err(_) => write!(f, "@{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        if let Some(us) = text.strip_prefix('@').and_then(|rest| rest.strip_suffix("us")) {
            return us.parse().map(Self).map_err(|_| ParseTimestampError(text.into()));
        }
        text.parse::<jiff::Timestamp>()
            .map(|at| Self(at.as_microsecond()))
            .map_err(|_| ParseTimestampError(text.into()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_keeps_microseconds_and_every_value_survives() {
        let at = Timestamp::from_unix_us(1_795_165_557_000_042);
        assert_eq!(at.to_string(), "2026-11-20T09:05:57.000042Z");
        for us in [0, 1, -1, 1_795_165_557_000_042, i64::MAX, i64::MIN] {
            let at = Timestamp::from_unix_us(us);
            assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at), "{us}");
        }
        assert_eq!(at.plus_ms(u64::MAX).unix_us(), i64::MAX - i64::MAX % 1_000 + at.unix_us().min(807));
    }
}
