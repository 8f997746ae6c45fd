//! How tests drive an agent: a program, what it printed, and what came of it.

use std::cell::RefCell;
use std::ffi::OsString;
use std::future::pending;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use orch_proto::channel::Said;
use orch_proto::view::{FieldKind, FieldSpec};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::job::{Bounds, DriveError, Job, Protocol, Resume, Tools};
use super::leave::{Action, Leave, People, Permissions, Policy};
use super::messages::Inbox;
use super::questions::{Answers, Question};
use crate::ctl::{Console, Terminal};

/// A stream that a test reads afterwards, and while it is written.
#[derive(Clone, Debug, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>, Rc<Notify>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        self.1.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }

    async fn shows(&self, text: &str) {
        while !String::from_utf8_lossy(&self.bytes()).contains(text) {
            self.1.notified().await;
        }
    }
}

/// How an agent was driven: what came of it, what was printed, and what was said beside.
pub(super) struct Driven {
    pub(super) outcome: Result<(), DriveError>,
    pub(super) out: Vec<u8>,
    pub(super) err: String,
}

impl Driven {
    /// What the agent said by the Agent Client Protocol, chunk by chunk.
    pub(super) fn said(&self) -> Vec<String> {
        self.texts("/params/update/content/text")
    }

    /// The texts that stand at a place in its lines.
    pub(super) fn texts(&self, place: &str) -> Vec<String> {
        let text = |line: &[u8]| {
            let line: Value = serde_json::from_slice(line).ok()?;
            Some(line.pointer(place)?.as_str()?.to_owned())
        };
        self.out.split(|&byte| byte == b'\n').filter_map(text).collect()
    }

    pub(super) fn error(&self) -> String {
        self.outcome.as_ref().expect_err("it is no success").to_string()
    }
}

/// Somebody who is away.
#[derive(Clone, Copy, Debug)]
struct Away;

impl Permissions for Away {
    async fn decide(&self, _: Action) -> Leave {
        pending().await
    }

    async fn answer(&self, _: Question) -> Answers {
        pending().await
    }
}

/// Somebody who chooses the first answer that is offered, and where none is says it in words.
#[derive(Clone, Copy, Debug)]
struct Decisive;

impl Permissions for Decisive {
    async fn decide(&self, _: Action) -> Leave {
        Leave::Given
    }

    async fn answer(&self, question: Question) -> Answers {
        let field = |field: FieldSpec| match field.kind {
            FieldKind::Choice { choices } => (field.name, choices.into_iter().next().unwrap_or_default()),
            _ => (field.name, "in words".to_owned()),
        };
        let is_main = |field: &FieldSpec| field.name.starts_with("answer");
        question.read(&question.fields().into_iter().filter(is_main).map(field).collect())
    }
}

pub(super) const PATIENT: Bounds = Bounds {
    line_bytes_max: 10 << 20,
    start: Duration::from_secs(60),
    heed: Duration::from_secs(60),
    end: Duration::from_secs(20),
};

/// Longest conversation of a test.
const LONGEST: Duration = Duration::from_secs(90);

/// How an agent is driven.
#[derive(Clone, Debug)]
pub(super) struct Drive<'a> {
    protocol: Protocol,
    command: Vec<&'a str>,
    bounds: Bounds,
    rules: &'a str,
    tools: Option<&'a Tools>,
    answers: bool,
    says: &'a [&'a str],
    until: Option<&'a str>,
    resume: Option<&'a str>,
}

impl<'a> Drive<'a> {
    pub(super) fn of(protocol: Protocol, command: &[&'a str]) -> Self {
        let (command, bounds, rules) = (command.to_vec(), PATIENT, "[]");
        Self { protocol, command, bounds, rules, tools: None, answers: false, says: &[], until: None, resume: None }
    }

    pub(super) fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// What an operator says, as JSON.
    pub(super) fn rules(self, rules: &'a str) -> Self {
        Self { rules, ..self }
    }

    /// The tools that it is told of.
    pub(super) fn tools(self, tools: &'a Tools) -> Self {
        Self { tools: Some(tools), ..self }
    }

    /// A person answers what it asks.
    pub(super) fn answered(self) -> Self {
        Self { answers: true, ..self }
    }

    /// What people say as soon as it listens.
    pub(super) fn says(self, says: &'a [&'a str]) -> Self {
        Self { says, ..self }
    }

    /// It goes on with this session, in the second attempt.
    pub(super) fn resuming(self, session: &'a str) -> Self {
        Self { resume: Some(session), ..self }
    }

    /// It is told to stop when it has printed this, and nobody decides anything.
    pub(super) fn until(self, text: &'a str) -> Self {
        Self { until: Some(text), ..self }
    }

    pub(super) async fn run(self) -> Driven {
        let policy = Policy::new(serde_json::from_str(self.rules).unwrap(), People::none());
        match (self.until, self.answers) {
            (None, false) => self.driven(policy).await,
            (None, true) => self.driven(Decisive).await,
            (Some(_), _) => self.driven(Away).await,
        }
    }

    async fn driven(self, permissions: impl Permissions) -> Driven {
        let (out, err) = (Sink::default(), Sink::default());
        let streams = (Box::new(out.clone()), Box::new(err.clone()));
        let console = Console::new(Box::new(io::empty()), streams.0, streams.1, Terminal::default());
        let command: Vec<OsString> = self.command.iter().map(OsString::from).collect();
        let asks = self.rules != "[]";
        let (prompt, directory) = ("Say \"hi\".\n\u{e9}", Path::new("/"));
        let (protocol, tools, bounds) = (self.protocol, self.tools, self.bounds);
        let resume = self.resume.map(|session| Resume { session, attempt: 2 });
        let job = Job { protocol, command: &command, prompt, directory, asks, tools, bounds, resume };
        let told_to_end = async {
            match self.until {
                Some(text) => out.shows(text).await,
                None => pending().await,
            }
        };
        let (messages, coming) = mpsc::channel(9);
        for (text, number) in self.says.iter().zip(1..) {
            messages.send(Said { number, from: "ada".to_owned(), text: (*text).to_owned() }).await.unwrap();
        }
        let with = (permissions, Inbox::of(coming));
        let outcome = tokio::time::timeout(LONGEST, super::drive(job, &console, with, told_to_end));
        let outcome = outcome.await.expect("the conversation comes to an end");
        Driven { outcome, out: out.bytes(), err: String::from_utf8_lossy(&err.bytes()).into_owned() }
    }
}
