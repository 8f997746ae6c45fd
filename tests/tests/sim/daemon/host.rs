//! A host that is not real: run directories and shims as the daemon sees them through its executor, and what is true of them.
//!
//! It outlives the daemon, as shims do. A power cut ends all processes and loses of directories what was not synced. Its own
//! time only grows and has nothing to do with the clock.

use std::collections::{BTreeMap, BTreeSet};

use orch_adapters::executor::Observed;
use orch_core::entity::{Guarantee, GuaranteeState, Isolation, Observation, Run};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_proto::Timestamp;
use orch_proto::id::{RunId, TaskId};
use orch_sandbox::exit_record::{ExitRecord, Outcome, StepFailure};

use crate::dice::Dice;

/// Bytes of one record of a log, and offset of the first.
const RECORD_BYTES: u64 = 10;
const LOG_START: u64 = 16;

/// No process runs for longer.
pub(super) const LIVES_MS_MAX: u64 = 30 * 60_000;

/// All of it.
#[derive(Debug)]
pub(super) struct Host {
    dice: Dice,
    /// Its own time, in milliseconds.
    pub(super) now_ms: u64,
    directories: BTreeMap<RunId, Directory>,
    /// Directories with nothing in them yet.
    made: BTreeSet<RunId>,
    /// The power was cut, and no daemon has begun since.
    is_new_boot: bool,
    /// Runs with living processes.
    alive: BTreeSet<RunId>,
    launches: Vec<Launch>,
    /// Processes that were started since somebody asked.
    started: Vec<RunId>,
    /// Nothing goes wrong any more.
    pub(super) is_calm: bool,
    /// Projects of a simulation in which work takes the same time and succeeds.
    pub(super) is_even: bool,
}

/// The directory of a run, with what lives in it.
#[derive(Debug)]
struct Directory {
    task: TaskId,
    steps: u32,
    fence: u64,
    /// Who took the attempt: a shim, or the daemon so that none can.
    claim: Option<u64>,
    process: Option<Process>,
    log: Vec<Observation>,
    record: Option<ExitRecord>,
    /// It can neither be read nor written until then.
    broken_until: u64,
    /// Changes with everything that a watch would see.
    version: u64,
}

/// A shim and what it runs.
#[derive(Clone, Debug)]
struct Process {
    began_ms: u64,
    ends_ms: u64,
    fate: Fate,
    stands_still: bool,
    is_ending: bool,
    /// What it will say, and how much of it was said.
    says: Vec<Observation>,
    said: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    TimesOut,
    IsNotMade,
    Vanishes,
}

/// A start that the spawner was asked for and has not made yet.
#[derive(Debug)]
struct Launch {
    run: RunId,
    at_ms: u64,
}

/// How asking for a start was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submitted {
    Ok,
    /// It may or may not have started.
    Unknown,
    /// It does not start by this.
    Rejected,
}

/// The directory cannot be read or written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

impl Host {
    pub(super) fn new(seed: u64, is_even: bool) -> Self {
        Self {
            dice: Dice::new(seed),
            now_ms: 0,
            directories: BTreeMap::new(),
            made: BTreeSet::new(),
            is_new_boot: false,
            alive: BTreeSet::new(),
            launches: Vec::new(),
            started: Vec::new(),
            is_calm: false,
            is_even,
        }
    }

    /// Starts a run unless its attempt was started before.
    pub(super) fn submit(&mut self, run: &Run) -> Submitted {
        let now = self.now_ms;
        let directory = self.directories.entry(run.id).or_insert_with(|| Directory::of(run));
        if directory.is_broken(now) {
            return Submitted::Rejected;
        }
        if directory.observe(run.fence) != Observed::Absent {
            return Submitted::Ok;
        }
        directory.steps = u32::try_from(run.steps.len()).unwrap_or(u32::MAX);
        match self.dice.below(if self.is_calm || self.is_even { 12 } else { 16 }) {
            0..=9 => {
                self.start(run.id);
                Submitted::Ok
            }
            10..=13 => {
                let at_ms = now + self.dice.below(3_000);
                self.launches.push(Launch { run: run.id, at_ms });
                Submitted::Unknown
            }
            14 => Submitted::Unknown,
            _ => Submitted::Rejected,
        }
    }

