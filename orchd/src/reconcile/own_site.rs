//! The daemon's own [`Site`]: this machine.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orch_adapters::executor::Observed;
use orch_adapters::run_log::Piece;
use orch_core::command::Command;
use orch_core::entity::{AgentUse, Change, Inputs, Observation, Project, Run, Task};
use orch_core::state::run::RunOutcome;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};
use orch_sandbox::exit_record::ExitRecord;
use orch_store::{Committed, ExecuteError, ReadView, Store};
use tokio::sync::watch;

use super::changes::{self, Front};
use super::settle::{self, Ended};
use super::watch::Watch;
use super::{launch, lease, log};
use crate::app::{App, blocking};
use crate::channel;
use crate::error_chain::chain;
use crate::gateway;
use crate::kept_book::KeptBook;
use crate::site::{Hindered, Launched, Moved, NotTaken, Served, Site};
use crate::troubles::Troubles;
use crate::{agents, briefs, checkpoints, sessions};

impl Site for App {
    type Watch = Watch;

    fn now(&self) -> Timestamp {
        crate::clock::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send {
        Self::stopped(self)
    }

    fn woken(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    fn look_again(&self) {
        Self::look_again(self);
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(work));
    }

    fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
        blocking(work)
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn execute(&self, part: &str, command: Command) -> impl Future<Output = Result<Committed, ExecuteError>> + Send {
        Self::execute(self, part, command)
    }

    fn book(&self) -> &KeptBook {
        &self.book
    }

    fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    fn renew_limits(&self) {
        Self::renew_limits(self);
    }

    fn required_level(&self) -> u8 {
        self.config.required_level
    }

    fn lease_ms(&self) -> u64 {
        self.config.leases.run_ms()
    }

    fn dead_after(&self, lease_ms: u64) -> Duration {
        self.config.leases.dead_after(lease_ms)
    }

    fn is_new_boot(&self) -> bool {
        self.is_new_boot
    }

    fn holds(&self) -> bool {
        self.jails_hold().is_ok()
    }

    fn prepare(&self, run: RunId) {
        launch::prepare(&self.dirs.run(run));
    }

    fn watch(&self, run: RunId) -> Watch {
        Watch::new(self, &self.dirs.run(run))
    }

    fn launch(self: &Arc<Self>, run: &Run) -> impl Future<Output = Result<Launched<OwnedFd>, ReadError>> + Send {
        launch::try_launch(self, run)
    }

    fn observe(&self, run: &Run) -> Result<Observed, String> {
        if !self.dirs.has_runs() {
            return Err("the disk with the directories of runs is not the one of the start; mount it again".to_owned());
        }
        self.executor.observe(&self.dirs.run(run.id), run.fence).map_err(|error| chain(&error))
    }

    fn agent_for(&self, project: &Project, capability: &str) -> Option<AgentUse> {
        agents::choose(self, project, capability)
    }

    fn serve_models(self: &Arc<Self>, run: &Run) -> Option<Served> {
        gateway::serve(self, run)
    }

    fn end_models(self: &Arc<Self>, run: RunId) {
        gateway::ended(self, run);
    }

    fn serve_channel(self: &Arc<Self>, run: &Run) -> Option<Served> {
        channel::serve(self, run)
    }

    fn has_directory(&self, run: RunId) -> bool {
        self.dirs.run(run).exists()
    }

    fn renewed_at(&self, run: RunId) -> Option<SystemTime> {
        self.executor.renewed_at(&self.dirs.run(run)).ok().flatten()
    }

    fn end_stuck(&self, run: &Run) -> Result<bool, String> {
        self.executor.end_stuck(&self.dirs.run(run.id), run.fence).map_err(|error| chain(&error))
    }

    fn last_words(&self, run: RunId) -> Result<Option<String>, String> {
        lease::last_words(&self.dirs.run(run)).map_err(|error| chain(&error))
    }

    fn result(&self, run: &Run, exit: &ExitRecord, hindered: Hindered) -> Result<Ended, NotTaken> {
        settle::take_in(self, run, exit, hindered)
    }

    fn inputs(
        &self,
        view: &ReadView<'_>,
        (task, project): (&Task, &Project),
        agent: Option<&AgentUse>,
    ) -> Result<Option<Inputs>, ReadError> {
        let told = if agent.is_some() { briefs::requirements(view, task, project)? } else { Vec::new() };
        let agent = agent.map(|agent| (agent, told.as_slice()));
        Ok(checkpoints::inputs(self, (task, project), project.head.as_deref(), agent))
    }

    async fn take_kept(self: &Arc<Self>, run: Run, outcome: RunOutcome) -> Option<Command> {
        let (app, run) = (Arc::clone(self), Arc::new(run));
        if run.agent.is_none() {
            return blocking(move || checkpoints::take(&app, &run, &outcome)).await;
        }
        let (of, found) = (Arc::clone(&run), Arc::clone(self));
        let left = blocking(move || sessions::left(&found, &of, &outcome)).await?;
        let turn = sessions::turn(&self.keeps, &left).await;
        let keep = move || {
            let _turn = turn;
            sessions::keep(&app, &run, left)
        };
        Some(blocking(keep).await)
    }

    fn forget_kept(&self, project: ProjectId) {
        checkpoints::forget(self, project);
    }

    fn forestall(&self, run: &Run) -> Result<bool, String> {
        self.executor.forestall(&self.dirs.run(run.id), run.fence).map_err(|error| chain(&error))
    }

    fn is_gone(&self, run: RunId) -> bool {
        self.dirs.has_runs() && self.executor.is_gone(&self.dirs.run(run))
    }

    fn cancel(&self, run: RunId) -> Result<(), String> {
        self.executor.cancel(&self.dirs.run(run)).map_err(|error| chain(&error))
    }

    fn suspend(&self, run: RunId, stands_still: bool) -> Result<(), String> {
        self.executor.suspend(&self.dirs.run(run), stands_still).map_err(|error| chain(&error))
    }

    fn log(&self, run: RunId, offset: u64) -> Result<Piece<Observation>, String> {
        log::next(&self.dirs.run(run), offset).map_err(|error| chain(&error))
    }

    fn clean_up(&self, run: RunId, is_collected: bool) -> Result<(), ReadError> {
        settle::clean_up_one(self, run, is_collected)
    }

    fn check(&self, change: &Change, project: &Project) -> Result<Command, String> {
        changes::check_command(self, change, project).map_err(|error| chain(&error))
    }

    fn head(&self, project: &Project) -> Result<Option<String>, String> {
        changes::head(self, project).map_err(|error| chain(&error))
    }

    fn commit(&self, front: &Front, base: Option<&str>, tree: &str) -> Result<String, String> {
        changes::commit(self, front, base, tree).map_err(|error| chain(&error))
    }

    fn advance(&self, front: &Front, base: Option<&str>, commit: &str) -> Result<Moved, String> {
        changes::advance(self, front, base, commit).map_err(|error| chain(&error))
    }
}
