//! One life of a daemon: its reconcilers are the real ones, and so are its store and its book. What is around it is not: time,
//! processes, branches. It can be ended between any two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use orch_adapters::executor::Observed;
use orch_adapters::run_log::Piece;
use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, Change, ChangeProposal, DiffStat, Inputs, Observation, PlannedStep, Project, Run, RunPurpose, Task,
};
use orch_core::ids::sample_id;
use orch_core::schedule::Limits;
use orch_core::state::project::ProjectState;
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};
use orch_sandbox::exit_record::ExitRecord;
use orch_store::{Committed, ExecuteError, ReadView, Store};
use orchd::kept_book::KeptBook;
use orchd::reconcile::{self, Ended, Front};
use orchd::site::{Hindered, Launched, Lookout, Moved, NotTaken, Served, Site};
use orchd::troubles::Troubles;
use tokio::sync::{Notify, watch};

use super::branches::Branches;
use super::host::{Host, Submitted};
use super::rest::FILLING_PAGE;
use super::turns::{Turns, Yield};
use crate::dice::Dice;
use crate::store::chain;

/// Isolation that runs need.
pub(super) const LEVEL: u8 = 3;
/// Lease of a run, in milliseconds.
const LEASE_MS: u64 = 60_000;
/// What can be seen is seen at once; without that everybody looks again so much more seldom than a real daemon does: looks at
/// what has not changed are most of the steps otherwise.
const LOOKS_PER_LOOK: u32 = 32;
/// Whoever waits for so long looks again although nothing was heard.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What is around a daemon and outlives it.
pub(super) struct Around {
    pub(super) host: Host,
    pub(super) branches: Branches,
    pub(super) limits: Limits,
    pub(super) dice: Dice,
    pub(super) sent: Sent,
    /// The disk fails, or did so lately: then it is no fault that the state cannot be written.
    pub(super) is_failing: bool,
    /// Something that must not be.
    pub(super) wrong: Option<String>,
    /// Who waits for news of a run, and what it has seen.
    watchers: BTreeMap<RunId, (u64, Waker)>,
}

/// What was sent to the store.
#[derive(Debug, Default)]
pub(super) struct Sent {
    commands: u128,
    /// Results that were reported, which may come again.
    pub(super) results: Vec<Command>,
    pub(super) refused: u64,
}

impl Sent {
    pub(super) fn envelope(&mut self, actor: Actor, command: Command) -> Envelope {
        self.commands += 1;
        if matches!(command, Command::SettleRun { .. }) {
            self.results.push(command.clone());
        }
        let request = Digest::of(format!("{command:?}").as_bytes());
        Envelope { id: sample_id(self.commands), actor, request, command }
    }
}

impl Around {
    pub(super) fn new(host: Host, limits: Limits, dice: Dice) -> Self {
        Self {
            host,
            branches: Branches::default(),
            limits,
            dice,
            sent: Sent::default(),
            is_failing: false,
            wrong: None,
            watchers: BTreeMap::new(),
        }
    }

    /// Tells those who wait of what can be seen now.
    pub(super) fn tell(&mut self) {
        let host = &self.host;
        self.watchers.retain(|run, (seen, waker)| {
            let is_news = host.version(*run) != *seen;
            if is_news {
                waker.wake_by_ref();
            }
            !is_news
        });
    }

    /// Looks at an answer to the daemon's own command.
    fn hears(&mut self, what: &str, must_be_taken: bool, answer: &Result<Committed, ExecuteError>) {
        let wrong = match answer {
            Ok(_) => return,
            Err(ExecuteError::Rejected(_)) if !must_be_taken => {
                self.sent.refused += 1;
                return;
            }
            Err(ExecuteError::Storage(_) | ExecuteError::StorageFull(_)) if self.is_failing => return,
            Err(error) => chain(error),
        };
        self.wrong.get_or_insert_with(|| format!("{what} was answered by: {wrong}"));
    }
}

/// A daemon that lives.
pub(super) struct Life {
    store: Store,
    book: KeptBook,
    /// One that is filled in small pages while everything goes on.
    late: Mutex<Arc<KeptBook>>,
    troubles: Troubles,
    pub(super) turns: Turns,
    around: Arc<Mutex<Around>>,
    clock: Arc<AtomicI64>,
    base: Instant,
    is_new_boot: bool,
    stopping: watch::Sender<bool>,
    woken: watch::Sender<u64>,
    /// Runs whose channel is served, and where that would be done.
    served: Mutex<BTreeSet<RunId>>,
    idle: tokio::runtime::Runtime,
}

