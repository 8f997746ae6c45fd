//! The program: `serve` for a daemon, `run` and `doctor` for people, `attempt` for a run that looks for holes.
//!
//! Parses its commands by hand, because this program starts once per run of a person and its start is part of what a
//! sandbox costs. Prints; everything else is elsewhere.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::advice::{advice, apparmor_profile};
use crate::attempt::Attempt;
use crate::exit_record::{ExitRecord, Outcome, StepFailure};
use crate::level::LevelReport;
use crate::probes::host::{HostReport, Presence, probe_host_for};
use crate::secrets::{SealedSecrets, Secrets, SecretsError, TransferError, VALUES_BYTES_MAX};
use crate::shim;
use crate::spawner;
use crate::spec::{Limits, RunSpec, SpecError, StepSpec};

/// Something went wrong outside the job.
pub(crate) const EXIT_INTERNAL: i32 = 70;
/// The attempt is taken or outdated, or the spec cannot be used; nothing was written.
pub(crate) const EXIT_FENCED: i32 = 125;
const EXIT_USAGE: i32 = 64;
const EXIT_SETUP: i32 = 71;
const EXIT_LEVEL: i32 = 78;
const EXIT_TIMED_OUT: i32 = 124;
/// As after SIGKILL, which is what it was.
const EXIT_LIMIT: i32 = 137;
const EXIT_CANCELLED: i32 = 130;

const USAGE: &str = "\
usage: orch-sandbox run SPEC.json [--secret NAME=FILE]... [-- COMMAND...]
                                                    run a spec (or one command in its place) and show its output
       orch-sandbox example [DIRECTORY]             print a spec to begin with, whose workspace is DIRECTORY [default: here]
       orch-sandbox doctor                          show what isolation this host gives, with fixes
       orch-sandbox apparmor-profile                print the profile that lets this program make user namespaces
       orch-sandbox attempt ATTEMPT...              as a step of a run: try what must not work; the attempts are JSON
       orch-sandbox serve [OPTIONS]                 start runs for a daemon connected to standard input; the options are
                                                    JSON: what to prepare ahead, the ceilings of all runs together

A value of a secret is all bytes of its file, which can be a pipe: /dev/stdin, /dev/fd/3.

exit codes of `run`: those of the failed step; 128+N after signal N; 124 timed out or silent; 125 spec or run directory refused;
127 program not executed; 130 cancelled; 137 over a limit; 70 sandbox lost; 71 sandbox not built; 78 required isolation not reached
";

