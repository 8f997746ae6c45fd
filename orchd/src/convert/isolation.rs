//! The isolation of a run, with what mends it.

use orch_core::entity::{Guarantee, GuaranteeState as State, Isolation};
use orch_proto::view::{GuaranteeState, GuaranteeView, IsolationView, NextLevelView};
use orch_sandbox::advice::advice;
use orch_sandbox::level::{self, GuaranteeKind, Level, LevelReport, Strength};

use crate::host::HostFacts;

/// What the sandbox says of a limit that nobody asked for.
const UNBOUNDED: &str = "names no bound";

/// The isolation of a run that needed the level `required`; with what mends it where the host is known.
pub(crate) fn isolation_view(isolation: &Isolation, required: u8, host: Option<&HostFacts>) -> IsolationView {
    let guarantees = isolation.guarantees.iter().map(|guarantee| GuaranteeView {
        name: guarantee.name.clone(),
        state: match guarantee.state {
            State::Enforced => GuaranteeState::Enforced,
            State::Degraded => GuaranteeState::Degraded,
            State::Absent => GuaranteeState::Absent,
        },
        how: guarantee.how.clone(),
        evidence: guarantee.evidence.clone(),
        fix: host.and_then(|host| fix(guarantee, host)),
    });
    IsolationView { level: isolation.level, required, guarantees: guarantees.collect(), next: next(isolation) }
}

/// What mends a guarantee. Of a run that was, the host may have been mended since.
fn fix(guarantee: &Guarantee, host: &HostFacts) -> Option<String> {
    let known = known(guarantee)?;
    let now = host.isolation.guarantees.iter().find(|now| now.name == guarantee.name)?;
    if guarantee.state != State::Enforced && now.state == State::Enforced {
        return Some("nothing: the host gives it by now".to_owned());
    }
    let setting = match known.kind {
        GuaranteeKind::MemoryLimit => "total_memory_mb",
        GuaranteeKind::CpuLimit => "cpu_millis",
        GuaranteeKind::DiskLimit => "disk_mb",
        _ => return advice(&known, &host.report),
    };
    let unbounded = known.evidence.contains(UNBOUNDED) || known.how.contains(UNBOUNDED);
    if unbounded && known.strength != Strength::Enforced {
        return Some(format!("set `{setting}` in `[run]` of the configuration"));
    }
    advice(&known, &host.report)
}

/// The guarantee in the sandbox's terms; none for one that this version does not know.
fn known(guarantee: &Guarantee) -> Option<level::Guarantee> {
    Some(level::Guarantee {
        kind: GuaranteeKind::named(&guarantee.name)?,
        strength: match guarantee.state {
            State::Enforced => Strength::Enforced,
            State::Degraded => Strength::Degraded,
            State::Absent => Strength::Absent,
        },
        how: guarantee.how.clone(),
        evidence: guarantee.evidence.clone(),
    })
}

fn next(isolation: &Isolation) -> Option<NextLevelView> {
    let report = LevelReport::new(isolation.guarantees.iter().filter_map(known).collect());
    let next = Level::try_from(isolation.level).ok()?.next()?;
    let missing = report.missing_for(next).iter().map(ToString::to_string).collect();
    Some(NextLevelView { level: u8::from(next), missing })
}