impl Life {
    pub(super) fn begin(store: Store, around: Arc<Mutex<Around>>, clock: Arc<AtomicI64>) -> Arc<Self> {
        let (now_ms, is_new_boot) = {
            let mut around = around.lock().unwrap_or_else(PoisonError::into_inner);
            (around.host.now_ms, around.host.take_new_boot())
        };
        let book = KeptBook::default();
        let life = Arc::new(Self {
            store,
            late: Mutex::new(Arc::new(book.anew().in_pages_of(FILLING_PAGE))),
            book,
            troubles: Troubles::default(),
            turns: Turns::at(now_ms),
            around,
            clock,
            base: Instant::now(),
            is_new_boot,
            stopping: watch::Sender::new(false),
            woken: watch::Sender::new(0),
            served: Mutex::default(),
            idle: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        });
        let app = Arc::clone(&life);
        // In the order of a real start: everything that was under way first.
        life.turns.spawn(async move {
            let runs = reconcile::recover_runs(&app).await;
            app.spawn(reconcile::follow_runs(Arc::clone(&app), runs));
            app.spawn(reconcile::merge(Arc::clone(&app)));
            app.spawn(reconcile::schedule(Arc::clone(&app)));
            app.spawn(reconcile::watch_outages(Arc::clone(&app)));
            app.spawn(prepare(Arc::clone(&app)));
        });
        life
    }

    pub(super) fn around(&self) -> MutexGuard<'_, Around> {
        self.around.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn late(&self) -> &Mutex<Arc<KeptBook>> {
        &self.late
    }

    /// Has it stop in good order.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn now_ms(&self) -> u64 {
        self.around().host.now_ms
    }
}

/// Makes repositories.
async fn prepare(app: Arc<Life>) {
    let mut changed = app.store.subscribe();
    loop {
        changed.mark_unchanged();
        let projects = app.read(|view| view.list::<Project>(&Filter::default().open())).await.unwrap_or_default();
        for project in projects.into_iter().filter(|project| project.state == ProjectState::Preparing) {
            let command = {
                let mut around = app.around();
                if around.dice.once_in(20) {
                    Command::FailProject { project: project.id, reason: "no room".into() }
                } else {
                    let (default_branch, head) = ("main".into(), around.branches.head(&project.slug));
                    Command::PrepareProject { project: project.id, default_branch, head, toolchains: Vec::new() }
                }
            };
            // What fails is made the next time.
            let _answer = app.execute("projects", command).await;
        }
        tokio::select! {
            biased;
            () = app.stopped() => return,
            _ = changed.changed() => {}
            () = app.turns.after(ms_of(LOOK_AGAIN)) => {}
        }
    }
}

/// Wakes when something can be seen of a run that could not be seen before.
pub(super) struct Seen {
    run: RunId,
    version: u64,
}

impl Lookout<Life> for Seen {
    type End = ();

    fn until(&mut self, _end: Option<()>) {}

    fn has_ended(&self) -> bool {
        false
    }

    async fn ask(&mut self, _app: &Life) {}

    async fn wait(&mut self, app: &Life, bell: &Notify, at_most: Duration) {
        let news = std::future::poll_fn(|cx| {
            let mut around = app.around();
            let version = around.host.version(self.run);
            if version != self.version {
                self.version = version;
                return Poll::Ready(());
            }
            around.watchers.insert(self.run, (version, cx.waker().clone()));
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = app.stopped() => {}
            () = bell.notified() => {}
            () = news => {}
            () = app.turns.after(ms_of(at_most.saturating_mul(LOOKS_PER_LOOK))) => {}
        }
    }
}

impl Site for Life {
    type Watch = Seen;

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_us(self.clock.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now_ms())
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let time = if time >= LOOK_AGAIN { time.saturating_mul(LOOKS_PER_LOOK) } else { time };
        self.turns.after(ms_of(time))
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _closed = stopping.wait_for(|stopping| *stopping).await.is_err();
    }

