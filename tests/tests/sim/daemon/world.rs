//! A daemon on a host, people, and what happens to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orch_core::digest::Digest;
use orch_core::schedule::{Freeze, Limits, Shortage, Totals, Window};
use orch_core::state::change::ChangeState;
use orch_core::state::run::RunState;
use orch_core::state::task::TaskState;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::RunId;
use orch_store::{HandWriter, OpenOptions, READ_DEADLINE_MS_MAX, ReadView, Store};
use orchd::site::Site as _;

use super::host::Host;
use super::life::{Around, LEVEL, Life};
use super::mirror::{Circumstances, Held, Mirror};
use super::people::Pending;
use super::script::{Op, Script};
use super::turns::Turns;
use super::users;
use crate::dice::Dice;
use crate::disk::{Disk, Stop, vfs_name};
use crate::store::chain;

/// The time at which every simulation starts.
pub(super) const START_US: i64 = 1_795_165_557_000_000;
/// Steps between two looks at what the book chooses, more or less.
const CHECK_STEPS: u64 = 150;
/// Steps in which everybody has heard of a failure of the disk.
const NEWS_STEPS: u64 = 2_000;
/// Steps in which a daemon that is to stop does.
const STOP_STEPS_MAX: u64 = 20_000;
/// Time after which a writer that has nothing to do looks after its file, in milliseconds.
const QUIET_MS: u64 = 1_000;

/// All of one simulation.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) clock: Arc<AtomicI64>,
    /// What the clock showed when the store asked the last time.
    asked: Arc<AtomicI64>,
    around: Arc<Mutex<Around>>,
    pub(super) mirror: Mirror,
    daemon: Option<Daemon>,
    pub(super) people: Vec<Pending>,
    /// Failures of the disk when it was well the last time, and how many steps ago that was.
    well_at: u64,
    well_since: u64,
    /// It could not be read what happened at which time.
    is_blind: bool,
    /// Most runs that were allowed at once in this life.
    runs_max: u32,
    pub(super) slow_ms: u64,
    pub(super) tally: Tally,
}

/// A daemon that lives.
struct Daemon {
    life: Arc<Life>,
    writer: HandWriter,
}

/// What a simulation came to, so that two can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) steps: u64,
    pub(super) events: u64,
    pub(super) tasks: u64,
    pub(super) processes: u64,
    pub(super) kills: u64,
    pub(super) power_cuts: u64,
    pub(super) failures: u64,
    pub(super) done: u64,
    pub(super) merged: u64,
    pub(super) late_results: u64,
    pub(super) undone: u64,
    pub(super) refused: u64,
    pub(super) in_doubt: u64,
    pub(super) checks: u64,
    starts: u64,
    trace: u64,
}

/// Runs it from an empty disk to the end, where everything comes to rest and is looked at.
pub(super) fn run(script: &Script) -> Result<Tally, String> {
    let mut world = World::new(script, false)?;
    for (at, op) in script.ops.iter().enumerate() {
        world.happens(op).map_err(|wrong| format!("at {at}: {wrong}"))?;
    }
    world.ends().map_err(|wrong| format!("at the end: {wrong}"))?;
    Ok(world.counted())
}

impl World {
    pub(super) fn new(script: &Script, is_even: bool) -> Result<Self, String> {
        let mut dice = Dice::new(script.seed);
        let host = Host::new(dice.number(), is_even);
        let limits = limits(&mut dice);
        let runs_max = limits.runs_max;
        let around = Around::new(host, limits, Dice::new(dice.number()));
        let mut world = Self {
            disk: Disk::new(script.traits, script.seed),
            clock: Arc::new(AtomicI64::new(START_US)),
            asked: Arc::new(AtomicI64::new(START_US)),
            around: Arc::new(Mutex::new(around)),
            mirror: Mirror::default(),
            daemon: None,
            people: Vec::new(),
            well_at: 0,
            well_since: 0,
            is_blind: false,
            runs_max,
            slow_ms: 0,
            tally: Tally::default(),
        };
        world.open().map_err(|wrong| format!("when it is made: {wrong}"))?;
        Ok(world)
    }

