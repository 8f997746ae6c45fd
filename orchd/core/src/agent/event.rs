//! What an agent program does, whatever program it is.
//!
//! Every text is the agent's own. It has a bound (`text.rs`), and control characters stay in it as they are: whoever shows
//! it to a person makes them harmless.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::usage::Usage;

/// One thing that an agent said or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunEvent {
    /// The agent works; its name of the session is what it can be resumed by.
    SessionStarted { native_id: String, model: Option<String> },
    /// Something was said. A part goes on the text of the message before it.
    Message { role: Role, text: Text, is_part: bool },
    /// The model thought, as far as the program shows it. A part goes on the thought before it.
    Thought { text: Text, is_part: bool },
    /// What the agent means to do; takes the place of its plan so far.
    Plan { items: Vec<PlanItem> },
    /// A tool begins. Told again for the same `id` when the program says later what the tool was given.
    ToolStarted {
        id: String,
        /// Name that the program gives the tool.
        tool: String,
        kind: ToolKind,
        /// The command line of a shell; of another tool its arguments, mostly as JSON.
        input: Text,
    },
    /// What a tool gave back; several in a row belong together.
    ToolOutput { id: String, text: Text },
    /// A tool is done.
    ToolFinished { id: String, status: ToolStatus, exit_code: Option<i32> },
    /// The agent says that it changed a file. What changed is what git finds.
    FileChanged { path: String, op: FileOp },
    /// What models were given and gave.
    Usage(Usage),
    /// The agent waits for leave to do something. Where `action` lost bytes nobody can see all of it, so nobody should
    /// grant it.
    ApprovalRequested {
        /// What an answer has to name: a text for claude, JSON (a number or a string) for the Agent Client Protocol.
        id: String,
        tool: String,
        /// What the tool would be given, as in `ToolStarted`; its title where the agent says no more.
        action: Text,
        /// Answers to choose from; none when the protocol has its own.
        options: Vec<Choice>,
    },
    /// The agent waits for an answer. One request may hold several questions, each told with its `id`.
    InfoRequested { id: String, question: Text, options: Vec<Choice> },
    /// The provider of the model lets no more through for now.
    RateLimited { resets_at: Option<Timestamp> },
    /// Something failed.
    Error { class: ErrorClass, message: Text },
    /// The agent waits for its next prompt or ends.
    TurnFinished { stop: Stop },
    /// A line, or a part of one, that is well-formed and means nothing here; `kind` is what it calls itself.
    Unknown { kind: Option<String> },
    /// A line that is not what the protocol says.
    Raw { why: RawReason },
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The prompt, or what the program says in its name.
    User,
    Agent,
}

/// One thing that an agent means to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    pub text: String,
    pub status: PlanStatus,
}

/// How far it is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    Pending,
    InProgress,
    Completed,
}

/// What sort of thing a tool does, as far as its name or the program says. The words are those of the Agent Client
/// Protocol, and `Delegate` for other agents that are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    Read,
    Edit,
    Delete,
    Move,
    Search,
    Execute,
    Think,
    Fetch,
    Delegate,
    Other,
}

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    Succeeded,
    Failed,
    /// Leave to use it was not given.
    Declined,
    /// It was still at work when its turn ended.
    Cancelled,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOp {
    Added,
    Modified,
    Deleted,
}

/// One answer that can be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What the answer has to name; the label itself where the protocol has no ids for answers.
    pub id: String,
    pub label: String,
    /// What it means for what was asked, where the protocol says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What an answer to a request for leave means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    AllowOnce,
    /// The agent will not ask again for the like.
    AllowAlways,
    RejectOnce,
    RejectAlways,
}

/// What an error says about trying again. Taken from status codes and words of the program, so it is advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May pass by itself, or the program goes on in spite of it.
    Transient,
    /// Nothing is left to spend.
    Budget,
    /// The key is missing, wrong or may not do this.
    Auth,
    /// More text than the model takes.
    Context,
    /// Will fail again.
    Fatal,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The agent is done, it says.
    Completed,
    /// The answer became longer than the model may give.
    TokenLimit,
    /// It asked the model as often as it may.
    TurnLimit,
    /// It spent what it may.
    BudgetLimit,
    /// The model refused.
    Refused,
    /// A tool waits for leave, and the program ended instead of waiting.
    Deferred,
    Cancelled,
    Failed,
    /// In a way that this version does not know.
    Other,
}

/// Why a line was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawReason {
    NotJson,
    /// Longer than `LINE_BYTES_MAX`, and no JSON.
    TooLong,
    NotUtf8,
}