    fn woken(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    fn look_again(&self) {
        self.woken.send_modify(|times| *times += 1);
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.turns.spawn(work);
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        Yield::default().await;
        work()
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn execute(&self, part: &str, command: Command) -> impl Future<Output = Result<Committed, ExecuteError>> + Send {
        // What a run left is never refused: it is late or it is taken.
        let must_be_taken = matches!(command, Command::SettleRun { .. } | Command::RecordRun { .. });
        let what = if must_be_taken { format!("{command:?}") } else { format!("a command of {part}") };
        let envelope = self.around().sent.envelope(Actor::daemon(part), command);
        let answer = self.store.execute(envelope);
        async move {
            let answer = answer.await;
            self.around().hears(&what, must_be_taken, &answer);
            answer
        }
    }

    fn book(&self) -> &KeptBook {
        &self.book
    }

    fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    fn renew_limits(&self) {
        let outage = self.store.outage().borrow().as_ref().map(|outage| outage.reason.clone());
        let limits = self.around().limits.clone();
        self.book.set_limits(Limits { paused: limits.paused.clone().or(outage), ..limits });
    }

    fn required_level(&self) -> u8 {
        LEVEL
    }

    fn lease_ms(&self) -> u64 {
        LEASE_MS
    }

    fn dead_after(&self, lease_ms: u64) -> Duration {
        Duration::from_millis(lease_ms.saturating_mul(2))
    }

    fn is_new_boot(&self) -> bool {
        self.is_new_boot
    }

    fn holds(&self) -> bool {
        let around = self.around();
        around.limits.level >= around.limits.level_required
    }

    fn prepare(&self, run: RunId) {
        self.around().host.make_directory(run);
    }

    fn watch(&self, run: RunId) -> Seen {
        Seen { run, version: self.around().host.version(run) }
    }

    async fn launch(self: &Arc<Self>, run: &Run) -> Result<Launched<()>, ReadError> {
        Yield::default().await;
        if !self.holds() {
            return Ok(Launched::NotNow);
        }
        let submitted = self.around().host.submit(run);
        Ok(match submitted {
            Submitted::Ok => Launched::Started(None),
            Submitted::Unknown => Launched::Unknown,
            Submitted::Rejected => {
                let class = FailureClass::Infrastructure;
                Launched::Refused(RunOutcome::Failed { class, reason: "the spawner refused".into() })
            }
        })
    }

    fn observe(&self, run: &Run) -> Result<Observed, String> {
        self.around().host.observe(run).map_err(|_| "broken".to_owned())
    }

    fn agent_for(&self, _project: &Project, _capability: &str) -> Option<AgentUse> {
        None
    }

    fn end_models(self: &Arc<Self>, _run: RunId) {}

    fn serve_models(self: &Arc<Self>, _run: &Run) -> Option<Served> {
        None
    }

    fn serve_channel(self: &Arc<Self>, run: &Run) -> Option<Served> {
        let is_new = self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(run.id);
        if !is_new {
            let wrong = || format!("what R-{} was served with was cut off while it lived", run.number);
            self.around().wrong.get_or_insert_with(wrong);
        }
        Some(Served::by(self.idle.spawn(std::future::pending::<()>()).abort_handle()))
    }

    fn has_directory(&self, run: RunId) -> bool {
        self.around().host.has_directory(run)
    }

    fn renewed_at(&self, _run: RunId) -> Option<SystemTime> {
        // Who lives here proves it all the time.
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms()))
    }

    fn end_stuck(&self, _run: &Run) -> Result<bool, String> {
        Ok(false)
    }

    fn last_words(&self, _run: RunId) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn result(&self, run: &Run, exit: &ExitRecord, hindered: Hindered) -> Result<Ended, NotTaken> {
        // A disk that is full has no room for what a run left either.
        if self.around().is_failing && hindered == Hindered::IsTriedAgain {
            return Err(NotTaken::Host("no space left".to_owned()));
        }
        let task = self.store.read(|view| view.get::<Task>(run.task))?;
        let outcome = reconcile::outcome(&exit.outcome, run);
        let keeps = task.is_some_and(|task| task.spec.work.keeps_changes());
        let wanted = outcome == RunOutcome::Succeeded && run.purpose == RunPurpose::Work && keeps;
        let proposal = wanted.then(|| proposal(run));
        Ok(Ended::new(exit, (outcome, Vec::new(), proposal)))
    }

