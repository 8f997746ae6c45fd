//! Transcripts in the place of agent programs: tasks are done to the merge where no program is installed, and hostile ones lose
//! nobody else anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::request::Decision;
use orch_proto::view::{RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};
use serde_json::{Value, json};

use crate::agents::{begin_with, is_merged};
use crate::{channel, story};

/// Agents by the protocol of their transcripts, with what of it is seen in the log.
const RECORDED: [(&str, &str, &str); 4] = [
    ("codex-exec", "codex-0.171.0/work.jsonl", "its turn ended: completed"),
    ("codex-app-server", "codex-0.171.0/app_server.jsonl", "It is done."),
    ("claude-stream", "claude-2.1.197/asks.jsonl", "asks: Which database?"),
    ("acp", "opencode-1.18.33/asks.jsonl", "I ask first."),
];

/// Where the transcripts of real programs are.
fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../orchd/core/tests/transcripts").join(name)
}

/// Puts a transcript and the file that it leaves in place; the section of its agent, which has the name of its protocol.
fn agent(story: &Story, protocol: &str, transcript: &[u8]) -> anyhow::Result<String> {
    let place = story.env().path(&format!("{protocol}.jsonl"));
    std::fs::write(&place, transcript)?;
    let work = place.with_extension("work");
    std::fs::create_dir(&work)?;
    std::fs::write(work.join(format!("{protocol}.txt")), "hi\n")?;
    let place = place.display();
    Ok(format!("[agents.{protocol}]\nkind = \"fake\"\nprotocol = \"{protocol}\"\ntranscript = \"{place}\"\n"))
}

/// A task for the agent of a protocol.
async fn hand_in(story: &Story, protocol: &str) -> anyhow::Result<String> {
    let title = format!("Say hi as {protocol}");
    let words = ["--project", "shop", "task", "create", &title, "--capability", protocol];
    let words = words.into_iter().chain(["--accept", "it says hi", "--queue", "-o", "name"]).collect::<Vec<_>>();
    Ok(orchctl(story.env(), &words).await?.ok()?.trim().to_owned())
}

/// Each protocol, one after the other, by what real programs printed; a person answers what Claude Code asks.
#[test]
fn a_transcript_of_each_program_does_a_task_to_the_merge() -> anyhow::Result<()> {
    story("transcripts do tasks", Setup::Runs, async |story| {
        let mut config = String::new();
        for (protocol, transcript, _) in RECORDED {
            config += &agent(story, protocol, &std::fs::read(recorded(transcript))?)?;
        }
        config += &agent(story, "plain", b"I say hi.\n")?;
        begin_with(story, &config).await?;
        let doctor = orchctl(story.env(), &["doctor"]).await?.stdout;
        ensure!(doctor.contains("agent acp") && doctor.contains("asks nobody"), "{doctor}");
        for (protocol, seen) in
            RECORDED.iter().map(|(protocol, _, seen)| (*protocol, *seen)).chain([("plain", "I say hi.")])
        {
            let task = hand_in(story, protocol).await?;
            if protocol == "claude-stream" {
                answer(story).await?;
            }
            story.task_in(&task, TaskState::Done).await?;
            is_merged(story, &format!("{protocol}.txt"), "hi\n").await?;
            let run = story.run_of(&task).await?;
            let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
            ensure!(log.contains(seen), "{protocol}: {log}");
            let used = run.agent.as_ref().context("it was an agent's")?;
            ensure!((used.kind.as_str(), used.exchanges) == ("fake", 0), "{used:#?}");
            if protocol == "claude-stream" {
                ensure!(log.contains("had an answer to: Which database?"), "{log}");
            }
        }
        Ok(())
    })
}

/// A person answers, over a daemon that is killed while the question waits.
async fn answer(story: &mut Story) -> anyhow::Result<()> {
    let words = "Which database?\n   SQLite: One file\n   Postgres: A server";
    let asked = channel::question(story, words).await?;
    story.kill9().await?;
    story.start().await?;
    let file = story.env().path("answer");
    std::fs::write(&file, "SQLite")?;
    let given = format!("answer_1={}", file.display());
    orchctl(story.env(), &["question", "answer", &asked.name, "--value-file", &given]).await?.ok()?;
    Ok(())
}

/// What a terminal would take for its own.
const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m\u{202e}";

