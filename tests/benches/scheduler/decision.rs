//! What one decision costs, whatever is known: the book is filled, and from then on a run ends and another is chosen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::ensure;
use orch_core::entity::{
    Asks, ChannelUse, ModelUse, Project, RepositorySource, RetryPolicy, Run, RunPurpose, SessionUse, Share, Task,
    TaskSpec, Terms, Work,
};
use orch_core::ids::sample_id;
use orch_core::recipe::{Access, Isolation};
use orch_core::schedule::{Action, Book, Limits, Totals};
use orch_core::state::project::ProjectState;
use orch_core::state::run::RunState;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{Id as _, RunId, TaskId};

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;

static DECISION: Bar = Bar {
    name: "decision-p99",
    unit: "us",
    against: "nothing; 10^6 tasks known",
    limit: Limit::AtMost(50.0),
    stretch: None,
};
static GROWTH: Bar = Bar {
    name: "decision-growth",
    unit: "ratio",
    against: "10^4 tasks known, p99 of 10^6 in turns",
    limit: Limit::AtMost(2.0),
    stretch: None,
};

pub(crate) static BARS: &[&Bar] = &[&DECISION, &GROWTH];

/// Projects that share the host, and runs at once.
const PROJECTS: u128 = 20;
const PLACES: u32 = 100;
/// Decisions that are timed: no more than half of the tasks of the smallest book.
const BLOCKS: usize = 20;
const BLOCK: usize = 250;
/// Every so manyth task waits for the one before it.
const CHAINED: u128 = 4;

pub(crate) fn measure(_: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut sizes = Vec::new();
    for size in [10_000, 100_000, 1_000_000] {
        sizes.push(Size::filled(size)?);
    }
    // In turns, so that what disturbs the machine disturbs all of them.
    for _ in 0..BLOCKS {
        for size in &mut sizes {
            size.block()?;
        }
    }
    let [small, _, large] = sizes.as_slice() else { unreachable!("three sizes") };
    let mut growth: Vec<f64> = large.p99s.iter().zip(&small.p99s).map(|(large, small)| large / small).collect();
    growth.sort_unstable_by(f64::total_cmp);
    let growth = Finding::of(&GROWTH, growth.get(BLOCKS / 2).copied().unwrap_or(f64::NAN));
    let decision = at(&sorted(&large.decision), 99);
    let decision = sizes.iter().map(Size::text).fold(Finding::of(&DECISION, decision), Finding::note);
    Ok(vec![decision, growth.note(format!("median of {BLOCKS} blocks of {BLOCK} decisions of each, in turns"))])
}

/// A book with so many tasks, and what was measured of it.
struct Size {
    size: u128,
    bench: Bench,
    filled: Duration,
    decision: Vec<Duration>,
    told: Vec<Duration>,
    /// 99th percentile of the decisions of each block, in microseconds.
    p99s: Vec<f64>,
}

impl Size {
    fn filled(size: u128) -> anyhow::Result<Self> {
        let since = Instant::now();
        let mut bench = Bench::filled(size);
        bench.fill_places()?;
        let (decision, told) = (Vec::with_capacity(BLOCKS * BLOCK), Vec::with_capacity(BLOCKS * BLOCK));
        Ok(Self { size, bench, filled: since.elapsed(), decision, told, p99s: Vec::with_capacity(BLOCKS) })
    }

    fn block(&mut self) -> anyhow::Result<()> {
        for _ in 0..BLOCK {
            self.told.push(self.bench.end_one());
            let (took, started) = self.bench.choose_one()?;
            self.decision.push(took);
            self.told.push(started);
        }
        let block = self.decision.len() - BLOCK;
        self.p99s.push(at(&sorted(&self.decision[block..]), 99));
        Ok(())
    }

    fn text(&self) -> String {
        let (decision, told) = (sorted(&self.decision), sorted(&self.told));
        format!(
            "{:>8} tasks: a decision p50 {:>6.2} p99 {:>6.2} max {:>8.2} us; told of a run's start and end p50 {:>6.2} \
             p99 {:>6.2} us; filled in {:.2} s",
            self.size,
            at(&decision, 50),
            at(&decision, 99),
            at(&decision, 100),
            at(&told, 50),
            at(&told, 99),
            self.filled.as_secs_f64()
        )
    }
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
}

/// Microseconds at the percentile.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e6)
}

struct Bench {
    book: Book,
    now: Timestamp,
    running: VecDeque<(TaskId, RunId)>,
    runs: u128,
}

impl Bench {
    /// A book of that many tasks that wait, of projects that are ready.
    fn filled(size: u128) -> Self {
        let mut book = Book::default();
        // Memory for as many runs as there are places, and fewer units of a semaphore than tasks that wait for it.
        let totals = Totals {
            memory_bytes: Some(u64::from(PLACES) << 30),
            run_memory_bytes: 1 << 30,
            semaphores: [("gpu".to_owned(), 4)].into(),
            ..Totals::default()
        };
        book.set_limits(Limits { runs_max: PLACES, totals, ..Limits::default() });
        (0..PROJECTS).for_each(|number| book.put_project((&project(number)).into()));
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        for number in 0..size {
            book.put_task((&task(number, now)).into());
        }
        Self { book, now, running: VecDeque::new(), runs: 0 }
    }

    fn fill_places(&mut self) -> anyhow::Result<()> {
        for decision in self.book.choose(self.now, &BTreeSet::new()) {
            self.start(decision.action)?;
        }
        ensure!(self.running.len() == PLACES as usize, "{} runs", self.running.len());
        Ok(())
    }

