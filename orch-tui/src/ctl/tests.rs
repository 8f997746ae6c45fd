//! Whole commands against a fake daemon on a real socket.

mod agent;
mod connection;
mod demo;
mod documents;
mod orders;
mod questions;
mod records;
mod stats;
mod tools;
mod undo;
mod upkeep;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use clap::CommandFactory as _;
use orch_proto::request::{Bytes, Decision, Request};
use orch_proto::view::{LogChunk, LogStream, RunState, TaskState};

use super::args::Cli;
use super::fake::{Fake, State, hostile};
use super::{Console, Terminal, run};
use crate::fmt::samples;

/// What a command did.
#[derive(Debug)]
struct Outcome {
    code: u8,
    out: String,
    err: String,
}

/// A stream that a test reads afterwards.
#[derive(Clone, Debug, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// How a command is called.
#[derive(Clone, Copy, Debug, Default)]
struct Call<'a> {
    stdin: &'a str,
    terminal: Terminal,
    env: &'a [(&'a str, &'a str)],
}

const TTY: Terminal = Terminal { stdin: true, stdout: true, stderr: true, width: Some(80) };

async fn call(fake: &Fake, call: Call<'_>, line: &str) -> Outcome {
    let (out, err) = (Sink::default(), Sink::default());
    let stdin = Box::new(Cursor::new(call.stdin.as_bytes().to_vec()));
    let env: Vec<_> = call.env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let console = Console::new(stdin, Box::new(out.clone()), Box::new(err.clone()), call.terminal)
        .with_env(move |name| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()));
    let socket = fake.socket().into_os_string();
    let words = line.split_whitespace().map(OsString::from);
    let arguments: Vec<OsString> = ["orchctl".into(), "--socket".into(), socket].into_iter().chain(words).collect();
    let code = run(arguments, console).await;
    Outcome { code, out: out.text(), err: err.text() }
}

async fn plain(fake: &Fake, line: &str) -> Outcome {
    call(fake, Call::default(), line).await
}

