//! What happens next in a run: a pure machine from what the shim sees to what it does.
//!
//! Knows no process, descriptor or clock. **Invariant:** no step starts before the level was found sufficient.
//! **Invariant:** an `Always` step starts only after everything inside was killed. **Invariant:** the first reason why a
//! run did not succeed is its outcome, but a sandbox that was lost is an infrastructure loss whatever happened before,
//! unless the run was being cancelled or had exceeded a limit, which can take the sandbox with it.

use crate::exit_record::{Outcome, StepFailure, StepResult, StepStatus};
use crate::level::LevelReport;
use crate::limit::{Excess, LimitKind};
use crate::spec::{CheckedSpec, Isolation, Phase};

/// What the shim sees.
#[derive(Debug)]
pub(super) enum Input {
    /// Init could not be started or could not build the sandbox; the outcome says why.
    NotBuilt(Outcome),
    /// The sandbox is built and probed, and the process of the first step executes its program unless `report` has less
    /// than the required level; `fix` is what a person can do about what is missing.
    Probed { report: LevelReport, fix: String },
    /// The process of the running step has ended.
    StepEnded { failure: Option<StepFailure> },
    /// Nothing runs inside.
    KilledAll,
    /// The time of the running step is over.
    StepTimeout,
    /// The time of the run is over.
    WallTimeout,
    /// The running step was silent for this long, in milliseconds, which is too long.
    IdleTimeout { idle_ms: u64 },
    /// The run uses more than it may.
    Exceeded(Excess),
    /// Somebody wants it to end.
    Cancel,
    /// Init is gone, or nothing can be done any more.
    Lost { message: String },
}

/// What the shim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing new.
    Wait,
    /// The first step has started by itself: begin to count its time.
    Began,
    /// Start the step with this index, which is not the first.
    Start(u16),
    /// Kill everything inside.
    KillAll,
    /// End init and write the record.
    Finish,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Init builds the sandbox, and its first process probes it.
    Building,
    /// A step runs.
    Running(u16),
    /// A step and everything else is being killed.
    Killing(u16, Reason),
    /// Leftovers are being killed; then the step with this index runs.
    Clearing(u16),
    /// It is over.
    Over,
}

/// Why a step is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    TimedOut,
    LimitExceeded(LimitKind),
    Cancelled,
}

/// The state of one run.
#[derive(Debug)]
pub(super) struct Machine {
    isolation: Isolation,
    required: crate::level::Level,
    phases: Vec<Phase>,
    results: Vec<StepResult>,
    stage: Stage,
    outcome: Option<Outcome>,
    /// Whether the first step can have begun.
    is_claimed: bool,
    cancelled: bool,
    level: Option<LevelReport>,
}

