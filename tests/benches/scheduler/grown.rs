//! A state that has seen much: tasks that ran and are done, by the same commands that a daemon gives its store.

use anyhow::Context as _;
use orch_core::command::Command;
use orch_core::entity::Project;
use orch_core::view::View as _;
use orch_proto::id::{RunId, TaskId};
use orch_store::{Committed, Store};

use crate::lifecycle::{self, create, record, settle, start, starting};
use crate::site::PROJECT;

/// Tasks that go from step to step together. Their commands fit into the queue of the store, and into two commits.
const TOGETHER: u32 = 2_000;

/// Takes `count` tasks of the project from their making to their end. The store must have no other writer.
pub(crate) fn grow(store: &Store, count: u32) -> anyhow::Result<()> {
    let project = store.read(|view| view.project_by_slug(PROJECT))?.context("the project is there")?;
    let mut done = store.read(|view| view.last_number(orch_proto::EntityKind::Run, Some(project.id)))?;
    let runtime = crate::area::runtime()?;
    let mut left = count;
    while left > 0 {
        let now = left.min(TOGETHER);
        runtime.block_on(together(store, &project, (done, now)))?;
        done += now;
        left -= now;
    }
    Ok(())
}

/// Commands are queued in the order in which they are given, so that numbers are known before they are.
async fn together(store: &Store, project: &Project, (done, count): (u32, u32)) -> anyhow::Result<()> {
    let made = all(store, (0..count).map(|_| create(project.id))).await?;
    let tasks = made.iter().map(lifecycle::touched).collect::<anyhow::Result<Vec<TaskId>>>()?;
    let started = all(store, tasks.into_iter().map(start)).await?;
    let runs = started.iter().map(lifecycle::touched).collect::<anyhow::Result<Vec<RunId>>>()?;
    let numbered = || runs.iter().copied().zip(done + 1..);
    all(store, runs.iter().copied().map(starting)).await?;
    all(store, numbered().map(|(run, fence)| record(run, fence))).await?;
    all(store, numbered().map(|(run, fence)| settle(run, fence))).await?;
    Ok(())
}

async fn all(store: &Store, commands: impl Iterator<Item = Command>) -> anyhow::Result<Vec<Committed>> {
    let sent: Vec<_> = commands.map(|command| store.execute(lifecycle::envelope(command))).collect();
    let mut committed = Vec::with_capacity(sent.len());
    for answer in sent {
        committed.push(answer.await?);
    }
    Ok(committed)
}
