//! Reading run logs: for events (what the shim says of steps and isolation) and for people (lines).

use std::path::Path;

use orch_core::entity::{Guarantee, GuaranteeState, Isolation, NetworkUse, NetworkVerdict, Observation};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_proto::Timestamp;
use orch_proto::request::Bytes;
use orch_proto::view::{LogChunk, LogStream};
use orch_sandbox::egress::{DenyReason, EgressRecord, Verdict};
use orch_sandbox::exit_record::{StepFailure, StepStatus};
use orch_sandbox::level::{LevelReport, Strength};
use orch_sandbox::log::{ControlEvent, Ending, LogReader, ReadLogError, Record, Stream};

/// Exit code that stands for a program that could not be executed, as in a shell.
const CODE_NOT_EXECUTED: i32 = 127;

/// The signal that ends a step which uses more than it may, whoever sends it.
const SIGNAL_KILL: i32 = 9;

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<T> {
    pub items: Vec<T>,
    /// Where to read on.
    pub next_offset: u64,
}

/// Reads what the shim says, from `offset` on, in a piece of at most about `bytes_max`.
///
/// # Errors
/// When the log exists and cannot be read, or is none.
pub fn observations(log: &Path, offset: u64, bytes_max: usize) -> Result<Piece<Observation>, ReadLogError> {
    let (records, next_offset) = read(log, offset, bytes_max)?;
    let items = records.iter().filter_map(|record| observation(record.time_us, &record.control()?)).collect();
    Ok(Piece { items, next_offset })
}

/// Why the run of a log was ended though nobody wanted it to, if the log says so from `offset` on.
///
/// # Errors
/// When the log exists and cannot be read, or is none.
pub fn lease_lost(log: &Path, mut offset: u64, bytes_max: usize) -> Result<Option<String>, ReadLogError> {
    loop {
        let (records, next_offset) = read(log, offset, bytes_max)?;
        let lost = records.iter().filter_map(Record::control).find_map(|event| match event {
            ControlEvent::LeaseLost { reason } => Some(reason),
            _ => None,
        });
        if lost.is_some() || next_offset == offset {
            return Ok(lost);
        }
        offset = next_offset;
    }
}

/// Reads lines, from `offset` on, in a piece of at most about `bytes_max`.
///
/// # Errors
/// When the log exists and cannot be read, or is none.
pub fn chunks(log: &Path, offset: u64, bytes_max: usize) -> Result<Piece<LogChunk>, ReadLogError> {
    let (records, next_offset) = read(log, offset, bytes_max)?;
    Ok(Piece { items: records.into_iter().filter_map(chunk).collect(), next_offset })
}

/// What the probes found, in the core's terms.
#[must_use]
pub fn isolation(report: &LevelReport) -> Isolation {
    let guarantees = report.guarantees.iter().map(|guarantee| Guarantee {
        name: guarantee.kind.to_string(),
        state: match guarantee.strength {
            Strength::Enforced => GuaranteeState::Enforced,
            Strength::Degraded => GuaranteeState::Degraded,
            Strength::Absent => GuaranteeState::Absent,
        },
        how: guarantee.how.clone(),
        evidence: guarantee.evidence.clone(),
    });
    Isolation { level: u8::from(report.level), guarantees: guarantees.collect() }
}

/// Records of a log from `offset` on, and where to read on.
pub(crate) fn read(log: &Path, offset: u64, bytes_max: usize) -> Result<(Vec<Record>, u64), ReadLogError> {
    if !log.exists() {
        return Ok((Vec::new(), offset));
    }
    LogReader::open(log)?.read_from(offset, bytes_max)
}

fn observation(time_us: u64, event: &ControlEvent) -> Option<Observation> {
    let at = timestamp(time_us);
    match event {
        ControlEvent::Level { report } => Some(Observation::Isolated { isolation: isolation(report) }),
        ControlEvent::StepStarted { index, .. } => {
            Some(Observation::Step { index: u32::from(*index), event: StepEvent::Started { at } })
        }
        ControlEvent::StepFinished { index, status, .. } => {
            Some(Observation::Step { index: u32::from(*index), event: StepEvent::Ended { at, end: step_end(status)? } })
        }
        ControlEvent::Paused => Some(Observation::Paused),
        ControlEvent::Resumed => Some(Observation::Resumed),
        ControlEvent::Egress { record, count } => Some(network(record, *count)),
        ControlEvent::EgressUnrecorded { count } => Some(Observation::NetworkLeftOut { count: *count }),
        _ => None,
    }
}

