//! What runs spend on models, while they run: whether the next request may leave, and what follows when it may not.
//!
//! A request leaves when nothing that bounds it is used up: the run's own allowance, that of all attempts at its task, the
//! budgets of its project. For each request under way so much is kept as it may come to; one that would need what is kept
//! waits for their answers, so that a bound is overshot by one request at most, or by how much larger than was kept for it one
//! is. A run for which nothing is left stands still, and a person is asked.

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ProjectId, RunId};

use super::approval::{self, Question};
use super::{Context, DecideError, budget, task};
use crate::digest::Digest;
use crate::entity::{
    Approval, ApprovalSubject, Budget, BudgetUse, Choice, Entity as _, Meter, ModelUse, Project, ProjectEvent, Run,
    RunEvent, RunPause, Spend, Task, TaskEvent,
};
use crate::event::Event;
use crate::view::{Filter, ReadError, View};

/// Whether a run may ask a model for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Free,
    /// Not before what is under way is answered, or the run goes on.
    Waits,
    /// Not before somebody gives more.
    Held,
}

/// What a bound is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Run,
    Task,
    Project,
}

/// A bound, and what there is of it.
#[derive(Clone, Copy, Debug)]
struct Bound {
    of: Of,
    meter: Meter,
    used: u64,
    allowed: u64,
    /// Kept for requests under way.
    reserved: u64,
    /// Runs are ended when it is used up.
    is_hard: bool,
}

impl Bound {
    const fn is_spent(&self) -> bool {
        self.used >= self.allowed
    }

    const fn is_kept(&self) -> bool {
        self.reserved > 0 && self.used.saturating_add(self.reserved) >= self.allowed
    }
}

/// Whether the run may ask a model for something at `now`. Asked again when something has happened.
///
/// # Errors
/// When the state cannot be read.
pub fn standing(view: &impl View, run: &Run, now: Timestamp) -> Result<Standing, ReadError> {
    if run.pause.as_ref().is_some_and(|pause| pause.lasts(now)) {
        return Ok(Standing::Waits);
    }
    let bounds = bounds(view, run, now)?;
    Ok(if bounds.iter().any(Bound::is_spent) {
        Standing::Held
    } else if bounds.iter().any(Bound::is_kept) {
        Standing::Waits
    } else {
        Standing::Free
    })
}

/// Whether the planner of a project may ask a model for something, by the budgets of the project and what its agent may spend at
/// once, and what is used up if it may not.
///
/// # Errors
/// When the state cannot be read.
pub fn standing_of(view: &impl View, project: &Project, now: Timestamp) -> Result<(Standing, String), ReadError> {
    let mut bounds = of_project(view, project, now)?;
    bounds.extend(of_planning(project));
    let spent: Vec<String> = bounds.iter().filter(|bound| bound.is_spent()).map(words).collect();
    let standing = if !spent.is_empty() {
        Standing::Held
    } else if bounds.iter().any(Bound::is_kept) {
        Standing::Waits
    } else {
        Standing::Free
    };
    Ok((standing, spent.join(", ")))
}

/// What the run may spend on models and has spent, a line for each bound of its own: `600 of 1,000 tokens for this attempt`. And
/// what it waits for, or would: answers to requests under way, its own and those of others.
///
/// # Errors
/// When the state cannot be read.
pub fn spending(view: &impl View, run: &Run, now: Timestamp) -> Result<Vec<String>, ReadError> {
    let bounds = bounds(view, run, now)?;
    let mut lines: Vec<String> = bounds.iter().filter(|bound| bound.of != Of::Project).map(words).collect();
    if !run.state.is_final() {
        let kept = bounds.iter().filter(|bound| bound.is_kept() && !bound.is_spent());
        lines.extend(kept.map(|bound| {
            let left = bound.meter.amounts(bound.reserved, bound.allowed.saturating_sub(bound.used));
            format!(
                "a further request waits for those under way: {left} that are left {} are kept for them",
                whose(bound.of)
            )
        }));
    }
    Ok(lines)
}

