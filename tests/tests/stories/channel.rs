//! Runs speak to people: how far they are, what they found, what they want to know and to be allowed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::Ref;
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{InfoRequestFilter, InfoRequestState, InfoRequestView, RunState, RunView, TaskState};
use orch_tests::command_line::{answer, orchctl};
use orch_tests::{Setup, Story, poll};

use crate::story;

/// What only the run may read.
const TOKEN: &str = "hunter2-of-the-channel";

/// Says all that can be said, and prints nothing that is secret as it is.
const SPEAKS: &str = r#"
channel: true
checkout: false
steps:
  - run: |
      orchctl agent progress 40 "half way"
      orchctl agent note "the first"
      mkdir out && echo report > out/report.txt
      orchctl agent artifact ./out/report.txt
      orchctl agent artifact out --name other && echo wrong
      orchctl agent artifact out/report.txt --name ../up && echo wrong
      orchctl agent artifact /etc/hostname --name a//b && echo wrong
      answer=$(orchctl agent request-info "Where to?" --key where \
        --field 'region:eu|us=Region' --field 'token:secret=The token' --field 'more?')
      echo "answer $answer"
      token=$(echo "$answer" | sed 's/.*"token":"\([^"]*\)".*/\1/')
      stat -c %a "$token"; rev "$token"; echo; cat "$token"; echo; base64 < "$token"
      orchctl agent note "it is $(cat "$token")"
      orchctl agent request-info "Where to?" --key where --value region \
        --field 'region:eu|us=Region' --field 'token:secret=The token' --field 'more?'
      orchctl agent await-approval "drop the table" --detail "all of it" && echo allowed
      orchctl agent await-approval "drop the house" || echo "not allowed: $?"
      orchctl agent progress 100 "done"
"#;

/// From the first word to the last, over a daemon that is killed while people think.
#[test]
fn a_step_says_how_it_goes_asks_and_goes_on() -> anyhow::Result<()> {
    story("a run speaks to people", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Speaks", SPEAKS).await?;
        let asked = question(story, "Where to?").await?;
        let run = story.run_of(&task).await?;
        ensure!(run.state == RunState::AwaitingInput && asked.run == run.name, "{run:#?} {asked:#?}");
        story.kill9().await?;
        story.start().await?;
        refusals(story, &asked.name).await?;
        answer(story.env(), &asked.name, &[("region", "eu"), ("token", TOKEN)]).await?.ok()?;
        let again = answer(story.env(), &asked.name, &[("region", "eu")]).await?.failed(4)?;
        ensure!(again.contains("is answered and cannot be answered any more"), "{again}");
        for (action, decision) in [("drop the table", Decision::Approve), ("drop the house", Decision::Deny)] {
            let approval = approval(story, action).await?;
            let run = story.run_of(&task).await?;
            ensure!(run.state == RunState::AwaitingApproval, "{run:#?}");
            story.decide(&approval, decision).await?;
        }
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        said(story, &run).await?;
        nowhere(&story.env().state(), &[TOKEN])?;
        let answers = story.env().state().join("secrets/.answers");
        let gone = async || Ok(std::fs::read_dir(&answers)?.next().is_none().then_some(()));
        poll::until("the end of what was given", gone).await
    })
}

/// What is no answer is refused, and says what would be one.
async fn refusals(story: &Story, name: &str) -> anyhow::Result<()> {
    // Each of them is six as it is sent.
    std::fs::write(story.env().path("large"), [1_u8; 60 << 10])?;
    for (file, content) in [("eu", "region=eu"), ("mars", "region=mars\n"), ("place", "place=eu"), ("bare", "eu")] {
        std::fs::write(story.env().path(file), content)?;
    }
    for (given, code, says) in [
        (&["--values-file", "mars"][..], 2, "missing: token"),
        (&["--value", "region=eu"], 2, "unexpected argument '--value'"),
        (&["--values-file", "place"], 2, "has no field `place`"),
        (&["--values-file", "bare"], 2, "line 1 of `bare` has no `=`"),
        (&["--values-file", "-", "--value-file", "token=-"], 2, "standard input was named more than once"),
        (&["--values-file", "eu", "--value-file", "region=eu"], 2, "`region` was given more than once"),
        (&["--values-file", "mars", "--value-file", "token=orchd.toml"], 2, "`region` is none of eu, us"),
        (&["--values-file", "eu", "--value-file", "token=large"], 2, "are accepted: give less"),
    ] {
        let words = [&["question", "answer", name][..], given].concat();
        let said = orchctl(story.env(), &words).await?.failed(code)?;
        ensure!(said.contains(says), "{given:?}: {said}");
    }
    let shown = orchctl(story.env(), &["question", "list"]).await?.ok()?;
    ensure!(shown.contains(name) && shown.contains("Where to?"), "{shown}");
    let status = orchctl(story.env(), &["status"]).await?;
    let status = format!("{}{}", status.stdout, status.stderr);
    ensure!(status.contains(&format!("orchctl question answer {name}")), "{status}");
    Ok(())
}