/// What the proxy of a run decided, in the core's terms.
fn network(record: &EgressRecord, count: u64) -> Observation {
    let verdict = match &record.verdict {
        Verdict::Allowed { address } => NetworkVerdict::Allowed { address: address.to_string() },
        Verdict::Denied { reason: DenyReason::ResolvedTo(kind) } => {
            NetworkVerdict::Denied { reason: format!("resolves to {}", kind.word()) }
        }
        Verdict::Denied { reason } => NetworkVerdict::Denied { reason: reason.word().to_owned() },
        Verdict::Failed { failure } => NetworkVerdict::Failed { reason: failure.word().to_owned() },
        Verdict::Closed { sent_bytes, received_bytes } => {
            NetworkVerdict::Closed { sent_bytes: *sent_bytes, received_bytes: *received_bytes }
        }
        Verdict::Missed { count } => return Observation::NetworkLeftOut { count: *count },
        _ => NetworkVerdict::Failed { reason: "unknown".to_owned() },
    };
    let host = record.host.as_ref().map(|asked| asked.as_str().to_owned());
    let way = record.way.word().to_owned();
    Observation::Network { used: NetworkUse { way, host, port: record.port, verdict, count } }
}

/// What a person reads of a record.
pub(crate) fn chunk(record: Record) -> Option<LogChunk> {
    let at = timestamp(record.time_us);
    let step = record.step.map(u32::from);
    let (stream, bytes) = match record.stream {
        Stream::Stdout => (LogStream::Stdout, record.payload),
        Stream::Stderr => (LogStream::Stderr, record.payload),
        Stream::Control => (LogStream::Control, control_text(&record.control()?)?.into_bytes()),
    };
    let newline = record.stream == Stream::Control || record.ending == Ending::Newline;
    Some(LogChunk { stream, step, at, bytes: Bytes(bytes), newline })
}

/// What a person reads of a control event.
fn control_text(event: &ControlEvent) -> Option<String> {
    match event {
        ControlEvent::Level { report } => Some(format!("isolation level {}", report.level)),
        ControlEvent::StepStarted { name, .. } => Some(format!("step {name} started")),
        ControlEvent::StepFinished { name, status, .. } => Some(format!("step {name} {}", status_text(status))),
        ControlEvent::Truncated { limit_bytes } => {
            Some(format!("output over {limit_bytes} bytes is dropped from here on"))
        }
        ControlEvent::Paused => Some("paused".into()),
        ControlEvent::Resumed => Some("resumed".into()),
        ControlEvent::LimitExceeded { excess } => Some(excess.to_string()),
        ControlEvent::Silent { idle_ms } => Some(format!("no output for {} s", idle_ms / 1_000)),
        ControlEvent::CancelRequested => Some("cancel requested".into()),
        ControlEvent::LeaseLost { reason } => Some(reason.clone()),
        ControlEvent::Egress { record, count: 1 } => Some(record.to_string()),
        ControlEvent::Egress { record, count } => Some(format!("{record} ({count} times)")),
        ControlEvent::EgressUnrecorded { count } => Some(format!("{count} more network records are left out")),
        ControlEvent::EgressProxyEnded { replaced: true } => Some("the network proxy died and was replaced".into()),
        ControlEvent::EgressProxyEnded { replaced: false } => Some("the network proxy died and stays dead".into()),
        ControlEvent::Finished { dropped_bytes: 0 } => Some("finished".into()),
        ControlEvent::Finished { dropped_bytes } => {
            Some(format!("finished; {dropped_bytes} bytes of output were dropped"))
        }
        _ => None,
    }
}

fn status_text(status: &StepStatus) -> String {
    match status {
        StepStatus::Succeeded => "succeeded".into(),
        StepStatus::Failed { failure } => format!("failed: {failure}"),
        StepStatus::TimedOut => "timed out".into(),
        StepStatus::LimitExceeded { .. } => "was killed for using too much".into(),
        StepStatus::Cancelled => "was cancelled".into(),
        StepStatus::Lost => "was lost".into(),
        StepStatus::NotRun => "was not run".into(),
    }
}

/// How a step ended, in the core's terms; none for one that never ran.
#[must_use]
pub fn step_end(status: &StepStatus) -> Option<StepEnd> {
    match status {
        StepStatus::Succeeded => Some(StepEnd::Succeeded),
        StepStatus::Failed { failure: StepFailure::ExitCode { code } } => Some(StepEnd::Failed { code: *code }),
        StepStatus::Failed { failure: StepFailure::Signal { signal } } => Some(StepEnd::Killed { signal: *signal }),
        StepStatus::Failed { failure: StepFailure::Exec { .. } } => Some(StepEnd::Failed { code: CODE_NOT_EXECUTED }),
        StepStatus::TimedOut => Some(StepEnd::TimedOut),
        StepStatus::LimitExceeded { .. } => Some(StepEnd::Killed { signal: SIGNAL_KILL }),
        StepStatus::Cancelled | StepStatus::Lost => Some(StepEnd::Cancelled),
        StepStatus::NotRun => None,
    }
}

/// The sandbox's time in the contract's form.
#[must_use]
pub fn timestamp(unix_us: u64) -> Timestamp {
    Timestamp::from_unix_us(i64::try_from(unix_us).unwrap_or(i64::MAX))
}
