//! Prints every legal edge of every machine, so that a new one shows in review as a changed line.
//!
//! `orchd/docs/states.md` holds the same edges with a drawing of each. After a wanted change: run the tests of this module
//! with `ORCH_UPDATE_DOCS=1`, and mend the snapshots.

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::IllegalTransition;
use super::approval::{ApprovalState, ApprovalStep};
use super::change::{ChangeState, ChangeStep};
use super::document::{DocumentState, DocumentStep};
use super::info_request::{InfoRequestState, InfoRequestStep};
use super::planning::{PlanningState, PlanningStep};
use super::project::{ProjectState, ProjectStep};
use super::run::{RunState, RunStep};
use super::step::{StepEvent, StepState};
use super::task::{TaskState, TaskStep};
use samples::{
    approval_states, approval_steps, approval_steps_once, change_states, change_steps, change_steps_once,
    document_states, document_steps, info_states, info_steps, planning_states, planning_steps, project_states,
    project_steps, run_states, run_steps, step_events, step_states, task_states, task_steps,
};

const DOCUMENT: &str = include_str!("../../../docs/states.md");

/// A legal step: state, event, next state, by their labels.
type Edge = (&'static str, &'static str, &'static str);

/// Where an arrow of a drawing begins and ends.
type Ends = (&'static str, &'static str);

/// The legal edges among samples, in the order of the samples.
fn edges<S, E>(
    states: &[S],
    steps: &[E],
    next: impl Fn(Option<&S>, &E) -> Result<S, IllegalTransition>,
    (state_label, step_label): (impl Fn(&S) -> &'static str, impl Fn(&E) -> &'static str),
) -> Vec<Edge> {
    let mut edges = Vec::new();
    for state in std::iter::once(None).chain(states.iter().map(Some)) {
        for step in steps {
            let from = state.map_or("absent", &state_label);
            match next(state, step) {
                Ok(to) => edges.push((from, step_label(step), state_label(&to))),
                // A refusal names what was refused.
                Err(error) => assert_eq!((error.state, error.event), (from, step_label(step))),
            }
        }
    }
    let mut seen = BTreeSet::new();
    edges.retain(|edge| seen.insert(*edge));
    edges
}

fn project() -> Vec<Edge> {
    edges(&project_states(), &project_steps(), ProjectState::next, (ProjectState::label, ProjectStep::label))
}

fn document() -> Vec<Edge> {
    let next = |state: Option<&DocumentState>, step: &DocumentStep| DocumentState::next(state.copied(), *step);
    let labels = (|state: &DocumentState| state.label(), |step: &DocumentStep| step.label());
    edges(&document_states(), &document_steps(), next, labels)
}

fn task() -> Vec<Edge> {
    edges(&task_states(), &task_steps(), TaskState::next, (TaskState::label, TaskStep::label))
}

fn run() -> Vec<Edge> {
    edges(&run_states(), &run_steps(), RunState::next, (RunState::label, RunStep::label))
}

/// A step exists from the start of its run: its absence has no edge.
fn step() -> Vec<Edge> {
    let next = |state: Option<&StepState>, event: &StepEvent| match state {
        Some(state) => state.next(event),
        None => Err(IllegalTransition { machine: "step", state: "absent", event: event.label() }),
    };
    edges(&step_states(), &step_events(), next, (StepState::label, StepEvent::label))
}

fn approval() -> Vec<Edge> {
    edges(&approval_states(), &approval_steps(), ApprovalState::next, (ApprovalState::label, ApprovalStep::label))
}

fn change() -> Vec<Edge> {
    edges(&change_states(), &change_steps(), ChangeState::next, (ChangeState::label, ChangeStep::label))
}

fn info_request() -> Vec<Edge> {
    edges(&info_states(), &info_steps(), InfoRequestState::next, (InfoRequestState::label, InfoRequestStep::label))
}

fn planning() -> Vec<Edge> {
    edges(&planning_states(), &planning_steps(), PlanningState::next, (PlanningState::label, PlanningStep::label))
}

/// The event that leads to many states.
const UNDONE: &str = "undone";

/// One edge a line, those of an undo of the same state in one.
fn matrix(edges: &[Edge]) -> String {
    let mut matrix = String::new();
    for (at, (from, event, to)) in edges.iter().enumerate() {
        let goes_on = |(other, also, _): &Edge| (other, also) == (from, event);
        match at.checked_sub(1).and_then(|before| edges.get(before)).filter(|_| *event == UNDONE) {
            Some(before) if goes_on(before) => write!(matrix, ", {to}").unwrap(),
            _ if at == 0 => write!(matrix, "{from} + {event} -> {to}").unwrap(),
            _ => write!(matrix, "\n{from} + {event} -> {to}").unwrap(),
        }
    }
    matrix.push('\n');
    matrix
}

/// The edges as a drawing, those between the same two states as one arrow, without those of an undo.
fn drawing(edges: &[Edge]) -> String {
    let edges: Vec<&Edge> = edges.iter().filter(|(_, event, _)| *event != UNDONE).collect();
    let mut arrows: Vec<(Ends, Vec<&str>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (from, event, to) in &edges {
        let place = *places.entry((*from, *to)).or_insert(arrows.len());
        match arrows.get_mut(place) {
            Some((_, events)) => events.push(event),
            None => arrows.push(((*from, *to), vec![event])),
        }
    }
    let mut drawing = String::from("stateDiagram-v2\n");
    for ((from, to), events) in arrows {
        let from = if from == "absent" { "[*]" } else { from };
        writeln!(drawing, "    {from} --> {to}: {}", events.join(", ")).unwrap();
    }
    let left: BTreeSet<&str> = edges.iter().map(|(from, _, _)| *from).collect();
    let ends: BTreeSet<&str> = edges.iter().map(|(_, _, to)| *to).filter(|to| !left.contains(to)).collect();
    for end in ends {
        writeln!(drawing, "    {end} --> [*]").unwrap();
    }
    drawing
}

/// A machine by name.
type Machine = (&'static str, fn() -> Vec<Edge>);

const MACHINES: [Machine; 9] = [
    ("project", project),
    ("document", document),
    ("task", task),
    ("run", run),
    ("step", step),
    ("approval", approval),
    ("change", change),
    ("info_request", info_request),
    ("planning", planning),
];

/// Puts the drawing and the edges of every machine between its marks.
fn with_machines(document: &str) -> String {
    let mut document = document.to_owned();
    for (name, edges) in MACHINES {
        let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
        let start = document.find(&begin).expect("every machine has a mark where it begins") + begin.len();
        let stop = document.find(&end).expect("every machine has a mark where it ends");
        let (drawing, matrix) = (drawing(&edges()), matrix(&edges()));
        document.replace_range(start..stop, &format!("```mermaid\n{drawing}```\n```text\n{matrix}```\n"));
    }
    document
}

#[test]
#[expect(clippy::disallowed_methods, reason = "not the core: this test can write the document that it checks")]
fn the_document_has_every_edge() {
    let right = with_machines(DOCUMENT);
    if std::env::var_os("ORCH_UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/states.md");
        std::fs::write(path, &right).unwrap();
    }
    assert_eq!(DOCUMENT, right, "orchd/docs/states.md is out of date: run this test with ORCH_UPDATE_DOCS=1");
}

/// What the code calls final or open is what the edges say.
#[test]
fn words_for_the_end_agree_with_the_edges() {
    let leaves = |edges: &[Edge], label: &str| edges.iter().any(|(from, _, _)| *from == label);
    for state in run_states() {
        assert_eq!(state.is_final(), !leaves(&run(), state.label()), "{state:?}");
    }
    for state in task_states().iter().filter(|state| !state.is_final()) {
        assert!(leaves(&task(), state.label()), "{state:?}");
    }
    for state in change_states().iter().filter(|state| state.is_open()) {
        assert!(leaves(&change(), state.label()), "{state:?}");
    }
}

/// Folds a random list of steps; a refused one changes nothing. Calls `look` with each state before and after.
fn fold<S: Clone, E>(
    (steps, list): (&[E], &[prop::sample::Index]),
    next: impl Fn(Option<&S>, &E) -> Result<S, IllegalTransition>,
    mut look: impl FnMut(&S, &S),
) {
    let mut state: Option<S> = None;
    for at in list {
        if let Ok(after) = next(state.as_ref(), at.get(steps)) {
            if let Some(before) = &state {
                look(before, &after);
            }
            state = Some(after);
        }
    }
}

proptest! {
    #[test]
    fn what_is_over_stays_so(list in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        fold((&run_steps(), &list), RunState::next, |before, after| assert!(!before.is_final(), "{before:?} became {after:?}"));
        // Also when something is taken back.
        fold((&task_steps(), &list), TaskState::next, |before, after| {
            assert!(!matches!(before, TaskState::Done { .. }), "{before:?} became {after:?}");
        });
        fold((&change_steps(), &list), ChangeState::next, |before, after| {
            assert!(!matches!(before, ChangeState::Merged { .. }), "{before:?} became {after:?}");
        });
        fold((&approval_steps(), &list), ApprovalState::next, |before, after| {
            assert!(!matches!(before, ApprovalState::Expired), "{before:?} became {after:?}");
        });
        // Without that, an answer stays one, and what is closed is closed.
        let once = |steps: usize| steps - 1;
        let changes = change_steps_once();
        fold((&changes[..once(changes.len())], &list), ChangeState::next, |before, after| {
            assert!(!matches!(before, ChangeState::Closed { .. }), "{before:?} became {after:?}");
        });
        let approvals = approval_steps_once();
        fold((&approvals[..once(approvals.len())], &list), ApprovalState::next, |before, after| {
            let is_void = matches!(after, ApprovalState::Void { .. });
            assert!(matches!(before, ApprovalState::Pending { .. }) || is_void, "{before:?} became {after:?}");
        });
        fold((&project_steps(), &list), ProjectState::next, |before, _| assert_ne!(before, &ProjectState::Archived));
    }

    /// As many different people as are needed, each once.
    #[test]
    fn an_approval_needs_different_people(needed in 0_u32..5, people in prop::collection::vec(0_u32..4, 0..12)) {
        let mut state = ApprovalState::next(None, &ApprovalStep::Requested { needed, expires: None }).unwrap();
        let mut agreed = BTreeSet::new();
        for by in people {
            let is_open = matches!(state, ApprovalState::Pending { .. });
            match ApprovalState::next(Some(&state), &ApprovalStep::Granted { by }) {
                Ok(next) => {
                    prop_assert!(is_open && agreed.insert(by));
                    state = next;
                }
                Err(_) => prop_assert!(!is_open || agreed.contains(&by)),
            }
            let is_enough = agreed.len() >= needed.max(1) as usize;
            prop_assert_eq!(matches!(state, ApprovalState::Granted { .. }), is_enough);
        }
    }
}

#[test]
fn project_matrix() {
    assert_snapshot!(matrix(&project()), @r"
    absent + created -> preparing
    preparing + prepared -> ready
    preparing + preparation_failed -> failed
    ready + archived -> archived
    failed + retried -> preparing
    failed + archived -> archived
    ");
}

#[test]
fn document_matrix() {
    assert_snapshot!(matrix(&document()), @r"
    absent + drafted -> draft
    draft + proposed -> proposed
    draft + superseded -> superseded
    proposed + approved -> approved
    proposed + rejected -> rejected
    proposed + superseded -> superseded
    proposed + undone -> proposed, approved, rejected, superseded
    approved + superseded -> superseded
    approved + undone -> proposed, approved, rejected, superseded
    rejected + undone -> proposed, approved, rejected, superseded
    superseded + undone -> proposed, approved, rejected, superseded
    ");
}

#[test]
fn task_matrix() {
    assert_snapshot!(matrix(&task()), @r"
    absent + created -> proposed
    proposed + queued -> approved
    proposed + cancelled -> cancelled
    proposed + held -> paused
    proposed + undone -> proposed, approved, in_review, failed, cancelled, paused
    approved + started -> running
    approved + expired -> failed
    approved + cancelled -> cancelled
    approved + held -> paused
    approved + undone -> proposed, approved, in_review, failed, cancelled, paused
    running + retry_scheduled -> approved
    running + review_started -> in_review
    running + completed -> done
    running + failed -> failed
    running + cancelled -> cancelled
    running + requeued -> approved
    in_review + retry_scheduled -> approved
    in_review + completed -> done
    in_review + failed -> failed
    in_review + cancelled -> cancelled
    in_review + undone -> proposed, approved, in_review, failed, cancelled, paused
    failed + completed -> done
    failed + cancelled -> cancelled
    failed + reopened -> approved
    failed + undone -> proposed, approved, in_review, failed, cancelled, paused
    cancelled + reopened -> approved
    cancelled + undone -> proposed, approved, in_review, failed, cancelled, paused
    paused + cancelled -> cancelled
    paused + released -> approved
    paused + undone -> proposed, approved, in_review, failed, cancelled, paused
    ");
}

#[test]
fn run_matrix() {
    assert_snapshot!(matrix(&run()), @r"
    absent + queued -> queued
    queued + leased -> leased
    queued + failed -> failed
    queued + timed_out -> timed_out
    queued + cancelled -> cancelled
    queued + lost -> lost
    leased + starting -> starting
    leased + failed -> failed
    leased + timed_out -> timed_out
    leased + cancelled -> cancelled
    leased + lost -> lost
    starting + started -> running
    starting + succeeded -> succeeded
    starting + failed -> failed
    starting + timed_out -> timed_out
    starting + cancelled -> cancelled
    starting + lost -> lost
    running + input_requested -> awaiting_input
    running + approval_requested -> awaiting_approval
    running + paused -> paused
    running + succeeded -> succeeded
    running + failed -> failed
    running + timed_out -> timed_out
    running + cancelled -> cancelled
    running + lost -> lost
    awaiting_input + answered -> running
    awaiting_input + succeeded -> succeeded
    awaiting_input + failed -> failed
    awaiting_input + timed_out -> timed_out
    awaiting_input + cancelled -> cancelled
    awaiting_input + lost -> lost
    awaiting_approval + answered -> running
    awaiting_approval + succeeded -> succeeded
    awaiting_approval + failed -> failed
    awaiting_approval + timed_out -> timed_out
    awaiting_approval + cancelled -> cancelled
    awaiting_approval + lost -> lost
    paused + resumed -> running
    paused + succeeded -> succeeded
    paused + failed -> failed
    paused + timed_out -> timed_out
    paused + cancelled -> cancelled
    paused + lost -> lost
    ");
}

#[test]
fn step_matrix() {
    assert_snapshot!(matrix(&step()), @r"
    pending + started -> running
    pending + skipped -> skipped
    pending + kept -> kept
    running + ended -> ended
    ");
}

#[test]
fn approval_matrix() {
    assert_snapshot!(matrix(&approval()), @r"
    absent + requested -> pending
    pending + granted -> granted
    pending + denied -> denied
    pending + expired -> expired
    pending + voided -> void
    pending + answered -> answered
    pending + undone -> pending, granted, denied, void, answered
    pending + granted -> pending
    granted + voided -> void
    granted + undone -> pending, granted, denied, void, answered
    denied + undone -> pending, granted, denied, void, answered
    void + undone -> pending, granted, denied, void, answered
    answered + undone -> pending, granted, denied, void, answered
    ");
}

#[test]
fn info_request_matrix() {
    assert_snapshot!(matrix(&info_request()), @r"
    absent + asked -> pending
    pending + answered -> answered
    pending + expired -> expired
    pending + cancelled -> cancelled
    ");
}

#[test]
fn planning_matrix() {
    assert_snapshot!(matrix(&planning()), @r"
    absent + asked -> asked
    asked + proposed -> proposed
    asked + ruled -> ruled
    asked + failed -> failed
    asked + cancelled -> cancelled
    ");
}

#[test]
fn change_matrix() {
    assert_snapshot!(matrix(&change()), @r"
    absent + opened -> opened
    opened + approval_asked -> opened
    opened + check_started -> checking
    opened + check_skipped -> mergeable
    opened + conflicted -> conflicted
    opened + closed -> closed
    opened + undone -> opened, changes_requested, mergeable, conflicted, closed
    checking + check_passed -> mergeable
    checking + check_failed -> changes_requested
    checking + check_lost -> opened
    checking + closed -> closed
    changes_requested + closed -> closed
    changes_requested + undone -> opened, changes_requested, mergeable, conflicted, closed
    mergeable + base_moved -> opened
    mergeable + conflicted -> conflicted
    mergeable + merge_started -> queued
    mergeable + closed -> closed
    mergeable + undone -> opened, changes_requested, mergeable, conflicted, closed
    queued + merged -> merged
    queued + merge_refused -> opened
    conflicted + closed -> closed
    conflicted + undone -> opened, changes_requested, mergeable, conflicted, closed
    closed + undone -> opened, changes_requested, mergeable, conflicted, closed
    ");
}
