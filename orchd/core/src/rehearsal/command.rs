//! Random commands about what there is: mostly sensible, often too late or about the wrong thing.

use std::collections::BTreeMap;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::sample::{new_task, plan_content, proposal, requirements, step_spec, vision};
use super::{channel, models, planning, session};
use crate::command::{
    Answer, Command, NewTask, PatienceChange, PlanEdit, RequirementEdit, Said, Seat, Subject, TermsChange,
};
use crate::digest::Digest;
use crate::entity::{
    Approval, BudgetKey, Change, Condition, Entity, InfoRequest, InstalledTool, Join, Meter, Observation, Period, Plan,
    PlannedStep, Project, Remedy, Removal, RepositorySource, Requirements, Run, RunPart, Task, Timeout, Vision, Work,
};
use crate::ids::IdSource;
use crate::state::change::ChangeState;
use crate::state::project::ProjectState;
use crate::state::run::{FailureClass, RunOutcome, RunState};
use crate::state::step::{StepEnd, StepEvent};
use crate::view::{Filter, ReadError, View};

/// Draws a command.
///
/// # Errors
/// When the state cannot be read.
pub fn random_command(view: &impl View, dice: &mut IdSource) -> Result<Command, ReadError> {
    let projects: Vec<Project> = view.list(&Filter::default())?;
    let Some(project) = pick(&projects, dice) else { return Ok(create(dice)) };
    let filter = Filter::of(project.id);
    let scene = Scene {
        project: project.id,
        tasks: view.list(&filter)?,
        runs: view.list(&filter)?,
        changes: view.list(&filter)?,
        approvals: view.list(&filter)?,
        infos: view.list(&filter)?,
    };
    let drawn = match dice.jitter(40) {
        0 => Some(create(dice)),
        _ if project.state == ProjectState::Preparing && dice.jitter(2) == 0 => Some(Command::PrepareProject {
            project: project.id,
            default_branch: "main".into(),
            head: None,
            toolchains: Vec::new(),
        }),
        _ if !project.budgets.is_empty() && dice.jitter(6) == 0 => Some(Command::JudgeBudgets { project: project.id }),
        1..=6 => scene.document(view, dice)?,
        7..=14 => scene.task(dice),
        15..=20 => scene.start(dice),
        21..=28 => scene.run(dice),
        29..=35 => scene.change(dice),
        36 if dice.jitter(4) == 0 => Some(Command::SetShare {
            project: project.id,
            weight: Some(1 + u32::try_from(dice.jitter(4)).unwrap_or(0)),
            runs_max: Some(u32::try_from(dice.jitter(4)).unwrap_or(0)),
            runs_per_day: Some(u32::try_from(dice.jitter(8)).unwrap_or(0)),
        }),
        36 if dice.jitter(3) == 0 => Some(Command::PauseProjects {
            projects: if dice.jitter(2) == 0 { vec![project.id] } else { Vec::new() },
            reason: reason(),
            until: (dice.jitter(2) == 0).then(|| project.created_at.plus_ms(dice.jitter(600_000))),
            with_runs: dice.jitter(2) == 0,
        }),
        36 if dice.jitter(3) == 0 => Some(Command::SetPatience {
            project: project.id,
            change: PatienceChange { queue: Some(random_timeout(dice)), silence: None },
        }),
        37 if dice.jitter(2) == 0 => Some(random_budget(project.id, dice)),
        36 if dice.jitter(2) == 0 => Some(Command::ResumeProjects { projects: Vec::new() }),
        36 if dice.jitter(12) == 0 => Some(Command::ArchiveProject { project: project.id }),
        _ => scene.answer(dice),
    };
    Ok(drawn.unwrap_or_else(|| Command::CreateTask { task: Box::new(scene.new_task(dice)) }))
}

struct Scene {
    project: ProjectId,
    tasks: Vec<Task>,
    runs: Vec<Run>,
    changes: Vec<Change>,
    approvals: Vec<Approval>,
    infos: Vec<InfoRequest>,
}

fn create(dice: &mut IdSource) -> Command {
    Command::CreateProject {
        slug: format!("p{}", dice.jitter(4)),
        source: RepositorySource::Empty,
        protected_paths: Vec::new(),
    }
}

pub(super) fn pick<T: Clone>(from: &[T], dice: &mut IdSource) -> Option<T> {
    let at = usize::try_from(dice.jitter(from.len() as u64)).unwrap_or(0);
    from.get(at).cloned()
}