/// Failure of a command.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    Usage(String),
    #[error("failed to read `{}`", path.display())]
    ReadSpec {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to understand `{}`", path.display())]
    DecodeSpec {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the spec is not valid")]
    Spec(#[source] SpecError),
    #[error("failed to understand how to serve")]
    Options(#[source] serde_json::Error),
    #[error("failed to read a secret from `{}`", path.display())]
    ReadSecret {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to protect the memory of this process: {}", .0.desc())]
    Protect(nix::errno::Errno),
    #[error("failed to take a secret")]
    Secret(#[source] SecretsError),
    #[error("failed to pass the secrets")]
    Seal(#[source] TransferError),
    #[error("failed to start the run")]
    Start(#[source] shim::StartError),
    #[error("failed to make a workspace")]
    Workspace(#[source] std::io::Error),
    #[error("failed to serve")]
    Serve(#[source] spawner::ServeError),
    #[error("failed to print")]
    Print(#[source] std::io::Error),
}

impl CommandError {
    fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_) | Self::Options(_) => EXIT_USAGE,
            Self::ReadSpec { .. }
            | Self::DecodeSpec { .. }
            | Self::Spec(_)
            | Self::ReadSecret { .. }
            | Self::Secret(_)
            | Self::Start(_) => EXIT_FENCED,
            Self::Protect(_) | Self::Seal(_) | Self::Workspace(_) | Self::Serve(_) | Self::Print(_) => EXIT_INTERNAL,
        }
    }
}

/// Runs the program with the arguments of this process.
pub fn main_impl() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match command(&args) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            error.exit_code()
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn command(args: &[OsString]) -> Result<i32, CommandError> {
    let words: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    let words = words.ok_or_else(|| CommandError::Usage("arguments must be UTF-8, as specs are\n".to_owned()))?;
    match words.as_slice() {
        ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => print(USAGE).map(|()| 0),
        ["serve"] => serve("{}"),
        ["serve", options] => serve(options),
        ["doctor"] => doctor(),
        ["apparmor-profile"] => print(&apparmor_profile(&own_path())).map(|()| 0),
        ["attempt", attempts @ ..] if !attempts.is_empty() => make_attempts(attempts),
        ["run", spec, options @ ..] => {
            let (secrets, argv) = run_options(options).map_err(|problem| usage(&problem))?;
            run(Path::new(spec), &secrets, argv)
        }
        ["version" | "--version" | "-V"] => {
            print(concat!("orch-sandbox ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| 0)
        }
        ["example"] => example(Path::new(".")),
        ["example", directory] => example(Path::new(directory)),
        [] => Err(usage("no command")),
        ["run"] => Err(usage("`run` needs the file of a spec; `orch-sandbox example` prints one")),
        [command, ..] => Err(usage(&format!("`{command}` with these arguments is no command"))),
    }
}

/// How it is used, and what is wrong with how it was.
fn usage(problem: &str) -> CommandError {
    CommandError::Usage(format!("{problem}\n{USAGE}"))
}

/// Prints a spec that says everything and asks for nothing.
fn example(directory: &Path) -> Result<i32, CommandError> {
    let workspace = directory.canonicalize().map_err(CommandError::Workspace)?;
    let timeout_ms = 600_000;
    let step = StepSpec::main("list", ["ls", "-la"], timeout_ms);
    let mut spec = RunSpec::narrow("example", workspace, vec![step], Limits::small(timeout_ms));
    spec.env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut text = serde_json::to_string_pretty(&spec).map_err(CommandError::Options)?;
    text.push('\n');
    print(&text).map(|()| 0)
}

fn serve(options: &str) -> Result<i32, CommandError> {
    let options = serde_json::from_str(options).map_err(CommandError::Options)?;
    spawner::serve(options).map(|()| 0).map_err(CommandError::Serve)
}

/// Names and files of secrets, and the command; or what is wrong.
#[expect(clippy::type_complexity, reason = "two parts of one argument list")]
fn run_options<'a, 'b>(mut words: &'b [&'a str]) -> Result<(Vec<(&'a str, &'a Path)>, &'b [&'a str]), String> {
    let mut secrets = Vec::new();
    loop {
        match words {
            [] => return Ok((secrets, &[])),
            ["--"] => return Err("there is no command after `--`".to_owned()),
            ["--", argv @ ..] => return Ok((secrets, argv)),
            ["--secret", pair, rest @ ..] => {
                let (name, file) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not NAME=FILE"))?;
                secrets.push((name, Path::new(file)));
                words = rest;
            }
            ["--secret"] => return Err("`--secret` needs NAME=FILE".to_owned()),
            [other, ..] => {
                return Err(format!("`{other}` after the spec is no option; a command comes after `--`"));
            }
        }
    }
}

/// Reads the values of secrets; `None` without any.
fn read_secrets(files: &[(&str, &Path)]) -> Result<Option<SealedSecrets>, CommandError> {
    if files.is_empty() {
        return Ok(None);
    }
    nix::sys::prctl::set_dumpable(false).map_err(CommandError::Protect)?;
    let mut secrets = Secrets::new();
    for (name, path) in files {
        let failed = |source| CommandError::ReadSecret { path: (*path).to_owned(), source };
        // Large enough at once: what a vector outgrows is not overwritten.
        let mut value = Vec::with_capacity(VALUES_BYTES_MAX + 2);
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(VALUES_BYTES_MAX as u64 + 1).read_to_end(&mut value).map_err(failed)?;
        secrets.insert(name, value).map_err(CommandError::Secret)?;
    }
    secrets.seal().map(Some).map_err(CommandError::Seal)
}

fn run(path: &Path, secrets: &[(&str, &Path)], argv: &[&str]) -> Result<i32, CommandError> {
    let text = std::fs::read(path).map_err(|source| CommandError::ReadSpec { path: path.to_owned(), source })?;
    let mut spec: RunSpec =
        serde_json::from_slice(&text).map_err(|source| CommandError::DecodeSpec { path: path.to_owned(), source })?;
    if !argv.is_empty() {
        spec.steps = vec![StepSpec::main("command", argv.iter().copied(), spec.limits.wall_ms)];
    }
    let secrets = read_secrets(secrets)?;
    let record =
        shim::run_for_person(&spec.check().map_err(CommandError::Spec)?, secrets).map_err(CommandError::Start)?;
    if record.outcome != Outcome::Succeeded {
        explain(&record)?;
    }
    Ok(exit_code(&record.outcome))
}

/// A directory of this process alone.
#[derive(Debug)]
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn create() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path =
            std::env::temp_dir().join(format!("orch-sandbox-{}-{}", std::process::id(), crate::clock::unix_us()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        // The workspace is looked up without following symlinks.
        path.canonicalize().map(Self)
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What cannot be removed lies in the directory for temporary files, where the system removes it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn exit_code(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::StepFailed { failure: StepFailure::ExitCode { code }, .. } => *code,
        Outcome::StepFailed { failure: StepFailure::Signal { signal }, .. } => 128 + signal,
        Outcome::StepFailed { failure: StepFailure::Exec { .. }, .. } => 127,
        Outcome::TimedOut { .. } | Outcome::NoOutput { .. } => EXIT_TIMED_OUT,
        Outcome::LimitExceeded { .. } => EXIT_LIMIT,
        Outcome::Cancelled => EXIT_CANCELLED,
        Outcome::SetupFailed { .. } => EXIT_SETUP,
        Outcome::LevelRefused { .. } => EXIT_LEVEL,
        Outcome::ShimError { .. } => EXIT_INTERNAL,
    }
}

fn explain(record: &ExitRecord) -> Result<(), CommandError> {
    let mut text = format!("orch-sandbox: {}\n", record.outcome);
    let hint = match &record.outcome {
        Outcome::SetupFailed { hint, .. } => hint.as_str(),
        Outcome::LevelRefused { fix, .. } => fix.as_str(),
        Outcome::Succeeded
        | Outcome::StepFailed { .. }
        | Outcome::TimedOut { .. }
        | Outcome::NoOutput { .. }
        | Outcome::LimitExceeded { .. }
        | Outcome::Cancelled
        | Outcome::ShimError { .. } => "",
    };
    for line in hint.lines() {
        text.push_str(&format!("hint: {line}\n"));
    }
    std::io::stderr().write_all(text.as_bytes()).map_err(CommandError::Print)
}

/// Where this program is.
fn own_path() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("orch-sandbox"))
}

/// Makes attempts and prints what came of each, a line for one.
fn make_attempts(words: &[&str]) -> Result<i32, CommandError> {
    let attempts: Vec<Attempt> =
        words.iter().map(|word| serde_json::from_str(word)).collect::<Result<_, _>>().map_err(CommandError::Options)?;
    for attempt in attempts {
        let line = serde_json::to_string(&attempt.make()).map_err(CommandError::Options)?;
        print(&format!("{line}\n"))?;
    }
    Ok(0)
}

/// Shows the host and runs an empty run to see what it really reaches.
fn doctor() -> Result<i32, CommandError> {
    let report = probe_host_for(&own_path());
    let mut text = host_text(&report);
    let workspace = TemporaryDir::create().map_err(CommandError::Workspace)?;
    let spec = doctor_spec(workspace.0.clone()).check().map_err(CommandError::Spec)?;
    let record = shim::run_for_person(&spec, None).map_err(CommandError::Start)?;
    let level = record.level.clone().unwrap_or_else(|| {
        text.push_str(&format!("a run was not possible: {}\n", record.outcome));
        LevelReport::nothing("a run was not possible")
    });
    text.push_str(&level_text(&level, &report));
    print(&text)?;
    Ok(exit_code(&record.outcome))
}

pub(crate) fn doctor_spec(workspace: PathBuf) -> RunSpec {
    let limits = Limits {
        memory_bytes: Some(1 << 30),
        run_memory_bytes: Some(1 << 30),
        run_cpu_millis: Some(1_000),
        ..Limits::small(10_000)
    };
    RunSpec::narrow("doctor", workspace, vec![StepSpec::main("true", ["true"], 10_000)], limits)
}

fn host_text(report: &HostReport) -> String {
    let mut text = format!("host: Linux {}\n", report.kernel);
    for feature in &report.features {
        let mark = match feature.presence {
            Presence::Present => "yes",
            Presence::Partial => "part",
            Presence::Missing => "no",
        };
        text.push_str(&format!("  {mark:<5} {:<20} {}\n", feature.name, feature.detail));
        if !feature.fix.is_empty() {
            text.push_str(&format!("        fix: {}\n", feature.fix));
        }
    }
    text
}

fn level_text(level: &LevelReport, host: &HostReport) -> String {
    let mut text = format!("a run reaches level {}\n", level.level);
    for guarantee in &level.guarantees {
        let strength = match guarantee.strength {
            crate::level::Strength::Enforced => "enforced",
            crate::level::Strength::Degraded => "degraded",
            crate::level::Strength::Absent => "absent",
        };
        let kind = guarantee.kind.to_string();
        text.push_str(&format!("  {strength:<9} {kind:<20} {}; {}\n", guarantee.how, guarantee.evidence));
        if let Some(fix) = advice(guarantee, host) {
            text.push_str(&format!("            fix: {fix}\n"));
        }
    }
    if let Some(next) = level.level.next() {
        let missing: Vec<String> = level.missing_for(next).iter().map(ToString::to_string).collect();
        text.push_str(&format!("missing for level {next}: {}\n", missing.join(", ")));
    }
    text
}

fn print(text: &str) -> Result<(), CommandError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(CommandError::Print)
}

fn complain(error: &CommandError) {
    let text = match error {
        CommandError::Usage(usage) => usage.clone(),
        error => format!("error: {}\n", crate::chain(error)),
    };
    // Without a place for complaints the exit code has to say it.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
