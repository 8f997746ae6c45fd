//! Plans with what follows from their graph.

use std::collections::BTreeMap;

use orch_core::entity::{Plan, PlanTask, Project, Requirements, Task};
use orch_core::schedule::Limits;
use orch_core::state::document::DocumentState;
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::EntityKind;
use orch_proto::view::{EpicView, EtaView, PlanEtaView, PlanNode, PlanView, StoryView};

use super::{Outlook, Room, requirements, slug, task};

/// A version of a plan, with when it will be done if there is somebody to ask.
pub(crate) fn plan_view(
    view: &impl View,
    plan: &Plan,
    outlook: Option<(&mut Outlook<'_>, &Limits)>,
) -> Result<PlanView, ReadError> {
    let content = &plan.content;
    // A plan that was accepted has an order; should there be none, the view shows it without one.
    let analysis = content.analyse().ok();
    let order: Vec<String> = match &analysis {
        Some(analysis) => analysis.order.clone(),
        None => content.tasks.iter().map(|task| task.key.clone()).collect(),
    };
    let made = tasks_by_key(view, plan)?;
    let by_key: BTreeMap<&str, &PlanTask> = content.tasks.iter().map(|task| (task.key.as_str(), task)).collect();
    let delta = content.delta(before(view, plan)?.as_ref().map(|before| &before.content));
    let (mut etas, eta) = match outlook {
        Some((outlook, limits)) => etas(view, plan, (&made, &delta.kept), (outlook, limits))?,
        None => (BTreeMap::new(), None),
    };
    let critical_path = analysis.as_ref().map(|analysis| analysis.critical_path.clone()).unwrap_or_default();
    let mut node = |key: &String| {
        let planned = by_key.get(key.as_str())?;
        let level = analysis.as_ref().and_then(|analysis| analysis.level.get(key)).copied().unwrap_or(0);
        let made = made.get(key);
        Some(PlanNode {
            key: key.clone(),
            task: made.map(|task| EntityKind::Task.short(task.number)),
            title: planned.title.clone(),
            work: planned.spec.work.label(),
            needs: planned.needs.clone(),
            requirements: planned.spec.requirements.iter().map(ToString::to_string).collect(),
            acceptance: planned.spec.acceptance.clone(),
            estimate_minutes: planned.spec.estimate_minutes.unwrap_or_default(),
            risk: planned.spec.risk.clone(),
            critical: critical_path.contains(key),
            level,
            eta: etas.remove(key),
            state: made.map(|made| task::state(&made.state)),
        })
    };
    let nodes: Vec<PlanNode> = order.iter().filter_map(&mut node).collect();
    let mut levels: BTreeMap<u32, u32> = BTreeMap::new();
    for node in &nodes {
        *levels.entry(node.level).or_insert(0) += 1;
    }
    let on_path = nodes.iter().filter(|node| node.critical);
    let critical_minutes =
        on_path.fold((0, 0), |(low, high), node| (low + node.estimate_minutes.0, high + node.estimate_minutes.1));
    Ok(PlanView {
        id: plan.id,
        project: slug(view, plan.project)?,
        version: plan.version,
        state: requirements::state(plan.state),
        requirements_version: view.get::<Requirements>(plan.requirements)?.map_or(0, |found| found.version),
        blueprint: content.blueprint.as_ref().map(|blueprint| blueprint.name.clone()),
        epics: epics(plan),
        nodes,
        critical_path,
        critical_minutes,
        eta,
        parallel_max: levels.values().copied().max().unwrap_or(0),
        added: delta.added,
        dropped: delta.dropped,
        kept: delta.kept,
        warnings: content.warnings.clone(),
        digest: plan.digest().to_string(),
        approval: plan.approval,
        reason: plan.reason.clone(),
        created_by: plan.created_by.to_string(),
        created_at: plan.created_at,
    })
}

/// How long each task will take, and when all will be done.
fn etas(
    view: &impl View,
    plan: &Plan,
    (made, kept): (&BTreeMap<String, Task>, &[String]),
    (outlook, limits): (&mut Outlook<'_>, &Limits),
) -> Result<(BTreeMap<String, EtaView>, Option<PlanEtaView>), ReadError> {
    let project = view.get::<Project>(plan.project)?;
    let is_paused = |project: &Project| project.pause.as_ref().is_some_and(|pause| pause.lasts(outlook.now()));
    let room = Room {
        limits,
        runs_max: project.as_ref().and_then(|project| project.share.runs_max),
        is_paused: project.as_ref().is_some_and(is_paused),
    };
    Ok(match plan.state {
        DocumentState::Approved => outlook.plan(plan, (made, true), room),
        // What it keeps of the plan before is perhaps done.
        DocumentState::Draft | DocumentState::Proposed => {
            let mut tasks = keyed(view, plan)?;
            tasks.retain(|key, _| kept.contains(key));
            outlook.plan(plan, (&tasks, false), room)
        }
        DocumentState::Rejected | DocumentState::Superseded => (BTreeMap::new(), None),
    })
}

/// Tasks that stand for the plan's keys, once it is approved.
fn tasks_by_key(view: &impl View, plan: &Plan) -> Result<BTreeMap<String, Task>, ReadError> {
    match plan.state {
        DocumentState::Approved | DocumentState::Superseded => keyed(view, plan),
        DocumentState::Draft | DocumentState::Proposed | DocumentState::Rejected => Ok(BTreeMap::new()),
    }
}

fn keyed(view: &impl View, plan: &Plan) -> Result<BTreeMap<String, Task>, ReadError> {
    let keyed = view.list::<Task>(&Filter::of(plan.project).hanging())?.into_iter().filter_map(|task| {
        let key = task.plan.as_ref()?.1.clone();
        (!matches!(task.state, TaskState::Cancelled { .. })).then_some((key, task))
    });
    Ok(keyed.collect())
}

/// The approved plan before this one: what this one changes, as long as it is not approved itself.
fn before(view: &impl View, plan: &Plan) -> Result<Option<Plan>, ReadError> {
    // A plan that another took the place of is not open.
    let mut plans = view.list::<Plan>(&Filter::of(plan.project).open())?;
    plans.retain(|other| other.version < plan.version && other.state == DocumentState::Approved);
    Ok(plans.pop())
}

fn epics(plan: &Plan) -> Vec<EpicView> {
    let story = |story: &orch_core::entity::PlanStory| StoryView {
        key: story.key.clone(),
        title: story.title.clone(),
        requirements: story.requirements.clone(),
        tasks: story.tasks.clone(),
    };
    let epic = |epic: &orch_core::entity::PlanEpic| EpicView {
        key: epic.key.clone(),
        title: epic.title.clone(),
        stories: epic.stories.iter().map(story).collect(),
    };
    plan.content.epics.iter().map(epic).collect()
}