    pub(super) fn observe(&self, run: &Run) -> Result<Observed, Broken> {
        let Some(directory) = self.directories.get(&run.id) else { return Ok(Observed::Absent) };
        if directory.is_broken(self.now_ms) { Err(Broken) } else { Ok(directory.observe(run.fence)) }
    }

    /// Keeps an attempt from ever starting. False when it was started.
    pub(super) fn forestall(&mut self, run: &Run) -> Result<bool, Broken> {
        let now = self.now_ms;
        let directory = self.directories.entry(run.id).or_insert_with(|| Directory::of(run));
        if directory.is_broken(now) {
            return Err(Broken);
        }
        let is_first = directory.claim.is_none();
        directory.claim.get_or_insert(run.fence);
        Ok(is_first)
    }

    /// Asks a run to end; whether it heard.
    pub(super) fn cancel(&mut self, run: RunId) -> bool {
        let (now, soon) = (self.now_ms, self.dice.below(5_000));
        let Some(directory) = self.directories.get_mut(&run) else { return true };
        if directory.is_broken(now) {
            return false;
        }
        if let Some(process) = directory.process.as_mut().filter(|process| !process.is_ending) {
            process.is_ending = true;
            process.stands_still = false;
            process.ends_ms = process.ends_ms.min(now + soon);
        }
        true
    }

    /// Has the processes of a run stand still or go on; whether it heard.
    pub(super) fn suspend(&mut self, run: RunId, stands_still: bool) -> bool {
        let now = self.now_ms;
        let Some(directory) = self.directories.get_mut(&run) else { return true };
        if directory.is_broken(now) {
            return false;
        }
        let Some(process) = directory.process.as_mut().filter(|process| !process.is_ending) else { return true };
        if stands_still && process.said == 0 {
            // It does not run a step yet.
            return false;
        }
        if process.stands_still != stands_still {
            process.stands_still = stands_still;
            directory.log.push(if stands_still { Observation::Paused } else { Observation::Resumed });
            directory.version += 1;
        }
        true
    }

    /// What the log says from an offset on, and where it ends.
    pub(super) fn read_log(&self, run: RunId, from: u64, most: usize) -> Result<(Vec<Observation>, u64), Broken> {
        let Some(directory) = self.directories.get(&run) else { return Ok((Vec::new(), from)) };
        if directory.is_broken(self.now_ms) {
            return Err(Broken);
        }
        let first = usize::try_from((from.max(LOG_START) - LOG_START) / RECORD_BYTES).unwrap_or(usize::MAX);
        let items: Vec<Observation> = directory.log.iter().skip(first).take(most).cloned().collect();
        let end = from.max(LOG_START) + items.len() as u64 * RECORD_BYTES;
        Ok((items, end))
    }

    /// Makes the directory of a run.
    pub(super) fn make_directory(&mut self, run: RunId) {
        self.made.insert(run);
    }

    pub(super) fn has_directory(&self, run: RunId) -> bool {
        self.made.contains(&run) || self.directories.contains_key(&run)
    }

    /// Whether the power was cut since this was asked.
    pub(super) fn take_new_boot(&mut self) -> bool {
        std::mem::take(&mut self.is_new_boot)
    }

    /// Whether a run left the record of a success.
    pub(super) fn has_succeeded(&self, run: RunId) -> bool {
        let record = self.directories.get(&run).and_then(|directory| directory.record.as_ref());
        record.is_some_and(|record| record.outcome == Outcome::Succeeded)
    }

    /// Where the log of a run ends that left a record; none when its directory could not be read at some time.
    pub(super) fn log_end(&self, run: RunId) -> Option<u64> {
        let directory = self.directories.get(&run)?;
        let is_readable = directory.record.is_some() && directory.broken_until == 0 && !directory.log.is_empty();
        is_readable.then(|| LOG_START + directory.log.len() as u64 * RECORD_BYTES)
    }