fn bounds(view: &impl View, run: &Run, now: Timestamp) -> Result<Vec<Bound>, ReadError> {
    let mut bounds = Vec::new();
    if let Some(agent) = &run.agent {
        let (used, reserved) = (run.models.spent(), run.models.reserved());
        bounds.extend(agent.of_run.bounds(run.models.raises).map(|(meter, allowed)| Bound {
            of: Of::Run,
            meter,
            used: used.of(meter),
            allowed,
            reserved: reserved.of(meter),
            is_hard: false,
        }));
        if !agent.of_task.is_unbounded() {
            let attempts: Vec<Run> = view.list(&Filter::under(run.task))?;
            let sum = |of: fn(&ModelUse) -> Spend| {
                attempts.iter().fold(Spend::default(), |sum, run| sum.plus(of(&run.models)))
            };
            // Also of attempts that are over: their last requests may be under way.
            let (used, reserved) = (sum(ModelUse::spent), sum(ModelUse::reserved));
            let raises = view.get::<Task>(run.task)?.map_or(0, |task| task.spending_raises);
            bounds.extend(agent.of_task.bounds(raises).map(|(meter, allowed)| Bound {
                of: Of::Task,
                meter,
                used: used.of(meter),
                allowed,
                reserved: reserved.of(meter),
                is_hard: false,
            }));
        }
    }
    let Some(project) = view.get::<Project>(run.project)? else { return Ok(bounds) };
    bounds.extend(of_project(view, &project, now)?);
    Ok(bounds)
}

/// The bounds of all that is asked of models for a project.
fn of_project(view: &impl View, project: &Project, now: Timestamp) -> Result<Vec<Bound>, ReadError> {
    let mut bounds = Vec::new();
    if project.budgets.iter().any(|budget| budget.key.meter.is_of_models()) {
        let open: Vec<Run> = view.list(&Filter::of(project.id).open())?;
        let of_planner = project.planning.as_ref().map_or_else(Spend::default, |planning| planning.models.reserved());
        let reserved = open.iter().fold(of_planner, |sum, run| sum.plus(run.models.reserved()));
        bounds.extend(of_models(project, now).map(|budget| Bound {
            of: Of::Project,
            meter: budget.key.meter,
            used: budget.used,
            allowed: budget.allowed(),
            reserved: reserved.of(budget.key.meter),
            is_hard: budget.is_hard,
        }));
    }
    Ok(bounds)
}

/// What the agent that plans for a project may spend at once: what an attempt of it may.
fn of_planning(project: &Project) -> Vec<Bound> {
    let Some(planning) = project.planning.as_ref().filter(|planning| planning.is_open()) else { return Vec::new() };
    let Some(agent) = &planning.planner.agent else { return Vec::new() };
    let (used, reserved) = (planning.models.spent(), planning.models.reserved());
    let bound = |(meter, allowed): (Meter, u64)| Bound {
        of: Of::Run,
        meter,
        used: used.of(meter),
        allowed,
        reserved: reserved.of(meter),
        is_hard: false,
    };
    agent.of_run.bounds(0).map(bound).collect()
}

fn of_models(project: &Project, now: Timestamp) -> impl Iterator<Item = Budget> {
    let of_models = project.budgets.iter().filter(|budget| budget.key.meter.is_of_models());
    of_models.map(move |budget| budget.at(now))
}

/// The run has asked for more and nothing is left: it stands still until there is more, and a person is asked.
pub(super) fn hold<V: View>(cx: &mut Context<'_, V>, run: &Run) -> Result<(), DecideError> {
    let bounds = bounds(cx.view, run, cx.now)?;
    let spent: Vec<&Bound> = bounds.iter().filter(|bound| bound.is_spent()).collect();
    let words: Vec<String> = spent.iter().map(|bound| words(bound)).collect();
    if spent.iter().any(|bound| bound.of == Of::Project) {
        // Says so once, and asks there.
        budget::judge(cx, run.project)?;
    }
    if spent.iter().any(|bound| bound.is_hard) {
        return Ok(());
    }
    let asks = spent.iter().any(|bound| bound.of != Of::Project);
    if asks && !is_asked(cx, run.models.question)? {
        let question = ask(cx, run, &words)?;
        cx.emit((run.id, RunEvent::SpendingAsked { question }));
    }
    let reason = format!("nothing is left for models: {}", words.join(", "));
    let pause = RunPause::for_spending(reason);
    cx.emit((run.id, RunEvent::PauseRequested { pause }));
    Ok(())
}

fn words(bound: &Bound) -> String {
    format!("{} {}", bound.meter.amounts(bound.used, bound.allowed), whose(bound.of))
}

const fn whose(of: Of) -> &'static str {
    match of {
        Of::Run => "for this attempt",
        Of::Task => "for all attempts at its task",
        Of::Project => "for its project",
    }
}

