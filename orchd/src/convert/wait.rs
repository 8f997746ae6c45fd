//! Why a task waits, in words: a stable code, a text with names and numbers, and what can be done about it.

use orch_core::entity::Period;
use orch_core::schedule::{AHEAD_MAX, Wait};
use orch_proto::Timestamp;
use orch_proto::view::WaitView;

use super::terms;

/// Code, text and hint of a wait.
type Words = (&'static str, String, Option<String>);

/// A reason in words. What can be done about it names the task.
pub(super) fn wait_view(task: &str, wait: &Wait) -> WaitView {
    let (code, text, hint) = words(task, wait);
    WaitView { code: code.into(), text, hint }
}

fn words(task: &str, wait: &Wait) -> Words {
    match wait {
        Wait::Proposed => {
            said("proposed", "it is not in the queue", format!("put it there with `orchctl task queue {task}`"))
        }
        Wait::Held { reason } => said("held", held(reason), format!("orchctl task release {task}")),
        Wait::Backoff { ms } => ("backoff", format!("next try in {}.{} s", ms / 1_000, ms % 1_000 / 100), None),
        Wait::NotBefore { at, ms } => not_before(task, *at, *ms),
        Wait::Expired { at } => {
            let hint = format!("give it another with `orchctl task set {task} --deadline WHEN`");
            said("deadline", format!("its deadline, {at}, is over"), hint)
        }
        Wait::Project { name, state } => {
            said("project", format!("project `{name}` is {state}"), format!("orchctl project get {name}"))
        }
        Wait::ProjectPaused { name, reason, until } => project_paused(name, reason, *until),
        Wait::Frozen { name, reason, until } => frozen(name, reason, *until),
        Wait::Dependencies { holding, of, join } => ("dependency", terms::dependencies(*holding, *of, *join), None),
        Wait::Dependency { name, state, condition, hopeless, .. } => {
            let hint = dependency_hint(task, name, state, *hopeless);
            said("dependency", terms::dependency(name, state, *condition), hint)
        }
        Wait::Approval { name, state, .. } => {
            let hint = format!("orchctl approval get {name}");
            said("approval", format!("waits for approval {name}, which is {state}"), hint)
        }
        Wait::Granted { name, ms } => {
            let text = format!("{name} is approved, held for {} s more", ms.div_ceil(1_000));
            said("held_grant", text, "take it back with `orchctl undo`")
        }
        Wait::Run { name } => {
            let hint = format!("orchctl run get {}/{name}", project_of(task));
            said("run", format!("its earlier run {name} has not ended yet"), hint)
        }
        Wait::Agent { capability } => agent(task, capability),
        Wait::Secret { name } => {
            let hint = format!("orchctl secret set {name}");
            said("secret", format!("needs the secret `{name}`, which is not set"), hint)
        }
        Wait::Tool { name, fix } => said("tool", format!("needs `{name}`, which is not installed"), fix),
        Wait::TooMuch { resource, asked, total } => {
            let hint = terms::too_much_hint(task, resource);
            said(terms::code(resource), terms::too_much(resource, *asked, *total), hint)
        }
        Wait::Isolation { level, required, fix } => {
            said("isolation", format!("the host gives isolation level {level}, and {required} is required"), fix)
        }
        Wait::Shortage(shortage) => said("disk_full", terms::shortage(*shortage), terms::SHORTAGE_HINT),
        Wait::Paused { reason } => ("paused", format!("nothing is started: {reason}"), None),
        Wait::Budget { name, period, amounts, renews_ms } => budget(name, *period, amounts, *renews_ms),
        Wait::ProjectRuns { running, max } => project_runs(task, *running, *max),
        Wait::Quota { started, max, resets_ms } => quota(task, *started, *max, *resets_ms),
        Wait::Resource { resource, asked, free, total } => {
            let hint = terms::short_hint(task, resource);
            said(terms::code(resource), terms::short(resource, *asked, *free, *total), hint)
        }
        Wait::Kept { change, needs, free } => kept(task, change, *needs, *free),
        Wait::Reserved { resource, name } => {
            said(terms::code(resource), terms::reserved(resource, name), before_others(task))
        }
        Wait::Capacity { running, max, ahead } => capacity(task, *running, *max, *ahead),
    }
}

fn said(code: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Words {
    (code, text.into(), Some(hint.into()))
}

fn not_before(task: &str, at: Timestamp, ms: u64) -> Words {
    let hint = format!("let it begin with `orchctl task set {task} --not-before none`");
    said("not_before", format!("is not to begin before {at}, in {}", span(ms)), hint)
}

fn frozen(project: &str, reason: &str, until: Timestamp) -> Words {
    let text = format!("nothing of project `{project}` begins before {until}: {reason}");
    said("freeze", text, "the window is in the daemon's configuration, under `freeze`")
}

/// What brings a task that another waits for further. One that nobody knows can only be unlinked.
fn dependency_hint(task: &str, name: &str, state: &str, hopeless: bool) -> String {
    let unlink = format!("`orchctl task unlink {task} {name}`");
    if state == "absent" {
        return format!("it is not there; {unlink}");
    }
    let name = format!("{}/{name}", project_of(task));
    match hopeless {
        true => format!("try it again with `orchctl task retry {name}`, or {unlink}"),
        false => format!("orchctl task why {name}"),
    }
}

fn kept(task: &str, change: &str, needs: u64, free: u64) -> Words {
    let hint = format!(
        "it begins when they have begun, or with less: `orchctl task set {task} --memory`; \
         `limits.memory_share` in the daemon's configuration gives all of them more"
    );
    said("memory", terms::kept(change, needs, free), hint)
}

fn capacity(task: &str, running: u32, max: u32, ahead: u32) -> Words {
    let text = format!("{running} of {max} runs are under way and {} before it", tasks_ahead(ahead));
    let hint = format!("{}; `limits.runs_max` in the daemon's configuration gives more places", before_others(task));
    said("capacity", text, hint)
}

/// What puts it before tasks that go before it.
fn before_others(task: &str) -> String {
    format!("let it go before others with `orchctl task prioritize {task} 9`")
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
    let text = format!("needs an agent with the capability `{capability}`, and none that is configured has it");
    let hint = format!(
        "configure one in `[agents.NAME]` of the daemon's configuration and start the daemon anew, or give the task steps with \
         `orchctl task edit {task} --recipe FILE`"
    );
    said("agent", text, hint)
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
        1 => "1 task goes".to_owned(),
        ahead if ahead as usize >= AHEAD_MAX => format!("{AHEAD_MAX} or more tasks go"),
        ahead => format!("{ahead} tasks go"),
    }
}

#[cfg(test)]
mod tests {
    use orch_core::entity::Condition;
    use orch_core::schedule::{Resource, Shortage};

    use super::*;

    #[test]
    fn what_can_be_done_about_a_wait_names_the_task() {
        let agent = Wait::Agent { capability: "developer".to_owned() };
        for wait in [Wait::Proposed, Wait::Held { reason: String::new() }, Wait::Held { reason: "why".into() }, agent] {
            let hint = wait_view("shop/T-7", &wait).hint.unwrap();
            assert!(hint.contains("orchctl task ") && hint.contains(" shop/T-7"), "{hint}");
        }
        let state = "approved";
        let (id, condition, hopeless) = (orch_core::ids::sample_id(1), Condition::Done, false);
        let open = Wait::Dependency { task: id, name: "T-3".into(), state, condition, hopeless };
        assert_eq!(wait_view("shop/T-7", &open).hint.unwrap(), "orchctl task why shop/T-3");
    }

    #[test]
    fn what_is_taken_is_said_with_numbers_and_with_who_has_it() {
        let text = |wait: &Wait| {
            let view = wait_view("shop/T-7", wait);
            assert!(view.hint.is_some(), "{view:?}");
            (view.code, view.text)
        };
        let resource = Resource::Agent("codex".into());
        let agent = text(&Wait::Resource { resource, asked: 1, free: 0, total: 2 });
        assert_eq!(agent.0, "agent_runs");
        assert!(agent.1.starts_with("2 of the 2 runs that the agent `codex` may have"), "{agent:?}");
        let kept = text(&Wait::Kept { change: "shop/C-3".into(), needs: 2 << 30, free: 1 << 30 });
        assert_eq!(kept.0, "memory");
        assert!(kept.1.ends_with("shop/C-3, which go before it: they take 2.0 GiB, and 1.0 GiB are free"), "{kept:?}");
        let full = text(&Wait::Shortage(Shortage::Files { free: 3, needed: 50 }));
        assert!(full.0 == "disk_full" && full.1.ends_with("3 more, and 50 have to be"), "{full:?}");
        let places = text(&Wait::Capacity { running: 2, max: 2, ahead: 1 });
        assert_eq!(places, ("capacity".to_owned(), "2 of 2 runs are under way and 1 task goes before it".to_owned()));
    }
}
