//! What of a run has been kept for long enough. Looks at nothing but what it is given.

use orch_core::entity::{Run, RunPart};
use orch_core::retention::Hold;
use orch_proto::Timestamp;

use crate::config::{Kept, RetentionConfig};

/// A part that is to go, and the setting by which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) part: RunPart,
    pub(super) policy: String,
}

/// What of a run goes that is over, beside its ref, where `hold` speaks for it.
pub(super) fn parts(run: &Run, hold: Option<Hold>, now: Timestamp, config: &RetentionConfig) -> Vec<Due> {
    let Some(since) = run.finished_at else { return Vec::new() };
    let times = [
        (RunPart::Log, config.logs),
        (RunPart::Files, config.runs),
        (RunPart::Artifacts, config.blobs),
        (RunPart::Texts, config.blobs),
    ]
    .into_iter();
    times
        .filter(|(part, _)| run.removed(*part).is_none())
        .filter(|(part, _)| *part != RunPart::Artifacts || !run.artifacts.is_empty())
        .filter(|(part, _)| *part != RunPart::Texts || run.has_texts())
        .filter_map(|(part, kept)| Some(Due { part, policy: over(kept, hold, (since, now), config)? }))
        .collect()
}

/// The setting by which a result goes that nobody wants since then, if it does.
pub(super) fn result(hold: Option<Hold>, since: Timestamp, now: Timestamp, config: &RetentionConfig) -> Option<String> {
    over(config.refs, hold, (since, now), config)
}

/// The setting by which something goes, if its time is over. Evidence goes when both times are.
fn over(
    kept: Kept,
    hold: Option<Hold>,
    (since, now): (Timestamp, Timestamp),
    config: &RetentionConfig,
) -> Option<String> {
    let kept = match hold {
        None => kept,
        Some(Hold::InUse) => return None,
        // Without a time of its own evidence is kept for ever.
        Some(Hold::Evidence) => match config.evidence? {
            evidence if evidence.ms() > kept.ms() => evidence,
            _ => kept,
        },
    };
    (now.ms_since(since) >= kept.ms()).then(|| kept.policy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    fn config(evidence: Option<u32>) -> RetentionConfig {
        RetentionConfig {
            commands: std::time::Duration::ZERO,
            runs: Kept::new("runs_days", 30),
            logs: Kept::new("logs_days", 90),
            blobs: Kept::new("blobs_days", 90),
            refs: Kept::new("refs_days", 90),
            evidence: evidence.map(|days| Kept::new("evidence_days", days)),
        }
    }

    #[test]
    fn evidence_goes_when_both_times_are_over_and_what_is_in_use_never() {
        let since = Timestamp::from_unix_us(1_795_165_557_000_000);
        let check = |hold, evidence, days: u64| {
            result(hold, since, since.plus_ms(days * DAY_MS), &config(evidence)).unwrap_or_default()
        };
        assert_eq!(check(None, None, 89), "");
        assert_eq!(check(None, None, 90), "retention.refs_days = 90");
        assert_eq!(check(None, Some(365), 90), "retention.refs_days = 90");
        assert_eq!(check(Some(Hold::Evidence), None, 30_000), "");
        assert_eq!(check(Some(Hold::Evidence), Some(365), 364), "");
        assert_eq!(check(Some(Hold::Evidence), Some(365), 365), "retention.evidence_days = 365");
        assert_eq!(check(Some(Hold::Evidence), Some(10), 89), "");
        assert_eq!(check(Some(Hold::Evidence), Some(10), 90), "retention.refs_days = 90");
        assert_eq!(check(Some(Hold::InUse), Some(0), 30_000), "");
        // A clock that was set back.
        assert_eq!(result(None, since, since.minus_ms(1), &config(None)), None);
    }
}