    /// Whether nobody looks after a run any more.
    pub(super) fn is_gone(&self, run: RunId) -> bool {
        !self.alive.contains(&run)
    }

    /// Changes when something of the run can be seen that could not be seen before.
    pub(super) fn version(&self, run: RunId) -> u64 {
        self.directories.get(&run).map_or(0, |directory| directory.version)
    }

    /// Processes that were started since this was asked.
    pub(super) fn take_started(&mut self) -> Vec<RunId> {
        std::mem::take(&mut self.started)
    }

    /// Runs with living processes, with their tasks.
    pub(super) fn living(&self) -> impl Iterator<Item = (RunId, TaskId)> {
        let living = self.alive.iter().filter_map(|run| self.directories.get_key_value(run));
        living.map(|(run, directory)| (*run, directory.task))
    }

    /// Lets its time pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let before = self.now_ms;
        self.now_ms += ms;
        let now = self.now_ms;
        let due: Vec<Launch> = self.launches.extract_if(.., |launch| launch.at_ms <= now).collect();
        due.into_iter().for_each(|launch| self.start(launch.run));
        for run in self.alive.clone() {
            let Some(directory) = self.directories.get_mut(&run) else { continue };
            directory.pass(before, now);
            if directory.process.is_none() {
                self.alive.remove(&run);
            }
        }
    }

    /// When something happens the next time, of what is known now.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let launches = self.launches.iter().map(|launch| launch.at_ms);
        let processes = self.alive.iter().filter_map(|run| self.directories.get(run)?.process.as_ref());
        launches.chain(processes.filter(|process| !process.stands_still).map(Process::next_ms)).min()
    }

    /// Processes of one run are gone at once, without a record.
    pub(super) fn kill_one(&mut self, chance: u64) {
        let living: Vec<RunId> = self.alive.iter().copied().collect();
        let Some(at) = usize::try_from(chance).ok().and_then(|chance| chance.checked_rem(living.len())) else { return };
        self.alive.remove(&living[at]);
        if let Some(directory) = self.directories.get_mut(&living[at]) {
            directory.process = None;
            directory.version += 1;
        }
    }

    /// Directories of some runs cannot be read for a while.
    pub(super) fn break_some(&mut self, chance: u64, ms: u64) {
        let mut dice = Dice::new(chance);
        for directory in self.directories.values_mut() {
            if dice.once_in(3) && directory.record.is_none() {
                directory.broken_until = self.now_ms + ms;
            }
        }
    }

    /// The power is cut: processes are gone, and of the directories what was not synced.
    pub(super) fn cut_power(&mut self) {
        self.launches.clear();
        self.alive.clear();
        self.made.clear();
        self.is_new_boot = true;
        for directory in self.directories.values_mut() {
            directory.process = None;
            directory.version += 1;
            let most = directory.log.len() as u64 + 1;
            if directory.record.is_none() {
                directory.log.truncate(usize::try_from(self.dice.below(most)).unwrap_or(0));
            }
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        let now_ms = self.now_ms;
        self.directories.values_mut().for_each(|directory| directory.broken_until = directory.broken_until.min(now_ms));
    }

    fn start(&mut self, run: RunId) {
        let (now, is_even) = (self.now_ms, self.is_even);
        let Some(directory) = self.directories.get_mut(&run).filter(|directory| directory.claim.is_none()) else {
            return;
        };
        let lasts_ms = match self.dice.below(10) {
            _ if is_even => 60_000,
            0..=3 => 20 + self.dice.below(2_000),
            4..=8 => self.dice.below(60_000),
            _ => self.dice.below(LIVES_MS_MAX),
        };
        let fate = match self.dice.below(40) {
            _ if is_even => Fate::Succeeds,
            0..=3 => Fate::Fails,
            4 => Fate::TimesOut,
            5 => Fate::IsNotMade,
            6..=7 if !self.is_calm => Fate::Vanishes,
            _ => Fate::Succeeds,
        };
        directory.claim = Some(directory.fence);
        directory.version += 1;
        let says = says(directory.steps, fate);
        directory.process = Some(Process {
            began_ms: now,
            ends_ms: now + lasts_ms,
            fate,
            stands_still: false,
            is_ending: false,
            says,
            said: 0,
        });
        self.alive.insert(run);
        self.started.push(run);
    }
}