    pub(super) fn around(&self) -> MutexGuard<'_, Around> {
        self.around.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_unix_us(self.clock.load(Ordering::SeqCst))
    }

    /// The daemon, which is there between any two things that happen.
    pub(super) fn life(&self) -> Option<Arc<Life>> {
        self.daemon.as_ref().map(|daemon| Arc::clone(&daemon.life))
    }

    pub(super) fn happens(&mut self, op: &Op) -> Held {
        match op {
            Op::Steps { chance, count } => self.steps(*chance, *count)?,
            Op::Users { chance, count } => self.want(*chance, *count)?,
            Op::Flood { chance, count } => self.flood(*chance, *count)?,
            Op::Stray { chance } => self.stray(*chance)?,
            Op::Stop { how, chance } => {
                self.disk.stop(*how);
                self.start_again(*chance)?;
            }
            Op::Restart { chance } => self.restart(*chance)?,
            Op::Clock { by_us } => drop(self.clock.fetch_add(*by_us, Ordering::SeqCst)),
            Op::Plan(fault) => self.disk.plan(*fault),
            Op::LeaveRoom { bytes } => self.disk.leave_room(*bytes),
            Op::Slow { ms } => self.slow_ms = *ms,
            Op::Heal => self.heal(),
            Op::Vanish { chance } => self.around().host.kill_one(*chance),
            Op::Break { chance, ms } => self.around().host.break_some(*chance, *ms),
            Op::Limits { chance } => self.set_limits(limits(&mut Dice::new(*chance))),
            Op::Push { chance } => self.around().branches.push(&format!("p{}", chance % 5), *chance),
            Op::Check => self.check()?,
        }
        self.after_a_stop()
    }

    pub(super) fn after_a_stop(&mut self) -> Held {
        if self.disk.stopped().is_some() {
            let chance = self.around().dice.number();
            self.start_again(chance)?;
        }
        Ok(())
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.runs_max = self.runs_max.max(limits.runs_max);
        self.around().limits = limits;
        if let Some(daemon) = &self.daemon {
            daemon.life.look_again();
        }
    }

    pub(super) fn heal(&mut self) {
        self.disk.heal();
        if self.disk.failures() > self.well_at {
            (self.well_at, self.well_since) = (self.disk.failures(), self.tally.steps);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.writer.rest();
        }
    }

    /// Time passes for everybody.
    fn pass(&mut self, ms: u64) {
        self.clock.fetch_add(i64::try_from(ms * 1_000).unwrap_or(0), Ordering::SeqCst);
        let now_ms = {
            let mut around = self.around();
            around.host.pass(ms);
            around.tell();
            around.host.now_ms
        };
        if let Some(daemon) = &mut self.daemon {
            daemon.life.turns.pass(now_ms);
            if ms >= QUIET_MS {
                daemon.writer.rest();
            }
        }
    }

    fn steps(&mut self, chance: u64, count: u64) -> Held {
        let (mut dice, mut regrets) = (Dice::new(chance), Dice::new(!chance));
        let is_even = self.around().host.is_even;
        for _ in 0..count {
            if dice.once_in(30) && !is_even {
                // Somebody is heard between any two steps.
                let command = users::command(&self.mirror, self.now(), &mut dice);
                self.send(vec![command]);
                self.regret(&mut regrets)?;
            }
            self.step(&mut dice)?;
            if dice.once_in(CHECK_STEPS) {
                self.check_book()?;
            }
            self.after_a_stop()?;
        }
        Ok(())
    }

    /// One step of one part, or a while in which nothing but time passes.
    pub(super) fn step(&mut self, dice: &mut Dice) -> Held {
        self.tally.steps += 1;
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let turns = daemon.life.turns.clone();
        let ready = turns.ready();
        if ready.is_empty() || dice.once_in(6) {
            if !self.serve()? {
                let next = [self.around().host.next_ms(), turns.next_ms()].into_iter().flatten().min();
                let now_ms = self.around().host.now_ms;
                let wait = next.map_or(1_000, |next| next.saturating_sub(now_ms).max(1));
                // Nobody who could go on is kept waiting until the next thing happens, however long that is.
                let is_short = !ready.is_empty() || dice.once_in(3);
                self.pass(if is_short { 1 + dice.below(wait.min(3_000)) } else { wait });
            }
            return self.look();
        }
        match ready.get(usize::try_from(dice.below(ready.len() as u64 + 1)).unwrap_or(0)) {
            Some(turn) => self.turn(&turns, *turn)?,
            None => drop(self.serve()?),
        }
        self.look()
    }

    fn turn(&mut self, turns: &Turns, turn: u64) -> Held {
        let is_failing = self.is_failing();
        self.around().is_failing = is_failing;
        turns.step(turn);
        let mut around = self.around();
        around.tell();
        around.wrong.take().map_or(Ok(()), Err)
    }

    /// Whether anything was written.
    pub(super) fn serve(&mut self) -> Result<bool, String> {
        let Some(daemon) = &mut self.daemon else { return Ok(false) };
        let served = daemon.writer.serve();
        if served {
            self.look()?;
            if self.slow_ms > 0 {
                self.pass(self.slow_ms);
            }
        }
        Ok(served)
    }

    /// Whether the disk fails, or did so a moment ago: who asked then may look at the answer only now.
    pub(super) fn is_failing(&self) -> bool {
        let is_news = self.well_since > 0 && self.tally.steps - self.well_since < NEWS_STEPS;
        self.disk.failures() > self.well_at || self.disk.stopped().is_some() || is_news
    }

    /// Reads the state; none when it cannot be read just now, which may be only when the disk fails.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadView<'_>) -> Result<T, ReadError>,
    ) -> Result<Option<T>, String> {
        let Some(daemon) = &self.daemon else { return Ok(None) };
        match daemon.life.store().read_within(READ_DEADLINE_MS_MAX, read) {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.is_failing() => Ok(None),
            Err(error) => Err(format!("the store cannot be read: {}", chain(&error))),
        }
    }

    /// What must be true after every step.
    pub(super) fn look(&mut self) -> Held {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        if *daemon.life.store().subscribe().borrow() != self.mirror.seq && !self.follow()? {
            return Ok(());
        }
        let around = self.around();
        if let Some((run, task)) = around.host.living().find(|(run, _)| !self.mirror.is_under_way(*run)) {
            return Err(format!("{run} of {task} lives and is {:?}", self.mirror.runs.get(&run).map(|run| &run.state)));
        }
        drop(around);
        let started = self.around().host.take_started();
        self.tally.processes += started.len() as u64;
        started.into_iter().try_for_each(|run| self.look_at_start(run))
    }

    /// Reads what has happened; whether it could.
    fn follow(&mut self) -> Result<bool, String> {
        let mut mirror = std::mem::take(&mut self.mirror);
        let asked = Timestamp::from_unix_us(self.asked.load(Ordering::SeqCst));
        let around = Arc::clone(&self.around);
        let around = around.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Circumstances {
            now: (!self.is_blind).then_some(asked),
            runs_max: self.runs_max,
            branches: &around.branches,
            host: &around.host,
        };
        let followed = self.read(|view| mirror.follow(view, &at));
        self.mirror = mirror;
        match followed? {
            Some(held) => held?,
            None => {
                self.is_blind = true;
                return Ok(false);
            }
        }
        self.is_blind = false;
        Ok(true)
    }

    fn look_at_start(&self, run: RunId) -> Held {
        let around = self.around();
        let Some((_, task)) = around.host.living().find(|(living, _)| *living == run) else { return Ok(()) };
        if let Some((other, _)) = around.host.living().find(|(other, of)| *other != run && *of == task) {
            return Err(format!("{task} runs twice at once: as {other} and as {run}"));
        }
        match self.mirror.runs.get(&run) {
            Some(found) if !matches!(found.state, RunState::Queued | RunState::Leased { .. }) => Ok(()),
            found => Err(format!("{run} was started and nobody has put that on record: {found:?}")),
        }
    }

    /// Ends the daemon in good order, and starts it again.
    fn restart(&mut self, chance: u64) -> Held {
        let mut dice = Dice::new(chance);
        let Some(life) = self.life() else { return Ok(()) };
        life.stop();
        for _ in 0..STOP_STEPS_MAX {
            if life.turns.are_over() || self.disk.stopped().is_some() {
                break;
            }
            self.step(&mut dice)?;
        }
        if self.disk.stopped().is_some() {
            return Ok(());
        }
        if !life.turns.are_over() {
            return Err("it was to stop and did not".into());
        }
        drop(life);
        if let Some(Daemon { life, writer }) = self.daemon.take() {
            writer.finish();
            drop(life);
        }
        self.open()
    }

    /// After the end of the daemon, and of all when the power was cut: starts again.
    pub(super) fn start_again(&mut self, chance: u64) -> Held {
        self.end();
        match self.disk.stopped() {
            Some(Stop::PowerCut) => {
                self.tally.power_cuts += 1;
                self.around().host.cut_power();
            }
            Some(Stop::Killed) => self.tally.kills += 1,
            None => {}
        }
        self.disk.start(chance);
        // Shims go on while there is no daemon.
        self.around().host.pass(chance % 20_000);
        self.open()
    }

    /// Ends the daemon where it stands.
    fn end(&mut self) {
        self.people.clear();
        if let Some(Daemon { life, writer }) = self.daemon.take() {
            life.turns.end();
            drop((writer, life));
        }
    }

    fn open(&mut self) -> Held {
        self.end();
        let runs_max = self.around().limits.runs_max;
        self.runs_max = runs_max;
        loop {
            let before = self.disk.failures();
            let (clock, asked) = (Arc::clone(&self.clock), Arc::clone(&self.asked));
            self.tally.starts += 1;
            let options = OpenOptions {
                seed: *Digest::of(&self.tally.starts.to_be_bytes()).as_bytes(),
                clock: Arc::new(move || {
                    let now = clock.load(Ordering::SeqCst);
                    asked.store(now, Ordering::SeqCst);
                    Timestamp::from_unix_us(now)
                }),
                vfs: Some(vfs_name().into()),
            };
            match Store::open_by_hand(&self.disk.path("orch.db"), options) {
                Ok(_) | Err(_) if self.disk.stopped().is_some() => {
                    if self.disk.stopped() == Some(Stop::PowerCut) {
                        self.around().host.cut_power();
                    }
                    let chance = self.around().dice.number();
                    self.disk.start(chance);
                }
                Ok((store, writer)) => {
                    let life = Life::begin(store, Arc::clone(&self.around), Arc::clone(&self.clock));
                    self.daemon = Some(Daemon { life, writer });
                    return self.look();
                }
                Err(_) if self.disk.failures() > before => self.heal(),
                Err(error) => return Err(format!("the store cannot be opened: {}", chain(&error))),
            }
        }
    }

    pub(super) fn counted(&self) -> Tally {
        let mirror = &self.mirror;
        let merged = mirror.changes.values().filter(|change| matches!(change.state, ChangeState::Merged { .. }));
        Tally {
            events: mirror.seq,
            refused: self.around().sent.refused,
            tasks: mirror.tasks.len() as u64,
            failures: self.disk.failures(),
            done: mirror.tasks.values().filter(|task| matches!(task.state, TaskState::Done { .. })).count() as u64,
            merged: merged.count() as u64,
            trace: self.disk.trace(),
            late_results: mirror.late_results,
            undone: mirror.undone,
            ..self.tally
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a host and its configuration may allow.
fn limits(dice: &mut Dice) -> Limits {
    let semaphores = BTreeMap::from([("licence".to_owned(), 1 + u32::try_from(dice.below(3)).unwrap_or(0))]);
    let memory_bytes = dice.once_in(2).then(|| (2 + dice.below(8)) << 30);
    let at = |dice: &mut Dice| Timestamp::from_unix_us(START_US).plus_ms(dice.below(12 * 3_600_000));
    let from = at(dice);
    let window = Window::Once { from, until: from.plus_ms(dice.below(2 * 3_600_000)) };
    let freeze = Freeze { projects: [format!("p{}", dice.below(5))].into(), window, reason: "nobody is here".into() };
    let runs_max = 1 + u32::try_from(dice.below(6)).unwrap_or(0);
    let shortage = Shortage::Space { free: 1 << 30, needed: 2 << 30 };
    Limits {
        runs_max,
        // Of the same chance, so that all else is as it was without holds.
        hold_ms: 20_000 * u64::from(runs_max % 3),
        shortage: (from.unix_us() % 11 == 0).then_some(shortage),
        totals: Totals {
            memory_bytes,
            run_memory_bytes: 1 << 30,
            cpu_millis: dice.once_in(2).then(|| 1_000 * (1 + dice.below(4))),
            semaphores,
            ..Totals::default()
        },
        level: if dice.once_in(10) { LEVEL - 1 } else { LEVEL },
        level_required: LEVEL,
        level_fix: "mend it".into(),
        freezes: dice.once_in(3).then_some(freeze).into_iter().collect(),
        paused: dice.once_in(16).then(|| "drains".into()),
        ..Limits::default()
    }
}
