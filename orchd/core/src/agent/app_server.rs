//! `codex app-server`: messages of JSON-RPC, of which notifications about items and turns say what the agent does. Its counts
//! of tokens are those of the whole thread, and come while a turn goes on.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Choice, ErrorClass, FileOp, Role, RunEvent, Stop, ToolKind, ToolStatus};
use super::fault;
use super::open_tools::{OpenTool, OpenTools};
use super::text::{PATH_BYTES_MAX, Text};
use super::usage::Usage;
use super::wire::{self, Count, List, Maybe, Number, Str, read, shown};

/// Most questions of one request, and answers to choose from of each.
const QUESTIONS_MAX: usize = 32;

/// Reads what the server sends.
#[derive(Debug, Default)]
pub(super) struct AppServer {
    tools: OpenTools,
    /// A failed turn tells again what an error before it told.
    last_error: String,
}

/// A notification or a request.
#[derive(Deserialize)]
struct Call<T> {
    params: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Maybe<Begun<'a>>,
    error: Maybe<Fault<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Begun<'a> {
    #[serde(borrow)]
    thread: Maybe<Thread<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Thread<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    model: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TurnParams<'a> {
    #[serde(borrow)]
    turn: Turn<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Turn<'a> {
    #[serde(borrow)]
    status: Str<'a>,
    error: Maybe<Option<Fault<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorParams<'a> {
    #[serde(borrow)]
    error: Fault<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault<'a> {
    #[serde(borrow)]
    message: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct UsageParams {
    token_usage: Totals,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Totals {
    total: Tokens,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tokens {
    input_tokens: Count,
    cached_input_tokens: Count,
    output_tokens: Count,
    reasoning_output_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemParams<'a> {
    #[serde(borrow)]
    item: Item<'a>,
}

/// The fields of all sorts of items.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Item<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(rename = "type")]
    kind: Str<'a>,
    text: Str<'a>,
    /// Of a message of the user, and of thoughts.
    content: Maybe<List<Piece<'a>>>,
    summary: Maybe<List<Str<'a>>>,
    command: Str<'a>,
    aggregated_output: Str<'a>,
    exit_code: Number,
    status: Str<'a>,
    changes: List<Change<'a>>,
    server: Str<'a>,
    tool: Str<'a>,
    arguments: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    query: Str<'a>,
}

/// What a tool of the Model Context Protocol gave back.
#[derive(Default, Deserialize)]
#[serde(default)]
struct McpResult<'a> {
    #[serde(borrow)]
    content: List<Piece<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change<'a> {
    #[serde(borrow)]
    path: Str<'a>,
    kind: Maybe<Kind<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AskedParams<'a> {
    #[serde(borrow)]
    item_id: Str<'a>,
    command: Str<'a>,
    message: Str<'a>,
    questions: List<Question<'a>, QUESTIONS_MAX>,
    #[serde(rename = "_meta")]
    meta: Maybe<Meta<'a>>,
}

/// What a question of a server of tools is for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta<'a> {
    #[serde(borrow)]
    codex_approval_kind: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Question<'a> {
    #[serde(borrow)]
    question: Str<'a>,
    options: List<Offered<'a>, QUESTIONS_MAX>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Offered<'a> {
    #[serde(borrow)]
    label: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    params: AskedParams<'a>,
}

impl AppServer {
    pub(super) fn line(&mut self, line: &[u8], sink: &mut dyn FnMut(RunEvent)) {
        let method = wire::text_at(line, "method").unwrap_or_default();
        let is_read = match method.as_str() {
            "item/started" => self.item(false, line, sink),
            "item/completed" => self.item(true, line, sink),
            "turn/completed" => read(line).map(|call: Call<TurnParams<'_>>| self.turn(call.params.turn, sink)),
            "error" => read(line).map(|call: Call<ErrorParams<'_>>| self.failed(call.params.error.message, sink)),
            "thread/tokenUsage/updated" => {
                read(line).map(|call: Call<UsageParams>| sink(RunEvent::Usage(call.params.token_usage.total.usage())))
            }
            "item/commandExecution/requestApproval" => read(line).map(|asked| tell("shell", &asked, sink)),
            "item/fileChange/requestApproval" => read(line).map(|asked| tell("apply_patch", &asked, sink)),
            "mcpServer/elicitation/request" => read(line).map(|asked| elicited(&asked, sink)),
            "item/tool/requestUserInput" => read(line).map(|asked| wonders(&asked, sink)),
            "" => read(line).map(|answer| self.answer(answer, sink)),
            // How things stand, pieces of what comes whole as well, and what is about the client.
            "thread/started"
            | "thread/status/changed"
            | "turn/started"
            | "turn/diff/updated"
            | "turn/plan/updated"
            | "warning"
            | "configWarning"
            | "serverRequest/resolved"
            | "account/rateLimits/updated"
            | "remoteControl/status/changed"
            | "mcpServer/startupStatus/updated" => wire::pass(line),
            delta if delta.starts_with("item/") && delta.to_ascii_lowercase().ends_with("delta") => wire::pass(line),
            _ => None,
        };
        if is_read.is_none() {
            sink(wire::unread(line, method.as_str()));
        }
    }

    /// What came of a request of the client.
    fn answer(&mut self, answer: Answer<'_>, sink: &mut dyn FnMut(RunEvent)) {
        if let Some(fault) = answer.error.0 {
            // Some requests come too late, as a message to a turn that is over.
            let (class, message) = (ErrorClass::Transient, fault.message.into());
            sink(RunEvent::Error { class, message });
        }
        if let Some(thread) = answer.result.0.and_then(|begun| begun.thread.0)
            && !thread.id.is_empty()
        {
            let model = (!thread.model.is_empty()).then(|| thread.model.name());
            sink(RunEvent::SessionStarted { native_id: thread.id.name(), model });
        }
    }

    fn turn(&mut self, turn: Turn<'_>, sink: &mut dyn FnMut(RunEvent)) {
        if let Some(fault) = turn.error.0.flatten() {
            self.failed(fault.message, sink);
        }
        let stop = match turn.status.as_str() {
            "completed" => Stop::Completed,
            "interrupted" => Stop::Cancelled,
            "failed" => Stop::Failed,
            _ => Stop::Other,
        };
        sink(RunEvent::TurnFinished { stop });
    }

    fn failed(&mut self, message: Str<'_>, sink: &mut dyn FnMut(RunEvent)) {
        if message.is_empty() || message.as_str() != self.last_error {
            message.as_str().clone_into(&mut self.last_error);
            let class = fault::class(None, message.as_str());
            sink(RunEvent::Error { class, message: message.into() });
        }
    }

    fn item(&mut self, is_done: bool, line: &[u8], sink: &mut dyn FnMut(RunEvent)) -> Option<()> {
        let Call { params: ItemParams { item } } = read(line)?;
        match item.kind.as_str() {
            "commandExecution" | "fileChange" | "mcpToolCall" | "webSearch" => self.tool(is_done, item, sink),
            "agentMessage" | "plan" if is_done => {
                sink(RunEvent::Message { role: Role::Agent, text: item.text.into(), is_part: false });
            }
            "userMessage" if is_done => {
                for piece in item.content.0.unwrap_or_default().items {
                    sink(RunEvent::Message { role: Role::User, text: piece.text.into(), is_part: false });
                }
            }
            "reasoning" if is_done => {
                for text in item.summary.0.unwrap_or_default().items {
                    sink(RunEvent::Thought { text: text.into(), is_part: false });
                }
            }
            // What they say is told when they are whole.
            "agentMessage" | "plan" | "userMessage" | "reasoning" => {}
            kind => sink(wire::unknown("item", kind)),
        }
        Some(())
    }

    fn tool(&mut self, is_done: bool, item: Item<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let id = item.id.name();
        let (tool, kind, input) = given(&item);
        let known = self.tools.close(&id);
        let is_new = known.is_none();
        let mut open = known.unwrap_or_else(|| OpenTool::new(id.clone(), tool.clone(), kind, &input));
        if is_new || open.is_given(&input) {
            sink(RunEvent::ToolStarted { id: id.clone(), tool, kind, input });
        }
        if !is_done {
            self.tools.open(open);
            return;
        }
        let status = match item.status.as_str() {
            "completed" | "" => ToolStatus::Succeeded,
            "declined" => ToolStatus::Declined,
            "inProgress" => ToolStatus::Cancelled,
            _ => ToolStatus::Failed,
        };
        if status == ToolStatus::Succeeded {
            for change in &item.changes.items {
                sink(RunEvent::FileChanged { path: change.path.start(PATH_BYTES_MAX), op: change.op() });
            }
        }
        item.changes.tell_dropped(sink);
        let exit_code = item.exit_code.exit_code();
        let why = item.error.and_then(wire::inside::<Fault<'_>>).unwrap_or_default().message;
        let McpResult { content } = item.result.and_then(wire::inside).unwrap_or_default();
        let said = content.items.into_iter().map(|piece| Text::from(piece.text));
        for text in [item.aggregated_output.into(), why.into()].into_iter().chain(said) {
            if !text.text.is_empty() {
                sink(RunEvent::ToolOutput { id: id.clone(), text });
            }
        }
        sink(RunEvent::ToolFinished { id, status, exit_code });
    }
}

/// It asks for leave.
fn tell(tool: &str, asked: &Asked<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let params = &asked.params;
    let action = [&params.command, &params.message, &params.item_id].into_iter().find(|text| !text.is_empty());
    let action = action.map_or_else(Text::default, |text| text.clone().into());
    let id = shown(asked.id).text;
    sink(RunEvent::ApprovalRequested { id, tool: tool.to_owned(), action, options: Vec::new() });
}

/// A server of tools asks: for leave to use one of them, or what a person wants.
fn elicited(asked: &Asked<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let is_leave = |meta: &Meta<'_>| meta.codex_approval_kind.as_str() == "mcp_tool_call";
    if asked.params.meta.0.as_ref().is_some_and(is_leave) {
        return tell("tool", asked, sink);
    }
    let (id, question) = (shown(asked.id).text, asked.params.message.clone().into());
    sink(RunEvent::InfoRequested { id, question, options: Vec::new() });
}

/// Its model asks a person.
fn wonders(asked: &Asked<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let id = shown(asked.id).text;
    for Question { question, options } in &asked.params.questions.items {
        let label = |answer: &Offered<'_>| answer.label.start(PATH_BYTES_MAX);
        let choice = |answer: &Offered<'_>| Choice { id: label(answer), label: label(answer), verdict: None };
        let (question, options) = (question.clone().into(), options.items.iter().map(choice).collect());
        sink(RunEvent::InfoRequested { id: id.clone(), question, options });
    }
    asked.params.questions.tell_dropped(sink);
}

/// Name and sort of a tool, and what it is given.
fn given(item: &Item<'_>) -> (String, ToolKind, Text) {
    match item.kind.as_str() {
        "commandExecution" => ("shell".into(), ToolKind::Execute, item.command.clone().into()),
        "fileChange" => {
            let kind = |change: &Change<'_>| change.kind.0.as_ref().map_or_else(String::new, |kind| kind.kind.name());
            let files = item.changes.items.iter().map(|change| format!("{} {}", kind(change), change.path.as_str()));
            let files = files.collect::<Vec<_>>().join("\n");
            ("apply_patch".into(), ToolKind::Edit, files.as_str().into())
        }
        "webSearch" => ("web_search".into(), ToolKind::Search, item.query.clone().into()),
        _ => {
            let tool = format!("{}/{}", item.server.as_str(), item.tool.as_str());
            (wire::name(&tool).to_owned(), ToolKind::Other, shown(item.arguments))
        }
    }
}

impl Change<'_> {
    fn op(&self) -> FileOp {
        match self.kind.0.as_ref().map(|kind| kind.kind.as_str()) {
            Some("add") => FileOp::Added,
            Some("delete") => FileOp::Deleted,
            _ => FileOp::Modified,
        }
    }
}

impl Tokens {
    fn usage(&self) -> Usage {
        Usage {
            input: self.input_tokens.0,
            cached: self.cached_input_tokens.0,
            output: self.output_tokens.0,
            reasoning: self.reasoning_output_tokens.0,
            cost_usd_micros: None,
            cumulative: true,
        }
    }
}