fn one_project() -> State {
    State { projects: vec![samples::project()], ..State::default() }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_argument_has_a_word_of_help() {
    fn silent(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
        found.extend(arguments.map(|argument| format!("{path} {}", argument.get_id())));
        for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
            silent(child, &path, found);
        }
    }
    let mut found = Vec::new();
    silent(&Cli::command(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

/// Help is documentation: a change of it shows in review.
#[test]
fn help_texts() {
    fn collect(command: &mut clap::Command, path: &str, out: &mut String) {
        let path = format!("{path} {}", command.get_name());
        if command.is_hide_set() {
            return;
        }
        // The global options are the same everywhere and shown once.
        let global = !path.trim().contains(' ');
        let help = command.render_help().to_string();
        let own = if global { help.as_str() } else { help.split("\nGlobal options:").next().unwrap_or("") };
        out.push_str(&format!("# {}\n{}\n\n", path.trim(), own.trim_end()));
        for child in command.get_subcommands_mut() {
            collect(child, &path, out);
        }
    }
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut out = String::new();
    collect(&mut command, "", &mut out);
    insta::assert_snapshot!(out);
}

#[tokio::test]
async fn without_a_daemon_the_hint_says_how_to_get_one() {
    let mut fake = Fake::start(State::default());
    fake.stop().await;
    let outcome = plain(&fake, "").await;
    assert_eq!(outcome.code, 69);
    assert!(outcome.err.starts_with("error[E_UNREACHABLE]: "), "{}", outcome.err);
    assert!(outcome.err.contains("hint: start one with `orchctl up`"), "{}", outcome.err);
    let json = plain(&fake, "task list -o json").await;
    let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(
        (error["error"]["code"].as_str(), error["error"]["retryable"].as_bool()),
        (Some("E_UNREACHABLE"), Some(true))
    );
}

#[tokio::test]
async fn status_names_the_next_command() {
    let fake = Fake::start(State::default());
    assert!(plain(&fake, "").await.out.contains("next: orchctl project create NAME"));
    fake.edit(|state| state.projects.push(samples::project()));
    assert!(plain(&fake, "").await.out.contains("next: orchctl vision submit FILE -p shop"));
    fake.edit(|state| state.approvals.push(samples::approval(1)));
    let outcome = plain(&fake, "status --exit-code").await;
    assert!(outcome.out.contains("next: orchctl approval get shop/A-1"), "{}", outcome.out);
    assert_eq!(outcome.code, 8);
}

/// Every reading verb, on a terminal with colours and as a machine format: nothing that a terminal obeys gets through.
#[tokio::test]
async fn hostile_text_never_reaches_a_terminal() {
    let fake = Fake::start(hostile());
    fake.edit(|state| state.log.push(chunk(LogStream::Stdout, b"\x1b[2J\x1b[32mgreen\x1b]0;title\x07\xff\r")));
    let verbs = [
        "status",
        "project list",
        "project get shop",
        "req show",
        "req list",
        "req edit --print",
        "plan show",
        "plan show --graph",
        "plan show --graph dot",
        "plan show --graph json",
        "plan critical-path",
        "plan diff",
        "trace FR-1",
        "task list",
        "task get T-1",
        "task why T-1",
        "task tree",
        "run list",
        "run get R-1",
        "run steps R-1",
        "run artifacts R-1",
        "run logs R-1",
        "run logs R-1 -t",
        "run exchanges R-1",
        "run exchanges R-1 1",
        "run exchanges R-1 1 --answer",
        "approval list",
        "approval get A-1",
        "approval diff A-1",
        "change list",
        "change get C-1",
        "change diff C-1",
        "events tail --no-follow --after-cursor 0",
        "audit list",
        "audit verify",
        "audit export",
        "doctor",
        "project create x",
        "task queue T-1",
    ];
    for verb in verbs {
        for format in ["", "-o json", "-o jsonl", "-o yaml", "-o name", "--color always"] {
            if verb == "audit export" && !matches!(format, "" | "-o jsonl") {
                continue;
            }
            let outcome = call(&fake, Call { terminal: TTY, ..Call::default() }, &format!("{verb} {format}")).await;
            assert!(matches!(outcome.code, 0 | 1), "{verb} {format}: {outcome:?}");
            for text in [outcome.out, outcome.err] {
                assert_harmless(&text, &format!("{verb} {format}"));
            }
        }
    }
}

/// Nothing but printable text, newlines and colours that we wrote.
fn assert_harmless(text: &str, what: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let after = &rest[at + 1..];
        let sgr = after.strip_prefix('[').and_then(|body| body.split_once('m'));
        let ours = sgr.is_some_and(|(codes, _)| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'));
        assert!(ours, "{what}: {text:?}");
        rest = &rest[at + 1..];
    }
    let bad = text
        .chars()
        .find(|&char| char.is_control() && char != '\n' && char != '\x1b' || crate::text::is_deceptive(char));
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[tokio::test]
async fn formats_of_a_list() {
    let fake = Fake::start(State { tasks: vec![samples::task(1), samples::task(2)], ..one_project() });
    let json: serde_json::Value = serde_json::from_str(&plain(&fake, "task list -o json").await.out).unwrap();
    assert_eq!((json["apiVersion"].as_str(), json["kind"].as_str()), (Some("orch/v1"), Some("TaskList")));
    assert_eq!(json["items"][1]["name"], "shop/T-2");
    let lines = plain(&fake, "t ls -o jsonl").await.out;
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), first["kind"].as_str(), first["name"].as_str()),
        (2, Some("Task"), Some("shop/T-1"))
    );
    assert_eq!(plain(&fake, "task list -o name").await.out, "shop/T-1\nshop/T-2\n");
    assert!(plain(&fake, "task list -o yaml").await.out.starts_with("apiVersion: orch/v1\nkind: TaskList\nitems:\n"));
    assert_eq!(
        plain(&fake, "task list --columns name,state --no-headers").await.out,
        "shop/T-1  approved\nshop/T-2  approved\n"
    );
    let wrong = plain(&fake, "task list --columns size").await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("there is no column `size`; there are name, title"), "{}", wrong.err);
}

