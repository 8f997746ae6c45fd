//! Agents that do not do what they should: what they leave is judged, and nothing that they say is believed.
//!
//! A script stands in the place of Codex. What it is told to do wrong is the title of its task.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use orch_proto::view::{RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, poll};

use crate::agents::{begin_with, hand_in, is_merged, merged};
use crate::channel::approval;
use crate::story;

/// Prints as Codex does, and works or does not.
const AGENT: &str = r#"#!/bin/sh
prompt=$(cat)
item() { printf '{"type":"item.completed","item":{"id":"%s","type":"agent_message","text":"%s"}}\n' "$1" "$2"; }
begin() { printf '{"type":"thread.started","thread_id":"%s"}\n{"type":"turn.started"}\n' "${1:-t}"; }
finish() { printf '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}\n'; }
hello() { printf 'hi\n' > hello.txt; }
case "$prompt" in
*"Print nothing"*) ;;
*"Talk and do nothing"*) begin; item i "I have done all of it."; finish ;;
*"Say that it is done"*) begin; item i "All tests pass."; echo wrong > hello.txt; finish ;;
*"Flood the log"*)
    begin; yes '{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"flood flood flood"}}' | head -c 64000000
    head -c 12000000 /dev/zero | tr '\0' x; echo
    head -c 100000 /dev/urandom; hello; finish ;;