/// Mostly one that is open, since what is over is refused.
pub(super) fn pick_open<E: Entity>(from: &[E], dice: &mut IdSource) -> Option<E> {
    let open: Vec<E> = from.iter().filter(|thing| thing.is_open()).cloned().collect();
    if open.is_empty() || dice.jitter(8) == 0 { pick(from, dice) } else { pick(&open, dice) }
}

fn random_condition(dice: &mut IdSource) -> Condition {
    match dice.jitter(4) {
        0 => Condition::Ended,
        1 => Condition::Failed,
        _ => Condition::Done,
    }
}

fn random_terms(task: &Task, dice: &mut IdSource) -> TermsChange {
    let units = u32::try_from(dice.jitter(3)).unwrap_or(0);
    let semaphores = if units == 0 { BTreeMap::new() } else { BTreeMap::from([("database".to_owned(), units)]) };
    TermsChange {
        join: Some(if dice.jitter(3) == 0 { Join::Any } else { Join::All }),
        not_before: (dice.jitter(4) == 0).then(|| random_time(task, dice)),
        deadline: (dice.jitter(3) == 0).then(|| random_time(task, dice)),
        memory_bytes: (dice.jitter(3) == 0).then(|| dice.jitter(5) << 30),
        semaphores: (dice.jitter(2) == 0).then_some(semaphores),
        patience: PatienceChange {
            queue: (dice.jitter(4) == 0).then(|| random_timeout(dice)),
            silence: (dice.jitter(4) == 0).then(|| random_timeout(dice)),
        },
        ..TermsChange::default()
    }
}

/// Often none, and never long.
fn random_timeout(dice: &mut IdSource) -> Option<Timeout> {
    let then = [Remedy::Warn, Remedy::Ask, Remedy::End];
    let then = pick(&then, dice).unwrap_or(Remedy::Warn);
    (dice.jitter(3) != 0).then(|| Timeout { after_ms: dice.jitter(3) * 1_000, then })
}

/// A budget that is soon used up, none, or another go of those that there are.
fn random_budget(project: ProjectId, dice: &mut IdSource) -> Command {
    let period = pick(&[Period::Day, Period::Week, Period::Total], dice).unwrap_or(Period::Day);
    if dice.jitter(4) == 0 {
        return Command::ResetBudgets { project, period: (dice.jitter(2) == 0).then_some(period) };
    }
    Command::SetBudget {
        project,
        key: BudgetKey {
            meter: pick(&[Meter::RunTime, Meter::Tokens, Meter::Cost], dice).unwrap_or(Meter::RunTime),
            period,
        },
        limit: dice.jitter(4) * 10_000,
        is_hard: dice.jitter(2) == 0,
    }
}

/// Often no time, often one that is over.
fn random_time(task: &Task, dice: &mut IdSource) -> Option<Timestamp> {
    (dice.jitter(3) != 0).then(|| task.since.plus_ms(dice.jitter(60_000)))
}

fn steps() -> Vec<PlannedStep> {
    vec![PlannedStep::new("work", "true")]
}

fn reason() -> String {
    "chance".into()
}

impl Scene {
    fn new_task(&self, dice: &mut IdSource) -> NewTask {
        let mut spec = step_spec(&format!("echo {}", dice.jitter(100)));
        if let Work::Steps { access, .. } = &mut spec.work {
            access.channel = dice.jitter(3) != 0;
        }
        let needed: Option<Task> = if dice.jitter(3) == 0 { pick(&self.tasks, dice) } else { None };
        NewTask {
            depends_on: needed.into_iter().map(|task| (task.id, random_condition(dice))).collect(),
            priority: u8::try_from(dice.jitter(11)).unwrap_or(0),
            needs_approval: dice.jitter(4) == 0,
            queue: dice.jitter(4) != 0,
            spec,
            ..new_task(self.project, "by hand")
        }
    }

