//! The attacks that a sandbox must withstand before anything runs in it: the cases of the threat model that are tried at
//! every start and by `doctor`, on this host, in real runs.
//!
//! What the probes of every run find is taken from their report. The rest needs something that can be touched: a file, a
//! listener, a repository whose settings name a command. **Invariant:** a case that could not be tried is skipped by
//! name, with the reason, and never counts as withstood.

mod attempts;
mod results;

use std::collections::BTreeMap;

use orch_proto::view::{CaseResult, CaseView};
use orch_sandbox::level::{GuaranteeKind, LevelReport, Strength};

use super::Bench;

/// What came of a case, and what was seen.
type Found = (CaseResult, String);

/// Cases that the probes of every run try, and what must be enforced for them.
const PROBED: [(&str, &str, &[GuaranteeKind]); 9] = [
    ("F2", "write the system, create at the root", &[GuaranteeKind::ReadOnlySystem]),
    ("F4", "make a mount writable again", &[GuaranteeKind::ReadOnlySystem]),
    ("P1", "see processes of the host", &[GuaranteeKind::Processes]),
    ("P3", "look into init", &[GuaranteeKind::InitSealed]),
    ("N1", "have an interface", &[GuaranteeKind::Network]),
    ("N18", "reach the hypervisor", &[GuaranteeKind::SocketFamilies]),
    ("D1", "find more than harmless devices", &[GuaranteeKind::Devices]),
    ("K1", "make namespaces", &[GuaranteeKind::NestedNamespaces]),
    (
        "K4",
        "have capabilities, gain them by a program",
        &[GuaranteeKind::Capabilities, GuaranteeKind::NoNewPrivileges, GuaranteeKind::SyscallFilter],
    ),
];

/// Cases that are tried by runs of their own.
const TRIED: [(&str, &str); 12] = [
    ("F1", "read files of the host"),
    ("N2", "connect to anybody"),
    ("N15", "ask the proxy for what is not allowed"),
    ("N20", "reach an abstract socket of the host"),
    ("R1", "fork without end"),
    ("G1", "have git execute what a configuration names"),
    ("G2", "point a worktree to another git directory"),
    ("G3", "have git execute what a nested repository names"),
    ("A1", "hand in a link as a result"),
    ("L1", "show what a terminal obeys"),
    ("S1", "find a secret in arguments and on the disk"),
    ("M4", "run with less than was asked for"),
];

/// Tries all of them, given what the probes of a run found.
pub(super) async fn run(bench: Bench<'_>, report: &LevelReport) -> Vec<CaseView> {
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    let client = "depends on the program that shows it and not on this host; its own tests try it";
    found.insert("L1", (CaseResult::Skipped, client.to_owned()));
    found.insert("A1", results::link(bench));
    if report.guarantees.iter().any(|guarantee| guarantee.strength != Strength::Absent) {
        found.extend(PROBED.iter().map(|(id, _, kinds)| (*id, probed(report, kinds))));
        let (beside, proxied, git, less) = tokio::join!(
            attempts::beside_the_host(bench, report),
            attempts::proxied(bench),
            results::hostile_git(bench),
            results::with_less(bench, report)
        );
        found.extend(beside.into_iter().chain(proxied).chain(git));
        found.insert("M4", less);
    }
    let known = PROBED.iter().map(|(id, what, _)| (*id, *what)).chain(TRIED);
    let mut cases: Vec<CaseView> = known
        .map(|(id, what)| {
            let none = || (CaseResult::Skipped, "no run is possible on this host".to_owned());
            let (result, detail) = found.remove(id).unwrap_or_else(none);
            CaseView { id: id.to_owned(), what: what.to_owned(), result, detail }
        })
        .collect();
    cases.sort_by_key(|case| order(&case.id));
    cases
}

/// By letter and then by number, so that N2 comes before N15.
fn order(id: &str) -> (String, u32) {
    let letter = id.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (letter.to_owned(), id.trim_start_matches(letter).parse().unwrap_or(0))
}

/// What is not enforced is a matter of the level, which every run is measured by; it is no hole that nobody knew of.
fn probed(report: &LevelReport, kinds: &[GuaranteeKind]) -> Found {
    let found: Vec<_> = report.guarantees.iter().filter(|guarantee| kinds.contains(&guarantee.kind)).collect();
    let seen: Vec<&str> = found.iter().map(|guarantee| guarantee.evidence.as_str()).collect();
    let seen = seen.join("; ");
    let enforced = found.iter().filter(|guarantee| guarantee.strength == Strength::Enforced).count();
    if enforced == kinds.len() {
        (CaseResult::Held, seen)
    } else {
        (CaseResult::Skipped, format!("not enforced on this host: {seen}"))
    }
}

/// Says of some cases that they could not be tried.
fn untried<const COUNT: usize>(ids: [&'static str; COUNT], why: &str) -> Vec<(&'static str, Found)> {
    ids.map(|id| (id, (CaseResult::Skipped, format!("could not be tried: {why}")))).to_vec()
}

#[cfg(test)]
mod tests {
    use orch_sandbox::level::Guarantee;

    use super::*;

    /// The cases of the list of all attacks that have to be tried at a start.
    const AT_START: [&str; 21] = [
        "A1", "D1", "F1", "F2", "F4", "G1", "G2", "G3", "K1", "K4", "L1", "M4", "N1", "N2", "N15", "N18", "N20", "P1",
        "P3", "R1", "S1",
    ];

    #[test]
    fn no_case_is_forgotten() {
        let mut ids: Vec<&str> = PROBED.iter().map(|(id, ..)| *id).chain(TRIED.iter().map(|(id, _)| *id)).collect();
        ids.sort_by_key(|id| order(id));
        assert_eq!(ids, AT_START);
    }

    #[test]
    fn a_case_holds_only_where_all_of_it_is_enforced() {
        let guarantee = |kind, strength| Guarantee { kind, strength, how: String::new(), evidence: "seen".into() };
        let kinds = &[GuaranteeKind::Capabilities, GuaranteeKind::NoNewPrivileges];
        let report = |second| {
            let first = guarantee(GuaranteeKind::Capabilities, Strength::Enforced);
            LevelReport::new(vec![first, guarantee(GuaranteeKind::NoNewPrivileges, second)])
        };
        assert_eq!(probed(&report(Strength::Enforced), kinds).0, CaseResult::Held);
        assert_eq!(probed(&report(Strength::Absent), kinds).0, CaseResult::Skipped);
        assert_eq!(probed(&LevelReport::new(Vec::new()), kinds).0, CaseResult::Skipped);
    }
}