/// What the run said is with it, and in the record.
async fn said(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let channel = run.channel.as_ref().context("it has a channel")?;
    let progress = channel.progress.as_ref().context("it said how far it is")?;
    ensure!((progress.percent, progress.text.as_str()) == (Some(100), "done"), "{channel:#?}");
    let notes: Vec<&str> = channel.notes.iter().map(|note| note.text.as_str()).collect();
    ensure!(notes.len() == 2 && notes[0] == "the first" && notes[1].starts_with("it is "), "{channel:#?}");
    ensure!(!notes[1].contains(TOKEN), "what was answered is not put on record: {channel:#?}");
    ensure!(run.given == ["channel"], "{run:#?}");
    let kept: Vec<_> = run.artifacts.iter().map(|kept| (kept.path.as_str(), kept.size_bytes)).collect();
    ensure!(kept == [("out/report.txt", 7)], "{kept:?}");
    let save = ["run", "artifacts", &run.name, "--save", "out/report.txt", "--to", "-"];
    ensure!(orchctl(story.env(), &save).await?.ok()? == "report\n", "it can be read");
    let output = String::from_utf8(story.stdout(&run.name, 0).await?)?;
    let reversed: String = TOKEN.chars().rev().collect();
    ensure!(output.contains("\"region\":\"eu\"") && output.contains(&format!("600\n{reversed}\n")), "{output}");
    let masked = output.matches("[secret token]").count();
    ensure!(masked == 2 && !output.contains(TOKEN), "it is taken out of the log, as it is and in base64: {output}");
    ensure!(output.ends_with("eu\nallowed\nnot allowed: 1\n") && !output.contains("wrong"), "{output}");
    let events = story.events().await?;
    for kind in ["run.progressed", "run.noted", "run.handed_in", "run.input_requested", "info_request.asked"] {
        ensure!(events.iter().any(|event| event.kind == kind), "{kind} is not in the record");
    }
    for (kind, times) in [("info_request.answered", 1), ("info_request.taken", 1), ("run.answered", 3)] {
        ensure!(events.iter().filter(|event| event.kind == kind).count() == times, "{kind} is there {times} times");
    }
    Ok(())
}

const ASKS: &str = "channel: true\ncheckout: false\nsteps:\n  - orchctl agent request-info 'Where to?' --key same \
                    --field region --value region\n";

/// A run that waits for long stands still, and others go on in its place.
#[test]
fn a_run_that_waits_leaves_its_place_to_others() -> anyhow::Result<()> {
    story("a run waits for long", Setup::Runs, async |story| {
        configure(story, "[limits]\nruns_max = 1\n[run]\npark_seconds = 1\n").await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let first = story.task_create("shop", "Asks", ASKS).await?;
        let asked = question(story, "Where to?").await?;
        let other = story.task_create("shop", "Other", "checkout: false\nsteps: ['true']").await?;
        story.task_in(&other, TaskState::Done).await?;
        let run = story.run_of(&first).await?;
        ensure!(run.state == RunState::AwaitingInput && run.pause.is_some(), "{run:#?}");
        // The next daemon leaves it where it is, and a run that stands still has its answer at once.
        story.kill9().await?;
        story.start().await?;
        answer(story.env(), &asked.name, &[("region", "eu")]).await?.ok()?;
        story.task_in(&first, TaskState::Done).await?;
        let run = story.run_of(&first).await?;
        ensure!(story.stdout(&run.name, 0).await? == b"eu\n" && run.pause.is_none(), "{run:#?}");
        Ok(())
    })
}

