//! Time as the view sees it: given from outside with each message, never read, and shown in the coarsest useful unit.

use orch_proto::Timestamp;

use crate::text::SafeText;

/// The moment at which a message is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds of a clock that never jumps: what delays are measured by.
    pub(crate) mono_ms: u64,
    /// Wall time: what ages are measured by.
    pub(crate) wall: Timestamp,
}

/// A length of time, as `12s`, `3m`, `5h`, `2d`.
pub(crate) fn span(ms: u64) -> SafeText {
    let seconds = ms / 1_000;
    SafeText::line(&match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    })
}

/// A length of time as exactly as it matters: `1.2s`, `12s`, `3m07s`, `1h02m`.
pub(crate) fn exact_span(ms: u64) -> SafeText {
    let seconds = ms / 1_000;
    SafeText::line(&match seconds {
        0..10 => format!("{seconds}.{}s", ms / 100 % 10),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    })
}

/// The time of day in UTC, as `12:04:07`.
pub(crate) fn time_of_day(at: Timestamp) -> SafeText {
    let seconds = at.unix_us().div_euclid(1_000_000).rem_euclid(86_400);
    SafeText::line(&format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60))
}

/// The offset from `start`, as `+0:07.3`.
pub(crate) fn offset(start: Timestamp, at: Timestamp) -> SafeText {
    let ms = at.ms_since(start);
    SafeText::line(&format!("+{}:{:02}.{}", ms / 60_000, ms / 1_000 % 60, ms / 100 % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_at_their_limits() {
        let shown: Vec<_> =
            [0, 59_999, 60_000, 3_599_999, 3_600_000, 172_800_000].map(|ms| span(ms).to_string()).into();
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h", "2d"]);
        let shown: Vec<_> = [1_290, 10_000, 187_000].map(|ms| exact_span(ms).to_string()).into();
        assert_eq!(shown, ["1.2s", "10s", "3m07s"]);
        assert_eq!(time_of_day(Timestamp::from_unix_us(1_795_165_557_000_042)).as_str(), "09:05:57");
        assert_eq!(time_of_day(Timestamp::from_unix_us(-1)).as_str(), "23:59:59");
        let start = Timestamp::from_unix_us(0);
        assert_eq!(offset(start, start.plus_ms(67_380)).as_str(), "+1:07.3");
    }
}
