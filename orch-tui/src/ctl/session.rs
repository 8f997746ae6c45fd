//! One call of `orchctl`: its options, its console and its connection, made when first needed.
//!
//! Knows how results are written in each format, and how a request is sent so that a retry is harmless. Knows no verb.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use orch_proto::request::{Accepted, Envelope, Request};
use orch_proto::service::OrchClient;
use orch_proto::wire::{Client, GREETING_WAIT_MAX};
use orch_proto::{ErrorCode, PAGE_ITEMS_MAX, Ref, RpcError};
use serde::Serialize;
use tarpc::context::Context;
use tokio::time::Instant;

use super::args::{Format, Global};
use super::console::Console;
use super::failure::Failure;
use super::key::command_id;
use crate::clock;
use crate::connect::{self, Backoff};
use crate::fmt::Resource;
use crate::fmt::color::{Paint, Role};
use crate::fmt::document::{List, Single, json_line, json_pretty};
use crate::fmt::table::{self, Layout};
use crate::text::SafeText;

/// Tries of one request when the connection breaks in the middle of it.
const SUBMIT_TRIES_MAX: u32 = 6;

/// One call of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) console: Console,
    pub(crate) options: Global,
    socket: PathBuf,
    client: RefCell<Option<Client>>,
    /// The given key names one request; a second one would be taken for the first.
    key_used: RefCell<bool>,
}

impl Session {
    pub(crate) fn new(mut options: Global, console: Console) -> Self {
        options.project = options.project.or_else(|| console.env("ORCH_PROJECT"));
        let socket = connect::socket_path(options.socket.as_deref(), |name| console.env(name));
        Self { console, options, socket, client: RefCell::new(None), key_used: RefCell::new(false) }
    }

    /// The same options and console's settings, but another daemon.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Talks to the daemon on `socket` from now on.
    pub(crate) fn use_socket(&mut self, socket: PathBuf) {
        self.socket = socket;
        self.disconnect();
    }

    /// The connection, made when there is none.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let existing = self.client.borrow().clone();
        if let Some(client) = existing {
            return Ok(client);
        }
        let tell = async || {
            let (socket, seconds) = (self.socket.display(), GREETING_WAIT_MAX.as_secs());
            self.note(&format!(
                "connected to `{socket}`; the daemon says nothing yet, since it starts or the host is busy: waiting up to {seconds} s"
            ));
        };
        let client = connect::connect(&self.socket, tell).await?;
        self.debug(&format!("connected to orchd {} on `{}`", client.daemon_version(), self.socket.display()));
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    /// Forgets a connection that broke.
    pub(crate) fn disconnect(&self) {
        *self.client.borrow_mut() = None;
    }

    /// Makes one reading call.
    pub(crate) async fn read<T>(
        &self,
        call: impl AsyncFnOnce(&OrchClient, Context) -> Result<Result<T, RpcError>, tarpc::client::RpcError>,
    ) -> Result<T, Failure> {
        let client = self.client().await?;
        let began = Instant::now();
        let answer = client.call(call).await;
        if self.options.verbose > 1 {
            self.console.say(&format!("a call took {} us", began.elapsed().as_micros()));
        }
        if answer.as_ref().is_err_and(|error| error.code == ErrorCode::Unreachable) {
            self.disconnect();
        }
        Ok(answer?)
    }

