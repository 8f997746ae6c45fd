//! Text of `blueprint.yaml` to a checked blueprint.
//!
//! First the shape is read with the reader that recipes use, then the names are resolved: a story's epic, a task's story
//! and needs. The first problem is reported with its place; a circle of tasks is reported at the `needs` that closes it.

use super::checked::{Blueprint, Epic, Story, TASKS_MAX, Task, Verify};
use super::graph::cycle;
use super::parameter::Parameter;
use super::{parse_parameter, parse_verify};
use crate::recipe::reader::{Fields, LINE_BYTES_MAX, checked, count, line, list, list_of, nearest, text};
use crate::recipe::step::{globs, steps, without_checkpoints};
use crate::recipe::yaml::{self, Fault, Node};
use crate::recipe::{Key, Problem, RecipeError, Step};

const KEYS: &[&str] = &[
    "name",
    "version",
    "title",
    "description",
    "parameters",
    "gates",
    "protected_paths",
    "epics",
    "stories",
    "tasks",
    "verify",
];
const EPIC_KEYS: &[&str] = &["key", "title"];
const STORY_KEYS: &[&str] = &["key", "title", "epic"];
const TASK_KEYS: &[&str] =
    &["key", "title", "story", "needs", "covers", "acceptance", "steps", "artifacts", "estimate_minutes", "risk"];
const DESCRIPTION_BYTES_MAX: usize = 8 * 1024;
const PARAMETERS_MAX: usize = 50;
const LIST_MAX: usize = 100;
const ESTIMATE_MINUTES_MAX: u64 = 7 * 24 * 60;
const ESTIMATE_MINUTES_DEFAULT: u32 = 30;

/// Reads the text of a blueprint. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse(text: &str, file: &str) -> Result<Blueprint, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| blueprint(&node)).map_err(in_file)
}

fn blueprint(node: &Node) -> Result<Blueprint, Fault> {
    let fields = Fields::of(node, "a blueprint", KEYS)?;
    let name = fields.req("name", key)?;
    let version = fields.req("version", crate::recipe::version)?;
    let title = fields.req("title", line)?;
    let description = fields.req("description", |node, key| text(node, key, DESCRIPTION_BYTES_MAX))?;
    let parameters = fields.opt("parameters", parameters)?.unwrap_or_default();
    let gates = fields.req("gates", |node, key| {
        without_checkpoints(node, steps(node, key)?, "gates are run as a whole, on the tree that would be merged")
    })?;
    let protected_paths = fields.opt("protected_paths", globs)?.unwrap_or_default();
    let epics = fields.req("epics", |node, key| list_of(node, key, LIST_MAX, epic))?;
    unique(fields.need("epics")?, "epics", epics.iter().map(|epic| &epic.key))?;
    let stories = fields.req("stories", |node, key| list_of(node, key, LIST_MAX, |node, _| story(node, &epics)))?;
    unique(fields.need("stories")?, "stories", stories.iter().map(|story| &story.key))?;
    let tasks = tasks(fields.need("tasks")?, &stories)?;
    let verify = fields.opt("verify", verify)?;
    Ok(Blueprint {
        name,
        version,
        title,
        description,
        parameters,
        gates,
        protected_paths,
        epics,
        stories,
        tasks,
        verify,
    })
}

fn parameters(node: &Node, name: &str) -> Result<Vec<Parameter>, Fault> {
    let parameters = list_of(node, name, PARAMETERS_MAX, parse_parameter::parameter)?;
    unique(node, name, parameters.iter().map(|parameter| &parameter.name))?;
    Ok(parameters)
}

fn verify(node: &Node, _key: &str) -> Result<Verify, Fault> {
    parse_verify::verify(node)
}

fn epic(node: &Node, _key: &str) -> Result<Epic, Fault> {
    let fields = Fields::of(node, "an epic", EPIC_KEYS)?;
    Ok(Epic { key: fields.req("key", key)?, title: fields.req("title", line)? })
}

fn story(node: &Node, epics: &[Epic]) -> Result<Story, Fault> {
    let fields = Fields::of(node, "a story", STORY_KEYS)?;
    let epic = fields.req("epic", key)?;
    resolve(fields.need("epic")?, "epic", &epic, epics.iter().map(|epic| &epic.key))?;
    Ok(Story { key: fields.req("key", key)?, title: fields.req("title", line)?, epic })
}