impl Directory {
    fn of(run: &Run) -> Self {
        Self {
            task: run.task,
            steps: u32::try_from(run.steps.len()).unwrap_or(u32::MAX),
            fence: run.fence,
            claim: None,
            process: None,
            log: Vec::new(),
            record: None,
            broken_until: 0,
            version: 1,
        }
    }

    const fn is_broken(&self, now_ms: u64) -> bool {
        now_ms < self.broken_until
    }

    /// As the run directory of a sandbox answers.
    fn observe(&self, fence: u64) -> Observed {
        match &self.record {
            Some(record) if record.fence == fence => return Observed::Exited(Box::new(record.clone())),
            _ => {}
        }
        match self.claim {
            Some(_) if self.process.is_some() => Observed::Running,
            Some(claim) if claim == fence => Observed::Lost,
            _ => Observed::Absent,
        }
    }

    fn pass(&mut self, before: u64, now: u64) {
        let Some(process) = self.process.as_mut() else { return };
        if process.stands_still {
            process.ends_ms += now - before;
            process.began_ms += now - before;
            return;
        }
        while process.said < process.says.len() && process.next_ms() <= now && process.next_ms() < process.ends_ms {
            self.log.push(process.says[process.said].clone());
            process.said += 1;
            self.version += 1;
        }
        if now < process.ends_ms {
            return;
        }
        let process = process.clone();
        self.process = None;
        self.version += 1;
        let outcome = match process.fate {
            Fate::Vanishes => return,
            _ if process.is_ending => Outcome::Cancelled,
            Fate::Succeeds => Outcome::Succeeded,
            Fate::Fails => Outcome::StepFailed { step: "work".into(), failure: StepFailure::ExitCode { code: 1 } },
            Fate::TimesOut => Outcome::TimedOut { step: None },
            Fate::IsNotMade => Outcome::SetupFailed { message: "no".into(), hint: String::new(), step: "mount".into() },
        };
        if !process.is_ending {
            self.log.extend(process.says.into_iter().skip(process.said));
        }
        self.record = Some(record(self.fence, outcome));
    }
}

impl Process {
    /// When it says something the next time, or ends.
    fn next_ms(&self) -> u64 {
        let each = (self.ends_ms - self.began_ms) / (self.says.len() as u64 + 1);
        let next = self.began_ms + each * (self.said as u64 + 1);
        if self.said < self.says.len() { next.min(self.ends_ms) } else { self.ends_ms }
    }
}

/// What a run says of itself from its beginning to its end.
fn says(steps: u32, fate: Fate) -> Vec<Observation> {
    if fate == Fate::IsNotMade {
        return Vec::new();
    }
    let guarantee = Guarantee {
        name: "files".into(),
        state: GuaranteeState::Enforced,
        how: "mounts".into(),
        evidence: "ok".into(),
    };
    let mut says = vec![Observation::Isolated { isolation: Isolation { level: 3, guarantees: vec![guarantee] } }];
    let at = Timestamp::from_unix_us(0);
    for index in 0..steps {
        says.push(Observation::Step { index, event: StepEvent::Started { at } });
        let end = match fate {
            Fate::Fails => StepEnd::Failed { code: 1 },
            _ => StepEnd::Succeeded,
        };
        says.push(Observation::Step { index, event: StepEvent::Ended { at, end } });
        if fate == Fate::Fails {
            break;
        }
    }
    says
}

fn record(fence: u64, outcome: Outcome) -> ExitRecord {
    ExitRecord {
        version: orch_sandbox::exit_record::FORMAT_VERSION,
        fence,
        outcome,
        steps: Vec::new(),
        started_at_us: 0,
        finished_at_us: 0,
        boot_id: String::new(),
        level: None,
        log_bytes: 0,
        dropped_bytes: 0,
        claim_to_exec_ns: None,
    }
}