    fn document(&self, view: &impl View, dice: &mut IdSource) -> Result<Option<Command>, ReadError> {
        let filter = Filter::of(self.project);
        let (project, reason) = (self.project, reason());
        let visions: Vec<Vision> = view.list(&filter)?;
        let documents: Vec<Requirements> = view.list(&filter)?;
        let plans: Vec<Plan> = view.list(&filter)?;
        let titles: &[&str] = if dice.jitter(2) == 0 { &["list", "buy"] } else { &["list", "pay", "ship"] };
        Ok(match dice.jitter(10) {
            8..=9 => {
                let found = view.get::<Project>(project)?.and_then(|found| found.planning);
                planning::random_planning((project, found.as_ref()), &visions, &documents, dice)
            }
            0 => Some(vision(project, &dice.jitter(3).to_string())),
            1 => pick(&visions, dice).map(|vision| Command::ProposeRequirements {
                project,
                vision: vision.id,
                content: Box::new(requirements(titles)),
                reason,
                questions: planning::random_questions(dice),
            }),
            2 => documents.last().map(|newest| Command::EditRequirements {
                project,
                base_version: newest.version,
                upsert: vec![RequirementEdit { key: None, content: requirements(titles).requirements.remove(0) }],
                remove: Vec::new(),
                reason,
            }),
            3 => pick(&documents, dice).map(|found| Command::CommentRequirements {
                requirements: found.id,
                key: None,
                text: "why?".into(),
            }),
            4 => plans.last().map(|newest| Command::EditPlan {
                project,
                base_version: newest.version,
                edits: vec![random_edit(dice)],
                reason,
            }),
            _ => pick_open(&documents, dice).map(|found| Command::ProposePlan {
                project,
                requirements: found.id,
                content: Box::new(random_plan(dice)),
                reason,
            }),
        })
    }

    fn seat(&self, dice: &mut IdSource) -> Option<Seat> {
        Some(match dice.jitter(4) {
            0 => Seat::First,
            1 => Seat::Last,
            2 => Seat::Before(self.any_task(dice)?),
            _ => Seat::Behind(self.any_task(dice)?),
        })
    }

    fn task(&self, dice: &mut IdSource) -> Option<Command> {
        let found = pick_open(&self.tasks, dice)?;
        let task = found.id;
        let reason = reason();
        match dice.jitter(14) {
            0 => Some(Command::QueueTasks { tasks: vec![task] }),
            1 => {
                let depends_on = self.any_task(dice)?;
                Some(Command::LinkTask { task, depends_on, condition: random_condition(dice) })
            }
            2 => Some(Command::UnlinkTask { task, depends_on: self.any_task(dice)? }),
            3 if dice.jitter(2) == 0 => Some(Command::MoveTask { task, to: self.seat(dice)? }),
            3 => Some(Command::PrioritizeTask { task, priority: 9 }),
            4 => Some(Command::HoldTask { task, reason }),
            5 => Some(Command::ReleaseTask { task }),
            6 if dice.jitter(4) == 0 => Some(Command::CancelTasks { tasks: vec![task], reason }),
            6 => Some(Command::CancelTask { task, reason }),
            7 => {
                let task = self.any_task(dice)?;
                let priority = (dice.jitter(3) == 0).then_some(7);
                Some(Command::RetryTask { task, anew: dice.jitter(2) == 0, not_before: None, priority })
            }
            8 => {
                let task = self.any_task(dice)?;
                let roll = dice.jitter(100);
                let spec = Box::new(step_spec(&format!("echo {roll}")));
                Some(Command::EditTask { task, spec, needs_approval: roll.is_multiple_of(8) })
            }
            9 => Some(Command::SetTerms { task, change: Box::new(random_terms(&found, dice)) }),
            10 if dice.jitter(2) == 0 => {
                Some(Command::OverdueTask { task, since: found.since, timeout: random_timeout(dice)? })
            }
            10 => Some(Command::SkipTask { task }),
            12 => Some(Command::SayToTask { task, text: reason }),
            11 => {
                let timed: Vec<Task> =
                    self.tasks.iter().filter(|task| task.terms.deadline.is_some()).cloned().collect();
                Some(Command::ExpireTask { task: pick_open(&timed, dice)?.id })
            }
            _ => None,
        }
    }

    fn any_task(&self, dice: &mut IdSource) -> Option<TaskId> {
        pick(&self.tasks, dice).map(|task| task.id)
    }

    fn start(&self, dice: &mut IdSource) -> Option<Command> {
        let left = session::left(&self.runs).filter(|_| dice.jitter(3) == 0);
        let task = left.map_or_else(|| pick_open(&self.tasks, dice).map(|task| task.id), |run| Some(run.task))?;
        let of_left = left.and_then(|run| run.agent.clone());
        Some(Command::StartRun {
            task,
            base: None,
            steps: session::planned(dice),
            agent: models::random_agent(dice).or(of_left),
            required_level: 0,
            lease_ms: 1_000,
            reason: reason(),
        })
    }

