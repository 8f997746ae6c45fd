//! The stories: what the product promises, told end to end with the real programs, one story per test.
//!
//! Each takes place in a directory of its own and ends with the checks of the harness: the tables equal a replay of the
//! log, the audit verifies, nothing is left behind.

mod access;
mod agent_planner;
mod agents;
mod approvals;
mod archive;
mod backups;
mod bad_agents;
mod bad_input;
mod bad_peers;
mod bad_repositories;
mod budgets;
mod channel;
mod checkpoints;
mod confinement;
mod crashes;
mod demo;
mod demo_agent;
mod doctor;
mod escapes;
mod exchanges;
mod fake_agents;
mod full_disk;
mod kills;
mod leases;
mod leave;
mod limits;
mod logs;
mod merge_queue;
mod metrics;
mod orders;
mod patience;
mod pauses;
mod planner;
mod providers;
mod real_repository;
mod recovery;
mod resume;
mod retention;
mod roles;
mod run_verbs;
mod scenarios;
mod sealed;
mod seeds;
mod spending;
mod state_file;
mod steering;
mod terminal;
mod terms;
mod tools;
mod undo;
mod weakening;

use orch_tests::{Programs, Setup, Story};

/// Tells a story with the programs of this build.
fn story(name: &str, setup: Setup, tell: impl AsyncFnOnce(&mut Story) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let programs = Programs {
        orchd: env!("CARGO_BIN_EXE_e2e-orchd"),
        orchctl: env!("CARGO_BIN_EXE_e2e-orchctl"),
        sandbox: env!("CARGO_BIN_EXE_e2e-orch-sandbox"),
        tui: env!("CARGO_BIN_EXE_e2e-orch-tui"),
    };
    Story::tell(name, programs, setup, tell)
}
