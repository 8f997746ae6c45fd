//! A model, a clock that the test moves, and answers from the samples.

use std::collections::VecDeque;

use orch_proto::request::Request;
use orch_proto::view::{AuditReport, EventPage, LogPage, MessageView, ReplyView};
use orch_proto::{ErrorCode, RpcError, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use crate::view::samples::{NOW, Samples, run_id, task_id};
use crate::view::{Answer, Cmd, Input, Key, LinkEvent, Loaded, Model, Msg, Now, Options, Query, draw, update};

/// What the daemon has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// A project without anything in it.
    Empty,
    Normal,
    Hostile,
}

/// Two messages: one that an agent was told, and one for the next.
fn thread(samples: Samples) -> Vec<MessageView> {
    let ago = |seconds: i64| Timestamp::from_unix_us(NOW.unix_us() - seconds * 1_000_000);
    let first = MessageView {
        number: 1,
        from: samples.text("user:alice"),
        text: samples.text("use the other port\nand say so in the README"),
        at: ago(60),
        run: Some("R-3".into()),
        told_at: Some(ago(50)),
        reply: Some(ReplyView { text: samples.text("It is 8081 now.\nThe README says so."), at: ago(20) }),
    };
    let text = samples.text("in lower case, please");
    let second = MessageView { number: 2, text, at: ago(10), run: None, told_at: None, reply: None, ..first.clone() };
    vec![first, second]
}

/// A model with its surroundings.
#[derive(Debug)]
pub(super) struct Harness {
    pub(super) model: Model,
    pub(super) world: World,
    pub(super) mono_ms: u64,
    /// Requests that were sent, with their tickets.
    pub(super) requests: Vec<(u32, Request)>,
    /// Commands that the program would have to do itself.
    pub(super) commands: Vec<Cmd>,
    /// What people said to the second task.
    pub(super) thread: Vec<MessageView>,
    /// The machine is too busy to draw anything.
    pub(super) is_busy: bool,
}

impl Harness {
    /// A model that has not heard of the daemon.
    pub(super) fn offline(size: (u16, u16), world: World) -> Self {
        let options = Options { unicode: true, can_suspend: true, ..Options::default() };
        let model = Model::new(options, size, Now { mono_ms: 0, wall: NOW });
        let thread = thread(Samples { hostile: world == World::Hostile });
        Self { model, world, mono_ms: 0, requests: Vec::new(), commands: Vec::new(), thread, is_busy: false }
    }

    /// A model that is connected and knows what it asked for.
    pub(super) fn online(size: (u16, u16), world: World) -> Self {
        let mut harness = Self::offline(size, world);
        harness.connect();
        harness
    }

    pub(super) fn samples(&self) -> Samples {
        Samples { hostile: self.world == World::Hostile }
    }

    pub(super) fn connect(&mut self) {
        let status = Box::new(self.samples().status());
        self.message(Msg::Link(LinkEvent::Up { status, fresh: true }));
        let events = if self.world == World::Empty { Vec::new() } else { self.samples().events() };
        self.message(Msg::Events(EventPage { events, next: 6, head: 6, outage: false }));
    }

    pub(super) fn disconnect(&mut self) {
        let error = RpcError::new(ErrorCode::Unreachable, "no daemon answers on `/run/orchd/orchd.sock`")
            .hint("start one with `orchctl up`");
        self.message(Msg::Link(LinkEvent::Down { tries: 3, pause_ms: 5_000, error }));
    }

    /// Handles a message and everything that follows from it.
    pub(super) fn message(&mut self, message: Msg) {
        let mut messages = VecDeque::from([message]);
        while let Some(message) = messages.pop_front() {
            let now = Now { mono_ms: self.mono_ms, wall: NOW };
            for command in update(&mut self.model, message, now) {
                match command {
                    Cmd::Fetch { query, epoch, .. } => {
                        let result = self.answer(&query);
                        messages.push_back(Msg::Loaded(Loaded { query, epoch, result }));
                    }
                    Cmd::Follow { run, offset } => {
                        let chunks = if run == run_id(3) { self.samples().log() } else { Vec::new() };
                        let chunks: Vec<_> = chunks.into_iter().skip(usize::try_from(offset).unwrap()).collect();
                        let page = LogPage { next_offset: offset + chunks.len() as u64, chunks, end: run != run_id(3) };
                        messages.push_back(Msg::Log { run, offset, result: Ok(page) });
                    }
                    Cmd::Submit { ticket, request } => self.requests.push((ticket, *request)),
                    other => self.commands.push(other),
                }
            }
            if messages.is_empty() && !self.is_busy && self.model.has_unseen_question() {
                messages.push_back(Msg::Shown);
            }
        }
    }