    /// Sends a request under one key until there is an answer: a retry after a broken connection is harmless.
    pub(crate) async fn submit(&self, request: Request) -> Result<Accepted, Failure> {
        let given = self.options.idempotency_key.as_deref();
        if given.is_some() && self.key_used.replace(true) {
            return Err(Failure::usage("`--idempotency-key` names one request, but this command makes several"));
        }
        let envelope = Envelope { key: command_id(given)?, request };
        // The first connection is not retried: when no daemon is there, waiting helps nobody.
        self.client().await?;
        let mut backoff = Backoff::new();
        loop {
            let answer = match self.client().await {
                Ok(client) => client.submit(envelope.clone()).await.map_err(Failure::from),
                Err(failure) => Err(failure),
            };
            match answer {
                Err(failure) if failure.is_passing() && backoff.tries() < SUBMIT_TRIES_MAX => {
                    self.disconnect();
                    self.debug(&format!("sending again under the same key: {failure}"));
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a request and says what it did: `done` is a word such as `queued`.
    pub(crate) async fn change(&self, request: Request, done: &str) -> Result<Accepted, Failure> {
        let accepted = self.submit(request).await?;
        self.accepted(&accepted, done)?;
        Ok(accepted)
    }

    /// Writes the answer to a request.
    pub(crate) fn accepted(&self, accepted: &Accepted, done: &str) -> Result<(), Failure> {
        match self.options.output {
            Format::Table => {
                let first = accepted.touched.first();
                let names: Vec<_> = accepted
                    .touched
                    .iter()
                    .filter(|touched| first.is_some_and(|first| first.kind == touched.kind))
                    .map(|touched| touched.name.as_str())
                    .collect();
                let kind = first.map_or("request", |first| first.kind.label());
                let again = if accepted.duplicate { " (was done before under this key)" } else { "" };
                self.line(&format!("{done} {kind} {}{again}", names.join(" ")))?;
            }
            Format::Name => {
                let first = accepted.touched.first();
                for touched in
                    accepted.touched.iter().filter(|touched| first.is_some_and(|first| first.kind == touched.kind))
                {
                    self.line(&touched.name)?;
                }
            }
            Format::Json | Format::Jsonl | Format::Yaml => self.document("Accepted", accepted)?,
        }
        for note in &accepted.notes {
            self.note(note);
        }
        Ok(())
    }

    /// Writes a list.
    pub(crate) fn list<T: Resource>(&self, items: &[T]) -> Result<(), Failure> {
        match self.options.output {
            Format::Table => self.table(items)?,
            Format::Json => self.line_raw(&json_pretty(&List::new(T::LIST_KIND, items))?)?,
            Format::Jsonl => {
                for item in items {
                    self.line_raw(&json_line(&Single::new(T::KIND, item))?)?;
                }
            }
            Format::Yaml => self.yaml(&List::new(T::LIST_KIND, items))?,
            Format::Name => {
                for item in items {
                    self.line(&item.name())?;
                }
            }
        }
        // An answer of the daemon has no more than a page.
        if items.len() == PAGE_ITEMS_MAX as usize {
            self.note(&format!(
                "only the newest {PAGE_ITEMS_MAX} are listed; name a project, a task or a state for others"
            ));
        }
        Ok(())
    }

    /// Writes one thing: the machine formats as they are, the others by `text`.
    pub(crate) fn show<T: Resource>(&self, item: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.options.output {
            Format::Table if !self.options.columns.is_empty() => self.table(std::slice::from_ref(item)),
            Format::Table => Ok(self.console.data(text().as_bytes())?),
            Format::Name => self.line(&item.name()),
            Format::Json | Format::Jsonl | Format::Yaml => self.document(T::KIND, item),
        }
    }

    /// Writes a report that is no [`Resource`]: the machine formats as they are, the others by `text`.
    pub(crate) fn report(
        &self,
        kind: &str,
        item: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.options.output {
            Format::Table | Format::Name => Ok(self.console.data(text().as_bytes())?),
            Format::Json | Format::Jsonl | Format::Yaml => self.document(kind, item),
        }
    }

    fn table<T: Resource>(&self, items: &[T]) -> Result<(), Failure> {
        let columns =
            table::pick(T::columns(), &self.options.columns).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(self.console.data(table::render(items, &columns, clock::now(), self.layout()).as_bytes())?)
    }

    fn document(&self, kind: &str, item: &impl Serialize) -> Result<(), Failure> {
        let single = Single::new(kind, item);
        match self.options.output {
            Format::Jsonl => self.line_raw(&json_line(&single)?),
            Format::Yaml => self.yaml(&single),
            Format::Json | Format::Table | Format::Name => self.line_raw(&json_pretty(&single)?),
        }
    }

    fn yaml(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_saphyr::to_string(value).map_err(|error| Failure::Yaml(Box::new(error)))?;
        // YAML can hold characters that a terminal obeys. A pipe gets the true value, a terminal one that is harmless.
        let shown = if self.console.terminal.stdout { SafeText::block(&text).to_string() } else { text };
        Ok(self.console.data(shown.as_bytes())?)
    }

    /// How tables are laid out here.
    pub(crate) fn layout(&self) -> Layout {
        Layout { width: self.width(), headers: !self.options.no_headers, paint: self.paint() }
    }

    /// Width of the terminal that standard output is; none if it is none.
    pub(crate) fn width(&self) -> Option<usize> {
        self.console.terminal.width.filter(|_| self.console.terminal.stdout)
    }

    /// Width at which running text is wrapped.
    pub(crate) fn text_width(&self) -> usize {
        self.width().unwrap_or(100).clamp(40, 120)
    }

    /// Colours of standard output.
    pub(crate) fn paint(&self) -> Paint {
        Paint::decide(self.options.color.into(), self.console.terminal.stdout, |name| self.console.env(name))
    }

    /// Colours of standard error.
    pub(crate) fn paint_messages(&self) -> Paint {
        Paint::decide(self.options.color.into(), self.console.terminal.stderr, |name| self.console.env(name))
    }

    /// Writes one line of data that was made harmless or must stay as it is.
    pub(crate) fn line_raw(&self, line: &str) -> Result<(), Failure> {
        Ok(self.console.data(format!("{line}\n").as_bytes())?)
    }

    /// Writes one line of data. Anything in it is made harmless.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.line_raw(SafeText::line(line).as_str())
    }

    /// Says something that is no data, unless it should be quiet.
    pub(crate) fn note(&self, message: &str) {
        if !self.options.quiet {
            self.console.say(SafeText::line(message).as_str());
        }
    }

    /// Says what to do next, to a person.
    pub(crate) fn next(&self, command: &str) {
        if self.console.terminal.stderr && !self.options.quiet && self.options.output == Format::Table {
            let label = self.paint_messages().apply(Role::Active, &SafeText::literal("next"));
            self.console.say(&format!("{label}: {}", SafeText::line(command)));
        }
    }

    /// Says what is done, when asked to with `-v`.
    pub(crate) fn debug(&self, message: &str) {
        if self.options.verbose > 0 {
            self.console.say(SafeText::line(message).as_str());
        }
    }

    /// Asks for a yes. Without a person to ask, the command itself is the answer, but for `--no-input`.
    pub(crate) async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !self.console.can_ask() && !self.options.no_input {
            return Ok(());
        }
        self.decide(question, "say `--yes` to confirm without being asked").await
    }

    /// Asks for a yes to an approval. Without a person to ask, it must be bound to what was looked at, or `--yes` be said.
    pub(crate) async fn confirm_approval(&self, question: &str, digest: Option<&str>) -> Result<(), Failure> {
        if digest.is_some() && !self.can_ask() {
            return Ok(());
        }
        self.decide(question, "look at it, then bind the answer to it with `--digest DIGEST`, or say `--yes`").await
    }

    /// Asks for a yes that the command line alone does not give. Without a person to ask, `--yes` must have been said.
    pub(crate) async fn decide(&self, question: &str, hint: &str) -> Result<(), Failure> {
        if self.options.yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(Failure::new(ErrorCode::Usage, format!("not confirmed: {question}"), hint));
        }
        let answer = self.console.ask(&format!("{} [y/N] ", SafeText::line(question))).await?;
        if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::Negative("nothing was done".to_owned()))
    }

    /// Whether there is a person who may be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.console.can_ask() && !self.options.no_input
    }

    /// A name as the user wrote it, within the project that was given, if one was.
    pub(crate) fn reference(&self, text: &str) -> Ref {
        match &self.options.project {
            Some(project) if !text.contains('/') && is_short(text) => Ref(format!("{project}/{text}")),
            Some(_) | None => Ref::from(text),
        }
    }

    /// The project that was given, if one was.
    pub(crate) fn given_project(&self) -> Option<Ref> {
        self.options.project.as_deref().map(Ref::from)
    }
}

/// Whether the text is a number or `@latest`, which mean something only within a project.
fn is_short(text: &str) -> bool {
    use orch_proto::reference::RefForm;
    matches!(Ref::from(text).form(), RefForm::Number { .. } | RefForm::Latest { .. })
}
