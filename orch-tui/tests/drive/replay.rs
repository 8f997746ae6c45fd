//! What real programs printed, replayed through their drivers, each a process: what the driver makes of it is known beforehand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where the transcripts are, in directories that are named for the program and its version.
const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../orchd/core/tests/transcripts");

/// Protocols by the beginning of the name of a directory: what drives, and as what is replayed.
const TWO_WAY: [(&str, &str, &str); 2] = [("claude-", "claude", "claude-stream"), ("opencode-", "acp", "acp")];

fn replay(driver: &str, spoken: &str, transcript: &Path) -> Output {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("prompt.md"), "Say hello").unwrap();
    let orchctl = env!("CARGO_BIN_EXE_orchctl");
    Command::new(orchctl)
        .args(["agent", "drive", driver, "--prompt", "prompt.md", "--", orchctl, "agent", "replay", spoken])
        .arg(transcript)
        .env_clear()
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn transcripts() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for directory in std::fs::read_dir(TRANSCRIPTS).unwrap() {
        let directory = directory.unwrap();
        let program = directory.file_name().into_string().unwrap();
        if !directory.file_type().unwrap().is_dir() || program == "snapshots" {
            continue;
        }
        found.extend(std::fs::read_dir(directory.path()).unwrap().map(|file| (program.clone(), file.unwrap().path())));
    }
    found.sort();
    found
}

/// The line with which the first turn of a transcript ended, and whether it ended well, by the word of the program.
fn end_of(text: &str) -> (&str, bool) {
    let ends = [r#""type":"result""#, r#""id":"prompt-0""#, r#""method":"turn/completed""#];
    let begun = r#""inProgress""#;
    let mut lines = text.lines().filter(|line| !line.contains(begun) && ends.iter().any(|end| line.contains(end)));
    let line = lines.next().unwrap();
    let well = [r#""is_error":false"#, r#""stopReason":"end_turn""#, r#""status":"completed""#];
    (line, well.iter().any(|word| line.contains(word)))
}

#[test]
fn every_transcript_comes_to_its_known_end() {
    let mut counted = 0;
    for (program, transcript) in transcripts() {
        let name = transcript.file_name().unwrap().to_str().unwrap().to_owned();
        let two_way = match name.as_str() {
            "app_server.jsonl" => Some(("codex", "codex-app-server")),
            _ => TWO_WAY
                .iter()
                .find(|(start, ..)| program.starts_with(start))
                .map(|(_, driver, spoken)| (*driver, *spoken)),
        };
        let Some((driver, spoken)) = two_way else { continue };
        let text = std::fs::read_to_string(&transcript).unwrap();
        let done = replay(driver, spoken, &transcript);
        let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
        let (end, ends_well) = end_of(&text);
        assert_eq!(done.status.success(), ends_well, "{program}/{name}: {err}");
        assert!(out.lines().any(|line| line == end), "{program}/{name} to its end: {out}");
        counted += 1;
    }
    assert_eq!(counted, 14, "every transcript of a program that can be spoken to");
}

#[test]
fn what_only_prints_needs_nobody_who_speaks() {
    let transcript = Path::new(TRANSCRIPTS).join("codex-0.171.0/work.jsonl");
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("hello.txt"), "hi\n").unwrap();
    let place = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_orchctl"))
        .args(["agent", "replay", "codex-exec", "--exit", "7", "--work"])
        .args([work.path(), &transcript])
        .env_clear()
        .current_dir(place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!((done.status.code(), done.stdout), (Some(7), std::fs::read(&transcript).unwrap()));
    assert_eq!(std::fs::read_to_string(place.path().join("hello.txt")).unwrap(), "hi\n");
    let absent = Command::new(env!("CARGO_BIN_EXE_orchctl"))
        .args(["agent", "replay", "acp", "/nowhere/a"])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(absent.stderr).unwrap();
    assert!(said.contains("error[E_NOT_FOUND]") && said.contains("hint:"), "{said}");
}