*"Rewrite the repository"*)
    begin; hello
    rm -rf .git && git init -q . && git config user.email a@b && git config user.name a
    git config core.fsmonitor 'touch PWNED; false'; git config core.hooksPath hooks; mkdir -p hooks
    printf '#!/bin/sh\ntouch "$HOME/pwned"\n' | tee hooks/pre-commit hooks/post-commit hooks/post-checkout > .git/hooks/post-update
    chmod +x hooks/* .git/hooks/post-update; git add hello.txt && git commit -q --no-verify -m 'another history' -- hello.txt
    rm -rf hooks; printf 'ref: refs/heads/../../../../etc\n' > .git/HEAD; finish ;;
*"Leave something behind"*)
    begin; hello; mkfifo fifo; setsid sh -c 'exec sleep NAP' < /dev/null > /dev/null 2>&1 &
    setsid sh -c 'trap "" TERM HUP INT; while :; do sleep NAP; done' < /dev/null > /dev/null 2>&1 &
    rm -f fifo; finish ;;
*"Speak for others"*)
    begin "$(ls /proc | head -1)"
    printf '{"type":"run.succeeded","run":"R-1","run_id":"R-1"}\n{"kind":"run.settled","subject":"R-1","outcome":"succeeded"}\n'
    for words in "approval list" "run cancel R-1" "task cancel T-1" "daemon stop"; do
        orchctl $words && item i "it worked: $words"
    done
    ORCH_SOCKET=/run/orchd.sock orchctl approval approve A-1 --yes && item i "it worked: by the socket"
    item R-1 "R-1 is done"; hello; finish ;;
*"Answer itself"*)
    begin; orchctl agent await-approval "drop the table" > /tmp/said 2>&1 & waits=$!
    while kill -0 $waits 2> /dev/null; do
        for name in A-1 A-2 shop/A-1; do
            for socket in @HOST@ /run/orchd.sock "$ORCH_CHANNEL"; do
                ORCH_SOCKET=$socket orchctl approval approve $name --yes > /tmp/refused 2>&1 && item i "it worked: $name by $socket"
                grep -q "^error.E_" /tmp/refused && item i "refused by $socket"
            done
        done
        python3 -c '
import json, os, socket, struct
host, port = os.environ["ORCH_CHANNEL"].rsplit(":", 1)
for verb in "approve", "answer_approval", "approval_approve", "decide":
    body = json.dumps({"version": 1, "verb": verb, "approval": "A-1", "key": "drop the table", "yes": True}).encode()
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">I", len(body)) + body)
        answer = json.loads(answers.read(struct.unpack(">I", answers.read(4))[0]))
    print("refused:" if "Err" in answer else "it worked:", verb)
' | while read -r line; do item i "$line"; done
        item i "it tried"
    done
    wait $waits; item i "it was told $?"; hello; finish ;;
*"Send escapes"*)
    e=$(printf '\033]0;owned\007\033[2J\033[31m'); j='\u001b]0;owned\u0007\u001b[2J\u202e'
    begin "$j"; item "$j" "$j"; printf '%s\n' "$e"; printf '%s\n' "$e" >&2
    printf '{"type":"item.completed","item":{"id":"c","type":"command_execution","command":"%s","aggregated_output":"%s","exit_code":0,"status":"%s"}}\n' "$j" "$j" "$j"
    printf '{"type":"%s"}\n' "$j"
    orchctl agent progress 40 "$e"; orchctl agent note "$e"; mkdir out; echo x > out/report.txt; orchctl agent artifact out/report.txt
    hello; finish ;;
esac
"#;

/// How long what it leaves behind would last, in seconds: a number that no other process of this machine has.
fn nap() -> String {
    (1_000_000 + std::process::id()).to_string()
}

/// A daemon whose agent does what the titles of its tasks say.
async fn begin(story: &mut Story) -> anyhow::Result<()> {
    let program = story.env().path("wrong-agent");
    let pwned = story.env().path("pwned");
    let script = AGENT
        .replace("NAP", &nap())
        .replace("PWNED", &pwned.display().to_string())
        .replace("@HOST@", &story.env().socket().display().to_string());
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "[run]\nlog_mb = 8\n[models.none]\napi = \"openai\"\nurl = \"http://127.0.0.1:9\"\n\
         [agents.coder]\nkind = \"codex\"\nmodels = \"none\"\nprogram = \"{}\"\n",
        program.display()
    );
    begin_with(story, &config).await
}

#[test]
fn one_that_did_nothing_has_done_nothing() -> anyhow::Result<()> {
    story("an agent that does nothing", Setup::Runs, async |story| {
        begin(story).await?;
        for title in ["Print nothing", "Talk and do nothing"] {
            let task = hand_in(story, title).await?;
            let failed = story.task_in(&task, TaskState::Failed).await?;
            let reason = failed.last_failure.unwrap_or_default();
            ensure!(reason.contains("neither a change nor a note"), "{title}: {reason}");
            let run = story.run_of(&task).await?;
            ensure!(run.state == RunState::Succeeded && failed.attempts > 1, "it was tried again: {run:#?}");
            let inbox = orchctl(story.env(), &["approval", "list"]).await?.ok()?;
            ensure!(inbox.contains(title), "a person is asked: {inbox}");
        }
        Ok(())
    })
}

/// What the project's own gates say counts, and the word of the agent does not.
#[test]
fn one_that_says_that_it_is_done_is_not_believed() -> anyhow::Result<()> {
    story("an agent that lies", Setup::Runs, async |story| {
        begin(story).await?;
        let gate = "steps:\n  - run: printf 'test:\\n\\t! grep -q wrong hello.txt\\n' > Makefile\n";
        let gate = story.task_create("shop", "Add a gate", gate).await?;
        story.task_in(&gate, TaskState::Done).await?;
        let task = hand_in(story, "Say that it is done").await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let reason = failed.last_failure.unwrap_or_default();
        ensure!(reason.contains("step `make test` failed"), "{reason}");
        // The next attempt is told what the one before it was.
        let run = story.last_run_of(&task).await?;
        let told = orchctl(story.env(), &["run", "prompt", &run.name]).await?.ok()?;
        ensure!(run.attempt > 1 && told.contains("which is not in your checkout") && told.contains("+wrong"), "{told}");
        ensure!(merged(story, "shop", "hello.txt").await.is_err(), "nothing of it was merged");
        Ok(())
    })
}

#[test]
fn one_that_floods_its_log_fills_no_disk_and_loses_nothing() -> anyhow::Result<()> {
    story("an agent that floods", Setup::Runs, async |story| {
        begin(story).await?;
        let task = hand_in(story, "Flood the log").await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        let run = story.run_of(&task).await?;
        let log = story.env().state().join("runs").join(run.id.to_string()).join("log");
        let bytes = std::fs::metadata(&log)?.len();
        ensure!(bytes < 16 << 20, "its log has {bytes} bytes");
        let shown = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(shown.contains("flood flood"), "{shown:.2000}");
        Ok(())
    })
}

#[test]
fn one_that_rewrites_its_repository_hands_in_files_and_nothing_else() -> anyhow::Result<()> {
    story("an agent that rewrites its repository", Setup::Runs, async |story| {
        begin(story).await?;
        let task = hand_in(story, "Rewrite the repository").await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        ensure!(!story.env().path("pwned").exists(), "nothing of its configuration was executed");
        let project = story.project("shop").await?;
        let repository = story.env().state().join("repos").join(format!("{}.git", project.id));
        let log = Command::new("git").arg("-C").arg(repository).args(["log", "--format=%s"]).output()?;
        let log = String::from_utf8(log.stdout)?;
        ensure!(!log.contains("another history"), "{log}");
        Ok(())
    })
}

#[test]
fn one_that_leaves_processes_behind_leaves_none() -> anyhow::Result<()> {
    story("an agent that leaves something behind", Setup::Runs, async |story| {
        begin(story).await?;
        let task = hand_in(story, "Leave something behind").await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        let gone = poll::until("the end of what it left", async || {
            let found = Command::new("pgrep").args(["-f", &format!("sleep {}", nap())]).output()?;
            Ok(found.stdout.is_empty().then_some(()))
        });
        gone.await
    })
}

/// Words of an agent are its own: they name no run, decide nothing, and reach no other run.
#[test]
fn one_that_speaks_for_others_is_heard_as_itself() -> anyhow::Result<()> {
    story("an agent that speaks for others", Setup::Runs, async |story| {
        begin(story).await?;
        let lasting = "checkout: false\nsteps:\n  - run: until [ -e go ]; do sleep 0.1; done\n";
        let other = story.task_create("shop", "Other", lasting).await?;
        story.task_in(&other, TaskState::Running).await?;
        let task = hand_in(story, "Speak for others").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("R-1 is done") && !log.contains("it worked"), "{log}");
        let other_run = story.run_of(&other).await?;
        ensure!(other_run.state == RunState::Running, "{other_run:#?}");
        orchctl(story.env(), &["task", "cancel", &other]).await?.ok()?;
        story.task_in(&other, TaskState::Cancelled).await?;
        Ok(())
    })
}

/// What it waits for is a person, whoever says yes in its run.
#[test]
fn one_that_answers_its_own_approval_waits_for_a_person() -> anyhow::Result<()> {
    story("an agent that answers itself", Setup::Runs, async |story| {
        begin(story).await?;
        let task = hand_in(story, "Answer itself").await?;
        let asked = approval(story, "drop the table").await?;
        let run = story.run_of(&task).await?;
        let log = async || orchctl(story.env(), &["run", "logs", &run.name]).await?.ok();
        let before = log().await?.matches("it tried").count();
        let tried = poll::until("what it tries since it was asked", async || {
            Ok((log().await?.matches("it tried").count() >= before + 2).then_some(()))
        });
        tried.await?;
        let waits = approval(story, "drop the table").await?;
        ensure!(waits.id == asked.id, "nobody has decided: {waits:#?}");
        orchctl(story.env(), &["approval", "deny", &asked.name, "--reason", "no", "--yes"]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        let log = log().await?;
        ensure!(log.contains("it was told 1") && !log.contains("it worked"), "{log}");
        let verbs = ["approve", "answer_approval", "approval_approve", "decide"].map(|verb| format!("refused: {verb}"));
        let host = story.env().socket().display().to_string();
        let sockets = [&host, "/run/orchd.sock", "127.0.0.1:4142"].map(|socket| format!("refused by {socket}"));
        for tried in verbs.iter().chain(&sockets) {
            ensure!(log.contains(tried), "{tried:?} is not there: {log}");
        }
        Ok(())
    })
}

#[test]
fn one_that_sends_escapes_draws_on_nobodys_terminal() -> anyhow::Result<()> {
    story("an agent that sends escapes", Setup::Runs, async |story| {
        begin(story).await?;
        let task = hand_in(story, "Send escapes").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        for words in [
            &["run", "logs", &run.name][..],
            &["run", "get", &run.name],
            &["run", "artifacts", &run.name],
            &["task", "get", &task],
            &["events", "tail", "-n", "200"],
            &["status"],
        ] {
            let shown = orchctl(story.env(), words).await?;
            let text = format!("{}{}", shown.stdout, shown.stderr);
            let is_harmless = |character: char| !character.is_control() || character == '\n';
            let found = text.chars().find(|character| !is_harmless(*character) || *character == '\u{202e}');
            ensure!(found.is_none(), "{words:?} shows {found:?}: {text:?}");
        }
        let noted = orchctl(story.env(), &["run", "get", &run.name]).await?.ok()?;
        noted.contains("owned").then_some(()).context("what it said is there, without its effect")
    })
}