    fn run(&self, dice: &mut IdSource) -> Option<Command> {
        if let Some(run) = session::under_way(&self.runs).filter(|_| dice.jitter(3) == 0) {
            return Some(session::random(run, dice));
        }
        let run = pick_open(&self.runs, dice)?;
        let speaks = run.access.channel && (run.state == RunState::Running || run.state.is_waiting());
        if speaks
            && dice.jitter(3) != 0
            && let Some(said) = channel::random((&self.runs, &self.tasks), &self.infos, dice)
        {
            return Some(said);
        }
        let works = !matches!(run.state, RunState::Queued | RunState::Leased { .. });
        if session::may_be_lost(&run) && works && dice.jitter(12) == 0 {
            return Some(session::random(&run, dice));
        }
        match dice.jitter(30) {
            0 => return Some(Command::PauseRun { run: run.id, reason: reason() }),
            1 => return Some(Command::ResumeRun { run: run.id }),
            13 => {
                let (run, anew) = (run.id, dice.jitter(2) == 0);
                return Some(Command::RetryRun { run, anew, not_before: None, priority: None });
            }
            2..=4 => return self.silence(dice).or_else(|| self.start(dice)),
            5..=6 => return self.removal(dice),
            7..=12 => return Some(models::random_exchange(&run, dice)),
            _ => {}
        }
        let fence = if dice.jitter(10) == 0 { run.fence.saturating_sub(1) } else { run.fence };
        let roll = match (dice.jitter(4), &run.state) {
            (1..=3, RunState::Leased { .. }) => 1,
            (1..=2, RunState::Starting) => 2,
            _ => dice.jitter(8),
        };
        match roll {
            0 => Some(Command::CancelRun { run: run.id, reason: reason() }),
            1 => Some(Command::MarkRunStarting { run: run.id }),
            3 if dice.jitter(3) == 0 => Some(equipped(&run, dice)),
            2 => Some(Command::RecordRun {
                run: run.id,
                fence,
                from: run.log_cursor,
                cursor: run.log_cursor + 10,
                observations: vec![if run.state == RunState::Starting && dice.jitter(2) == 0 {
                    isolated()
                } else {
                    random_observation(dice)
                }],
            }),
            _ => Some(Command::SettleRun {
                run: run.id,
                fence,
                said: (dice.jitter(4) == 0).then(|| {
                    let (from, observations) = (run.log_cursor, vec![random_observation(dice)]);
                    Box::new(Said { from, cursor: from + 10, observations })
                }),
                outcome: random_outcome(dice),
                artifacts: Vec::new(),
                log_dropped_bytes: 0,
                left_out: Box::default(),
                proposal: (dice.jitter(4) != 0).then(|| {
                    let protected: &[&str] = if dice.jitter(3) == 0 { &["ci.yaml"] } else { &[] };
                    Box::new(proposal(&format!("r{}", run.number), protected))
                }),
            }),
        }
    }

    /// Of a run that runs, that nothing is heard of it; of one that is silent, that it is heard of.
    fn silence(&self, dice: &mut IdSource) -> Option<Command> {
        let runs: Vec<Run> = self.runs.iter().filter(|run| run.state == RunState::Running).cloned().collect();
        let run = pick(&runs, dice)?;
        if run.silence.is_some() {
            return Some(Command::HeardRun { run: run.id });
        }
        let then = [Remedy::Warn, Remedy::Ask, Remedy::End];
        let timeout = Timeout { after_ms: 1, then: pick(&then, dice)? };
        Some(Command::SilentRun { run: run.id, since: run.queued_at, timeout })
    }

    /// Of any run that something of it goes, also where that is refused; of one of which something goes, that it is gone.
    fn removal(&self, dice: &mut IdSource) -> Option<Command> {
        let run = pick(&self.runs, dice)?;
        if run.is_removing && dice.jitter(3) != 0 {
            return Some(Command::FinishRemoval { runs: vec![run.id] });
        }
        let part = pick(&RunPart::ALL, dice)?;
        let (content, policy) = (dice.jitter(9).to_string(), "chance".to_owned());
        let removal = Removal { part, size_bytes: dice.jitter(1_000), content, policy };
        Some(Command::RemoveParts { removals: BTreeMap::from([(run.id, vec![removal])]) })
    }

