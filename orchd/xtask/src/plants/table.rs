//! The faults that are planted, and by what each is to be found. Every one is a small slip that compiles.

/// What finds a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finder {
    /// The simulation of the whole daemon.
    Daemon,
    /// The simulation of the store.
    Store,
    /// The simulations that failed once.
    Kept,
    /// Tests of the rules about the clock.
    Clock,
    /// Tests of what wakes who follows a run.
    Wakes,
    /// Tests of the sandbox: an attempt from its claim to its record.
    Attempts,
}

impl Finder {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Kept => "kept",
            Self::Store => "store",
            Self::Clock => "clock",
            Self::Wakes => "wakes",
            Self::Attempts => "attempt",
        }
    }

    /// Its package, and which of its tests.
    pub(super) const fn target(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Daemon | Self::Kept | Self::Store => ("orch-tests", &["--test", "sim"]),
            Self::Clock => ("orch-core", &["--test", "rules"]),
            Self::Wakes => ("orchd", &["--lib"]),
            Self::Attempts => ("orch-sandbox", &["--test", "sandbox"]),
        }
    }

    pub(super) const fn filter(self) -> &'static str {
        match self {
            Self::Daemon => "daemon::it_runs",
            Self::Kept => "daemon::what_failed_once",
            Self::Store => "store::",
            Self::Clock => "schedule_clock::",
            Self::Wakes => "reconcile::runs::",
            Self::Attempts => "lifecycle::an_attempt",
        }
    }
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plant {
    pub(super) name: &'static str,
    /// What is wrong then.
    pub(super) what: &'static str,
    pub(super) file: &'static str,
    /// A text that is in the file once, and what it becomes.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Each of these finds it by itself.
    pub(super) finders: &'static [Finder],
}

const fn plant(
    (name, what): (&'static str, &'static str),
    file: &'static str,
    (from, to): (&'static str, &'static str),
    finders: &'static [Finder],
) -> Plant {
    Plant { name, what, file, from, to, finders }
}

