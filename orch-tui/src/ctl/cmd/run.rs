//! `orchctl run`: look at runs, their steps and artifacts; wait for them, end them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use orch_proto::request::Request;
use orch_proto::view::{
    ArtifactView, ChannelView, NetworkState, NetworkUseView, RemovedView, RunFilter, RunState, RunView,
};
use orch_proto::{ErrorCode, Ref};

use super::{exchanges, isolation, run_log};
use crate::clock;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::fmt::agent::{agent_line, model_line};
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::{self, bytes, short};
use crate::fmt::resource::{network_state, run_detail, step_state};
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Runs, the newest last
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this task
        #[arg(long)]
        task: Option<String>,
        /// Only those under way
        #[arg(long)]
        active: bool,
    },
    /// One run with its steps and the isolation that it had
    #[command(visible_alias = "show")]
    Get {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
        /// Exit with 0 when succeeded, 1 when not, 8 when under way
        #[arg(long)]
        exit_code: bool,
    },
    /// Output of a run
    #[command(visible_alias = "log")]
    Logs(run_log::LogArgs),
    /// Steps of a run
    Steps {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
    },
    /// What became of what a run asked of the network
    Network {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
    },
    /// Files that the run's steps declared as results
    Artifacts {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
        /// Save this one
        #[arg(long, value_name = "PATH")]
        save: Option<String>,
        /// Where to save it, `-` for standard output [default: its name, in the current directory]
        #[arg(long, value_name = "FILE", requires = "save")]
        to: Option<PathBuf>,
    },
    /// What passed between a run and models: all of it in a table, or one exchange with its texts
    Exchanges(exchanges::ExchangeArgs),
    /// What the agent of a run was told
    Prompt {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
        /// The bytes as they were
        #[arg(long)]
        raw: bool,
    },
    /// Kill runs; the retry policy of their tasks decides what follows
    Cancel {
        /// Runs, as `R-12` or `shop/R-12`, or `-` for names on standard input
        #[arg(required = true)]
        runs: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Queue the tasks of runs again, whose newest attempts they are
    #[command(visible_alias = "requeue")]
    Retry {
        /// Runs, as `R-12` or `shop/R-12`, or `-` for names on standard input
        #[arg(required = true)]
        runs: Vec<String>,
        /// Also runs under way: they are ended and do not count
        #[arg(long)]
        running: bool,
        /// Let the next attempt wait, as `10m`
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        delay: Option<std::time::Duration>,
        /// With another priority: 0 (last) to 9 (first)
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(0..=9))]
        priority: Option<u8>,
    },
    /// Have the processes of runs stand still, with their time-outs, until they are resumed
    Pause {
        /// Runs, as `R-12` or `shop/R-12`, or `-` for names on standard input
        #[arg(required = true)]
        runs: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say something to the agent of a run, which is told while it works; the answer is in its output
    Say {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
        /// What is said, or `-` for standard input
        text: String,
    },
    /// Let paused runs go on
    Resume {
        /// Runs, as `R-12` or `shop/R-12`, or `-` for names on standard input
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Wait until a run is over; exit code 1 if it did not succeed
    Wait {
        /// The run, as `R-12` or `shop/R-12`
        run: String,
    },
}

pub(crate) async fn run(session: &Session, command: RunCommand) -> Result<(), Failure> {
    match command {
        RunCommand::List { task, active } => {
            let task = task.map(|task| session.reference(&task));
            let filter = RunFilter { project: session.given_project(), task, active };
            session.list(&list(session, filter).await?)
        }
        RunCommand::Get { run, exit_code } => {
            let run = get(session, &session.reference(&run)).await?;
            session.show(&run, || text(&run, session.paint()))?;
            if exit_code { outcome(&run) } else { Ok(()) }
        }
        RunCommand::Logs(args) => run_log::run(session, args).await,
        RunCommand::Steps { run } => {
            let run = get(session, &session.reference(&run)).await?;
            session.list(&run.steps)
        }
        RunCommand::Network { run } => {
            let run = get(session, &session.reference(&run)).await?;
            session.list(&run.network)?;
            network_advice(&run).into_iter().for_each(|advice| session.note(advice));
            Ok(())
        }
        RunCommand::Artifacts { run, save, to } => {
            let run = get(session, &session.reference(&run)).await?;
            match save {
                Some(path) => save_artifact(session, &run, &path, to.as_deref()).await,
                None => {
                    session.list(&run.artifacts)?;
                    run.artifacts_left_out.iter().for_each(|line| session.note(&format!("not kept: {line}")));
                    Ok(())
                }
            }
        }
        RunCommand::Exchanges(args) => exchanges::run(session, args).await,
        RunCommand::Prompt { run, raw } => exchanges::prompt(session, &run, raw).await,
        RunCommand::Pause { runs, reason } => {
            each(session, &runs, "to stand still", |run| Request::RunPause { run, reason: reason.clone() }).await
        }
        RunCommand::Retry { runs, running, delay, priority } => {
            let later =
                |delay: std::time::Duration| clock::now().plus_ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            let not_before = delay.map(later);
            let request = |run| Request::RunRetry { run, anew: running, not_before, priority };
            each(session, &runs, "queued again", request).await
        }
        RunCommand::Say { run, text } => {
            let (run, text) = (session.reference(&run), input::words(session, &text)?);
            session.change(Request::RunSay { run, text }, "said").await.map(drop)
        }
        RunCommand::Resume { runs } => each(session, &runs, "to go on", |run| Request::RunResume { run }).await,
        RunCommand::Cancel { runs, reason } => {
            let runs = input::names(session, &runs)?;
            session.confirm(&format!("kill {}?", runs.join(" "))).await?;
            each(session, &runs, "cancelled", |run| Request::RunCancel { run, reason: reason.clone() }).await
        }
        RunCommand::Wait { run } => {
            let run = session.reference(&run);
            let run = until(session, &format!("run {run}"), async || {
                Ok(Some(get(session, &run).await?).filter(|run| run.state.is_final()))
            })
            .await?;
            session.list(std::slice::from_ref(&run))?;
            outcome(&run)
        }
    }
}

/// Sends one request per run. Goes on after a failure and tells of it at the end.
async fn each(session: &Session, runs: &[String], done: &str, request: impl Fn(Ref) -> Request) -> Result<(), Failure> {
    let runs: Vec<_> = input::names(session, runs)?.iter().map(|run| session.reference(run)).collect();
    crate::ctl::batch::each(session, &runs, async |run| session.change(request(run), done).await.map(drop)).await
}

/// Reads a run.
pub(crate) async fn get(session: &Session, run: &Ref) -> Result<RunView, Failure> {
    let run = run.clone();
    session.read(async |orch, context| orch.run(context, run).await).await
}

/// Reads runs.
pub(crate) async fn list(session: &Session, filter: RunFilter) -> Result<Vec<RunView>, Failure> {
    session.read(async |orch, context| orch.runs(context, filter).await).await
}

fn outcome(run: &RunView) -> Result<(), Failure> {
    let message = match &run.state {
        RunState::Failed { class, reason } => format!("{} failed ({class}): {reason}", run.name),
        other => format!("{} is {}", run.name, other.label()),
    };
    if run.state == RunState::Succeeded {
        Ok(())
    } else if run.state.is_final() {
        Err(Failure::Negative(message))
    } else {
        Err(Failure::Pending(message))
    }
}

async fn save_artifact(session: &Session, run: &RunView, path: &str, to: Option<&Path>) -> Result<(), Failure> {
    let artifact = run.artifacts.iter().find(|artifact| artifact.path == path).ok_or_else(|| {
        let known: Vec<_> = run.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        Failure::new(ErrorCode::NotFound, format!("{} has no artifact `{path}`", run.name), known)
    })?;
    // What is gone is refused, by the daemon's words, before a file is made for it.
    if run.removed.iter().any(|removed| removed.part == "artifacts") {
        let (id, name) = (Ref(run.id.to_string()), path.to_owned());
        session.read(async |orch, context| orch.artifact(context, id.clone(), name.clone(), 0).await).await?;
    }
    // The path is the run's own; of it only the last part is used, and no existing file is written over.
    let name = path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."));
    let target = to.map(Path::to_path_buf).or_else(|| name.map(PathBuf::from));
    let target = target.ok_or_else(|| Failure::usage(format!("`{path}` has no name; say where with `--to`")))?;
    let mut file = if target.as_os_str() == "-" {
        None
    } else {
        let opened = OpenOptions::new().write(true).create_new(true).open(&target);
        Some(opened.map_err(|error| Failure::cannot_write(&target, &error))?)
    };
    let mut offset = 0;
    while offset < artifact.size_bytes {
        let id = Ref(run.id.to_string());
        let name = path.to_owned();
        let piece = session.read(async |orch, context| orch.artifact(context, id, name, offset).await).await?;
        if piece.0.is_empty() {
            return Err(Failure::Negative(format!("`{path}` ended after {offset} of {} bytes", artifact.size_bytes)));
        }
        offset += u64::try_from(piece.0.len()).unwrap_or(u64::MAX);
        match &mut file {
            Some(file) => file.write_all(&piece.0)?,
            None => session.console.data(&piece.0)?,
        }
    }
    session.note(&format!("saved `{path}` ({}) as `{}`", bytes(offset), target.display()));
    Ok(())
}

fn text(run: &RunView, paint: Paint) -> String {
    let now = clock::now();
    let head = format!("{}  {} ({})", run.name, run.state.label(), run_detail(run));
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<11} {}\n", SafeText::line(value)));
    field("task", &format!("{}, attempt {}, fence {}", run.task_name, run.attempt, run.fence));
    field("why now", &run.reason);
    if let Some(resumed) = &run.resumed {
        field("resumed", &format!("from {resumed}"));
    }
    for line in &run.session {
        field("session", line);
    }
    if let Some(started) = run.started_at {
        field("time", &short(run.finished_at.unwrap_or(now).ms_since(started)));
    }
    if let Some(silence) = &run.silence {
        let asked = silence.question.as_ref().map_or(String::new(), |name| format!("; asked in {name}"));
        field("silent", &format!("for {}{asked}", short(now.ms_since(silence.since))));
    }
    let dropped =
        if run.log_dropped_bytes > 0 { format!(", {} dropped", bytes(run.log_dropped_bytes)) } else { String::new() };
    field("log", &format!("{}{dropped}", bytes(run.log_bytes)));
    for (at, step) in run.steps.iter().enumerate() {
        let exit = step.exit_code.map_or(String::new(), |code| format!(", exit {code}"));
        let time = step
            .started_at
            .map_or(String::new(), |started| format!(", {}", short(step.finished_at.unwrap_or(now).ms_since(started))));
        field(&format!("step {}", at + 1), &format!("{}: {}{exit}{time}", step.name, step_state(step.state)));
    }
    if let Some(isolation) = &run.isolation {
        field("isolation", &format!("level {} (required {})", isolation.level, isolation.required));
        let next = isolation::next(isolation);
        if !next.is_empty() {
            field("", &next);
        }
        for line in isolation::guarantees(isolation, paint).lines() {
            out.push_str(&format!("            {line}\n"));
        }
    }
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<11} {}\n", SafeText::line(value)));
    if let Some(agent) = &run.agent {
        field("agent", &agent_line(agent));
        field("model", &model_line(agent));
        if let Some(prompt) = &agent.prompt {
            field("told", &format!("{}, {}", bytes(prompt.bytes), prompt.digest));
        }
        agent.spending.iter().for_each(|line| field("may spend", line));
    }
    if let Some(channel) = &run.channel {
        channel_lines(channel).iter().for_each(|(name, line)| field(name, line));
    }
    for given in &run.given {
        field("given", given);
    }
    for used in &run.network {
        field("network", &network_text(used));
    }
    if run.network_left_out > 0 {
        field("network", &format!("and {} more that were not kept one by one", run.network_left_out));
    }
    left_lines(run).iter().for_each(|(name, line)| field(name, line));
    field("directory", &run.directory);
    field("id", &run.id.to_string());
    out
}

