//! How long runs go on that cannot prove to be the one, and when they are taken for dead: `[leases]`.

use std::time::Duration;

use orch_sandbox::run_dir::KILL_MS_MAX;
use orch_sandbox::spec::{LEASE_MS_MAX, LEASE_MS_MIN, LeaseSpec, OwnerSpec};
use serde::{Deserialize, Serialize};

use crate::state_dir::OWNER_LOCK;

/// How long a run goes on without a proof when nobody says so, in seconds.
const RUN_SECONDS: u64 = 60;
/// How much longer it takes until it is taken for dead when nobody says so, in seconds.
const LOST_AFTER_SECONDS: u64 = 60;
/// What is added to all that a run needs to end, in milliseconds: shims are late on a busy host.
const MARGIN_MS: u64 = 5_000;
/// Longest time for which anything here can last, in seconds.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LeasesSection {
    run_seconds: Option<u64>,
    lost_seconds: Option<u64>,
    orphan_seconds: Option<u64>,
}

/// Times of leases, checked: nothing is begun anew before what it takes the place of has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeasesConfig {
    run_ms: u64,
    lost_ms: u64,
    orphan_ms: Option<u64>,
}

impl LeasesSection {
    /// Checks the times; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<LeasesConfig, (&'static str, String)> {
        let (min, max) = (LEASE_MS_MIN / 1_000, LEASE_MS_MAX / 1_000);
        let run = self.run_seconds.unwrap_or(RUN_SECONDS);
        if !(min..=max).contains(&run) {
            return Err(("leases.run_seconds", format!("must be {min} to {max}")));
        }
        let lost = self.lost_seconds.unwrap_or(run + LOST_AFTER_SECONDS);
        let needed = dead_after_ms(run * 1_000).div_ceil(1_000);
        if !(needed..=SECONDS_MAX).contains(&lost) {
            let why = format!(
                "must be {needed} to {SECONDS_MAX}: a run goes on for {run} s without a proof (`leases.run_seconds`) and \
                 needs a moment to end, and before that nothing may take its place"
            );
            return Err(("leases.lost_seconds", why));
        }
        let orphan = self.orphan_seconds.filter(|seconds| *seconds > 0);
        if orphan.is_some_and(|orphan| !(run..=SECONDS_MAX).contains(&orphan)) {
            let why = format!("must be 0 (never), or {run} (`leases.run_seconds`) to {SECONDS_MAX}");
            return Err(("leases.orphan_seconds", why));
        }
        Ok(LeasesConfig { run_ms: run * 1_000, lost_ms: lost * 1_000, orphan_ms: orphan.map(|orphan| orphan * 1_000) })
    }
}

impl From<LeasesConfig> for LeasesSection {
    fn from(config: LeasesConfig) -> Self {
        Self {
            run_seconds: Some(config.run_ms / 1_000),
            lost_seconds: Some(config.lost_ms / 1_000),
            orphan_seconds: Some(config.orphan_ms.unwrap_or(0) / 1_000),
        }
    }
}

impl LeasesConfig {
    /// How long a run goes on without a proof, in milliseconds.
    pub(crate) const fn run_ms(&self) -> u64 {
        self.run_ms
    }

    /// When nothing lives any more of a run that was given `lease_ms` when it was chosen, after it was seen the last time. The
    /// configuration may have been another one then.
    pub(crate) fn dead_after(&self, lease_ms: u64) -> Duration {
        Duration::from_millis(self.lost_ms.max(dead_after_ms(lease_ms)))
    }

    /// Whether runs end some time after their daemon.
    pub(crate) const fn ends_orphans(&self) -> bool {
        self.orphan_ms.is_some()
    }

    /// What a run is given.
    pub(crate) fn of_run(&self) -> LeaseSpec {
        let owner = self.orphan_ms.map(|absent_ms| OwnerSpec { lock: OWNER_LOCK.to_owned(), absent_ms });
        LeaseSpec { ttl_ms: self.run_ms, owner }
    }
}

/// What a run needs to end by itself that goes on for `ttl_ms` without a proof.
const fn dead_after_ms(ttl_ms: u64) -> u64 {
    ttl_ms.saturating_add(KILL_MS_MAX + MARGIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_the_place_of_a_run_before_that_has_ended() {
        let section = |run: u64, lost: u64| LeasesSection {
            run_seconds: Some(run),
            lost_seconds: Some(lost),
            orphan_seconds: None,
        };
        assert_eq!(section(30, 45).checked().unwrap().dead_after(30_000), Duration::from_secs(45));
        // Begun with a longer one.
        assert_eq!(section(30, 45).checked().unwrap().dead_after(60_000), Duration::from_secs(75));
        for lost in [0, 30, 44, u64::MAX] {
            let (key, why) = section(30, lost).checked().unwrap_err();
            assert!(key == "leases.lost_seconds" && why.starts_with("must be 45 to"), "{lost}: {key} {why}");
        }
        for run in [0, 86_401, u64::MAX] {
            assert_eq!(section(run, run).checked().unwrap_err().0, "leases.run_seconds", "{run}");
        }
        let default = LeasesSection::default().checked().unwrap();
        assert_eq!((default.run_ms(), default.dead_after(60_000)), (60_000, Duration::from_secs(120)));
    }

    #[test]
    fn runs_go_on_without_a_daemon_unless_somebody_says_for_how_long() {
        let section = |orphan: u64| LeasesSection { orphan_seconds: Some(orphan), ..LeasesSection::default() };
        for never in [LeasesSection::default(), section(0)] {
            assert_eq!(never.checked().unwrap().of_run().owner, None);
        }
        let owner = section(3_600).checked().unwrap().of_run().owner.unwrap();
        assert_eq!((owner.lock.as_str(), owner.absent_ms), (OWNER_LOCK, 3_600_000));
        assert_eq!(section(59).checked().unwrap_err().0, "leases.orphan_seconds");
    }
}