/// All of them: scheduler, rules, store, reconcilers, shim.
pub(super) const PLANTS: &[Plant] = &[
    plant(
        ("book-dependencies", "the book starts tasks whose dependencies are open"),
        "orchd/core/src/schedule/ready.rs",
        ("            && node.judge() == Verdict::Holds\n", ""),
        &[Finder::Daemon],
    ),
    plant(
        ("book-places", "places that are taken count as free"),
        "orchd/core/src/schedule/choose.rs",
        ("let under_way = self.turns.running() + chosen;", "let under_way = chosen;"),
        &[Finder::Daemon],
    ),
    plant(
        ("book-shortage", "tasks begin on a disk that is nearly full"),
        "orchd/core/src/schedule/limits.rs",
        ("self.paused.is_some() || self.shortage.is_some() || ", "self.paused.is_some() || "),
        &[Finder::Daemon],
    ),
    plant(
        ("book-freed", "who waits for memory is not told when a run gives it back"),
        "orchd/core/src/schedule/book.rs",
        (
            "let freed = self.ledger.release(Holder::Run(id));\n            self.wake(freed);",
            "self.ledger.release(Holder::Run(id));",
        ),
        &[Finder::Daemon],
    ),
    plant(
        ("book-timer", "nobody looks again when the time of a task has come"),
        "orchd/core/src/schedule/times.rs",
        ("            self.times.timers.extend(next.map(|at| (at, id)));\n", "            drop(next);\n"),
        &[Finder::Daemon],
    ),
    plant(
        ("book-share", "a project may have one run more than it may"),
        "orchd/core/src/schedule/turns.rs",
        (".filter(|max| running >= *max)", ".filter(|max| running > *max)"),
        &[Finder::Daemon],
    ),
    plant(
        ("clock-retry", "a retry waits until the clock has caught up"),
        "orchd/core/src/entity/backoff.rs",
        ("from <= now && now < until", "from <= until && now < until"),
        &[Finder::Clock],
    ),
    plant(
        ("clock-age", "priority that was gained by a clock that was ahead is kept"),
        "orchd/core/src/schedule/classes.rs",
        (".is_some_and(|before| now < before) {", ".is_some_and(|before| before < before) {"),
        &[Finder::Clock, Finder::Kept],
    ),
    plant(
        ("clock-use", "use that was counted by a clock that was ahead is kept"),
        "orchd/core/src/schedule/turns.rs",
        (".filter(|_| counts_ms != run.counts_ms)", ".filter(|_| counts_ms > run.counts_ms)"),
        &[Finder::Clock],
    ),
    plant(
        ("clock-day", "a clock that is put back gives a day back"),
        "orchd/core/src/schedule/turns.rs",
        ("if self.started.0 >= day {", "if self.started.0 == day {"),
        &[Finder::Clock],
    ),
    plant(
        ("clock-overdue", "what a clock that was ahead said of waits is kept"),
        "orchd/core/src/schedule/overdue.rs",
        ("self.waiting.stands.keys().copied().collect();", "self.waiting.over.iter().copied().collect();"),
        &[Finder::Clock],
    ),
    plant(
        ("clock-log", "commands are judged by the time of the log"),
        "orchd/store/src/execute.rs",
        ("&envelope.actor, now, self.ids", "&envelope.actor, at, self.ids"),
        &[Finder::Daemon, Finder::Kept],
    ),
    plant(
        ("rule-fence", "all attempts have one fence"),
        "orchd/core/src/decide/run.rs",
        ("fence: u64::from(number),", "fence: 1,"),
        &[Finder::Daemon],
    ),
    plant(
        ("rule-late", "the result of another attempt is taken"),
        "orchd/core/src/decide/settle.rs",
        ("if run.state.is_final() || run.fence != *fence {", "if run.state.is_final() {"),
        &[Finder::Daemon],
    ),
    plant(
        ("store-sync", "commits are not synced"),
        "orchd/store/src/sqlite.rs",
        ("PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF"),
        &[Finder::Store],
    ),
    plant(
        ("store-answer", "who asked is told of success when the commit failed"),
        "orchd/store/src/writer.rs",
        ("done.tell(failed.as_ref())", "done.tell(None)"),
        &[Finder::Store],
    ),
    plant(
        ("store-again", "a command that comes again is executed again"),
        "orchd/store/src/execute.rs",
        ("log::finished(self.conn, envelope.id)? {", "log::finished(self.conn, envelope.id)?.filter(|_| false) {"),
        &[Finder::Store],
    ),
    plant(
        ("store-kept", "what was decoded in a transaction that failed is kept"),
        "orchd/store/src/writer.rs",
        ("            self.conn = None;\n            self.kept = Kept::default();", "            self.conn = None;"),
        &[Finder::Store],
    ),
    plant(
        ("store-settle", "what a process that was killed left in the log is built upon without a sync"),
        "orchd/store/src/store.rs",
        ("        writer.settle(&conn, \"TRUNCATE\").map_err(database)?;\n", ""),
        &[Finder::Store],
    ),
    plant(
        ("runner-forestall", "a run is given up although its attempt was started"),
        "orchd/src/reconcile/launch.rs",
        ("        Ok(false) => return Ok(false),\n", "        Ok(false) => {}\n"),
        &[Finder::Kept],
    ),
    plant(
        ("runner-intent", "a run is started before that is on record"),
        "orchd/src/reconcile/runner.rs",
        (
            "let Some(run) = begin(app, run).await? else { return Ok(Err(Followed::Overtaken)) };",
            "let run = Run { state: RunState::Starting, ..run };",
        ),
        &[Finder::Daemon],
    ),
    plant(
        ("runner-served", "what serves a run is cut off when following it begins anew"),
        "orchd/src/reconcile/runner.rs",
        (
            "Ok(Some(run)) => follow(app, run, bell, (&mut looked, &mut known)).await,",
            "Ok(Some(run)) => { known.channel = None; follow(app, run, bell, (&mut looked, &mut known)).await }",
        ),
        &[Finder::Daemon],
    ),
    plant(
        ("runner-give-back", "a claim that the daemon before this one made is given back again and again"),
        "orchd/src/reconcile/runner.rs",
        (
            "if is_over && launch::give_back(app, &run).await? {",
            "if is_over && (launch::give_back(app, &run).await? || is_over) {",
        ),
        &[Finder::Kept],
    ),
    plant(
        ("runner-drain", "a run is settled before the rest of its log is on record"),
        "orchd/src/reconcile/settle.rs",
        ("ended.said = log::rest(app, run, scanned).await?.map(Box::new);", ""),
        &[Finder::Daemon],
    ),
    plant(
        ("runner-lost", "a run that is gone without a result has succeeded"),
        "orchd/src/reconcile/lease.rs",
        ("        None => RunOutcome::Lost { reason },", "        None => RunOutcome::Succeeded,"),
        &[Finder::Daemon],
    ),
    plant(
        ("runner-resume", "a run that stands still is never told to go on"),
        "orchd/src/reconcile/steering.rs",
        ("if self.stands_still != Some(wanted)", "if wanted && self.stands_still != Some(wanted)"),
        &[Finder::Daemon],
    ),
    plant(
        ("runner-wake", "who follows a run is not woken by a request to cancel it"),
        "orchd/src/reconcile/runs.rs",
        ("[\"cancel_requested\", \"pause_requested\"", "[\"cancel_requests\", \"pause_requested\""),
        &[Finder::Wakes],
    ),
    plant(
        ("merge-elsewhere", "a merge that lost its branch to somebody is called merged"),
        "orchd/src/reconcile/changes.rs",
        (
            "Moved::Elsewhere => Command::RefuseMerge { change },",
            "Moved::Elsewhere => Command::FinishMerge { change, toolchains: Vec::new() },",
        ),
        &[Finder::Daemon],
    ),
    plant(
        ("shim-claim", "an attempt can be claimed twice"),
        "sandbox/src/run_dir/claim.rs",
        ("OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY", "OFlag::O_CREAT | OFlag::O_WRONLY"),
        &[Finder::Attempts],
    ),
    plant(
        ("shim-older", "an attempt is taken after a newer one"),
        "sandbox/src/run_dir/claim.rs",
        ("filter(|newest| *newest > fence)", "filter(|newest| *newest < fence)"),
        &[Finder::Attempts],
    ),
    plant(
        ("shim-record", "the record of one attempt is taken for that of another"),
        "sandbox/src/run_dir/mod.rs",
        ("record.filter(|record| record.fence == fence)", "record.filter(|record| record.fence >= fence)"),
        &[Finder::Attempts],
    ),
];
