//! Shares of projects under overload: what each gets of the host is by its weight, whatever ends and comes again meanwhile.

use std::collections::BTreeMap;

use orch_core::command::Command;
use orch_core::entity::RepositorySource;
use orch_core::rehearsal::new_task;
use orch_core::schedule::{CHARGE_MS, Limits};
use orch_proto::id::ProjectId;

use super::script::{Op, Script};
use super::world::World;
use crate::disk::{Stop, Traits};
use crate::seeds;

/// Weights of the projects, and how far from its share one may be, in hundredths of all.
const WEIGHTS: [u32; 3] = [1, 2, 4];
const OFF_MAX: u64 = 5;
/// Starts that are looked at.
const STARTS: usize = 105;

#[test]
fn shares_are_by_weight_under_overload() {
    let failed = seeds::first_failing(0..6, one);
    if let Some(failed) = failed {
        panic!("seed {}: {}", failed.seed, failed.why);
    }
}

fn one(seed: u64) -> Result<(), String> {
    let script =
        Script { traits: Traits { sector: 4096, powersafe: true, forgets: false, lies: false }, seed, ops: Vec::new() };
    let mut world = World::new(&script, true)?;
    world.set_limits(Limits { runs_max: 7, level: 3, level_required: 3, ..Limits::default() });
    let create = |slug: &str| Command::CreateProject {
        slug: slug.into(),
        source: RepositorySource::Empty,
        protected_paths: Vec::new(),
    };
    world.commands(["a", "b", "c"].map(create).into())?;
    world.happens(&Op::Steps { chance: seed, count: 60 })?;
    let projects: Vec<ProjectId> = world.mirror.projects.keys().copied().collect();
    for (project, weight) in projects.iter().zip(WEIGHTS) {
        let share = Command::SetShare { project: *project, weight: Some(weight), runs_max: None, runs_per_day: None };
        let task = |_| Command::CreateTask { task: Box::new(new_task(*project, "same")) };
        let tasks = (0..STARTS).map(task);
        world.commands([share].into_iter().chain(tasks).collect())?;
    }
    let mut chance = seed;
    while world.mirror.runs.len() < STARTS {
        chance = chance.wrapping_add(1);
        world.happens(&Op::Steps { chance, count: 40 })?;
        if chance.is_multiple_of(16) {
            world.happens(&Op::Stop { how: Stop::Killed, chance })?;
        }
    }
    let mut used: BTreeMap<ProjectId, u64> = BTreeMap::new();
    for run in world.mirror.runs.values() {
        let until = run.finished_at.unwrap_or(world.now());
        *used.entry(run.project).or_insert(0) += until.ms_since(run.queued_at).max(CHARGE_MS);
    }
    let all: u64 = used.values().sum();
    for (project, weight) in projects.iter().zip(WEIGHTS) {
        let has = used.get(project).copied().unwrap_or(0) * 100 / all;
        let due = u64::from(weight) * 100 / 7;
        if has.abs_diff(due) > OFF_MAX {
            return Err(format!("a project of weight {weight} has {has} of 100, not {due}"));
        }
    }
    Ok(())
}