fn tasks(node: &Node, stories: &[Story]) -> Result<Vec<Task>, Fault> {
    let items = list(node, "tasks", TASKS_MAX)?;
    let read = items.iter().map(|item| Ok((task(item, stories)?, item))).collect::<Result<Vec<_>, Fault>>()?;
    if read.is_empty() {
        return Err(node.fault(Problem::EmptyValue { key: "tasks".into() }));
    }
    unique(node, "tasks", read.iter().map(|(task, _)| &task.key))?;
    let index_of = |key: &Key| read.iter().position(|(task, _)| task.key == *key);
    let mut needs = Vec::with_capacity(read.len());
    for (task, item) in &read {
        let keys = read.iter().map(|(task, _)| &task.key);
        let places = need_nodes(item);
        for (need, place) in task.needs.iter().zip(places) {
            resolve(place, "task", need, keys.clone())?;
        }
        needs.push(task.needs.iter().filter_map(index_of).collect());
    }
    if let Some(around) = cycle(&needs) {
        let path = around.iter().map(|index| read[*index].0.key.to_string()).collect();
        let closing = read[around[0]].1;
        let at = need_nodes(closing).first().map_or(closing, |node| node);
        return Err(at.fault(Problem::Cycle { path }));
    }
    Ok(read.into_iter().map(|(task, _)| task).collect())
}

/// The nodes of the `needs` of a task that was already read once.
fn need_nodes(task: &Node) -> &[Node] {
    let fields = Fields::of(task, "a task", TASK_KEYS).ok();
    match fields.and_then(|fields| fields.get("needs")).map(|node| &node.value) {
        Some(yaml::Value::List(items)) => items,
        _ => &[],
    }
}

fn task(node: &Node, stories: &[Story]) -> Result<Task, Fault> {
    let fields = Fields::of(node, "a task", TASK_KEYS)?;
    let story_key = fields.req("story", key)?;
    let known = stories.iter().map(|story| &story.key);
    resolve(fields.need("story")?, "story", &story_key, known)?;
    let story = stories.iter().find(|story| story.key == story_key);
    let task_key = fields.req("key", key)?;
    let lines = |node: &Node, key: &str| list_of(node, key, LIST_MAX, line);
    let needs: Vec<Key> = fields.opt("needs", |node, name| list_of(node, name, LIST_MAX, key))?.unwrap_or_default();
    if let Some(needs_node) = fields.get("needs") {
        unique(needs_node, "needs", needs.iter())?;
    }
    let estimate = fields.opt("estimate_minutes", |node, key| count(node, key, ESTIMATE_MINUTES_MAX))?;
    Ok(Task {
        title: fields.req("title", line)?,
        epic: story.map_or_else(|| story_key.clone(), |story| story.epic.clone()),
        story: story_key,
        needs,
        covers: fields.opt("covers", lines)?.unwrap_or_default(),
        acceptance: fields.opt("acceptance", lines)?.unwrap_or_default(),
        steps: name_steps(fields.req("steps", steps)?, &task_key),
        artifacts: fields.opt("artifacts", globs)?.unwrap_or_default(),
        estimate_minutes: estimate.and_then(|minutes| u32::try_from(minutes).ok()).unwrap_or(ESTIMATE_MINUTES_DEFAULT),
        risk: fields.opt("risk", |node, key| text(node, key, LINE_BYTES_MAX))?,
        key: task_key,
    })
}

/// Gives unnamed steps a name that says where they belong: logs of many tasks are read side by side.
fn name_steps(steps: Vec<Step>, task: &Key) -> Vec<Step> {
    let mut steps = steps;
    for (index, step) in steps.iter_mut().enumerate() {
        if step.name == format!("step {}", index + 1) {
            step.name = format!("{task} {}", index + 1);
        }
    }
    steps
}

fn key(node: &Node, name: &str) -> Result<Key, Fault> {
    checked(node, name, Key::parse)
}

fn unique<'k>(node: &Node, list: &str, keys: impl Iterator<Item = &'k Key>) -> Result<(), Fault> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, key) in keys.enumerate() {
        if !seen.insert(key) {
            let place = match &node.value {
                yaml::Value::List(items) => items.get(index).map_or(node.place, |item| item.place),
                yaml::Value::Map(_) | yaml::Value::Scalar { .. } => node.place,
            };
            let problem = Problem::DuplicateName { key: list.to_owned(), name: key.to_string() };
            return Err(Fault { place, problem });
        }
    }
    Ok(())
}

fn resolve<'k>(
    node: &Node,
    kind: &'static str,
    wanted: &Key,
    mut known: impl Iterator<Item = &'k Key> + Clone,
) -> Result<(), Fault> {
    let all = known.clone();
    if known.any(|key| key == wanted) {
        return Ok(());
    }
    let nearest = nearest(wanted.as_str(), all.map(Key::as_str)).map(str::to_owned);
    Err(node.fault(Problem::Unresolved { kind, name: wanted.to_string(), nearest }))
}