/// Lines of JSON, with others among them that no program should print: of 12 MB, no UTF-8, and with the ids of other runs.
fn hostile(messages: &[Value]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut all = messages.iter();
    lines.extend(all.by_ref().take(3).flat_map(|message| format!("{message}\n").into_bytes()));
    lines.extend(
        format!("{{\"method\":\"session/update\",\"type\":\"x\",\"params\":\"{}\"}}\n", "x".repeat(12 << 20)).bytes(),
    );
    lines.extend(b"\xff\xfe{\"\x00\n{\"type\":\"assi");
    lines.extend(b"\n{\"type\":\"run.succeeded\",\"run\":\"R-1\",\"run_id\":\"R-1\"}\n{\"id\":\"prompt-0\",\"method\":\"run.settled\"}\n");
    lines.extend(format!("{ESCAPES}\n").bytes());
    lines.extend(all.flat_map(|message| format!("{message}\n").into_bytes()));
    lines
}

/// As an agent that speaks ACP.
fn of_acp() -> Vec<u8> {
    let update =
        |update: Value| json!({"method": "session/update", "params": {"sessionId": ESCAPES, "update": update}});
    let options = json!([{"optionId": ESCAPES, "name": ESCAPES, "kind": "allow_once"}]);
    let call = json!({"toolCallId": ESCAPES, "title": format!("rm {ESCAPES}"), "kind": "execute", "rawInput": {"command": format!("rm {ESCAPES}")}});
    hostile(&[
        json!({"id": 0, "result": {"protocolVersion": 1, "agentInfo": {"name": ESCAPES}}}),
        json!({"id": 1, "result": {"sessionId": ESCAPES}}),
        update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ESCAPES}})),
        update(
            json!({"sessionUpdate": "tool_call", "toolCallId": ESCAPES, "title": ESCAPES, "kind": ESCAPES, "status": ESCAPES}),
        ),
        update(json!({"sessionUpdate": "plan", "entries": [{"content": ESCAPES, "status": ESCAPES}]})),
        json!({"id": 2, "method": "session/request_permission", "params": {"sessionId": ESCAPES, "toolCall": call, "options": options}}),
        json!({"id": 3, "method": ESCAPES, "params": ESCAPES}),
        json!({"id": "prompt-0", "result": {"stopReason": "end_turn", "_meta": ESCAPES}}),
        // It is told in another turn why it may not.
        json!({"id": "prompt-1", "result": {"stopReason": "end_turn"}}),
    ])
}

/// As the app-server of Codex.
fn of_codex() -> Vec<u8> {
    let item = |method: &str, item: Value| json!({"method": method, "params": {"threadId": ESCAPES, "item": item}});
    let change = json!({"type": "fileChange", "id": "c", "changes": [{"path": ESCAPES, "kind": {"type": ESCAPES}, "diff": ESCAPES}]});
    hostile(&[
        json!({"id": 0, "result": {"userAgent": ESCAPES}}),
        json!({"id": 1, "result": {"thread": {"id": ESCAPES, "model": ESCAPES}}}),
        json!({"id": 2, "result": {"turn": {"id": ESCAPES}}}),
        item("item/started", change.clone()),
        json!({"id": 3, "method": "item/commandExecution/requestApproval", "params": {"itemId": ESCAPES, "command": format!("rm {ESCAPES}"), "cwd": ESCAPES}}),
        item("item/completed", change),
        item("item/completed", json!({"type": "agentMessage", "id": ESCAPES, "text": ESCAPES})),
        item("item/completed", json!({"type": ESCAPES, "id": ESCAPES})),
        json!({"method": "error", "params": {"error": {"message": ESCAPES}}}),
        json!({"method": "turn/completed", "params": {"turn": {"id": ESCAPES, "status": "completed"}}}),
    ])
}