/// What it left, and what of that is there no more, a line each.
fn left_lines(run: &RunView) -> Vec<(&'static str, String)> {
    let kept = |artifact: &ArtifactView| ("artifact", format!("{} ({})", artifact.path, bytes(artifact.size_bytes)));
    let removed = |removed: &RemovedView| {
        let (at, size) = (removed.at, bytes(removed.size_bytes));
        ("removed", format!("{} at {at} by {} ({size}, {})", removed.part, removed.policy, removed.content))
    };
    let left_out = run.artifacts_left_out.iter().map(|line| ("not kept", line.clone()));
    run.artifacts.iter().map(kept).chain(left_out).chain(run.removed.iter().map(removed)).collect()
}

/// What the run says of itself, a line each.
fn channel_lines(channel: &ChannelView) -> Vec<(&'static str, String)> {
    let progress = channel.progress.iter().map(|progress| {
        let percent = progress.percent.map_or_else(String::new, |percent| format!("{percent} % "));
        ("says", format!("{percent}{}", progress.text))
    });
    let notes = channel.notes.iter().map(|note| ("notes", note.text.clone()));
    let proposed = channel.proposed.iter().map(|words| ("proposes", words.title.clone()));
    progress
        .chain(notes)
        .chain(proposed)
        .chain(channel.waits_for.iter().map(|what| ("waits for", what.clone())))
        .collect()
}