    /// What was put off is drawn.
    pub(super) fn draw_at_last(&mut self) {
        self.is_busy = false;
        self.message(Msg::Timer);
    }

    /// The daemon answers something else than before.
    pub(super) fn load(&mut self, query: Query, answer: Answer) {
        let loaded = Loaded { query, epoch: self.model.loader.epoch(), result: Ok(answer) };
        self.message(Msg::Loaded(loaded));
    }

    fn answer(&self, query: &Query) -> Result<Answer, RpcError> {
        let samples = self.samples();
        let is_empty = self.world == World::Empty;
        let some = |any: bool| any && !is_empty;
        Ok(match query {
            Query::Status => Answer::Status(Box::new(samples.status())),
            Query::Projects => Answer::Projects(samples.projects()),
            Query::Tasks => Answer::Tasks(if is_empty { Vec::new() } else { samples.tasks() }),
            Query::Task(task) => {
                let found = samples.tasks().into_iter().find(|known| known.id == *task);
                let mut found = found.ok_or_else(|| RpcError::new(ErrorCode::NotFound, "no such task"))?;
                if *task == task_id(2) {
                    found.messages.clone_from(&self.thread);
                }
                Answer::Task(Box::new(found))
            }
            Query::Runs => Answer::Runs(if is_empty { Vec::new() } else { samples.runs() }),
            Query::Run(run) => {
                let found = samples.runs().into_iter().find(|known| known.id == *run);
                Answer::Run(Box::new(found.ok_or_else(|| RpcError::new(ErrorCode::NotFound, "no such run"))?))
            }
            Query::Approvals => Answer::Approvals(if is_empty { Vec::new() } else { samples.approvals() }),
            Query::Questions => Answer::Questions(if is_empty { Vec::new() } else { samples.questions() }),
            Query::Plans => Answer::Plans(if is_empty { Vec::new() } else { samples.plans() }),
            Query::Requirements => Answer::Requirements(some(true).then(|| Box::new(samples.requirements()))),
            Query::Doctor => Answer::Doctor(samples.doctor()),
            Query::Verify => Answer::Verify(AuditReport { events: 6, head_hash: "6".repeat(64), broken_at: None }),
            Query::Diff(_) => Answer::Diff(samples.diff()),
        })
    }

    /// Presses keys, written as in the registry and separated by spaces.
    pub(super) fn press(&mut self, keys: &str) {
        for key in keys.split(' ') {
            let key = Key::parse(key).unwrap_or_else(|| panic!("`{key}` is no key"));
            self.message(Msg::Input(Input::Key(key)));
        }
    }

    /// Types a text.
    pub(super) fn type_text(&mut self, text: &str) {
        for char in text.chars() {
            self.message(Msg::Input(Input::Key(Key::plain(crate::view::Code::Char(char)))));
        }
    }

    /// Lets time go by, with the timers that the model asks for.
    pub(super) fn wait_ms(&mut self, ms: u64) {
        let end = self.mono_ms + ms;
        while let Some(due) = self.model.next_due_ms().filter(|&due| due <= end) {
            assert!(due > self.mono_ms, "a timer that is due at once would never let the program rest");
            self.mono_ms = due;
            self.message(Msg::Timer);
        }
        self.mono_ms = end;
        self.message(Msg::Timer);
    }

    /// Changes the size of the screen.
    pub(super) fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.message(Msg::Input(Input::Resize { columns, rows }));
    }

    /// Draws the screen.
    pub(super) fn buffer(&self) -> Buffer {
        let backend = TestBackend::new(self.model.area.width, self.model.area.height);
        let mut terminal = Terminal::new(backend).unwrap();
        terminal
            .draw(|frame| {
                draw(&self.model, frame.buffer_mut());
            })
            .unwrap();
        terminal.backend().buffer().clone()
    }

    /// The screen as text, without spaces at line ends.
    pub(super) fn screen(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                if skip == 0 {
                    line.push_str(symbol);
                    skip = unicode_width::UnicodeWidthStr::width(symbol);
                }
                skip = skip.saturating_sub(1);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