/// Asks by a program that is told to end, and by tools of which one is cancelled and the others lose their client.
const GIVES_UP: &str = r#"
channel: true
checkout: false
steps:
  - run: |
      go_on() { orchctl agent request-info "Go on, $1?" --field a > /dev/null; }
      orchctl agent request-info "By a program?" --field a & asker=$!
      go_on 1
      kill -TERM $asker; wait $asker || echo "program $?"
      mkfifo in
      orchctl agent mcp < in > out & server=$!
      exec 3> in
      call() { printf '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"%s","arguments":%s}}\n' "$@" >&3; }
      call 1 request_info '{"question":"By a tool?","fields":[{"name":"a","kind":"text"}]}'
      call 2 request_info '{"question":"To the end?","fields":[{"name":"a","kind":"text"}]}'
      call 3 await_approval '{"action":"to the end"}'
      go_on 2
      printf '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n' >&3
      go_on 3
      exec 3>&-
      wait $server && echo "server $?"; wc -l < out
"#;

/// A question whose asker does not wait any more is taken back, and the run goes on.
#[test]
fn a_question_is_taken_back_when_nobody_waits_for_the_answer() -> anyhow::Result<()> {
    story("askers give up", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Gives up", GIVES_UP).await?;
        let given_up = question(story, "By a program?").await?;
        go_on(story, "Go on, 1?").await?;
        is_taken_back(story, &given_up).await?;
        let (cancelled, last) = (question(story, "By a tool?").await?, question(story, "To the end?").await?);
        let action = approval(story, "to the end").await?;
        go_on(story, "Go on, 2?").await?;
        is_taken_back(story, &cancelled).await?;
        ensure!(get(story, &last.name).await?.state == InfoRequestState::Pending, "its call is wanted");
        go_on(story, "Go on, 3?").await?;
        is_taken_back(story, &last).await?;
        story.task_in(&task, TaskState::Done).await?;
        let pending = story.approvals_pending("shop").await?;
        ensure!(!pending.iter().any(|asked| asked.name == action.name), "{pending:#?}");
        let run = story.run_of(&task).await?;
        let said = String::from_utf8(story.stdout(&run.name, 0).await?)?;
        ensure!(said == "program 130\nserver 0\n0\n", "{said}");
        Ok(())
    })
}

async fn go_on(story: &Story, text: &str) -> anyhow::Result<()> {
    let asked = question(story, text).await?;
    answer(story.env(), &asked.name, &[("a", "yes")]).await?.ok()?;
    Ok(())
}

async fn is_taken_back(story: &Story, asked: &InfoRequestView) -> anyhow::Result<()> {
    let over = async || Ok(Some(get(story, &asked.name).await?).filter(|it| it.state != InfoRequestState::Pending));
    let over = poll::until("the end of a question", over).await?;
    let reason = "the run does not wait for the answer any more".to_owned();
    ensure!(over.state == InfoRequestState::Cancelled { reason }, "{over:#?}");
    Ok(())
}

/// Runs that have their answers go on as there are places, and not all at once.
#[test]
fn an_answered_run_waits_for_its_place() -> anyhow::Result<()> {
    story("a run has its answer and no place", Setup::Runs, async |story| {
        configure(story, "[limits]\nruns_max = 1\n[run]\npark_seconds = 1\n").await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let first = story.task_create("shop", "Asks", ASKS).await?;
        let asked = question(story, "Where to?").await?;
        let other = "channel: true\ncheckout: false\nsteps:\n  - mkfifo wait; read line < wait & orchctl agent note here; wait\n";
        let other = story.task_create("shop", "Other", other).await?;
        let notes = async || {
            let run = story.run_of(&other).await.ok();
            Ok(run.and_then(|run| run.channel).filter(|channel| !channel.notes.is_empty()).map(|_| ()))
        };
        poll::until("the run in its place", notes).await?;
        answer(story.env(), &asked.name, &[("region", "eu")]).await?.ok()?;
        let run = story.run_of(&first).await?;
        ensure!(run.pause.as_ref().is_some_and(|pause| pause.contains("waits for a place")), "{run:#?}");
        orchctl(story.env(), &["task", "cancel", &other, "--yes"]).await?.ok()?;
        story.task_in(&first, TaskState::Done).await?;
        Ok(())
    })
}

