//! `--agent`: an installed agent program does one task of the demo, with a model of its vendor or of another server.
//!
//! The key is read here, given to the daemon as a secret, and taken away again at the end. **Invariant:** it is in no
//! argument, configuration, log or message, and in the environment of no program that the demo starts; the demo looks for
//! it in everything that was written.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orch_proto::request::{Bytes, Dependency, Request};
use orch_proto::view::{ChangeState, ChangeView, Condition, RunPurpose, RunView, TaskFilter, Terms};
use orch_proto::{ErrorCode, Ref};
use serde::Serialize;

use super::Demo;
use super::search;
use super::watch::Work;
use crate::ctl::cmd::task;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::launch::in_path;
use crate::ctl::session::Session;
use crate::fmt::count;

/// Largest key, in bytes.
const KEY_BYTES_MAX: usize = 16 << 10;
/// The secret with the key.
const SECRET: &str = "model-key";
/// Longest attempt at the task, in seconds.
pub(super) const ATTEMPT_SECONDS: u64 = 900;
/// Attempts that a task has unless its recipe says otherwise.
pub(super) const ATTEMPTS: u64 = 3;

/// What the agent is asked for.
const TITLE: &str = "Print the version when it is asked for";
const ACCEPTANCE: [&str; 2] = [
    "`python3 -m shop --version` prints `shop` and the version of the package to standard output, as in `shop 0.1.0`, \
     and ends with status 0 without starting a service",
    "All checks of the repository pass",
];
/// Whether the finished service does that.
pub(super) const CHECK: &str =
    r#"test "$(python3 -m shop --version)" = "shop $(python3 -c 'import shop; print(shop.__version__)')""#;

/// An agent program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AgentKind {
    Codex,
    Claude,
}

/// What a vendor has for its program: word, `api`, server, variable with the key, package of npm.
struct Vendor {
    word: &'static str,
    api: &'static str,
    url: &'static str,
    variable: &'static str,
    package: &'static str,
}

impl AgentKind {
    const fn vendor(self) -> Vendor {
        match self {
            Self::Codex => Vendor {
                word: "codex",
                api: "openai",
                url: "https://api.openai.com",
                variable: "OPENAI_API_KEY",
                package: "@openai/codex",
            },
            Self::Claude => Vendor {
                word: "claude",
                api: "anthropic",
                url: "https://api.anthropic.com",
                variable: "ANTHROPIC_API_KEY",
                package: "@anthropic-ai/claude-code",
            },
        }
    }
}

/// Variables with keys, which nothing that the demo starts is given.
pub(super) const KEY_VARIABLES: [&str; 2] = [AgentKind::Codex.vendor().variable, AgentKind::Claude.vendor().variable];

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Have an installed agent program do one task; it asks models with your key, which costs money
    #[arg(long, value_enum, value_name = "PROGRAM")]
    agent: Option<AgentKind>,
    /// Model that the agent is told to use [default: what it chooses]
    #[arg(long, value_name = "NAME", requires = "agent")]
    model: Option<String>,
    /// Ask this server, which speaks as the vendor's does; it is sent no key but that of `--key-file`
    #[arg(long, value_name = "URL", requires = "agent")]
    models_url: Option<String>,
    /// Read the key from this file, `-` for standard input [default: $OPENAI_API_KEY or $ANTHROPIC_API_KEY]
    #[arg(long, value_name = "FILE", requires = "agent")]
    key_file: Option<PathBuf>,
}

/// The agent of a demo.
#[derive(Debug)]
pub(super) struct Agent {
    kind: AgentKind,
    program: PathBuf,
    url: String,
    model: Option<String>,
    key: Option<Bytes>,
    /// Its task, once that is handed in.
    task: Option<String>,
}

