//! Cases for which a run tries to touch what is laid out for it on the host.

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_adapters::executor::{LOG_START, log_path};
use orch_adapters::run_log;
use orch_core::entity::Observation;
use orch_core::state::step::StepEvent;
use orch_proto::view::{CaseResult, LogStream};
use orch_sandbox::Secrets;
use orch_sandbox::attempt::{Attempt, Attempted, Finding};
use orch_sandbox::level::{GuaranteeKind, Level, LevelReport, Strength};
use orch_sandbox::spec::{ReadOnlyMount, RunSpec, SecretDelivery, SecretSpec};

use super::{Bench, Found, untried};
use crate::app::blocking;
use crate::error_chain::chain;
use crate::jail::{self, Jail};

/// Where the sandbox program appears in a run that makes attempts.
const PROGRAM_INSIDE: &str = "/orch/attempt";
/// What a run may have at most while it tries to have more.
const PROCESSES: u64 = 64;
/// A name that the policy of a run allows, so that it has a proxy. Nobody has the name.
const ALLOWED: &str = "allowed.invalid";
/// The secret of a run that is looked for from outside, and the file that ends the looking.
const SECRET: &str = "self-test";
const LOOKED: &str = "looked";
/// How long the step of a run is waited for.
const STEP_WAIT: Duration = Duration::from_secs(10);
/// Most bytes of what the attempts say, and of a file that is looked through.
const SAID_BYTES_MAX: usize = 64 << 10;
const FILE_BYTES_MAX: u64 = 4 << 20;

/// F1, N2, N20, R1: things of the host that are really there.
pub(super) async fn beside_the_host(bench: Bench<'_>, report: &LevelReport) -> Vec<(&'static str, Found)> {
    let ids = ["F1", "N2", "N20", "R1"];
    let laid_out = || -> std::io::Result<_> {
        let canary = bench.directory.join("canary");
        std::fs::write(&canary, "of the host")?;
        let loopback = TcpListener::bind(("127.0.0.1", 0))?;
        loopback.set_nonblocking(true)?;
        let port = loopback.local_addr()?.port();
        let name = format!("orch-self-test-{}", random_word()?);
        let abstracted = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        abstracted.set_nonblocking(true)?;
        let attempts = vec![
            Attempt::ReadFiles { paths: vec![canary.canonicalize()?] },
            Attempt::ReachLoopback { port },
            Attempt::ReachAbstract { name },
            Attempt::Multiply { bound: PROCESSES },
        ];
        Ok((attempts, loopback, abstracted))
    };
    let (attempts, loopback, abstracted) = match laid_out() {
        Ok(laid_out) => laid_out,
        Err(error) => return untried(ids, &error.to_string()),
    };
    let attempted = match attempt(bench, &attempts).await {
        Ok(attempted) => attempted,
        Err(why) => return untried(ids, &why),
    };
    let [file, reach, socket, multiply] = attempted.as_slice() else {
        return untried(ids, "the attempts said less than was asked");
    };
    let bound = report.guarantees.iter().find(|guarantee| guarantee.kind == GuaranteeKind::ProcessLimit);
    let multiplied = match bound {
        Some(bound) if bound.strength == Strength::Enforced => judged(multiply, None),
        _ => (CaseResult::Skipped, "nothing bounds the processes of a whole run on this host".to_owned()),
    };
    vec![
        ("F1", judged(file, None)),
        ("N2", judged(reach, touched(loopback.accept().map(drop)))),
        ("N20", judged(socket, touched(abstracted.accept().map(drop)))),
        ("R1", multiplied),
    ]
}

/// What a listener says that nobody may reach.
fn touched(accepted: std::io::Result<()>) -> Option<String> {
    match accepted {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(format!("its listener failed: {error}")),
        Ok(()) => Some("somebody connected to it".to_owned()),
    }
}

/// N15 and S1: a run with a proxy and a secret, looked at from outside while it goes on.
pub(super) async fn proxied(bench: Bench<'_>) -> Vec<(&'static str, Found)> {
    let ids = ["N15", "S1"];
    let (place, spec, secrets, value) = match proxied_spec(bench) {
        Ok(prepared) => prepared,
        Err(why) => return untried(ids, &why),
    };
    let run = jail::run_directory(&place);
    let execute = jail::execute(bench.executor, &place, (&spec, &secrets), std::future::pending());
    let (done, looked) = tokio::join!(execute, look(&run, &spec.workspace, value));
    let attempted = match done {
        Ok(_) => said(&run),
        Err(error) => return untried(ids, &chain(&error)),
    };
    let [asked, waited] = attempted.as_slice() else {
        return untried(ids, "the attempts said less than was asked");
    };
    let secret = match looked {
        Ok(seen) if waited.finding == Finding::Held => seen,
        Ok(_) => (CaseResult::Skipped, format!("could not be tried: {}", waited.seen)),
        Err(why) => (CaseResult::Skipped, format!("could not be tried: {why}")),
    };
    vec![("N15", judged(asked, None)), ("S1", secret)]
}

fn proxied_spec(bench: Bench<'_>) -> Result<(PathBuf, RunSpec, Secrets, String), String> {
    let value = random_word().map_err(|error| error.to_string())?;
    let mut secrets = Secrets::new();
    secrets.insert(SECRET, value.clone().into_bytes()).map_err(|error| error.to_string())?;
    let attempts = [Attempt::AskProxy, Attempt::WaitFor { path: LOOKED.into() }];
    let (place, mut spec) = spec(bench, "proxied", &attempts)?;
    let policy = serde_json::json!({"allow": {"transparent": false, "entries": [{"host": ALLOWED, "ports": [443]}]}});
    spec.egress = serde_json::from_value(policy).map_err(|error| error.to_string())?;
    spec.secrets = vec![SecretSpec { name: SECRET.to_owned(), delivery: SecretDelivery::File }];
    Ok((place, spec, secrets, value))
}