#[tokio::test]
async fn the_project_is_the_only_one_or_must_be_named() {
    let fake = Fake::start(State::default());
    let none = plain(&fake, "req show").await;
    assert_eq!((none.code, none.err.contains("orchctl project create")), (3, true), "{}", none.err);
    fake.edit(|state| {
        for name in ["shop", "till"] {
            let mut project = samples::project();
            project.name = name.into();
            state.projects.push(project);
        }
        state.requirements.push(samples::requirements());
    });
    let several = plain(&fake, "req show").await;
    assert_eq!((several.code, several.err.contains("there are shop, till")), (2, true), "{}", several.err);
    assert_eq!(plain(&fake, "req show -p till").await.code, 0);
}

#[tokio::test]
async fn a_vision_that_cannot_be_one_is_refused_before_it_is_sent() {
    let fake = Fake::start(one_project());
    let path = |name: &str, bytes: &[u8]| {
        let path = fake.directory().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let sparse = fake.directory().join("large.md");
    std::fs::File::create(&sparse).unwrap().set_len(50 << 20).unwrap();
    let directory = fake.directory().display().to_string();
    for (file, exit, code) in [
        (path("empty.md", b" \n\t\n"), 2, "E_EMPTY_VISION"),
        (path("binary.md", b"\x7fELF\0\0"), 2, "E_NOT_TEXT"),
        (path("latin1.md", b"caf\xe9"), 2, "E_NOT_TEXT"),
        (sparse.display().to_string(), 2, "E_TOO_LARGE"),
        (directory, 2, "E_USAGE"),
        ("/no/such/file".into(), 3, "E_NOT_FOUND"),
    ] {
        let outcome = plain(&fake, &format!("vision submit {file} -o json")).await;
        assert_eq!(outcome.code, exit, "{outcome:?}");
        assert!(outcome.err.contains(&format!(r#""code":"{code}""#)), "{}", outcome.err);
    }
    let large = "x".repeat((1 << 20) + 1);
    let outcome = call(&fake, Call { stdin: &large, ..Call::default() }, "vision submit -").await;
    assert!(outcome.err.contains("E_TOO_LARGE"), "{}", outcome.err);
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
    let good = call(&fake, Call { stdin: "# Shop\n", ..Call::default() }, "vision submit -").await;
    assert_eq!(good.code, 0, "{good:?}");
    let sent = fake.see(|state| state.submitted[0].request.clone());
    let Request::VisionSubmit { text, file_name, .. } = sent else { panic!("another request") };
    assert_eq!((text, file_name.as_str()), (Bytes(b"# Shop\n".to_vec()), "stdin"));
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_sent_again_under_the_same_key() {
    let fake = Fake::start(State { tasks: vec![samples::task(1)], cut_after_submit: true, ..one_project() });
    let outcome = plain(&fake, "task queue shop/T-1").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(outcome.out, "queued task shop/T-1 (was done before under this key)\n");
    assert_eq!(fake.see(|state| state.submitted.len()), 1);
}

#[tokio::test]
async fn a_named_key_is_for_one_request() {
    let fake = Fake::start(State { tasks: vec![samples::task(1), samples::task(2)], ..one_project() });
    assert_eq!(plain(&fake, "task cancel T-1 --idempotency-key k").await.code, 0);
    let again = plain(&fake, "task cancel T-1 --idempotency-key k -o json").await;
    assert!(again.out.contains(r#""duplicate": true"#), "{}", again.out);
    let several = plain(&fake, "task cancel T-1 T-2 --idempotency-key k2").await;
    assert_eq!(several.code, 9);
    assert!(several.err.contains("names one request"), "{}", several.err);
}

#[tokio::test]
async fn some_of_several_can_fail() {
    let fake = Fake::start(State { refused: vec!["T-2".into()], ..one_project() });
    let lines = "T-1\n{\"kind\":\"Task\",\"name\":\"T-2\"}\n\nT-3\n";
    let outcome = call(&fake, Call { stdin: lines, ..Call::default() }, "task cancel -").await;
    assert_eq!(outcome.code, 9);
    assert_eq!(outcome.out, "cancelled task T-1\ncancelled task T-3\n");
    assert!(outcome.err.contains("error[E_CONFLICT]: `T-2` cannot be changed now"), "{}", outcome.err);
    assert!(outcome.err.contains("1 of 3 failed"), "{}", outcome.err);
}

#[tokio::test]
async fn short_names_are_within_the_project_that_was_given() {
    let fake = Fake::start(one_project());
    let outcome = plain(&fake, "-p shop task cancel T-1 task-0192f0c0-0000-7000-8000-000000000001 till/T-2").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let tasks: Vec<_> = fake.see(|state| {
        state
            .submitted
            .iter()
            .map(|envelope| match &envelope.request {
                Request::TaskCancel { task, .. } => task.0.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    });
    assert_eq!(tasks, ["shop/T-1", "task-0192f0c0-0000-7000-8000-000000000001", "till/T-2"]);
}

#[tokio::test]
async fn approving_is_bound_to_what_was_shown() {
    let fake = Fake::start(State { approvals: vec![samples::approval(1)], ..one_project() });
    let stale = plain(&fake, "approval approve A-1 --digest deadbeef").await;
    assert_eq!((stale.code, stale.err.contains("E_STALE_DIGEST")), (4, true), "{stale:?}");
    let silent = plain(&fake, "approval deny A-1").await;
    assert_eq!((silent.code, silent.err.contains("--reason")), (2, true), "{silent:?}");
    let no = call(&fake, Call { stdin: "n\n", terminal: TTY, env: &[] }, "approval approve A-1").await;
    assert_eq!((no.code, no.err.contains("merge shop/C-1 into main")), (1, true), "{no:?}");
    let never = plain(&fake, "approval approve A-1 --no-input").await;
    assert_eq!(never.code, 2, "{never:?}");
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
    let yes =
        call(&fake, Call { stdin: "y\n", terminal: TTY, env: &[] }, "approval approve A-1 --digest ab12ab12").await;
    assert_eq!(yes.code, 0, "{yes:?}");
    let Request::ApprovalDecide { decision, digest, .. } = fake.see(|state| state.submitted[0].request.clone()) else {
        panic!("another request");
    };
    assert_eq!((decision, digest), (Decision::Approve, Some("ab12".repeat(16))));
}

#[tokio::test]
async fn requirements_are_edited_from_a_file() {
    let fake = Fake::start(State { requirements: vec![samples::requirements()], ..one_project() });
    let form = plain(&fake, "req edit --print").await.out.replace("title: Answer errors", "title: Report errors");
    let edited = call(&fake, Call { stdin: &form, ..Call::default() }, "req edit -f - --reason better").await;
    assert_eq!(edited.code, 0, "{edited:?}");
    let last = fake.see(|state| state.submitted.last().unwrap().request.clone());
    let Request::RequirementsEdit { upsert, remove, base_version, .. } = last else { panic!("another request") };
    assert_eq!((upsert.len(), upsert[0].key.as_deref(), remove.len(), base_version), (1, Some("FR-2"), 0, 1));
}

#[tokio::test]
async fn an_edit_changes_only_what_is_named() {
    let fake = Fake::start(one_project());
    assert_eq!(plain(&fake, "task edit shop/T-1").await.code, 2);
    let recipe = "steps:\n  - run: make\n";
    let outcome = call(&fake, Call { stdin: recipe, ..Call::default() }, "task edit shop/T-1 --recipe -").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let Request::TaskEdit { recipe: sent, capability, acceptance, .. } =
        fake.see(|state| state.submitted[0].request.clone())
    else {
        panic!("another request");
    };
    assert_eq!((sent.as_deref(), capability, acceptance), (Some(recipe), None, None));
}

/// Runs the command while `act` changes the world. The command must be waiting for what `act` does.
async fn during(fake: &Fake, line: &str, act: impl Future<Output = ()>) -> Outcome {
    let (outcome, ()) = tokio::join!(plain(fake, line), act);
    outcome
}

#[tokio::test]
async fn waiting_ends_with_the_outcome_of_the_task() {
    let fake = Fake::start(State { tasks: vec![samples::task(1)], ..one_project() });
    let done = during(&fake, "task wait T-1", async {
        fake.edit(|state| state.tasks[0].state = TaskState::Running);
        fake.edit(|state| state.tasks[0].state = TaskState::Done);
    })
    .await;
    assert_eq!((done.code, done.out.contains("done")), (0, true), "{done:?}");
    fake.edit(|state| state.tasks[0].state = TaskState::Running);
    let failed =
        during(&fake, "task wait --all", async { fake.edit(|state| state.tasks[0].state = TaskState::Failed) }).await;
    assert_eq!((failed.code, failed.err.contains("shop/T-1 is failed")), (1, true), "{failed:?}");
}

#[tokio::test]
async fn waiting_ends_with_the_time_given() {
    let fake = Fake::start(State { tasks: vec![samples::task(1)], ..one_project() });
    let outcome = plain(&fake, "task wait T-1 --timeout 30ms").await;
    assert_eq!(outcome.code, 7, "{outcome:?}");
    assert!(outcome.err.contains("error[E_TIMEOUT]: T-1 is not there yet"), "{}", outcome.err);
}

#[tokio::test]
async fn waiting_goes_on_over_a_restart_of_the_daemon() {
    let mut fake = Fake::start(State { tasks: vec![samples::task(1)], ..one_project() });
    let socket = fake.socket();
    let (out, err) = (Sink::default(), Sink::default());
    let console =
        Console::new(Box::new(io::empty()), Box::new(out.clone()), Box::new(err.clone()), Terminal::default());
    let words =
        ["orchctl".into(), "--socket".into(), socket.into_os_string(), "task".into(), "wait".into(), "T-1".into()];
    let waiting = run(words, console);
    let restart = async {
        // The first progress line says that the command follows the events.
        wait_for(|| err.text().contains("shop/T-1")).await;
        fake.stop().await;
        wait_for(|| err.text().contains("waiting for the daemon to come back")).await;
        fake.edit(|state| state.tasks[0].state = TaskState::Done);
        fake.listen();
    };
    let (code, ()) = tokio::join!(waiting, restart);
    assert_eq!((code, out.text().contains("done")), (0, true), "{} {}", out.text(), err.text());
}

/// Yields until the condition holds. Bounded by the test's own time limit.
async fn wait_for(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.unwrap();
}

fn chunk(stream: LogStream, bytes: &[u8]) -> LogChunk {
    LogChunk { stream, step: Some(0), at: samples::AT, bytes: Bytes(bytes.to_vec()), newline: true }
}

fn with_log() -> State {
    let log = (1..=5).map(|number| chunk(LogStream::Stdout, format!("line {number}").as_bytes())).collect();
    State { runs: vec![samples::run(1)], log, log_end: true, ..one_project() }
}

#[tokio::test]
async fn logs_are_whole_filtered_and_escaped() {
    let fake = Fake::start(with_log());
    assert_eq!(plain(&fake, "run logs R-1").await.out, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(plain(&fake, "run logs R-1 --tail 2").await.out, "line 4\nline 5\n");
    assert_eq!(plain(&fake, "run logs R-1 --grep 3 -t").await.out, "09:05:57.000 line 3\n");
    assert_eq!(plain(&fake, "run logs R-1 --step test").await.out, "");
    fake.edit(|state| {
        state.log = vec![chunk(LogStream::Control, br#"{"step":"test"}"#), chunk(LogStream::Stdout, b"\x1b[2J\xff")];
        state.log.push(LogChunk { newline: false, ..chunk(LogStream::Stdout, b"no end") });
    });
    assert_eq!(plain(&fake, "run logs R-1").await.out, "-- step=test\n^[[2J\\xff\nno end\n");
    let json = plain(&fake, "run logs R-1 -o jsonl").await.out;
    assert_eq!(json.lines().count(), 3, "{json}");
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let fake = Fake::start(State { log_end: false, ..with_log() });
    let outcome = during(&fake, "run logs R-1 -f", async {
        fake.edit(|state| state.log.push(chunk(LogStream::Stderr, b"late")));
        fake.edit(|state| state.log_end = true);
    })
    .await;
    assert_eq!((outcome.code, outcome.out.ends_with("line 5\nlate\n")), (0, true), "{outcome:?}");
}

#[tokio::test]
async fn predicates_are_exit_codes() {
    let fake = Fake::start(State { tasks: vec![samples::task(1)], changes: vec![samples::change(1)], ..with_log() });
    assert_eq!(plain(&fake, "task get T-1 --exit-code").await.code, 8);
    assert_eq!(plain(&fake, "run get R-1 --exit-code").await.code, 1);
    assert_eq!(plain(&fake, "change get C-1 --exit-code").await.code, 8);
    fake.edit(|state| state.runs[0].state = RunState::Succeeded);
    assert_eq!(plain(&fake, "run wait R-1").await.code, 0);
    assert_eq!(plain(&fake, "audit verify").await.code, 1);
    assert_eq!(plain(&fake, "daemon check").await.code, 0);
    assert_eq!(plain(&fake, "task get T-9").await.code, 3);
}

#[tokio::test]
async fn artifacts_are_saved_whole_and_over_nothing() {
    let fake = Fake::start(hostile());
    let target = fake.directory().join("saved");
    let line = format!("run artifacts R-1 --save out/a.txt --to {}", target.display());
    assert_eq!(plain(&fake, &line).await.code, 0);
    assert_eq!(std::fs::read(&target).unwrap(), b"0123456789");
    let again = plain(&fake, &line).await;
    assert_eq!((again.code, again.err.contains("error[E_EXISTS]: ")), (4, true), "{again:?}");
    assert!(again.err.contains("hint: name another file"), "{}", again.err);
    assert_eq!(plain(&fake, "run artifacts R-1 --save out/a.txt --to -").await.out, "0123456789");
    assert_eq!(plain(&fake, "run artifacts R-1 --save nothing").await.code, 3);
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_error_message() {
    #[derive(Debug)]
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fake = Fake::start(one_project());
    let err = Sink::default();
    let console = Console::new(Box::new(io::empty()), Box::new(Gone), Box::new(err.clone()), Terminal::default());
    let words = ["orchctl".into(), "--socket".into(), fake.socket().into_os_string(), "project".into(), "list".into()];
    assert_eq!(run(words, console).await, 141);
    assert_eq!(err.text(), "");
}

#[tokio::test]
async fn events_carry_the_cursor_to_go_on_from() {
    let fake = Fake::start(one_project());
    fake.edit(|_| {});
    fake.edit(|_| {});
    let lines = plain(&fake, "events tail --no-follow --after-cursor 1 -o jsonl").await.out;
    let event: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        (event["type"].as_str(), event["cursor"].as_str(), event["object"]["seq"].as_u64()),
        (Some("added"), Some("2"), Some(2))
    );
}

#[tokio::test]
async fn what_needs_no_daemon_works_without_one() {
    let mut fake = Fake::start(State::default());
    fake.stop().await;
    assert!(plain(&fake, "completion bash").await.out.contains("_orchctl"));
    assert!(plain(&fake, "explain E_CYCLE").await.out.starts_with("E_CYCLE: "));
    assert_eq!(plain(&fake, "explain E_NOTHING").await.code, 3);
    assert!(plain(&fake, "help exit-codes").await.out.contains("E_UNREACHABLE"));
    assert!(plain(&fake, "help task wait").await.out.contains("--all"));
    assert_eq!(plain(&fake, "--version").await.code, 0);
    let man = fake.directory().join("man");
    assert_eq!(plain(&fake, &format!("man --dir {}", man.display())).await.code, 0);
    assert!(man.join("orchctl-task-create.1").exists());
    let nowhere = plain(&fake, &format!("man --dir {}/deeper", man.join("orchctl.1").display())).await;
    assert_eq!((nowhere.code, nowhere.err.contains("orchctl.1/deeper` cannot be written: ")), (2, true), "{nowhere:?}");
    assert!(nowhere.err.contains("hint: name another place"), "{}", nowhere.err);
    let verbs = plain(&fake, "daemon").await;
    assert_eq!((verbs.code, verbs.err.starts_with("The daemon itself\n")), (2, true), "{}", verbs.err);
    let wrong = plain(&fake, "nonsense -o json").await;
    assert_eq!((wrong.code, wrong.err.starts_with(r#"{"error":{"code":"E_USAGE""#)), (2, true), "{}", wrong.err);
}
