//! Why a task waits, in words: a stable code, a text with names and numbers, and what can be done about it.

use orch_core::entity::Period;
use orch_core::schedule::{AHEAD_MAX, Resource, Wait};
use orch_proto::Timestamp;
use orch_proto::view::WaitView;

use super::terms;

/// Code, text and hint of a wait.
type Words = (&'static str, String, Option<String>);

/// What gives more runs memory.
const MEMORY_HINT: &str = "give runs less with `run.total_memory_mb`, or all of them more with `limits.memory_share`";

/// A reason in words. What can be done about it names the task.
pub(super) fn wait_view(task: &str, wait: &Wait) -> WaitView {
    let (code, text, hint) = words(task, wait);
    WaitView { code: code.into(), text, hint }
}

fn words(task: &str, wait: &Wait) -> Words {
    match wait {
        Wait::Proposed => (
            "proposed",
            "it is not in the queue".into(),
            Some(format!("put it there with `orchctl task queue {task}`")),
        ),
        Wait::Held { reason } => ("held", held(reason), Some(format!("orchctl task release {task}"))),
        Wait::Dependencies { holding, of, join } => ("dependency", terms::dependencies(*holding, *of, *join), None),
        Wait::Dependency { name, state, condition, hopeless, .. } => {
            let hint = format!("try {name} again with `orchctl task retry {name}`, or unlink it");
            ("dependency", terms::dependency(name, state, *condition), hopeless.then_some(hint))
        }
        Wait::Approval { name, state, .. } => {
            let text = format!("waits for approval {name}, which is {state}");
            ("approval", text, Some(format!("orchctl approval get {name}")))
        }
        Wait::Granted { name, ms } => {
            let text = format!("{name} is approved, held for {} s more", ms.div_ceil(1_000));
            ("held_grant", text, Some("take it back with `orchctl undo`".into()))
        }
        Wait::Agent { capability } => agent(task, capability),
        Wait::Tool { name, fix } => ("tool", format!("needs `{name}`, which is not installed"), Some(fix.clone())),
        Wait::Secret { name } => {
            let text = format!("needs the secret `{name}`, which is not set");
            ("secret", text, Some(format!("orchctl secret set {name}")))
        }
        Wait::Isolation { level, required, fix } => {
            let text = format!("the host gives isolation level {level}, and {required} is required");
            ("isolation", text, Some(fix.clone()))
        }
        Wait::Backoff { ms } => ("backoff", format!("next try in {}.{} s", ms / 1_000, ms % 1_000 / 100), None),
        Wait::NotBefore { at, ms } => {
            let text = format!("is not to begin before {at}, in {}", span(*ms));
            ("not_before", text, Some(format!("let it begin with `orchctl task set {task} --not-before none`")))
        }
        Wait::Expired { at } => {
            let hint = format!("give it another with `orchctl task set {task} --deadline WHEN`");
            ("deadline", format!("its deadline, {at}, is over"), Some(hint))
        }
        Wait::Project { name, state } => ("project", format!("project `{name}` is {state}"), None),
        Wait::ProjectPaused { name, reason, until } => project_paused(name, reason, *until),
        Wait::Frozen { name, reason, until } => {
            let text = format!("nothing of project `{name}` begins before {until}: {reason}");
            ("freeze", text, Some("the window is in the daemon's configuration, under `freeze`".into()))
        }
        Wait::Capacity { running, max, ahead } => {
            let ahead = tasks_ahead(*ahead);
            ("capacity", format!("{running} of {max} runs are under way and {ahead} go before it"), None)
        }
        Wait::Resource { resource, asked, free, total } => {
            let hint = matches!(resource, Resource::Memory).then(|| MEMORY_HINT.to_owned());
            (terms::code(resource), terms::short(resource, *asked, *free, *total), hint)
        }
        Wait::Reserved { resource, name } => (terms::code(resource), terms::reserved(resource, name), None),
        Wait::TooMuch { resource, asked, total } => {
            let hint = terms::too_much_hint(task, resource);
            (terms::code(resource), terms::too_much(resource, *asked, *total), Some(hint))
        }
        Wait::ProjectRuns { running, max } => project_runs(task, *running, *max),
        Wait::Quota { started, max, resets_ms } => quota(task, *started, *max, *resets_ms),
        Wait::Budget { name, period, amounts, renews_ms } => budget(name, *period, amounts, *renews_ms),
        Wait::Paused { reason } => ("paused", format!("nothing is started: {reason}"), None),
        Wait::Run { name } => ("run", format!("its earlier run {name} has not ended yet"), None),
    }
}

fn held(reason: &str) -> String {
    if reason.is_empty() { "held by a person".into() } else { format!("held by a person: {reason}") }
}

fn project_paused(name: &str, reason: &str, until: Option<Timestamp>) -> Words {
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let hint = format!("orchctl project resume {name}");
    ("project_paused", format!("project `{name}` is paused{until}{reason}"), Some(hint))
}

fn agent(task: &str, capability: &str) -> Words {
    let text = format!("needs an agent with the capability `{capability}`, and none is configured");
    let hint = format!(
        "give the task steps with `orchctl task edit {task} --recipe FILE`; agents are not part of this version"
    );
    ("agent", text, Some(hint))
}

fn project_runs(task: &str, running: u32, max: u32) -> Words {
    let text = format!("{running} of the {max} runs that its project may have at once are under way or about to start");
    ("project_runs", text, Some(format!("orchctl project set {} --runs-max N", project_of(task))))
}

fn quota(task: &str, started: u32, max: u32, resets_ms: u64) -> Words {
    let begins = span(resets_ms);
    let text = format!(
        "{started} of the {max} runs that its project may start in a day were started; the next day (UTC) begins in {begins}"
    );
    ("quota", text, Some(format!("orchctl project set {} --runs-per-day N", project_of(task))))
}

fn budget(project: &str, period: Period, amounts: &str, renews_ms: Option<u64>) -> Words {
    let renewed = renews_ms.map_or_else(String::new, |ms| format!(", resets in {}", span(ms)));
    let text = format!("budget of {project}: {amounts} {} used{renewed}", period.phrase());
    let hint =
        format!("answer in the inbox, or `orchctl project budget {project} --run-minutes N --per {}`", period.label());
    ("budget", text, Some(hint))
}

/// The project of a task's full name.
fn project_of(task: &str) -> &str {
    task.split('/').next().unwrap_or(task)
}

/// A time for people, to the minute.
fn span(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn tasks_ahead(ahead: u32) -> String {
    match ahead {
        1 => "1 task".to_owned(),
        ahead if ahead as usize >= AHEAD_MAX => format!("{AHEAD_MAX} or more tasks"),
        ahead => format!("{ahead} tasks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_a_wait_names_the_task() {
        let agent = Wait::Agent { capability: "developer".to_owned() };
        for wait in [Wait::Proposed, Wait::Held { reason: String::new() }, Wait::Held { reason: "why".into() }, agent] {
            let hint = wait_view("shop/T-7", &wait).hint.unwrap();
            assert!(hint.contains("orchctl task ") && hint.contains(" shop/T-7"), "{hint}");
        }
    }
}
