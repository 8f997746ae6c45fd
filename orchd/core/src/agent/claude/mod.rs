//! `claude -p --output-format stream-json --verbose`: a line for each message of the conversation, and one at the end.
//!
//! A message comes in one line for each of its blocks, each with the counts of tokens of the whole message so far; they
//! are counted once for each id. The line at the end has the totals. `is_error` of it decides, never its `subtype`: a run
//! that ended because the provider failed is a "success" with an error.

mod end;
mod tasks;
mod tools;
mod types;

use std::collections::VecDeque;

use serde_json::value::RawValue;

use self::tasks::Tasks;
use self::types::{AssistantLine, Block, ControlLine, Message, RateLimitLine, SystemLine, UserLine};
use super::event::{ErrorClass, Role, RunEvent, ToolKind, ToolStatus};
use super::fault;
use super::open_tools::OpenTools;
use super::text::{self, Text};
use super::wire::{self, Content, List, Str, read, shown};

/// How many ids of messages are remembered. Agents that work side by side mix their messages.
const COUNTED_MAX: usize = 16;

/// Who says what the program writes itself.
const NOT_A_MODEL: &str = "<synthetic>";

/// What a line says of all blocks of its message.
struct Around<'a> {
    role: Role,
    /// The program's name of an error, which it writes as if the model had said it.
    error: String,
    /// What the program knows of a result of a tool beyond what the model is told.
    known: Option<&'a RawValue>,
}

#[derive(Debug, Default)]
pub(super) struct Claude {
    /// Session and model; each turn tells them again.
    session: Option<(String, String)>,
    tools: OpenTools,
    tasks: Tasks,
    /// Ids of messages whose tokens are counted.
    counted: VecDeque<String>,
    /// The last line tells again what a message before it told.
    last_error: String,
}

