//! Terms of tasks and what they wait for by them, there and back, and in words.

use std::collections::BTreeMap;

use orch_core::command::TermsChange;
use orch_core::entity::{self, Condition, Join};
use orch_core::schedule::{Resource, Shortage};
use orch_proto::Timestamp;
use orch_proto::view::{self, Terms};

use super::patience;

/// What a request takes a time away with.
const NO_TIME: Timestamp = Timestamp::from_unix_us(0);

/// Terms as they are shown.
pub(crate) fn view(terms: &entity::Terms) -> Terms {
    let asks = &terms.asks;
    Terms {
        join: match terms.join {
            Join::All => None,
            Join::Any => Some(view::Join::Any),
        },
        not_before: terms.not_before,
        deadline: terms.deadline,
        memory_bytes: asks.memory_bytes,
        cpu_millis: asks.cpu_millis,
        disk_bytes: asks.disk_bytes,
        semaphores: Some(asks.semaphores.clone()).filter(|semaphores| !semaphores.is_empty()),
        queue_timeout: terms.patience.queue.map(patience::timeout),
        silence_timeout: terms.patience.silence.map(patience::timeout),
        run_timeout_ms: terms.run_ms,
    }
}

/// Terms as they are asked for.
pub(crate) fn change(terms: Terms) -> TermsChange {
    let time = |time: Option<Timestamp>| time.map(|at| Some(at).filter(|at| *at != NO_TIME));
    TermsChange {
        join: terms.join.map(|join| match join {
            view::Join::All => Join::All,
            view::Join::Any => Join::Any,
        }),
        not_before: time(terms.not_before),
        deadline: time(terms.deadline),
        memory_bytes: terms.memory_bytes,
        cpu_millis: terms.cpu_millis,
        disk_bytes: terms.disk_bytes,
        semaphores: terms.semaphores,
        patience: patience::change(terms.queue_timeout, terms.silence_timeout),
        run_ms: terms.run_timeout_ms,
    }
}

/// Terms of a new task.
pub(crate) fn first(terms: Terms) -> entity::Terms {
    change(terms).applied(&entity::Terms::default())
}

/// A condition as it is shown.
pub(crate) const fn condition(condition: Condition) -> view::Condition {
    match condition {
        Condition::Done => view::Condition::Done,
        Condition::Ended => view::Condition::Ended,
        Condition::Failed => view::Condition::Failed,
    }
}

/// A condition as it is asked for.
pub(crate) const fn asked_condition(condition: view::Condition) -> Condition {
    match condition {
        view::Condition::Done => Condition::Done,
        view::Condition::Ended => Condition::Ended,
        view::Condition::Failed => Condition::Failed,
    }
}

/// What a task waits for in another.
pub(super) fn dependency(name: &str, state: &str, condition: Condition) -> String {
    match condition {
        Condition::Done => format!("waits for {name}, which is {state}"),
        Condition::Ended => format!("waits for {name} to end, which is {state}"),
        Condition::Failed => format!("waits for {name} to fail, which is {state}"),
    }
}

pub(super) fn dependencies(holding: usize, of: usize, join: Join) -> String {
    match join {
        Join::All => format!("{holding} of {of} dependencies are as they have to be"),
        Join::Any => format!("{holding} of {of} dependencies are as they have to be; one is enough"),
    }
}

/// The stable code of a wait for it.
pub(super) const fn code(resource: &Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory",
        Resource::Cpu => "cpu",
        Resource::Disk => "disk",
        Resource::Semaphore(_) => "semaphore",
        Resource::Agent(_) => "agent_runs",
        Resource::Role(_) => "role_runs",
    }
}

fn name(resource: &Resource) -> String {
    match resource {
        Resource::Memory => "the memory of the host".into(),
        Resource::Cpu => "the processor time of the host".into(),
        Resource::Disk => "the disk of the host".into(),
        Resource::Semaphore(name) => format!("semaphore `{name}`"),
        Resource::Agent(name) => format!("the agent `{name}`"),
        Resource::Role(name) => format!("the role `{name}`"),
    }
}

