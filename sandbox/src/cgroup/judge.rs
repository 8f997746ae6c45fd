//! What the limits of a run are worth, judged from what the kernel says back. Pure.

use super::group::ReadBack;
use crate::level::{Guarantee, GuaranteeKind, Strength};
use crate::limit::bytes_text;
use crate::spec::Limits;

/// What is known of how the limits of one run are kept.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    /// What the spec asks for.
    pub(crate) limits: &'a Limits,
    /// What the run's group says; the reason where it has none.
    pub(crate) group: Result<&'a ReadBack, &'a str>,
    /// Whether the kernel lists the children of a process, without which no run can be watched.
    pub(crate) can_watch: bool,
    /// Smallest unit of memory, to which the kernel rounds a bound down, in bytes.
    pub(crate) page_bytes: u64,
}

/// Replaces what the probes inside said about limits where more is known outside, and adds what they cannot see.
pub(crate) fn judge(mut found: Vec<Guarantee>, evidence: &Evidence<'_>) -> Vec<Guarantee> {
    let known =
        [process_limit(evidence), memory_limit(evidence), Some(cpu_limit(evidence)), Some(disk_limit(evidence))];
    for guarantee in known.into_iter().flatten() {
        found.retain(|other| other.kind != guarantee.kind);
        found.push(guarantee);
    }
    found
}

fn guarantee(kind: GuaranteeKind, strength: Strength, how: &str, evidence: String) -> Guarantee {
    Guarantee { kind, strength, how: how.to_owned(), evidence }
}

/// Why the kernel keeps no limit of the whole run.
fn without(evidence: &Evidence<'_>, file: &str) -> String {
    match evidence.group {
        Ok(_) => format!("no {file} in the run's control group"),
        Err(reason) => reason.to_owned(),
    }
}

/// `None` where the probe inside knows best.
fn process_limit(evidence: &Evidence<'_>) -> Option<Guarantee> {
    let bound = evidence.group.ok()?.pids_max?;
    let said = format!("pids.max: {bound}");
    Some(guarantee(GuaranteeKind::ProcessLimit, Strength::Enforced, "control group of the run", said))
}

fn memory_limit(evidence: &Evidence<'_>) -> Option<Guarantee> {
    let kind = GuaranteeKind::MemoryLimit;
    let bound = evidence.limits.run_memory_bytes?;
    let kept = evidence.group.ok().and_then(|group| group.memory_max);
    Some(match kept {
        Some(max) if max <= bound && bound - max < evidence.page_bytes => {
            guarantee(kind, Strength::Enforced, "control group of the run", format!("memory.max: {max}"))
        }
        _ if evidence.can_watch => {
            let how = "watched from outside: the run is killed when all its processes together have more";
            let said = format!("bound of {}; {}", bytes_text(bound), without(evidence, "memory.max"));
            guarantee(kind, Strength::Degraded, how, said)
        }
        _ => {
            let said = format!("the kernel lists no children of processes; {}", without(evidence, "memory.max"));
            guarantee(kind, Strength::Absent, "cannot be watched", said)
        }
    })
}

fn cpu_limit(evidence: &Evidence<'_>) -> Guarantee {
    let kind = GuaranteeKind::CpuLimit;
    match (evidence.limits.run_cpu_millis, evidence.group.ok().and_then(|group| group.cpu_max.as_deref())) {
        (Some(_), Some(quota)) => {
            guarantee(kind, Strength::Enforced, "control group of the run", format!("cpu.max: {quota}"))
        }
        (Some(_), None) => {
            let how = "lower priority, RLIMIT_CPU of each process";
            guarantee(kind, Strength::Degraded, how, without(evidence, "cpu.max"))
        }
        (None, _) => {
            let how = "lower priority, RLIMIT_CPU of each process";
            guarantee(kind, Strength::Degraded, how, "the spec names no bound of the whole run".to_owned())
        }
    }
}

fn disk_limit(evidence: &Evidence<'_>) -> Guarantee {
    let kind = GuaranteeKind::DiskLimit;
    match evidence.limits.disk_bytes {
        Some(bound) => {
            let how = "watched from outside: the run is killed when workspace and results together have more";
            guarantee(kind, Strength::Degraded, how, format!("bound of {}", bytes_text(bound)))
        }
        None => {
            let how = "RLIMIT_FSIZE of each file";
            guarantee(kind, Strength::Absent, how, "the spec names no bound of the whole run".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(bounded: bool) -> Limits {
        Limits {
            wall_ms: 1,
            cpu_seconds: 1,
            memory_bytes: None,
            run_memory_bytes: bounded.then_some((1 << 30) + 1),
            run_cpu_millis: bounded.then_some(1_000),
            disk_bytes: bounded.then_some(1 << 30),
            idle_ms: None,
            processes: 10,
            open_files: 64,
            file_size_bytes: 1,
            log_bytes_max: 1,
            tmp_bytes: 1,
        }
    }

    fn shown(evidence: &Evidence<'_>) -> Vec<String> {
        let inside = guarantee(GuaranteeKind::ProcessLimit, Strength::Degraded, "probe", String::new());
        let found = judge(vec![inside], evidence);
        found.iter().map(|found| format!("{} {:?}: {}", found.kind, found.strength, found.evidence)).collect()
    }

    #[test]
    fn only_what_the_kernel_says_back_is_enforced() {
        let limits = limits(true);
        let all = ReadBack { memory_max: Some(1 << 30), pids_max: Some(11), cpu_max: Some("100000 100000".into()) };
        let evidence = Evidence { limits: &limits, group: Ok(&all), can_watch: true, page_bytes: 4096 };
        assert_eq!(
            shown(&evidence),
            [
                "process limit Enforced: pids.max: 11",
                "memory limit Enforced: memory.max: 1073741824",
                "cpu limit Enforced: cpu.max: 100000 100000",
                "disk limit Degraded: bound of 1 GiB",
            ]
        );
        let less = ReadBack { memory_max: Some(2 << 30), ..ReadBack::default() };
        let evidence = Evidence { group: Ok(&less), ..evidence };
        assert_eq!(
            shown(&evidence),
            [
                "process limit Degraded: ",
                "memory limit Degraded: bound of 1 GiB; no memory.max in the run's control group",
                "cpu limit Degraded: no cpu.max in the run's control group",
                "disk limit Degraded: bound of 1 GiB",
            ]
        );
    }

    #[test]
    fn without_a_group_or_a_bound_it_is_said_why() {
        let (with, none) = (limits(true), limits(false));
        let evidence = Evidence { limits: &with, group: Err("not delegated"), can_watch: false, page_bytes: 4096 };
        assert_eq!(
            shown(&evidence)[1],
            "memory limit Absent: the kernel lists no children of processes; not delegated"
        );
        let evidence = Evidence { limits: &none, ..evidence };
        assert_eq!(
            shown(&evidence),
            [
                "process limit Degraded: ",
                "cpu limit Degraded: the spec names no bound of the whole run",
                "disk limit Absent: the spec names no bound of the whole run",
            ]
        );
    }
}