/// Nobody answers, or somebody does not want to: the run is told, and decides by itself.
#[test]
fn a_question_without_an_answer_has_an_end() -> anyhow::Result<()> {
    story("questions without answers", Setup::Runs, async |story| {
        const STEPS: &str = "channel: true\ncheckout: false\nsteps:\n  - run: |\n      \
            orchctl agent request-info 'In time?' --field a --expires 1s 2>&1 || echo \"exit $?\"\n      \
            orchctl agent await-approval 'In time?' --expires 1s 2>&1 || echo \"exit $?\"\n      \
            orchctl agent request-info 'At all?' --field a 2>&1 || echo \"exit $?\"\n      \
            orchctl agent request-info 'At the end?' --field a\n";
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Asks", STEPS).await?;
        let asked = question(story, "At all?").await?;
        orchctl(story.env(), &["question", "cancel", &asked.name, "--reason", "not now"]).await?.ok()?;
        let last = question(story, "At the end?").await?;
        let run = story.run_of(&task).await?;
        let said = String::from_utf8(story.stdout(&run.name, 0).await?)?;
        for says in ["expired: nobody answered in time", "expired: nobody decided", "cancelled: not now", "exit 1"] {
            ensure!(said.contains(says), "{says}: {said}");
        }
        orchctl(story.env(), &["task", "cancel", &task, "--yes"]).await?.ok()?;
        let over = async || Ok(Some(get(story, &last.name).await?).filter(|it| it.state != InfoRequestState::Pending));
        let over = poll::until("the end of the question", over).await?;
        ensure!(over.state == InfoRequestState::Cancelled { reason: "the run is over".into() }, "{over:#?}");
        Ok(())
    })
}

/// Speaks for others, too much, too fast and no protocol at all.
const RAVES: &str = r#"
import json, os, socket, struct, sys
host, port = os.environ["ORCH_CHANNEL"].split(":")
def connect():
    connection = socket.create_connection((host, int(port)), timeout=60)
    return connection
def frame(bytes):
    return struct.pack(">I", len(bytes)) + bytes
def read(connection):
    head = b""
    while len(head) < 4:
        more = connection.recv(4 - len(head))
        if not more: return None
        head += more
    length, body = struct.unpack(">I", head)[0], b""
    while len(body) < length:
        more = connection.recv(length - len(body))
        if not more: return None
        body += more
    return json.loads(body)
def call(connection, **call):
    connection.sendall(frame(json.dumps({"version": 1, **call}).encode()))
    return read(connection)
for garbage in [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02{}", frame(b"\xff" * 1000)]:
    connection = connect()
    connection.sendall(garbage)
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536): pass
    except OSError: pass
connection = connect()
other = sys.argv[1]
for name in ["run", "run_id", "id", "task"]:
    call(connection, verb="note", text="not mine", **{name: other})
print("version", call(connection, verb="note", text="x", version=2)["Err"]["code"])
print("large", call(connection, verb="note", text="x" * 5000)["Err"]["code"])
print("file", call(connection, verb="artifact", path="large", size_bytes=1 << 40)["Err"]["code"])
print("answer", call(connection, verb="answer_info", key="same", values={})["Err"]["code"])
print("taken", call(connection, verb="take_info", key="same")["Err"]["code"])
answers = [call(connection, verb="note", text=f"note {at}") for at in range(80)]
print("notes", sum("Ok" in answer for answer in answers))
for at in range(500):
    call(connection, verb="progress", percent=at % 100, text="busy " * 100) if at % 10 == 0 else None
field = [{"name": "a", "kind": "text"}]
ask = lambda key: call(connection, verb="request_info", key=key, text="?", fields=field, expires_ms=60000)
print("questions", sum("Ok" in ask(f"k{at}") for at in range(9)))
print("many", len([connect() for at in range(40)]))
"#;