impl Agent {
    /// The agent that is asked for, with all that it needs.
    pub(super) fn find(session: &Session, args: &AgentArgs) -> Result<Option<Self>, Failure> {
        let Some(kind) = args.agent else { return Ok(None) };
        let Vendor { word, url, variable, package, .. } = kind.vendor();
        let found = in_path(word, &|name: &str| session.console.env(name)).ok_or_else(|| {
            Failure::new(
                ErrorCode::ToolMissing,
                format!("`{word}` is not installed: there is none in PATH"),
                format!("npm install -g {package}"),
            )
        })?;
        let key = match (&args.key_file, &args.models_url) {
            // What is typed would stand on the screen.
            (Some(file), _) if file.as_os_str() == "-" && session.console.terminal.stdin => {
                return Err(Failure::new(
                    ErrorCode::Usage,
                    "a key is not typed in",
                    "pipe it in, or name a file that has it",
                ));
            }
            (Some(file), _) => Some(input::read(session, file, KEY_BYTES_MAX)?.bytes),
            // A key is for whom it was made.
            (None, Some(_)) => None,
            (None, None) => Some(session.console.env(variable).map(String::into_bytes).unwrap_or_default()),
        };
        let key = key.map(|key| Bytes(key.trim_ascii().to_vec()));
        if key.as_ref().is_some_and(|key| key.0.is_empty()) {
            return Err(Failure::new(
                ErrorCode::Usage,
                format!("there is no key for `{word}`"),
                format!("set {variable}, or name a file that has it with `--key-file FILE`"),
            ));
        }
        Ok(Some(Self {
            kind,
            program: std::path::absolute(found)?,
            url: args.models_url.clone().unwrap_or_else(|| url.to_owned()),
            model: args.model.clone(),
            key,
            task: None,
        }))
    }

    /// Says what is going to be spent, and asks.
    pub(super) async fn confirm(&self, session: &Session) -> Result<(), Failure> {
        let (word, url) = (self.kind.vendor().word, &self.url);
        if self.key.is_none() {
            session.note(&format!("{word} does one small task and asks the models at {url}, without a key"));
            return Ok(());
        }
        session.note(&format!(
            "{word} does one small task and asks the models at {url} with your key, which costs money. Each request sends \
             the conversation so far again. No number of tokens ends it: an attempt ends after {} minutes, there are at \
             most {ATTEMPTS}, and beyond that the account behind the key is the bound.",
            ATTEMPT_SECONDS / 60
        ));
        let hint = "say `--yes` to let it spend, or leave out `--agent`: the demo works without a model";
        // By itself, too: messages may be turned off.
        session.decide(&format!("let {word} ask {url} with your key, at your cost?"), hint).await
    }

    /// Its part of the daemon's configuration.
    pub(super) fn configuration(&self) -> String {
        let Vendor { word, api, .. } = self.kind.vendor();
        // A string of JSON is one of TOML, too.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let key = self.key.as_ref().map_or(String::new(), |_| format!("key = \"{SECRET}\"\n"));
        let model = self.model.as_ref().map_or(String::new(), |model| format!("model = {}\n", text(model)));
        format!(
            "[run]\nwall_seconds = {ATTEMPT_SECONDS}\n[models.vendor]\napi = \"{api}\"\nurl = {}\n{key}\
             [agents.{word}]\nkind = \"{word}\"\nmodels = \"vendor\"\ncapabilities = []\nprogram = {}\n{model}",
            text(&self.url),
            text(&self.program.to_string_lossy()),
        )
    }

    /// Gives the daemon the key.
    pub(super) async fn hand_over(&self, session: &Session) -> Result<(), Failure> {
        let Some(key) = self.key.clone() else { return Ok(()) };
        session.read(async |orch, context| orch.secret_set(context, SECRET.to_owned(), key).await).await
    }

    /// Takes the key away from a daemon that has it.
    pub(super) async fn take_back(&self, session: &Session) -> Result<(), Failure> {
        if self.key.is_none() {
            return Ok(());
        }
        session.read(async |orch, context| orch.secret_remove(context, SECRET.to_owned()).await).await
    }