/// Looks for `value` where everybody or a later reader would find it, while the step waits; then lets the step end.
async fn look(run: &Path, workspace: &Path, value: String) -> Result<Found, String> {
    await_step(run).await?;
    let (run, workspace) = (run.to_owned(), workspace.to_owned());
    blocking(move || {
        let found = find(&run, &value);
        std::fs::write(workspace.join(LOOKED), "").map_err(|error| error.to_string())?;
        Ok(match found? {
            (Some(place), _) => (CaseResult::Open, format!("a secret of a run is in {place}")),
            (None, looked) => (CaseResult::Held, format!("in none of {looked} command lines and files of the run")),
        })
    })
    .await
}

/// Waits until the step of the run goes on.
async fn await_step(run: &Path) -> Result<(), String> {
    let since = Instant::now();
    while since.elapsed() < STEP_WAIT {
        let piece = run_log::observations(&log_path(run), LOG_START, SAID_BYTES_MAX);
        let started = |observation: &Observation| {
            matches!(observation, Observation::Step { event: StepEvent::Started { .. }, .. })
        };
        if piece.is_ok_and(|piece| piece.items.iter().any(started)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err("the step did not start".to_owned())
}

/// Where the value is, if it is anywhere, and how many places were looked at.
fn find(run: &Path, value: &str) -> Result<(Option<String>, usize), String> {
    let entries = |path: &Path| std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()));
    let processes = entries(Path::new("/proc"))?.flatten().map(|entry| entry.path());
    let processes = processes.filter(|path| path.join("stat").exists()).map(|path| path.join("cmdline"));
    let files = entries(run)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut looked = 0;
    for path in processes.chain(files.map(|entry| entry.path())) {
        let mut bytes = Vec::new();
        // Processes end while they are looked at.
        let read = std::fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        if read.is_err() {
            continue;
        }
        looked += 1;
        if bytes.windows(value.len()).any(|window| window == value.as_bytes()) {
            return Ok((Some(path.display().to_string()), looked));
        }
    }
    Ok((None, looked))
}

/// What came of an attempt that something outside may refute.
fn judged(attempted: &Attempted, touched: Option<String>) -> Found {
    match (attempted.finding, touched) {
        // The run was refused, so it was somebody else of this host, who can find the place. Nobody may stop all work so.
        (Finding::Held, Some(touched)) => {
            (CaseResult::Skipped, format!("{}; but {touched}, from outside the run", attempted.seen))
        }
        (Finding::Open | Finding::Unclear, Some(touched)) => {
            (CaseResult::Open, format!("{}; {touched}", attempted.seen))
        }
        (Finding::Held, None) => (CaseResult::Held, attempted.seen.clone()),
        (Finding::Open, None) => (CaseResult::Open, attempted.seen.clone()),
        (Finding::Unclear, None) => (CaseResult::Skipped, format!("could not be tried: {}", attempted.seen)),
    }
}

async fn attempt(bench: Bench<'_>, attempts: &[Attempt]) -> Result<Vec<Attempted>, String> {
    let (place, spec) = spec(bench, "attempts", attempts)?;
    let done = jail::execute(bench.executor, &place, (&spec, &Secrets::new()), std::future::pending()).await;
    done.map_err(|error| chain(&error))?;
    Ok(said(&jail::run_directory(&place)))
}

/// A run whose one step makes attempts.
fn spec(bench: Bench<'_>, name: &str, attempts: &[Attempt]) -> Result<(PathBuf, RunSpec), String> {
    let words = attempts.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let mut argv = vec![PROGRAM_INSIDE.to_owned(), "attempt".to_owned()];
    argv.extend(words.map_err(|error| error.to_string())?);
    let program = bench.program.canonicalize().map_err(|error| format!("{}: {error}", bench.program.display()))?;
    let work = Jail {
        directory: bench.directory.join(name),
        name,
        argv,
        mounts: vec![ReadOnlyMount { source: program, target: PROGRAM_INSIDE.into() }],
        with_out: false,
        required_level: Level::None,
    };
    let (place, mut spec) = jail::spec(work).map_err(|error| chain(&error))?;
    spec.limits.processes = PROCESSES;
    Ok((place, spec))
}

/// What the attempts said, line by line.
fn said(run: &Path) -> Vec<Attempted> {
    let piece = run_log::chunks(&log_path(run), LOG_START, SAID_BYTES_MAX);
    let chunks = piece.map(|piece| piece.items).unwrap_or_default();
    let lines = chunks.iter().filter(|chunk| chunk.stream == LogStream::Stdout);
    lines.filter_map(|line| serde_json::from_slice(&line.bytes.0).ok()).collect()
}

/// A word that nobody can guess, so that whoever shows it was given it.
fn random_word() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place of the host that a run tries to reach can be found and reached by everybody outside.
    #[test]
    fn a_stranger_opens_no_case() {
        let result = |finding, touched: Option<&str>| {
            judged(&Attempted { finding, seen: String::new() }, touched.map(str::to_owned)).0
        };
        let touched = Some("somebody connected to it");
        assert_eq!(result(Finding::Held, touched), CaseResult::Skipped);
        assert_eq!(result(Finding::Unclear, touched), CaseResult::Open);
        assert_eq!(result(Finding::Open, touched), CaseResult::Open);
        assert_eq!(result(Finding::Open, None), CaseResult::Open);
        assert_eq!(result(Finding::Held, None), CaseResult::Held);
        assert_eq!(result(Finding::Unclear, None), CaseResult::Skipped);
    }
}