fn is_asked<V: View>(cx: &Context<'_, V>, question: Option<ApprovalId>) -> Result<bool, DecideError> {
    let asked = question.map(|question| cx.view.get::<Approval>(question)).transpose()?;
    Ok(asked.flatten().is_some_and(|asked| asked.is_open()))
}

fn ask<V: View>(cx: &mut Context<'_, V>, run: &Run, words: &[String]) -> Result<ApprovalId, DecideError> {
    let of: Task = cx.get(run.task)?;
    let agent = run.agent.as_ref().map_or("", |agent| agent.name.as_str());
    let question = Question {
        project: run.project,
        subject: ApprovalSubject::Spending { id: run.id },
        action: format!(
            "R-{} (T-{} {}) has spent what it may on models: {}; is there to be more?",
            run.number,
            of.number,
            of.title,
            words.join(", ")
        ),
        details: vec![
            "it stands still, and asks models for nothing".to_owned(),
            format!("`orchctl run logs R-{}` shows what it did", run.number),
            format!("{}: as much again, and it goes on", Choice::Raise.label()),
            format!("{}: it is ended, and the task is given up", Choice::Cancel.label()),
        ],
        rule: "the allowance of its agent or role",
        digest: Digest::of_json(&("spending", run.id, agent, run.models.raises, run.models.exchanges)),
        choices: vec![Choice::Raise, Choice::Cancel],
    };
    approval::ask(cx, question)
}

/// A person says whether there is to be more.
pub(super) fn answer<V: View>(
    cx: &mut Context<'_, V>,
    id: RunId,
    asked: &Approval,
    choice: Choice,
) -> Result<(), DecideError> {
    let found: Run = cx.get(id)?;
    if choice == Choice::Cancel {
        return task::cancel(cx, found.task, &format!("so answered to A-{}", asked.number));
    }
    let bounds = bounds(cx.view, &found, cx.now)?;
    let is_spent = |of: Of| bounds.iter().any(|bound| bound.of == of && bound.is_spent());
    if is_spent(Of::Run) {
        cx.emit((id, RunEvent::SpendingRaised));
    }
    if is_spent(Of::Task) {
        cx.emit((found.task, TaskEvent::SpendingRaised));
    }
    go_on(cx, &found);
    Ok(())
}

/// A budget of the project has more, or is another: runs that stood still for it ask again.
pub(super) fn ask_again<V: View>(cx: &mut Context<'_, V>, project: ProjectId) -> Result<(), DecideError> {
    let open: Vec<Run> = cx.view.list(&Filter::of(project).open())?;
    open.iter().for_each(|run| go_on(cx, run));
    Ok(())
}

fn go_on<V: View>(cx: &mut Context<'_, V>, run: &Run) {
    let goes_on = |event: &Event| matches!(event, Event::Run { id, event: RunEvent::ResumeRequested } if *id == run.id);
    if run.pause.as_ref().is_some_and(|pause| pause.is_for_spending) && !cx.decided.events.iter().any(goes_on) {
        cx.touch(Run::KIND, run.id);
        cx.emit((run.id, RunEvent::ResumeRequested));
    }
}

/// The run is over: what was asked about its spending is asked no more.
pub(super) fn end<V: View>(cx: &mut Context<'_, V>, run: &Run) -> Result<(), DecideError> {
    match run.models.question {
        Some(question) if is_asked(cx, Some(question))? => approval::void(cx, question, "the run is over"),
        Some(_) | None => Ok(()),
    }
}

/// Counts what an answer cost, in the budgets of its project.
pub(super) fn count<V: View>(cx: &mut Context<'_, V>, run: &Run, spent: Spend) -> Result<(), DecideError> {
    let project: Project = cx.get(run.project)?;
    let uses = uses(cx, &project, spent)?;
    if !uses.is_empty() {
        cx.emit((project.id, ProjectEvent::BudgetUsed { run: run.id, uses }));
    }
    Ok(())
}

/// What that uses of the budgets of a project.
pub(super) fn uses<V: View>(
    cx: &mut Context<'_, V>,
    project: &Project,
    spent: Spend,
) -> Result<Vec<BudgetUse>, DecideError> {
    let mut uses = Vec::new();
    for budget in project.budgets.iter().filter(|budget| budget.key.meter.is_of_models()) {
        // What was asked about an earlier day is over with it, and who stood still for it asks again.
        let current = budget::renewed(cx, project.id, budget)?;
        uses.push(BudgetUse { key: current.key, span: current.span, amount: spent.of(current.key.meter) });
    }
    uses.retain(|used| used.amount > 0);
    Ok(uses)
}