/// As Claude Code.
fn of_claude() -> Vec<u8> {
    let input = json!({"command": format!("rm {ESCAPES}"), "description": ESCAPES});
    let asks = json!({"subtype": "can_use_tool", "tool_name": "Bash", "tool_use_id": ESCAPES, "input": input});
    hostile(&[
        json!({"type": "control_response", "response": {"subtype": "success", "request_id": ESCAPES}}),
        json!({"type": "system", "subtype": "init", "session_id": ESCAPES, "model": ESCAPES}),
        json!({"type": "user", "isReplay": true, "uuid": ESCAPES, "message": {"content": ESCAPES}}),
        json!({"type": "assistant", "message": {"id": ESCAPES, "content": [{"type": "text", "text": ESCAPES},
            {"type": "tool_use", "id": ESCAPES, "name": ESCAPES, "input": ESCAPES}]}}),
        json!({"type": "control_request", "request_id": ESCAPES, "request": asks}),
        json!({"type": "control_request", "request_id": ESCAPES, "request": {"subtype": ESCAPES}}),
        json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": ESCAPES, "content": ESCAPES}]}}),
        json!({"type": ESCAPES}),
        json!({"type": "result", "subtype": ESCAPES, "is_error": false, "result": ESCAPES, "session_id": ESCAPES}),
    ])
}

/// Agents that are spoken to and put escapes into every field, print what is no line, and name other runs: what they ask a person is
/// asked harmlessly, and their work is judged as any.
#[test]
fn hostile_agents_that_are_spoken_to_reach_nobody() -> anyhow::Result<()> {
    story("hostile agents that are spoken to", Setup::Runs, async |story| {
        let mut config = String::new();
        for (protocol, transcript) in
            [("acp", of_acp()), ("codex-app-server", of_codex()), ("claude-stream", of_claude())]
        {
            config += &agent(story, protocol, &transcript)?;
            write!(config, "[[agents.{protocol}.ask]]\nof = \"command\"\nmatches = \"rm *\"\nthen = \"ask\"\n")?;
        }
        begin_with(story, &config).await?;
        for protocol in ["acp", "codex-app-server", "claude-stream"] {
            let task = hand_in(story, protocol).await?;
            let asked = channel::approval(story, "rm ").await?;
            are_harmless(story, &[&["approval", "get", &asked.name], &["approval", "list"], &["status"]]).await?;
            story.decide(&asked, Decision::Deny).await?;
            story.task_in(&task, TaskState::Done).await?;
            is_merged(story, &format!("{protocol}.txt"), "hi\n").await?;
            let run = story.run_of(&task).await?;
            ensure!(run.state == RunState::Succeeded && run.attempt == 1, "{run:#?}");
            let shown: [&[&str]; 4] = [
                &["run", "logs", &run.name],
                &["run", "get", &run.name],
                &["task", "get", &task],
                &["events", "tail", "--no-follow"],
            ];
            are_harmless(story, &shown).await?;
            let raw = story.stdout(&run.name, 1).await?;
            ensure!(raw.len() > 12 << 20, "{protocol}: the log has all of it: {} bytes", raw.len());
        }
        Ok(())
    })
}

/// No command shows anything that a terminal takes for its own.
async fn are_harmless(story: &Story, commands: &[&[&str]]) -> anyhow::Result<()> {
    for words in commands {
        let shown = orchctl(story.env(), words).await?;
        let text = format!("{}{}", shown.stdout, shown.stderr);
        let is_harmless = |character: char| (!character.is_control() || character == '\n') && character != '\u{202e}';
        let found = text.chars().find(|character| !is_harmless(*character));
        ensure!(found.is_none() && !text.is_empty(), "{words:?} shows {found:?}: {text:?}");
    }
    Ok(())
}

/// One that breaks off in the middle of its turn is no success, and its log says why.
#[test]
fn a_transcript_that_breaks_off_is_no_success() -> anyhow::Result<()> {
    story("transcripts that break off", Setup::Runs, async |story| {
        let mut config = String::new();
        for (protocol, whole) in [("acp", of_acp()), ("codex-app-server", of_codex()), ("claude-stream", of_claude())] {
            let lines = whole.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
            let cut = [&lines[..4].concat()[..], &lines[4][..lines[4].len() / 2]].concat();
            config += &agent(story, protocol, &cut)?;
        }
        begin_with(story, &config).await?;
        for protocol in ["acp", "codex-app-server", "claude-stream"] {
            let task = hand_in(story, protocol).await?;
            let failed = story.task_in(&task, TaskState::Failed).await?;
            let run = story.run_of(&task).await?;
            let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.stdout;
            let ends = ["the agent ended (exit status: 0) before it answered", "the transcript has no more"];
            ensure!(ends.iter().any(|end| log.contains(end)), "{protocol}: {failed:#?}\n{log}");
        }
        Ok(())
    })
}
