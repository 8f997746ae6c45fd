//! Terms of tasks and what they wait for by them, there and back, and in words.

use std::collections::BTreeMap;

use orch_core::command::TermsChange;
use orch_core::entity::{self, Condition, Join};
use orch_core::schedule::Resource;
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
    }
}

fn name(resource: &Resource) -> String {
    match resource {
        Resource::Memory => "the memory of the host".into(),
        Resource::Cpu => "the processor time of the host".into(),
        Resource::Disk => "the disk of the host".into(),
        Resource::Semaphore(name) => format!("semaphore `{name}`"),
    }
}

pub(super) fn short(resource: &Resource, asked: u64, free: u64, total: u64) -> String {
    let [asked, free, total] = [asked, free, total].map(|amount| amount_text(resource, amount));
    format!("{}: {free} of {total} are free for runs, and it takes {asked}", name(resource))
}

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
    };
    let more = match resource {
        Resource::Memory => "`limits.memory_share`".to_owned(),
        Resource::Cpu => "`limits.cpu_share`".to_owned(),
        Resource::Disk => "`limits.disk_free_mb`".to_owned(),
        Resource::Semaphore(name) => format!("`semaphores.{name}`"),
    };
    format!(
        "let it take less with `orchctl task set {task} {less}`, or give runs more with {more} in the daemon's configuration"
    )
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