impl Claude {
    pub(super) fn line(&mut self, line: &[u8], sink: &mut dyn FnMut(RunEvent)) {
        let kind = wire::text_at(line, "type").unwrap_or_default();
        let is_read = match kind.as_str() {
            "assistant" => read(line).map(|line| self.assistant(line, sink)),
            "user" => read(line).map(|line| self.user(line, sink)),
            "system" => read(line).map(|line| self.system(&line, sink)),
            "result" => read(line).map(|line| self.result(line, sink)),
            "rate_limit_event" => read(line).map(|line: RateLimitLine<'_>| line.tell(sink)),
            "control_request" => read(line).map(|line: ControlLine<'_>| tools::request(&line, sink)),
            // Pieces of messages that come whole as well, and answers to what the other side asked.
            "stream_event" | "control_response" | "keep_alive" | "tool_progress" => wire::pass(line),
            _ => None,
        };
        if is_read.is_none() {
            sink(wire::unread(line, kind.as_str()));
        }
    }

    fn system(&mut self, line: &SystemLine<'_>, sink: &mut dyn FnMut(RunEvent)) {
        match line.subtype.as_str() {
            "init" => {
                let session = (line.session_id.name(), line.model.name());
                if self.session.as_ref() != Some(&session) {
                    let model = (!session.1.is_empty()).then(|| session.1.clone());
                    sink(RunEvent::SessionStarted { native_id: session.0.clone(), model });
                    self.session = Some(session);
                }
            }
            "api_retry" => {
                let (attempt, of) = (line.attempt.0.unwrap_or_default(), line.max_retries.0.unwrap_or_default());
                let status = line.error_status.0.map_or_else(String::new, |status| format!(" (status {status})"));
                let message = format!("{}{status}, attempt {attempt} of {of}", shown(line.error).text);
                sink(RunEvent::Error { class: ErrorClass::Transient, message: message.as_str().into() });
            }
            // How far an answer is that comes whole later.
            "status" | "thinking_tokens" => {}
            subtype => sink(wire::unknown("system", subtype)),
        }
    }

    fn assistant(&mut self, line: AssistantLine<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let Message { id, model, content, usage } = line.message;
        let around = Around { role: Role::Agent, error: shown(line.error).text, known: None };
        self.blocks(content, &around, sink);
        if let Some(tokens) = usage
            && !id.is_empty()
            && model.as_str() != NOT_A_MODEL
            && !self.counted.iter().any(|counted| counted == id.as_str())
        {
            if self.counted.len() == COUNTED_MAX {
                self.counted.pop_front();
            }
            self.counted.push_back(id.as_str().to_owned());
            sink(RunEvent::Usage(tokens.usage()));
        }
    }

    fn user(&mut self, line: UserLine<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let around = Around { role: Role::User, error: String::new(), known: line.tool_use_result };
        self.blocks(line.message.content, &around, sink);
    }

    fn blocks(&mut self, content: Option<Content<'_, Block<'_>>>, around: &Around<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let Around { role, error, known } = around;
        let blocks = match content {
            None => return,
            Some(Content::Text(text)) => List { items: vec![Block::text(text)], dropped: 0 },
            Some(Content::List(blocks)) => blocks,
        };
        blocks.tell_dropped(sink);
        for block in blocks.items {
            match block.kind.as_str() {
                "text" if !error.is_empty() => self.failed(None, error, block.text.into(), sink),
                "text" => sink(RunEvent::Message { role: *role, text: block.text.into(), is_part: false }),
                "thinking" if block.thinking.is_empty() => {}
                "thinking" => sink(RunEvent::Thought { text: block.thinking.into(), is_part: false }),
                "redacted_thinking" => {}
                "tool_use" | "server_tool_use" | "mcp_tool_use" => self.tool_use(&block, sink),
                kind if kind.ends_with("tool_result") => self.tool_result(block, *known, sink),
                kind => sink(wire::unknown("content", kind)),
            }
        }
        self.tasks.tell_changes(sink);
    }

    fn tool_use(&mut self, block: &Block<'_>, sink: &mut dyn FnMut(RunEvent)) {
        self.tools.open(tools::started(block, sink));
        if block.name.as_str() == tasks::UPDATE {
            self.tasks.update(block.input);
        }
    }

    fn tool_result(&mut self, block: Block<'_>, known: Option<&RawValue>, sink: &mut dyn FnMut(RunEvent)) {
        let id = block.tool_use_id.name();
        let tool = self.tools.close(&id);
        let mut exit_code = None;
        let mut told = |text: Str<'_>, sink: &mut dyn FnMut(RunEvent)| {
            if !text.is_empty() {
                exit_code = exit_code.or_else(|| tools::exit_code(text.as_str()));
                sink(RunEvent::ToolOutput { id: id.clone(), text: text.into() });
            }
        };
        match block.content {
            None => {}
            Some(Content::Text(text)) => told(text, sink),
            Some(Content::List(pieces)) => {
                pieces.tell_dropped(sink);
                pieces.items.into_iter().for_each(|piece| told(piece.text, sink));
            }
        }
        let status = if block.is_error == Some(true) { ToolStatus::Failed } else { ToolStatus::Succeeded };
        let is_shell = tool.as_ref().is_some_and(|tool| tool.kind == ToolKind::Execute);
        exit_code = exit_code.filter(|_| is_shell && status == ToolStatus::Failed);
        if status == ToolStatus::Succeeded {
            let (name, files) = tool.map(|tool| (tool.tool, tool.files)).unwrap_or_default();
            files.into_iter().for_each(|(path, op)| sink(RunEvent::FileChanged { path, op: tools::op(op, known) }));
            if name == tasks::CREATE {
                self.tasks.create(known);
            }
        }
        sink(RunEvent::ToolFinished { id, status, exit_code });
    }

    /// Tells an error, unless it was just told. `name` is what the program calls it.
    fn failed(&mut self, status: Option<u16>, name: &str, message: Text, sink: &mut dyn FnMut(RunEvent)) {
        if message.text.is_empty() || message.text != self.last_error {
            message.text.clone_into(&mut self.last_error);
            let class = fault::class(status, &format!("{}: {name}", text::start(&message.text, 3000)));
            sink(RunEvent::Error { class, message });
        }
    }
}