impl Machine {
    pub(super) fn new(spec: &CheckedSpec) -> Self {
        let result = |name: &String| StepResult {
            name: name.clone(),
            status: StepStatus::NotRun,
            started_at_us: None,
            finished_at_us: None,
        };
        Self {
            isolation: spec.isolation,
            required: spec.required_level,
            phases: spec.steps.iter().map(|step| step.phase).collect(),
            results: spec.steps.iter().map(|step| result(&step.name)).collect(),
            stage: Stage::Building,
            outcome: None,
            is_claimed: false,
            cancelled: false,
            level: None,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the run has passed its main phase.
    pub(super) fn finishing(&self) -> bool {
        match self.stage {
            Stage::Building => false,
            Stage::Running(index) => self.phase(index) == Phase::Always,
            Stage::Killing(..) | Stage::Clearing(_) | Stage::Over => true,
        }
    }

    /// The results so far.
    pub(super) fn results(&self) -> &[StepResult] {
        &self.results
    }

    /// How the run ended, with everything that the record needs.
    pub(super) fn into_parts(self) -> (Outcome, Vec<StepResult>, Option<LevelReport>) {
        let lost = || Outcome::ShimError { message: "the run was left before its end".to_owned() };
        let outcome = match (self.stage, self.outcome) {
            (Stage::Over, outcome) => outcome.unwrap_or(Outcome::Succeeded),
            (_, outcome) => outcome.unwrap_or_else(lost),
        };
        (outcome, self.results, self.level)
    }

    /// The only function that moves the machine.
    pub(super) fn next(&mut self, input: Input, now_us: u64) -> Action {
        match (self.stage, input) {
            (Stage::Over, _) => Action::Wait,
            (_, Input::Lost { message }) => self.lost(message, now_us),
            (Stage::Building, Input::NotBuilt(outcome)) => self.over(outcome),
            (Stage::Building, Input::Probed { report, fix }) => self.probed(report, fix, now_us),
            (Stage::Building, Input::Cancel) => self.end_early(Outcome::Cancelled, StepStatus::Cancelled, now_us),
            (Stage::Building, Input::WallTimeout) => {
                self.end_early(Outcome::TimedOut { step: None }, StepStatus::TimedOut, now_us)
            }
            (Stage::Running(index), Input::StepEnded { failure }) => self.step_ended(index, failure, now_us),
            (Stage::Building, Input::Exceeded(excess)) => {
                let status = StepStatus::LimitExceeded { limit: excess.limit };
                self.end_early(Outcome::LimitExceeded { excess, step: None }, status, now_us)
            }
            (Stage::Running(index), Input::StepTimeout) => self.time_out(index),
            (Stage::Running(index), Input::WallTimeout) if self.phase(index) != Phase::Always => self.time_out(index),
            (Stage::Running(index), Input::IdleTimeout { idle_ms }) => {
                let outcome = Outcome::NoOutput { step: self.name(index), idle_ms };
                self.kill(index, Reason::TimedOut, outcome)
            }
            (Stage::Running(index), Input::Exceeded(excess)) => {
                let outcome = Outcome::LimitExceeded { excess, step: Some(self.name(index)) };
                self.kill(index, Reason::LimitExceeded(excess.limit), outcome)
            }
            (Stage::Killing(index, reason), Input::StepEnded { .. }) => {
                self.record_killed(index, reason, now_us);
                Action::Wait
            }
            (Stage::Killing(index, reason), Input::KilledAll) => {
                self.record_killed(index, reason, now_us);
                self.after_killing(index, now_us)
            }
            (Stage::Clearing(next), Input::KilledAll) => self.start(next, now_us),
            (Stage::Running(_) | Stage::Killing(..) | Stage::Clearing(_), Input::Cancel) => self.cancel(now_us),
            // What the shim saw came too late to matter, or cannot come at all.
            (_, _) => Action::Wait,
        }
    }

    /// The sandbox belongs to this run from now on: its first step starts by itself, a moment before anybody hears of it.
    pub(super) fn claimed(&mut self) {
        self.is_claimed = true;
    }

    /// Ends a run of which nobody has heard that its first step began. It may have: that is not called not run.
    fn end_early(&mut self, outcome: Outcome, status: StepStatus, now_us: u64) -> Action {
        if self.is_claimed {
            self.record(0, status, now_us);
        }
        self.over(outcome)
    }

    fn phase(&self, index: u16) -> Phase {
        self.phases.get(usize::from(index)).copied().unwrap_or(Phase::Always)
    }

    fn go(&mut self, stage: Stage, action: Action) -> Action {
        self.stage = stage;
        action
    }

    fn over(&mut self, outcome: Outcome) -> Action {
        self.outcome.get_or_insert(outcome);
        self.go(Stage::Over, Action::Finish)
    }

    fn probed(&mut self, report: LevelReport, fix: String, now_us: u64) -> Action {
        let (required, reached) = (self.required, report.level);
        let missing = report.missing_for(required);
        self.level = Some(report);
        if self.isolation == Isolation::Sandboxed && reached < required {
            return self.over(Outcome::LevelRefused { required, reached, missing, fix });
        }
        // Also if it is an `Always` step: nothing ran before it that would have to be killed.
        self.start(0, now_us);
        Action::Began
    }

    fn start(&mut self, index: u16, now_us: u64) -> Action {
        if let Some(result) = self.results.get_mut(usize::from(index)) {
            result.started_at_us = Some(now_us);
        }
        self.go(Stage::Running(index), Action::Start(index))
    }

    fn step_ended(&mut self, index: u16, failure: Option<StepFailure>, now_us: u64) -> Action {
        let failed = failure.is_some();
        if let Some(failure) = &failure {
            let step = self.name(index);
            self.outcome.get_or_insert(Outcome::StepFailed { step, failure: failure.clone() });
        }
        let status = failure.map_or(StepStatus::Succeeded, |failure| StepStatus::Failed { failure });
        self.record(index, status, now_us);
        let following = index + 1;
        let goes_on = !failed && usize::from(following) < self.phases.len() && self.phase(following) != Phase::Always;
        if goes_on && self.phase(index) != Phase::Always {
            return self.start(following, now_us);
        }
        match self.next_always(following) {
            Some(next) => self.go(Stage::Clearing(next), Action::KillAll),
            // Nothing follows: whatever is left inside dies with init.
            None => self.go(Stage::Over, Action::Finish),
        }
    }

    fn time_out(&mut self, index: u16) -> Action {
        let outcome = Outcome::TimedOut { step: Some(self.name(index)) };
        self.kill(index, Reason::TimedOut, outcome)
    }

    fn kill(&mut self, index: u16, reason: Reason, outcome: Outcome) -> Action {
        self.outcome.get_or_insert(outcome);
        self.go(Stage::Killing(index, reason), Action::KillAll)
    }

    fn after_killing(&mut self, index: u16, now_us: u64) -> Action {
        match self.next_always(index + 1) {
            Some(next) => self.start(next, now_us),
            None => self.go(Stage::Over, Action::Finish),
        }
    }

    fn cancel(&mut self, now_us: u64) -> Action {
        let again = std::mem::replace(&mut self.cancelled, true);
        match self.stage {
            Stage::Running(index) if again => {
                self.record(index, StepStatus::Cancelled, now_us);
                self.over(Outcome::Cancelled)
            }
            Stage::Killing(index, reason) if again => {
                self.record_killed(index, reason, now_us);
                self.over(Outcome::Cancelled)
            }
            Stage::Clearing(_) if again => self.over(Outcome::Cancelled),
            Stage::Running(index) if self.phase(index) != Phase::Always => {
                self.kill(index, Reason::Cancelled, Outcome::Cancelled)
            }
            Stage::Building | Stage::Running(_) | Stage::Killing(..) | Stage::Clearing(_) | Stage::Over => {
                self.outcome.get_or_insert(Outcome::Cancelled);
                Action::Wait
            }
        }
    }

    fn lost(&mut self, message: String, now_us: u64) -> Action {
        match self.stage {
            Stage::Building if self.is_claimed => self.record(0, StepStatus::Lost, now_us),
            Stage::Running(index) => self.record(index, StepStatus::Lost, now_us),
            Stage::Killing(index, reason) => self.record_killed(index, reason, now_us),
            Stage::Building | Stage::Clearing(_) | Stage::Over => {}
        }
        let explained = matches!(self.outcome, Some(Outcome::Cancelled | Outcome::LimitExceeded { .. }));
        if !explained {
            self.outcome = Some(Outcome::ShimError { message });
        }
        self.go(Stage::Over, Action::Finish)
    }

    fn record_killed(&mut self, index: u16, reason: Reason, now_us: u64) {
        let status = match reason {
            Reason::TimedOut => StepStatus::TimedOut,
            Reason::LimitExceeded(limit) => StepStatus::LimitExceeded { limit },
            Reason::Cancelled => StepStatus::Cancelled,
        };
        self.record(index, status, now_us);
    }

    /// Records the end of a step once; the first word about it stands.
    fn record(&mut self, index: u16, status: StepStatus, now_us: u64) {
        if let Some(result) = self.results.get_mut(usize::from(index)).filter(|result| result.finished_at_us.is_none())
        {
            result.status = status;
            result.finished_at_us = Some(now_us);
        }
    }

    fn next_always(&self, from: u16) -> Option<u16> {
        let rest = self.phases.iter().enumerate().skip(usize::from(from));
        rest.filter(|(_, phase)| **phase == Phase::Always).find_map(|(index, _)| u16::try_from(index).ok())
    }

    fn name(&self, index: u16) -> String {
        self.results.get(usize::from(index)).map(|result| result.name.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::{Guarantee, GuaranteeKind, Level, Strength};

    /// A run with the given phases, one step `s<index>` each, that requires `required`.
    fn machine(phases: &[Phase], required: Level) -> Machine {
        let result = |index| StepResult {
            name: format!("s{index}"),
            status: StepStatus::NotRun,
            started_at_us: None,
            finished_at_us: None,
        };
        Machine {
            isolation: Isolation::Sandboxed,
            required,
            phases: phases.to_vec(),
            results: (0..phases.len()).map(result).collect(),
            stage: Stage::Building,
            outcome: None,
            is_claimed: false,
            cancelled: false,
            level: None,
        }
    }

    fn probed() -> Input {
        Input::Probed { report: LevelReport::new(Vec::new()), fix: String::new() }
    }

    fn ended(code: i32) -> Input {
        Input::StepEnded { failure: (code != 0).then_some(StepFailure::ExitCode { code }) }
    }

    /// Feeds `inputs` and shows the actions, the outcome and the statuses.
    fn play(phases: &[Phase], inputs: Vec<Input>) -> String {
        let mut machine = machine(phases, Level::None);
        let actions: Vec<_> = inputs.into_iter().map(|input| format!("{:?}", machine.next(input, 1))).collect();
        let (outcome, steps, _) = machine.into_parts();
        let statuses: Vec<_> = steps.iter().map(|step| format!("{:?}", step.status)).collect();
        format!("{} | {outcome} | {}", actions.join(" "), statuses.join(" "))
    }

    use Input::{Cancel, KilledAll, StepTimeout, WallTimeout};
    use Phase::{Always, Main, Setup};

    /// Once the sandbox is claimed its first step starts by itself; before, nothing can have begun.
    #[test]
    fn what_may_have_begun_is_not_called_not_run() {
        let lost = || Input::Lost { message: "gone".into() };
        let excess = Excess { limit: LimitKind::Disk, allowed: 1, found: 2 };
        for (input, status) in [
            (Cancel, StepStatus::Cancelled),
            (WallTimeout, StepStatus::TimedOut),
            (Input::Exceeded(excess), StepStatus::LimitExceeded { limit: LimitKind::Disk }),
            (lost(), StepStatus::Lost),
        ] {
            let mut machine = machine(&[Main, Always], Level::None);
            machine.claimed();
            assert_eq!(machine.next(input, 1), Action::Finish);
            let statuses: Vec<_> = machine.into_parts().1.into_iter().map(|step| step.status).collect();
            assert_eq!(statuses, [status, StepStatus::NotRun]);
        }
        assert_eq!(play(&[Main], vec![lost()]), "Finish | sandbox lost: gone | NotRun");
    }

    #[test]
    fn steps_follow_each_other() {
        assert_eq!(
            play(&[Setup, Main, Always], vec![probed(), ended(0), ended(0), KilledAll, ended(0)]),
            "Began Start(1) KillAll Start(2) Finish | succeeded | Succeeded Succeeded Succeeded"
        );
    }

    #[test]
    fn a_failure_skips_to_the_always_steps() {
        assert_eq!(
            play(&[Main, Main, Always, Always], vec![probed(), ended(3), KilledAll, ended(4), KilledAll, ended(0)]),
            "Began KillAll Start(2) KillAll Start(3) Finish | step `s0` failed: exit code 3 | \
             Failed { failure: ExitCode { code: 3 } } NotRun Failed { failure: ExitCode { code: 4 } } Succeeded"
        );
    }

    #[test]
    fn time_outs_kill_and_go_on_to_the_always_steps() {
        assert_eq!(
            play(
                &[Main, Always],
                vec![probed(), StepTimeout, ended(0), KilledAll, WallTimeout, StepTimeout, KilledAll]
            ),
            "Began KillAll Wait Start(1) Wait KillAll Finish | timed out in step `s0` | TimedOut TimedOut"
        );
    }

    #[test]
    fn silence_is_a_time_out_with_its_own_reason() {
        let idle = || Input::IdleTimeout { idle_ms: 600_000 };
        assert_eq!(
            play(&[Main, Always], vec![idle(), probed(), idle(), ended(0), idle(), KilledAll, ended(0)]),
            "Wait Began KillAll Wait Wait Start(1) Finish | \
             timed out in step `s0`: no output for 10 min | TimedOut Succeeded"
        );
    }

    #[test]
    fn what_exceeds_a_limit_is_killed_and_says_so() {
        let excess = Excess { limit: LimitKind::Memory, allowed: 1 << 30, found: 1280 << 20 };
        let over = || Input::Exceeded(excess);
        assert_eq!(
            play(&[Main, Main, Always], vec![probed(), over(), over(), ended(0), KilledAll, ended(0)]),
            "Began KillAll Wait Wait Start(2) Finish | \
             memory limit of 1 GiB exceeded: 1.2 GiB in use in step `s0` | \
             LimitExceeded { limit: Memory } NotRun Succeeded"
        );
        assert_eq!(play(&[Main], vec![over()]), "Finish | memory limit of 1 GiB exceeded: 1.2 GiB in use | NotRun");
    }

    /// The kernel can take init with the rest of a run that used too much memory.
    #[test]
    fn a_sandbox_that_dies_of_its_limit_is_no_loss() {
        let excess = Excess { limit: LimitKind::Memory, allowed: 1 << 30, found: 1 << 30 };
        let lost = Input::Lost { message: "init died".to_owned() };
        assert_eq!(
            play(&[Main, Always], vec![probed(), Input::Exceeded(excess), lost]),
            "Began KillAll Finish | memory limit of 1 GiB exceeded in step `s0` | \
             LimitExceeded { limit: Memory } NotRun"
        );
    }

    #[test]
    fn a_second_cancel_skips_the_always_steps() {
        assert_eq!(
            play(&[Main, Always], vec![probed(), Cancel, ended(0), KilledAll, Cancel]),
            "Began KillAll Wait Start(1) Finish | cancelled | Cancelled Cancelled"
        );
        assert_eq!(play(&[Main], vec![Cancel]), "Finish | cancelled | NotRun");
    }

    #[test]
    fn a_lost_sandbox_is_no_failure_of_the_step() {
        let lost = Input::Lost { message: "init died".to_owned() };
        assert_eq!(play(&[Main, Always], vec![probed(), lost]), "Began Finish | sandbox lost: init died | Lost NotRun");
    }

    #[test]
    fn too_low_a_level_is_refused_before_the_first_step() {
        let mut machine = machine(&[Main], Level::Full);
        let filter = Guarantee {
            kind: GuaranteeKind::SyscallFilter,
            strength: Strength::Enforced,
            how: String::new(),
            evidence: String::new(),
        };
        let input = Input::Probed { report: LevelReport::new(vec![filter]), fix: "do".to_owned() };
        assert_eq!(machine.next(input, 1), Action::Finish);
        let (outcome, steps, level) = machine.into_parts();
        assert!(matches!(outcome, Outcome::LevelRefused { reached: Level::None, .. }), "{outcome:?}");
        assert_eq!(steps[0].status, StepStatus::NotRun);
        assert!(level.is_some());
    }
}