    /// One decision, and what it takes to tell the book of its start.
    fn choose_one(&mut self) -> anyhow::Result<(Duration, Duration)> {
        let since = Instant::now();
        let chosen = self.book.choose(self.now, &BTreeSet::new());
        let took = since.elapsed();
        let [decision] = chosen.as_slice() else { anyhow::bail!("not one decision: {chosen:?}") };
        let since = Instant::now();
        self.start(decision.action)?;
        Ok((took, since.elapsed()))
    }

    fn start(&mut self, action: Action) -> anyhow::Result<()> {
        let Action::Run(id) = action else { anyhow::bail!("no task was chosen") };
        self.runs += 1;
        let run: RunId = sample_id(1 << 40 | self.runs);
        let mut task = task(number_of(id), self.now);
        task.state = TaskState::Running { run };
        self.book.put_task((&task).into());
        self.book.put_run(&(&attempt(run, &task, self.now)).into());
        self.running.push_back((id, run));
        Ok(())
    }

    /// The oldest run succeeds, a moment later.
    fn end_one(&mut self) -> Duration {
        self.now = self.now.plus_ms(10);
        let Some((id, run)) = self.running.pop_front() else { return Duration::ZERO };
        let mut task = task(number_of(id), self.now);
        task.state = TaskState::Done { change: None };
        let mut ended = attempt(run, &task, self.now);
        ended.state = RunState::Succeeded;
        ended.finished_at = Some(self.now);
        let since = Instant::now();
        self.book.put_run(&(&ended).into());
        self.book.put_task((&task).into());
        since.elapsed()
    }
}

fn number_of(id: TaskId) -> u128 {
    id.uuid().as_u128() - sample_id::<TaskId>(0).uuid().as_u128()
}

pub(crate) fn project(number: u128) -> Project {
    Project {
        id: sample_id(number),
        number: u32::try_from(number).unwrap_or(u32::MAX),
        slug: format!("p{number}"),
        source: RepositorySource::Empty,
        state: ProjectState::Ready,
        default_branch: "main".into(),
        head: None,
        toolchains: Vec::new(),
        blueprint_gates: None,
        protected_paths: Vec::new(),
        blueprint: None,
        created_at: Timestamp::from_unix_us(0),
        pause: None,
        resumed_at: None,
        patience: orch_core::entity::Patience::default(),
        budgets: Vec::new(),
        planning: None,
        share: Share::default(),
    }
}

pub(crate) fn task(number: u128, at: Timestamp) -> Task {
    // The one before it in its project.
    let needed = number.checked_sub(PROJECTS).filter(|_| (number / PROJECTS) % CHAINED == 1);
    let work = Work::Steps {
        source: "bench".into(),
        steps: Vec::new(),
        env: BTreeMap::new(),
        tools: vec![["cargo", "node", "python3"][usize::try_from(number % 3).unwrap_or(0)].into()],
        blueprint: None,
        artifacts: Vec::new(),
        keeps_changes: true,
        access: Access::default(),
        starts_empty: false,
        isolation: Isolation::Sandbox,
    };
    Task {
        tools: BTreeMap::new(),
        id: sample_id(number),
        project: sample_id(number % PROJECTS),
        number: u32::try_from(number).unwrap_or(u32::MAX),
        plan: None,
        title: String::new(),
        spec: TaskSpec {
            work,
            requirements: Vec::new(),
            acceptance: Vec::new(),
            retries: RetryPolicy::default(),
            estimate_minutes: Some((1, u32::try_from(number * 7 % 90).unwrap_or(1))),
            risk: None,
            timeout_ms: None,
        },
        depends_on: needed.into_iter().map(sample_id).collect(),
        conditions: std::collections::BTreeMap::new(),
        terms: Terms { asks: asks(number), ..Terms::default() },
        priority: u8::try_from(number * 11 % 10).unwrap_or(5),
        rank: 0,
        approval: None,
        state: TaskState::Approved { not_before: None },
        attempts: 0,
        failures: 0,
        losses: 0,
        host_losses: 0,
        conflicts: 0,
        last_failure: None,
        alike: None,
        last_run: None,
        last_change: None,
        created_at: Timestamp::from_unix_us(i64::try_from(number).unwrap_or(0)),
        since: at,
        overdue: None,
        question: None,
        spending_raises: 0,
        thread: Vec::new(),
    }
}

/// One task of forty holds a unit of the semaphore.
fn asks(number: u128) -> Asks {
    let semaphores = if number.is_multiple_of(40) { [("gpu".to_owned(), 1)].into() } else { BTreeMap::new() };
    Asks { semaphores, ..Asks::default() }
}

pub(crate) fn attempt(id: RunId, task: &Task, at: Timestamp) -> Run {
    Run {
        tools: Vec::new(),
        id,
        project: task.project,
        number: 1,
        task: task.id,
        purpose: RunPurpose::Work,
        attempt: 1,
        fence: 1,
        state: RunState::Running,
        steps: Vec::new(),
        base: None,
        tree: None,
        required_level: 0,
        isolation: None,
        log_cursor: 0,
        log_dropped_bytes: 0,
        artifacts: Vec::new(),
        left_out: orch_core::entity::LeftOut::default(),
        reason: String::new(),
        priority: task.priority,
        pause: None,
        asks: task.terms.asks.clone(),
        access: Access::default(),
        agent: None,
        told: None,
        models: ModelUse::default(),
        channel: ChannelUse::default(),
        network: Vec::new(),
        network_left_out: 0,
        removed: Vec::new(),
        is_removing: false,
        cancel_requested: None,
        lease_ms: 60_000,
        queued_at: at,
        started_at: Some(at),
        finished_at: None,
        silence: None,
        is_over_budget: false,
        kept: Vec::new(),
        resumed: None,
        session: SessionUse::default(),
    }
}
