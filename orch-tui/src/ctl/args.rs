//! The command line: global options and the tree of nouns. Verbs stand beside their implementation in `cmd/`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::cmd;
use crate::fmt::color::Choice;
use crate::fmt::duration;

/// Plans, runs and merges software work, from a plain-language Vision to tested changes.
///
/// `orchctl` alone shows what needs attention and the next command.
#[derive(Debug, Parser)]
#[command(name = "orchctl", version, disable_help_subcommand = true, arg_required_else_help = false)]
#[command(after_help = "Exit codes: `orchctl help exit-codes`. Meaning of an error: `orchctl explain E_CODE`.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options that every command has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon's socket [default: $ORCH_SOCKET, $XDG_RUNTIME_DIR/orchd/orchd.sock or /run/orchd/orchd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The project [default: $ORCH_PROJECT, or the only one there is]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// How results are written; the data go to standard output, messages to standard error
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub(crate) output: Format,
    /// Columns of a table, by name
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Leave out the header line of tables
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub(crate) color: When,
    /// No messages but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more about what is done; twice: how long each call to the daemon took
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Never ask; what needs an answer fails
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Name of this request: the same name again gets the first answer and changes nothing
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// How long to wait at most, as `90s` or `10m`; what is waited for goes on
    #[arg(long, global = true, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
}

/// Form of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line and thing
    Jsonl,
    /// One YAML document
    Yaml,
    /// Names only, one per line
    Name,
}

impl Format {
    /// Whether errors are written as JSON too.
    #[must_use]
    pub(crate) const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl From<When> for Choice {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a daemon in the background, unless one runs
    Up(cmd::daemon::UpArgs),
    /// Stop the daemon and wait until it is gone; runs go on
    Down,
    /// What needs attention, and the next command
    Status(cmd::status::StatusArgs),
    /// Write a backup of everything, while the daemon goes on
    Backup(cmd::backup::BackupArgs),
    /// How long things take, how much is done, how often it fails
    #[command(visible_alias = "metrics")]
    Stats(cmd::stats::StatsArgs),
    /// Do the main job end to end on a fresh state directory
    Demo(super::demo::DemoArgs),
    /// The daemon itself
    #[command(subcommand)]
    Daemon(cmd::daemon::DaemonCommand),
    /// Projects: a repository and all that is made for it
    #[command(subcommand, visible_aliases = ["projects", "proj"])]
    Project(cmd::project::ProjectCommand),
    /// Visions: what is wanted, in plain language
    #[command(subcommand, visible_aliases = ["visions", "vi"])]
    Vision(cmd::vision::VisionCommand),
    /// Requirements that were derived from the Vision
    #[command(subcommand, visible_aliases = ["reqs", "requirements"])]
    Req(cmd::req::ReqCommand),
    /// Plans: tasks and their order
    #[command(subcommand, visible_aliases = ["plans", "pl"])]
    Plan(cmd::plan::PlanCommand),
    /// From a requirement to tasks, runs and commits
    Trace(cmd::trace::TraceArgs),
    /// Tasks
    #[command(subcommand, visible_aliases = ["tasks", "t"])]
    Task(cmd::task::TaskCommand),
    /// Runs: attempts at tasks
    #[command(subcommand, visible_aliases = ["runs", "r"])]
    Run(cmd::run::RunCommand),
    /// Questions that wait for a person
    #[command(subcommand, visible_aliases = ["approvals", "ap"])]
    Approval(cmd::approval::ApprovalCommand),
    /// What runs ask people for
    #[command(subcommand, visible_aliases = ["questions", "qu"])]
    Question(cmd::question::QuestionCommand),
    /// Changes of the repository, on their way to the default branch
    #[command(subcommand, visible_aliases = ["changes", "ch"])]
    Change(cmd::change::ChangeCommand),
    /// Take back what you decided last, or what an event belongs to, where nothing was built on it
    Undo(cmd::undo::UndoArgs),
    /// What happens, as it happens
    #[command(subcommand, visible_aliases = ["event", "ev"])]
    Events(cmd::events::EventsCommand),
    /// The append-only record of everything
    #[command(subcommand)]
    Audit(cmd::audit::AuditCommand),
    /// Secrets that runs can be given: names, and values on their way in
    #[command(subcommand, visible_aliases = ["secrets"])]
    Secret(cmd::secret::SecretCommand),
    /// Tools that recipes install for runs
    #[command(subcommand, visible_aliases = ["tools"])]
    Tool(cmd::tool::ToolCommand),
    /// From inside a run: say how it goes, hand in files, ask people, speak to an agent program
    #[command(subcommand)]
    Agent(cmd::agent::AgentCommand),
    /// Check what this machine gives, with the fix for what is missing
    Doctor,
    /// What an error code means
    Explain(cmd::reference::ExplainArgs),
    /// Versions of this program and of the daemon
    Version,
    /// Completions for a shell, to standard output
    Completion(cmd::reference::CompletionArgs),
    /// Manual pages, one per command
    Man(cmd::reference::ManArgs),
    /// Help about a command, or about `exit-codes`
    Help(cmd::reference::HelpArgs),
    /// Starts a program in a session of its own; for `up` and `demo`
    #[command(name = "internal-detach", hide = true)]
    Detach(cmd::daemon::DetachArgs),
}

/// `--wait`, for commands that start something.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it is done, or in the state named
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "done")]
    pub(crate) wait: Option<String>,
}