/// What became of something that a run asked of the network, in a line.
fn network_text(used: &NetworkUseView) -> String {
    let host = used.host.as_deref().unwrap_or("?");
    let port = used.port.map_or(String::new(), |port| format!(":{port}"));
    let times = if used.count == 1 { String::new() } else { format!(", {} times", used.count) };
    format!("{:<7} {} {host}{port}: {}{times}", network_state(used.state), used.way, used.detail)
}

/// What can be done about what the run was refused.
fn network_advice(run: &RunView) -> Vec<&'static str> {
    let denied = |test: &dyn Fn(&str) -> bool| {
        run.network.iter().any(|used| used.state == NetworkState::Denied && test(&used.detail))
    };
    let mut advice = Vec::new();
    if denied(&|why| why == "name-not-allowed" || why == "port-not-allowed") {
        advice.push("what is not allowed is named in `network` of the recipe: `orchctl task edit NAME --recipe FILE`");
    }
    if denied(&|why| why.starts_with("resolves to ")) {
        advice.push("the operator says in `[[network.house]]` which hosts may lead to addresses of the house");
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn outcomes_are_exit_codes() {
        let code = |state| {
            let run = RunView { state, ..samples::run(1) };
            outcome(&run).map_or_else(|failure| failure.exit_code(), |()| 0)
        };
        assert_eq!(code(RunState::Succeeded), 0);
        assert_eq!(code(RunState::Lost), 1);
        assert_eq!(code(RunState::Running), 8);
        assert_eq!(code(RunState::Failed { class: "task".into(), reason: "x".into() }), 1);
    }

    #[test]
    fn a_run_is_laid_out() {
        insta::assert_snapshot!(text(&samples::run(7), Paint::OFF));
    }
}
