//! `orchctl agent drive` as it is in a run: the real program, which has no daemon, no home and no input, and an agent that is
//! a shell script.

#![expect(clippy::unwrap_used, reason = "in a test whatever is not there is a failure")]

mod replay;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Answers what comes before the prompt, and then does what is behind.
const BEGIN: &str = r#"read line; echo '{"id":"initialize","result":{"protocolVersion":1}}'
read line; echo '{"id":"new","result":{"sessionId":"s"}}'
read line
"#;

fn driver(directory: &std::path::Path, agent: &str) -> Command {
    std::fs::write(directory.join("prompt.md"), "Say hello").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchctl"));
    command
        .args(["agent", "drive", "acp", "--prompt", "prompt.md", "--", "/bin/sh", "-c"])
        .arg(format!("{BEGIN}{agent}"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn nothing_but_the_agent_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let agent = r#"case $line in *'"text":"Say hello"'*) echo hello ;; esac; echo "$EDITOR$(pwd)"
echo '{"id":"prompt-0","result":{"stopReason":"end_turn"}}'; cat"#;
    let done = driver(directory.path(), agent).env("EDITOR", "an editor in ").output().unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let place = format!("an editor in {}", directory.path().canonicalize().unwrap().display());
    assert_eq!(lines[2..], ["hello", &place, r#"{"id":"prompt-0","result":{"stopReason":"end_turn"}}"#]);
    assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn what_went_wrong_is_said_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let done = driver(directory.path(), "echo oh >&2; exit 7").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    let expected = "oh\nerror: the agent ended (exit status: 7) before it answered `session/prompt`\n\
                    hint: what it said on its standard error is above\n";
    assert_eq!((done.status.code(), said.as_str()), (Some(1), expected));
}

#[test]
fn a_driver_that_is_told_to_end_cancels_the_turn() {
    let directory = tempfile::tempdir().unwrap();
    let agent = r#"echo waiting; read line; echo "$line"
echo '{"id":"prompt-0","result":{"stopReason":"cancelled"}}'; exec cat"#;
    let mut driver = driver(directory.path(), agent).spawn().unwrap();
    let mut out = BufReader::new(driver.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("waiting") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the agent came to its turn");
    }
    kill(Pid::from_raw(i32::try_from(driver.id()).unwrap()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let heard = r#"{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"s"}}"#;
    assert_eq!(rest.lines().collect::<Vec<_>>(), [heard, r#"{"id":"prompt-0","result":{"stopReason":"cancelled"}}"#]);
    let mut said = String::new();
    driver.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((driver.wait().unwrap().code(), said.as_str()), (Some(1), "error: the agent was told to stop\n"));
}
