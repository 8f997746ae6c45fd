//! What three projects weighted 1 : 2 : 4 get of a host that all of them could fill: the time of its places, with runs that
//! last between a second and five minutes.
//!
//! The scheduler's real book, in a time that passes as runs end. Drawn from a seed, so that it gives the same every time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use orch_core::entity::{Share, Task, Terms};
use orch_core::ids::{IdSource, sample_id};
use orch_core::schedule::{Action, Book, Limits};
use orch_core::state::run::RunState;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{RunId, TaskId};

use crate::bars::{Bar, Finding, Limit};
use crate::decision::{attempt, project, task};
use crate::options::Options;

static FAIRNESS: Bar = Bar {
    name: "fairness",
    unit: "%",
    against: "weights 1 : 2 : 4 under overload, worst share",
    limit: Limit::AtMost(5.0),
    stretch: None,
};

pub(crate) static BARS: &[&Bar] = &[&FAIRNESS];

const WEIGHTS: [u32; 3] = [1, 2, 4];
const PLACES: u32 = 10;
const RUNS: u128 = 20_000;
/// Tasks of each project that wait at any time.
const WAITING: u128 = 50;
const LONGEST_MS: u64 = 300_000;

pub(crate) fn measure(_: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut host = Host::new();
    for _ in 0..RUNS {
        host.fill()?;
        host.end_one()?;
    }
    let all: u64 = host.used_ms.iter().sum();
    let weights: u32 = WEIGHTS.iter().sum();
    let off = |(used, weight): (&u64, &u32)| {
        let due = f64::from(*weight) / f64::from(weights);
        (*used as f64 / all as f64 / due - 1.0) * 100.0
    };
    let offs: Vec<f64> = host.used_ms.iter().zip(&WEIGHTS).map(off).collect();
    let worst = offs.iter().map(|off| off.abs()).fold(0.0, f64::max);
    let lines =
        offs.iter().zip(&WEIGHTS).map(|(off, weight)| format!("weight {weight}: {off:+.2} % of what it is due"));
    Ok(vec![lines.fold(Finding::of(&FAIRNESS, worst), Finding::note).note(format!("{RUNS} runs at {PLACES} places"))])
}

/// A host whose runs end after a time that is drawn.
struct Host {
    book: Book,
    now: Timestamp,
    dice: IdSource,
    made: u128,
    /// By when they end.
    running: BTreeSet<(Timestamp, RunId)>,
    runs: BTreeMap<RunId, (usize, Task, Timestamp)>,
    waiting: BTreeMap<TaskId, (usize, Task)>,
    used_ms: [u64; WEIGHTS.len()],
}

impl Host {
    fn new() -> Self {
        let mut book = Book::default();
        book.set_limits(Limits { runs_max: PLACES, ..Limits::default() });
        for (number, weight) in (0..).zip(WEIGHTS) {
            let mut project = project(number);
            project.share = Share { weight, ..Share::default() };
            book.put_project((&project).into());
        }
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        let (dice, running, runs) = (IdSource::seeded([4; 32]), BTreeSet::new(), BTreeMap::new());
        let (waiting, used_ms) = (BTreeMap::new(), [0; WEIGHTS.len()]);
        let mut host = Self { book, now, dice, made: 0, running, runs, waiting, used_ms };
        for at in 0..WEIGHTS.len() {
            (0..WAITING).for_each(|_| host.queue(at));
        }
        host
    }

    /// One more task of the project at this place.
    fn queue(&mut self, at: usize) {
        let mut task = task(self.made, self.now);
        self.made += 1;
        task.project = sample_id(at as u128);
        task.depends_on.clear();
        (task.terms, task.priority) = (Terms::default(), 5);
        self.book.put_task((&task).into());
        self.waiting.insert(task.id, (at, task));
    }

    /// Starts whatever is chosen, and puts another task behind it.
    fn fill(&mut self) -> anyhow::Result<()> {
        for decision in self.book.choose(self.now, &BTreeSet::new()) {
            let Action::Run(id) = decision.action else { bail!("no task was chosen: {decision:?}") };
            let (at, mut task) = self.waiting.remove(&id).context("it waited")?;
            let run: RunId = sample_id(1 << 40 | self.made);
            task.state = TaskState::Running { run };
            self.book.put_task((&task).into());
            self.book.put_run(&(&attempt(run, &task, self.now)).into());
            let ends = self.now.plus_ms(1_000 + self.dice.jitter(LONGEST_MS));
            self.running.insert((ends, run));
            self.runs.insert(run, (at, task, self.now));
            self.queue(at);
        }
        Ok(())
    }

    /// The next run ends, when its time has come.
    fn end_one(&mut self) -> anyhow::Result<()> {
        let (ends, run) = self.running.pop_first().context("something runs")?;
        let (at, mut task, began) = self.runs.remove(&run).context("it began")?;
        self.now = ends;
        let mut ended = attempt(run, &task, began);
        (ended.state, ended.finished_at) = (RunState::Succeeded, Some(ends));
        task.state = TaskState::Done { change: None };
        self.book.put_run(&(&ended).into());
        self.book.put_task((&task).into());
        self.used_ms[at] += ends.ms_since(began);
        Ok(())
    }
}