    /// The secret that the daemon goes on to keep, when it stays up.
    pub(super) fn secret(&self) -> Option<&'static str> {
        self.key.as_ref().map(|_| SECRET)
    }

    /// Whether a task is the agent's.
    pub(super) fn has(&self, task: &str) -> bool {
        self.task.as_deref() == Some(task)
    }
}

/// Hands in the agent's task, which waits for everything that is planned.
pub(super) async fn hand_in(demo: &mut Demo<'_>) -> Result<(), Failure> {
    let Some(agent) = &mut demo.agent else { return Ok(()) };
    let filter = TaskFilter { project: Some(demo.project.clone()), ..TaskFilter::default() };
    let planned = task::list(demo.session, filter).await?;
    let waits = |id: String| Dependency { task: Ref(id), condition: Condition::default() };
    let request = Request::TaskCreate {
        project: demo.project.clone(),
        title: TITLE.to_owned(),
        recipe: None,
        recipe_name: None,
        capability: Some(agent.kind.vendor().word.to_owned()),
        depends_on: planned.iter().map(|task| waits(task.id.to_string())).collect(),
        terms: Terms::default(),
        acceptance: ACCEPTANCE.map(str::to_owned).to_vec(),
        priority: 5,
        needs_approval: false,
        queue: true,
        requirements: Vec::new(),
    };
    let accepted = demo.session.submit(request).await?;
    let name = accepted.touched.first().map(|touched| touched.name.clone()).unwrap_or_default();
    demo.narrator.line(&format!("{name} is for {}, after all others: {TITLE}", agent.kind.vendor().word));
    agent.task = Some(name);
    Ok(())
}

/// What the agent did, for machines.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    agent: String,
    task: String,
    runs: Vec<String>,
    requests: u32,
    input_tokens: u64,
    output_tokens: u64,
    /// Some of the tokens are not told by the server.
    is_estimate: bool,
}

/// What the agent did; none without an agent.
pub(super) fn done(demo: &Demo<'_>, work: &Work) -> Option<Done> {
    let agent = demo.agent.as_ref()?;
    let task = work.tasks.iter().find(|task| agent.has(&task.name))?;
    let start = Done { agent: agent.kind.vendor().word.to_owned(), task: task.name.clone(), ..Done::default() };
    let of_task = |run: &&RunView| run.task == task.id && run.purpose == RunPurpose::Work;
    Some(work.runs.iter().filter(of_task).fold(start, |mut done, run| {
        done.runs.push(run.name.clone());
        if let Some(used) = &run.agent {
            done.requests += used.exchanges;
            done.input_tokens += used.input_tokens;
            done.output_tokens += used.output_tokens;
            done.is_estimate |= used.is_estimate;
        }
        done
    }))
}

/// What is claimed of the agent.
pub(super) fn checks(demo: &mut Demo<'_>, work: &Work, changes: &[ChangeView]) {
    let Some(done) = done(demo, work) else { return };
    let merged = changes.iter().any(|change| {
        change.task_name == done.task && matches!(change.state, ChangeState::Merged { .. }) && change.files_changed > 0
    });
    let about = if done.is_estimate { "about " } else { "" };
    demo.checks.note(
        "the agent's change passed the gates and is merged",
        merged && done.requests > 0,
        format!(
            "{} by {}, {}: {} to the model, {about}{} tokens in, {} out",
            done.task,
            done.agent,
            done.runs.join(" "),
            count(done.requests as usize, "request"),
            done.input_tokens,
            done.output_tokens
        ),
    );
    let Some(key) = demo.agent.as_ref().and_then(|agent| agent.key.as_ref()) else { return };
    let root = &demo.place.root;
    let (holds, evidence) = match search::files_with(root, &root.join("state/secrets"), &key.0) {
        Ok((files, found)) if found.is_empty() => (true, format!("looked for in {}", count(files, "file"))),
        Ok((_, found)) => (false, found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")),
        Err(error) => (false, format!("not everything can be looked through: {error}")),
    };
    demo.checks.note("the key is nowhere but where the daemon keeps secrets", holds, evidence);
}