    fn change(&self, dice: &mut IdSource) -> Option<Command> {
        let found = pick_open(&self.changes, dice)?;
        let (change, base, tree) = (found.id, None, "tree".to_owned());
        // Mostly what brings it forward; left to chance it would hardly ever be merged.
        let roll = match (dice.jitter(4), found.state) {
            (0, _) => dice.jitter(10),
            (_, ChangeState::Opened { .. }) => dice.jitter(6),
            (_, ChangeState::Mergeable { .. }) => 6,
            (_, ChangeState::Queued { .. }) => 7 + dice.jitter(2),
            (_, _) => return None,
        };
        Some(match roll {
            0..=1 => Command::StartCheck {
                change,
                base,
                tree,
                commit: "merge".into(),
                steps: steps(),
                concerns: concerns(dice),
                required_level: 0,
                lease_ms: 1_000,
            },
            2..=3 => Command::SkipCheck { change, base, tree, concerns: concerns(dice) },
            4 => Command::RecheckChange { change },
            5 => Command::ConflictChange { change, paths: vec!["a".into()] },
            6 => Command::StartMerge { change, commit: "commit".into() },
            7 => Command::FinishMerge { change, toolchains: Vec::new() },
            8 => Command::RefuseMerge { change },
            _ => Command::CloseChange { change, reason: reason() },
        })
    }

    fn answer(&self, dice: &mut IdSource) -> Option<Command> {
        let approval = pick_open(&self.approvals, dice)?;
        if let Some(choice) = pick(&approval.choices, dice) {
            let answer = Answer::Choose { choice, not_before: None, priority: None };
            return Some(Command::Decide { subject: Subject::Approval(approval.id), answer, digest: None });
        }
        let answer = if dice.jitter(5) == 0 { Answer::Deny { reason: reason() } } else { Answer::Approve };
        let digest = match dice.jitter(6) {
            0 => Some(Digest::ZERO),
            1 => None,
            _ => Some(approval.digest),
        };
        Some(Command::Decide { subject: Subject::Approval(approval.id), answer, digest })
    }
}

fn concerns(dice: &mut IdSource) -> Vec<String> {
    if dice.jitter(4) == 0 { vec![format!("gate {} is gone", dice.jitter(2))] } else { Vec::new() }
}

fn random_plan(dice: &mut IdSource) -> crate::entity::PlanContent {
    match dice.jitter(4) {
        0 => plan_content(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]),
        1 => plan_content(&[("a", &[]), ("c", &["a"]), ("d", &["c"])]),
        2 => plan_content(&[("b", &[]), ("a", &["b"])]),
        _ => plan_content(&[("c", &["d"]), ("d", &[]), ("e", &["c", "d"])]),
    }
}

fn random_edit(dice: &mut IdSource) -> PlanEdit {
    let key = |dice: &mut IdSource| ["a", "b", "c", "d"][usize::try_from(dice.jitter(4)).unwrap_or(0)].to_owned();
    let (task, needs) = (key(dice), key(dice));
    match dice.jitter(3) {
        0 => PlanEdit::Link { task, needs },
        1 => PlanEdit::Unlink { task, needs },
        _ => PlanEdit::Drop { task },
    }
}

pub(super) fn isolated() -> Observation {
    Observation::Isolated { isolation: crate::entity::Isolation { level: 3, guarantees: Vec::new() } }
}

fn random_observation(dice: &mut IdSource) -> Observation {
    let at = orch_proto::Timestamp::from_unix_us(0);
    match dice.jitter(5) {
        0 => isolated(),
        3 => Observation::Paused,
        4 => Observation::Resumed,
        1 => Observation::Step { index: 0, event: StepEvent::Started { at } },
        _ => Observation::Step { index: 0, event: StepEvent::Ended { at, end: StepEnd::Succeeded } },
    }
}

fn equipped(run: &Run, dice: &mut IdSource) -> Command {
    let digest = Digest::of(&dice.jitter(2).to_le_bytes());
    let tool = |name: &str| InstalledTool {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        recipe: digest,
        content: digest,
    };
    Command::EquipRun { run: run.id, fence: run.fence, tools: vec![tool("opentofu")] }
}

fn random_outcome(dice: &mut IdSource) -> RunOutcome {
    let reason = reason();
    match dice.jitter(12) {
        0 => RunOutcome::Failed { class: FailureClass::Task, reason },
        1 => RunOutcome::Failed { class: FailureClass::Isolation, reason },
        2 => RunOutcome::TimedOut { reason },
        3 => RunOutcome::Cancelled { reason },
        4 => RunOutcome::Failed { class: FailureClass::Host, reason },
        5 => RunOutcome::Lost { reason },
        6 => RunOutcome::Failed { class: FailureClass::Agent, reason },
        _ => RunOutcome::Succeeded,
    }
}