pub(super) fn short(resource: &Resource, asked: u64, free: u64, total: u64) -> String {
    if matches!(resource, Resource::Agent(_) | Resource::Role(_)) {
        let taken = total.saturating_sub(free);
        return format!(
            "{taken} of the {total} runs that {} may have at once are under way or about to start",
            name(resource)
        );
    }
    let [asked, free, total] = [asked, free, total].map(|amount| amount_text(resource, amount));
    format!("{}: {free} of {total} are free for runs, and it takes {asked}", name(resource))
}

/// What gives tasks more of it, or lets this one take less.
pub(super) fn short_hint(task: &str, resource: &Resource) -> String {
    match resource {
        Resource::Disk => format!(
            "make room on the disk of the daemon's state directory, or let it take less with `orchctl task set {task} --disk`"
        ),
        Resource::Memory | Resource::Cpu | Resource::Semaphore(_) | Resource::Agent(_) | Resource::Role(_) => {
            format!("it begins when others are over; {} gives them more", setting(resource))
        }
    }
}

/// Where the operator says how much there is.
fn setting(resource: &Resource) -> String {
    match resource {
        Resource::Memory => "`limits.memory_share` in the daemon's configuration".into(),
        Resource::Cpu => "`limits.cpu_share` in the daemon's configuration".into(),
        Resource::Disk => "`limits.disk_free_mb` in the daemon's configuration".into(),
        Resource::Semaphore(name) => format!("`semaphores.{name}` in the daemon's configuration"),
        Resource::Agent(name) => format!("`agents.{name}.runs_max` in the daemon's configuration"),
        Resource::Role(name) => format!("`runs_max` of the role `{name}` in the operator's recipes"),
    }
}

/// That memory is kept for the gates of a change.
pub(super) fn kept(change: &str, needs: u64, free: u64) -> String {
    let [needs, free] = [needs, free].map(|amount| amount_text(&Resource::Memory, amount));
    format!(
        "{} is kept for the gates of {change}, which go before it: they take {needs}, and {free} are free",
        name(&Resource::Memory)
    )
}

/// That nothing begins, since the disk is nearly full.
pub(crate) fn shortage(shortage: Shortage) -> String {
    match shortage {
        Shortage::Space { free, needed } => {
            let [free, needed] = [free, needed].map(|bytes| amount_text(&Resource::Disk, bytes));
            format!(
                "nothing begins, since the disk that runs write to is nearly full: {free} are free, and {needed} have to be"
            )
        }
        Shortage::Files { free, needed } => format!(
            "nothing begins, since the disk that runs write to has hardly room for files: {free} more, and {needed} have to be"
        ),
    }
}

/// What ends it.
pub(crate) const SHORTAGE_HINT: &str = "make room on the disk of the daemon's state directory, and it goes on by itself; \
                                        `orchctl daemon gc` removes what was kept for long enough, and `limits.disk_free_mb` \
                                        says how much runs leave";

pub(super) fn reserved(resource: &Resource, task: &str) -> String {
    format!("{} is kept for {task}, which goes before it and asks for more than is free", name(resource))
}

pub(super) fn too_much(resource: &Resource, asked: u64, total: u64) -> String {
    let [asked, total] = [asked, total].map(|amount| amount_text(resource, amount));
    format!("{}: it takes {asked}, and there are {total} in all for runs", name(resource))
}

pub(super) fn too_much_hint(task: &str, resource: &Resource) -> String {
    let less = match resource {
        Resource::Memory => "--memory".to_owned(),
        Resource::Cpu => "--cpu".to_owned(),
        Resource::Disk => "--disk".to_owned(),
        Resource::Semaphore(name) => format!("--uses {name}"),
        // One run is never more than one may have.
        Resource::Agent(_) | Resource::Role(_) => String::new(),
    };
    format!("let it take less with `orchctl task set {task} {less}`, or give runs more with {}", setting(resource))
}