    fn inputs(
        &self,
        _view: &ReadView<'_>,
        _of: (&Task, &Project),
        _agent: Option<&AgentUse>,
    ) -> Result<Option<Inputs>, ReadError> {
        // None of its tasks keeps anything.
        Ok(None)
    }

    async fn take_kept(self: &Arc<Self>, _run: Run, _outcome: RunOutcome) -> Option<Command> {
        None
    }

    fn forget_kept(&self, _project: ProjectId) {}

    fn forestall(&self, run: &Run) -> Result<bool, String> {
        self.around().host.forestall(run).map_err(|_| "broken".to_owned())
    }

    fn is_gone(&self, run: RunId) -> bool {
        self.around().host.is_gone(run)
    }

    fn cancel(&self, run: RunId) -> Result<(), String> {
        if self.around().host.cancel(run) { Ok(()) } else { Err("nobody answers".into()) }
    }

    fn suspend(&self, run: RunId, stands_still: bool) -> Result<(), String> {
        if self.around().host.suspend(run, stands_still) { Ok(()) } else { Err("nobody answers".into()) }
    }

    fn log(&self, run: RunId, offset: u64) -> Result<Piece<Observation>, String> {
        let mut around = self.around();
        let most = 1 + usize::try_from(around.dice.below(6)).unwrap_or(0);
        let (items, next_offset) = around.host.read_log(run, offset, most).map_err(|_| "broken".to_owned())?;
        Ok(Piece { items, next_offset })
    }

    fn clean_up(&self, _run: RunId, _is_collected: bool) -> Result<(), ReadError> {
        Ok(())
    }

    fn check(&self, change: &Change, project: &Project) -> Result<Command, String> {
        let mut around = self.around();
        let Around { host, branches, dice, .. } = &mut *around;
        let base = branches.head(&project.slug);
        let (change, tree) = (change.id, change.proposal.tree.clone());
        Ok(match dice.below(13) {
            0 if !host.is_calm => return Err("the repository cannot be read".into()),
            1 if !host.is_even => Command::ConflictChange { change, paths: vec!["a".into()] },
            2..=4 => Command::SkipCheck { change, base, tree, concerns: Vec::new() },
            _ => Command::StartCheck {
                change,
                commit: branches.commit(&format!("check-{change}"), base.as_deref()),
                base,
                tree,
                steps: vec![PlannedStep::new("gate", "true")],
                concerns: Vec::new(),
                required_level: LEVEL,
                lease_ms: LEASE_MS,
            },
        })
    }

    fn head(&self, project: &Project) -> Result<Option<String>, String> {
        Ok(self.around().branches.head(&project.slug))
    }

    fn commit(&self, front: &Front, base: Option<&str>, _tree: &str) -> Result<String, String> {
        Ok(self.around().branches.commit(&format!("merge-{}", front.change.id), base))
    }

    fn advance(&self, front: &Front, base: Option<&str>, commit: &str) -> Result<Moved, String> {
        let mut around = self.around();
        let Around { host, branches, dice, .. } = &mut *around;
        let fails = !host.is_calm && dice.once_in(12);
        if !host.is_calm && !host.is_even && dice.once_in(12) {
            // Somebody pushes past the daemon in the last moment.
            branches.push(&front.project.slug, dice.number());
        }
        // It may have moved before the failure.
        let is_there = (!fails || dice.once_in(2)).then(|| branches.advance(&front.project.slug, commit, base));
        match is_there {
            _ if fails => Err("git was killed".into()),
            Some(true) => Ok(Moved::There { toolchains: Vec::new() }),
            _ => Ok(Moved::Elsewhere),
        }
    }
}

fn ms_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn proposal(run: &Run) -> ChangeProposal {
    ChangeProposal {
        base: run.base.clone(),
        head: format!("head-{}", run.id),
        tree: format!("tree-{}", run.id),
        branch: format!("feature/{}", run.number),
        stat: DiffStat { files: 1, added: 1, removed: 0 },
        protected: if run.number.is_multiple_of(7) { vec!["ci.yaml".into()] } else { Vec::new() },
        words: None,
    }
}
