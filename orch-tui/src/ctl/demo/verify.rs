//! Stage 7: what was merged is taken out of the bare repository and used, in a sandbox.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use orch_proto::ErrorCode;
use orch_proto::view::{ChangeState, ChangeView};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use super::blueprint::{Blueprint, Parameters, variable};
use super::{Demo, VISION, agent, git};
use crate::ctl::cmd::project;
use crate::ctl::failure::Failure;
use crate::fmt::color::Role;
use crate::text::SafeText;

const CLIENT: &str = include_str!("verify_client.py");

/// Where the caller of the service is seen inside the sandbox.
const CLIENT_AT: &str = "/opt/verify";

/// Lines of output of the tests that are shown.
const LINES_SHOWN_MAX: usize = 60;

/// Longest line that is read at once, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Longest time that tests and service may take.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) async fn stage(demo: &mut Demo<'_>, changes: &[ChangeView]) -> Result<(), Failure> {
    demo.narrator.stage("Verify: check out, test and use the result");
    let project = project::get(demo.session, &demo.project).await?;
    let repository = Path::new(&project.repository);
    let checkout = demo.place.root.join("checkout");
    git::clone(demo.place, repository, &checkout).await?;
    repository_checks(demo, repository, &checkout, (project.head.as_deref(), changes)).await?;
    let (blueprint, parameters) = Blueprint::load(VISION)?;
    let spec = spec(demo, &checkout, &blueprint, &parameters).await?;
    let passed = sandboxed(demo, &spec).await?;
    let (gates, calls) = (blueprint.gates.len(), blueprint.verify.calls.len());
    let asked = if demo.agent.is_some() { ", and what the agent was asked for" } else { "" };
    demo.checks.note(
        "tests of the checkout pass, and the service answers as it should",
        passed,
        format!("{gates} gates and {calls} calls{asked}, in a sandbox"),
    );
    Ok(())
}

/// What the repository itself says.
async fn repository_checks(
    demo: &mut Demo<'_>,
    repository: &Path,
    checkout: &Path,
    (head, changes): (Option<&str>, &[ChangeView]),
) -> Result<(), Failure> {
    let tip = git::git(demo.place, checkout, &["rev-parse", "HEAD"]).await?;
    let log = git::git(demo.place, checkout, &["rev-list", "HEAD"]).await?;
    let commits: Vec<&str> = log.lines().collect();
    let merges: Vec<&str> = changes
        .iter()
        .filter_map(|change| match &change.state {
            ChangeState::Merged { commit } => Some(commit.as_str()),
            ChangeState::Opened
            | ChangeState::Checking
            | ChangeState::ChangesRequested { .. }
            | ChangeState::Mergeable
            | ChangeState::Queued
            | ChangeState::Conflicted { .. }
            | ChangeState::Closed => None,
        })
        .collect();
    let files = git::git(demo.place, checkout, &["ls-files"]).await?.lines().count();
    demo.narrator.line(&format!("cloned main at {}: {} commits, {files} files", short(&tip), commits.len()));
    let last = merges.last().copied();
    demo.checks.note(
        "the tip of main is the last merge, for the daemon and for git",
        last == Some(tip.as_str()) && head == last,
        format!(
            "git {}, daemon {}, last merge {}",
            short(&tip),
            short(head.unwrap_or("none")),
            short(last.unwrap_or("none"))
        ),
    );
    let absent = merges.iter().filter(|commit| !commits.contains(commit)).count();
    demo.checks.note(
        "every merge commit is in main",
        absent == 0 && !merges.is_empty(),
        format!("{} of {}", merges.len() - absent, merges.len()),
    );
    let fsck = git::git(demo.place, repository, &["fsck", "--full", "--strict"]).await;
    let evidence = fsck.as_ref().map_or_else(ToString::to_string, |_| "git fsck --full --strict".to_owned());
    demo.checks.note("the bare repository is sound", fsck.is_ok(), evidence);
    Ok(())
}

fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// Writes the specification of the sandboxed run: the gates, then the service and its caller.
async fn spec(
    demo: &Demo<'_>,
    checkout: &Path,
    blueprint: &Blueprint,
    parameters: &Parameters,
) -> Result<std::path::PathBuf, Failure> {
    let status = demo.session.read(async |orch, context| orch.status(context).await).await?;
    let client = demo.place.root.join("verify");
    std::fs::create_dir(&client)?;
    std::fs::write(client.join("client.py"), CLIENT)?;
    std::fs::write(client.join("calls.json"), serde_json::to_vec_pretty(&blueprint.verify)?)?;
    let step = |name: &str, argv: &[&str], seconds: u64| json!({ "name": name, "argv": argv, "env": {}, "cwd": "", "timeout_ms": seconds * 1_000, "phase": "main" });
    let mut steps: Vec<_> =
        blueprint.gates.iter().map(|gate| step(&gate.name, &["sh", "-c", &gate.run], gate.timeout)).collect();
    if demo.agent.is_some() {
        steps.push(step("the agent's work", &["sh", "-c", agent::CHECK], 10));
    }
    let script = format!("{CLIENT_AT}/client.py");
    let calls = format!("{CLIENT_AT}/calls.json");
    steps.push(step(&blueprint.verify.start.name, &["python3", &script, &calls], blueprint.verify.start.timeout));
    let mut env = serde_json::Map::new();
    env.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
    env.insert("LANG".into(), "C.UTF-8".into());
    env.insert("PYTHONUNBUFFERED".into(), "1".into());
    env.extend(parameters.iter().map(|(name, value)| (variable(name), value.as_str().into())));
    let spec = json!({
        "name": "demo-verify",
        "fence": 1,
        "workspace": checkout,
        "workspace_at": "/work",
        "mounts": [{ "source": client, "target": CLIENT_AT }],
        "out": null,
        "env": env,
        "steps": steps,
        "limits": {
            "wall_ms": PATIENCE.as_millis() as u64,
            "cpu_seconds": 120,
            "memory_bytes": null,
            "processes": 256,
            "open_files": 1_024,
            "file_size_bytes": 64 << 20,
            "log_bytes_max": 16 << 20,
            "tmp_bytes": 64 << 20,
        },
        "required_level": status.isolation_required,
        "isolation": "sandboxed",
        "egress": "none",
        "listeners": [],
        "secrets": [],
        "syscalls": "standard",
    });
    let path = demo.place.root.join("verify.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&spec)?)?;
    Ok(path)
}

/// Runs it and shows what it says. True if every step succeeded.
async fn sandboxed(demo: &Demo<'_>, spec: &Path) -> Result<bool, Failure> {
    let mut command = Command::new(&demo.place.sandbox);
    for name in agent::KEY_VARIABLES {
        command.env_remove(name);
    }
    let mut child = command
        .arg("run")
        .arg(spec)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::Negative("the sandbox has no output".to_owned()));
    };
    let mut shown = 0;
    let watching = async {
        let (out, err) = tokio::join!(lines(out), lines(err));
        for line in out?.iter().chain(&err?) {
            let ours = line.starts_with(b"ok  ") || line.starts_with(b"FAIL");
            // The service's own log and the dots of the tests are left out.
            let dull = line.starts_with(b"{") || line.iter().all(|byte| b".-\n".contains(byte));
            if shown < LINES_SHOWN_MAX && !dull {
                shown += 1;
                let role = if line.starts_with(b"FAIL") {
                    Role::Bad
                } else if ours {
                    Role::Good
                } else {
                    Role::Dim
                };
                demo.narrator.detail(role, SafeText::line_bytes(line).as_str());
            }
        }
        Ok::<_, Failure>(child.wait().await?)
    };
    let status = tokio::time::timeout(PATIENCE + Duration::from_secs(20), watching).await.map_err(|_| {
        Failure::new(ErrorCode::Timeout, "the tests or the service of the checkout do not end", "see the lines above")
    })??;
    if !status.success() {
        demo.narrator.line(&format!("the sandboxed run ended with {status}"));
    }
    Ok(status.success())
}

/// All lines of a stream, long ones in pieces.
async fn lines(stream: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Vec<Vec<u8>>> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(lines);
        }
        if lines.len() < 10_000 {
            lines.push(line);
        }
    }
}