/// Nothing that a run sends reaches another, and there is an end to it all.
#[test]
fn a_run_that_raves_does_so_alone() -> anyhow::Result<()> {
    story("a run raves on its channel", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let quiet = story.task_create("shop", "Asks", ASKS).await?;
        let asked = question(story, "Where to?").await?;
        let quiet_run = story.run_of(&quiet).await?;
        let indented: String = RAVES.lines().map(|line| format!("      {line}\n")).collect();
        let recipe = format!(
            "channel: true\ncheckout: false\ntools: [{{ name: python3 }}]\nsteps:\n  - run: |\n      cat > /tmp/raves.py <<'E'\n\
             {indented}      E\n      python3 /tmp/raves.py {}\n",
            quiet_run.id
        );
        let raves = story.task_create("shop", "Raves", &recipe).await?;
        story.task_in(&raves, TaskState::Done).await?;
        let run = story.run_of(&raves).await?;
        let said = String::from_utf8(story.stdout(&run.name, 0).await?)?;
        let expected = "version E_PROTOCOL\nlarge E_TOO_LARGE\nfile E_TOO_LARGE\nanswer E_USAGE\ntaken E_CONFLICT\n\
                        notes 49\nquestions 4\nmany 40\n";
        ensure!(said == expected, "{said}");
        let channel = run.channel.context("it has one")?;
        ensure!(channel.notes.len() == 50 && channel.notes[0].text == "not mine", "{channel:#?}");
        let events = story.events().await?;
        let told = events.iter().filter(|event| event.kind == "run.progressed").count();
        ensure!(told <= 40, "{told} of 50 are on record");
        let quiet_run = story.run_of(&quiet).await?;
        ensure!(quiet_run.channel.is_some_and(|channel| channel.notes.is_empty()), "nothing is said for another");
        ensure!(get(story, &asked.name).await?.state == InfoRequestState::Pending, "nothing is answered by another");
        answer(story.env(), &asked.name, &[("region", "eu")]).await?.ok()?;
        story.task_in(&quiet, TaskState::Done).await?;
        Ok(())
    })
}

/// Without `channel: true` there is neither a listener nor a program.
#[test]
fn a_run_has_a_channel_when_its_recipe_says_so() -> anyhow::Result<()> {
    story("a run without a channel", Setup::Runs, async |story| {
        const STEPS: &str =
            "checkout: false\nsteps: ['echo \"<$ORCH_CHANNEL>\"; test -e /orch/bin/orchctl || echo none']\n";
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Silent", STEPS).await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        ensure!(story.stdout(&run.name, 0).await? == b"<>\nnone\n" && run.channel.is_none(), "{run:#?}");
        let outside = orchctl(story.env(), &["agent", "note", "x"]).await?.failed(69)?;
        ensure!(outside.contains("channel: true"), "{outside}");
        Ok(())
    })
}

/// The question with this text, once it waits.
pub(crate) async fn question(story: &Story, text: &str) -> anyhow::Result<InfoRequestView> {
    poll::until("a question", async || {
        let filter = InfoRequestFilter { pending: true, ..InfoRequestFilter::default() };
        let all = story.wire().call(async |orch, context| orch.info_requests(context, filter).await).await?;
        Ok(all.into_iter().find(|asked| asked.text == text))
    })
    .await
}

async fn get(story: &Story, name: &str) -> anyhow::Result<InfoRequestView> {
    let name = Ref::from(name);
    Ok(story.wire().call(async |orch, context| orch.info_request(context, name).await).await?)
}

pub(crate) async fn approval(story: &Story, action: &str) -> anyhow::Result<orch_proto::view::ApprovalView> {
    poll::until("an approval", async || {
        let all = story.approvals_pending("shop").await?;
        Ok(all.into_iter().find(|asked| asked.action.contains(action)))
    })
    .await
}

async fn configure(story: &mut Story, config: &str) -> anyhow::Result<()> {
    story.stop().await?;
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await
}

/// Values lie nowhere as they are, where secrets are neither.
pub(crate) fn nowhere(directory: &Path, values: &[&str]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            nowhere(&path, values)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path)?;
            for value in values {
                let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
                ensure!(!found, "`{value}` is in {}", path.display());
            }
        }
    }
    Ok(())
}