fn amount_text(resource: &Resource, amount: u64) -> String {
    match resource {
        Resource::Memory | Resource::Disk if amount >= 10 << 30 => format!("{} GiB", amount >> 30),
        Resource::Memory | Resource::Disk => {
            let tenths = (amount >> 20).saturating_mul(10) >> 10;
            if tenths >= 10 { format!("{}.{} GiB", tenths / 10, tenths % 10) } else { format!("{} MiB", amount >> 20) }
        }
        Resource::Cpu => format!("{}.{:02} processors", amount / 1_000, amount % 1_000 / 10),
        Resource::Semaphore(_) => match amount {
            1 => "1 unit".into(),
            amount => format!("{amount} units"),
        },
        Resource::Agent(_) | Resource::Role(_) => format!("{amount} runs"),
    }
}

/// In a line, for the audit.
pub(super) fn line(terms: &entity::Terms) -> String {
    let mut parts = Vec::new();
    if terms.join == Join::Any {
        parts.push("one dependency is enough".to_owned());
    }
    parts.extend(terms.not_before.map(|at| format!("not before {at}")));
    parts.extend(terms.deadline.map(|at| format!("until {at}")));
    let amounts = [
        (Resource::Memory, terms.asks.memory_bytes),
        (Resource::Cpu, terms.asks.cpu_millis),
        (Resource::Disk, terms.asks.disk_bytes),
    ];
    let amounts = amounts.into_iter().filter_map(|(resource, amount)| Some((amount?, resource)));
    parts
        .extend(amounts.map(|(amount, resource)| format!("{} of {}", amount_text(&resource, amount), code(&resource))));
    let units: BTreeMap<_, _> = terms.asks.semaphores.iter().collect();
    parts.extend(units.into_iter().map(|(name, units)| format!("{units} of semaphore {name}")));
    parts.extend(terms.patience.queue.map(|timeout| format!("may wait {}", patience::words(timeout))));
    parts.extend(terms.patience.silence.map(|timeout| format!("may be silent {}", patience::words(timeout))));
    parts.extend(terms.run_ms.map(|ms| format!("a run may take {}", patience::span(ms))));
    if parts.is_empty() { "the usual terms".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_said_with_numbers() {
        let memory = short(&Resource::Memory, 2 << 30, (1 << 30) + (205 << 20), 4 << 30);
        assert_eq!(memory, "the memory of the host: 1.2 GiB of 4.0 GiB are free for runs, and it takes 2.0 GiB");
        let units = short(&Resource::Semaphore("db".into()), 1, 0, 3);
        assert_eq!(units, "semaphore `db`: 0 units of 3 units are free for runs, and it takes 1 unit");
        assert_eq!(amount_text(&Resource::Cpu, 1_500), "1.50 processors");
        assert_eq!(amount_text(&Resource::Disk, 500 << 20), "500 MiB");
        let agent = short(&Resource::Agent("codex".into()), 1, 0, 2);
        assert_eq!(agent, "2 of the 2 runs that the agent `codex` may have at once are under way or about to start");
        let full = shortage(Shortage::Space { free: 1 << 30, needed: 2 << 30 });
        assert!(full.ends_with("1.0 GiB are free, and 2.0 GiB have to be"), "{full}");
        let role = too_much_hint("shop/T-1", &Resource::Cpu);
        assert!(role.contains("task set shop/T-1 --cpu") && role.contains("`limits.cpu_share`"), "{role}");
    }

    #[test]
    fn terms_are_shown_as_they_were_asked_for() {
        let asked = Terms {
            join: Some(view::Join::Any),
            not_before: Some(Timestamp::from_unix_us(1)),
            deadline: Some(NO_TIME),
            memory_bytes: Some(5),
            cpu_millis: Some(0),
            semaphores: Some([("db".to_owned(), 2)].into()),
            ..Terms::default()
        };
        let shown = view(&first(asked.clone()));
        assert_eq!(shown, Terms { deadline: None, cpu_millis: None, ..asked });
        assert_eq!(
            line(&first(shown)),
            "one dependency is enough, not before 1970-01-01T00:00:00.000001Z, 0 MiB of memory, 2 of semaphore db"
        );
    }
}
