//! What every conversation with an agent has: its lines, which are printed as they came, what is decided beside them, and what
//! people say.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::job::{Bounds, DriveError, Job};
use super::leave::{Action, Leave, Permissions};
use super::lines::Line;
use super::messages::Inbox;
use super::program::Program;
use super::questions::{Answers, Question};
use crate::clock::within;
use crate::ctl::Console;
use crate::text::SafeText;

use orch_proto::channel::Said;

/// What waits for somebody at once; what is more is not granted, and not answered.
const OPEN_MAX: usize = 64;

/// What happens next in a conversation.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// The agent said this.
    Heard(Heard),
    /// This came of what was asked with the ticket.
    Decided(T, Decided),
    /// A person says something.
    Said(Said),
    /// The agent says nothing more: how it ended.
    Ended(String),
}

/// A line of the agent. What is not UTF-8 in it is not what is looked for.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) text: String,
    /// It was too long to be held: this says where it belongs, and not all of it, so nothing can be decided by it.
    pub(super) is_abridged: bool,
}

/// What came of a request of the agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decided {
    Leave(Leave),
    Answers(Answers),
}

/// Why a request is refused that is too long to be held.
pub(super) const TOO_LONG: &str = "what is asked for is too long to be looked at";
/// Why it is that there are too many of.
pub(super) const TOO_MUCH: &str = "too much is asked for at once";

/// One way to have a conversation with an agent.
pub(super) trait Conversation<'a, P: Permissions>: Sized {
    /// By what the answer to a request of the agent is told apart.
    type Ticket;

    fn new(talk: Talk<'a, P, Self::Ticket>) -> Self;

    /// From the greeting to the end of the last turn.
    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError>;

    /// Has the agent stop its turn, and listens to what it still says. It is given up when that takes too long.
    async fn cancel(&mut self);

    fn into_talk(self) -> Talk<'a, P, Self::Ticket>;
}

/// Has an agent do its job, and gives up when `told_to_end` says so.
///
/// # Errors
/// When it did not say that it is done; whatever it did until then is done.
pub(super) async fn drive<'a, P: Permissions, C: Conversation<'a, P>>(
    job: Job<'_>,
    console: &'a Console,
    (permissions, inbox): (P, Inbox),
    told_to_end: impl Future<Output = ()>,
) -> Result<(), DriveError> {
    let mut conversation = C::new(Talk::begin(&job, console, permissions, inbox)?);
    let outcome = tokio::select! {
        outcome = conversation.hold(&job) => outcome,
        () = told_to_end => {
            // Whatever it says, it is to end now.
            let _is_over = within(job.bounds.end, conversation.cancel()).await.is_some();
            Err(DriveError::Terminated)
        }
    };
    conversation.into_talk().end().await;
    outcome
}

/// A conversation; what the agent asks for is answered by its ticket.
pub(super) struct Talk<'a, P, T> {
    pub(super) program: Program,
    pub(super) inbox: Inbox,
    pub(super) bounds: Bounds,
    console: &'a Console,
    permissions: P,
    deciding: JoinSet<(u64, Decided)>,
    /// What nobody decided yet, with what it is about.
    open: BTreeMap<u64, (T, String)>,
    asked: u64,
}

impl<'a, P: Permissions, T> Talk<'a, P, T> {
    /// Starts the program.
    fn begin(job: &Job<'_>, console: &'a Console, permissions: P, inbox: Inbox) -> Result<Self, DriveError> {
        let program = Program::start(job.command, job.bounds.line_bytes_max).map_err(|source| DriveError::Start {
            program: job.command.first().cloned().unwrap_or_default(),
            source,
        })?;
        let (deciding, open) = (JoinSet::new(), BTreeMap::new());
        Ok(Self { program, inbox, bounds: job.bounds, console, permissions, deciding, open, asked: 0 })
    }

    /// What comes next. Giving up while waiting loses nothing of it.
    pub(super) async fn next(&mut self) -> Result<Next<T>, DriveError> {
        loop {
            let line = tokio::select! {
                Some(decided) = self.deciding.join_next() => {
                    // One that could not be made leaves the agent waiting, until its run ends.
                    match decided.ok().and_then(|(number, decided)| Some((self.open.remove(&number)?, decided))) {
                        Some(((ticket, title), decided)) => {
                            self.tell(&title, &decided);
                            return Ok(Next::Decided(ticket, decided));
                        }
                        None => continue,
                    }
                }
                said = self.inbox.next() => return Ok(Next::Said(said)),
                line = self.program.line() => line.map_err(DriveError::Read)?,
            };
            let Some(line) = line else {
                let how = self.program.ended(self.bounds.end).await;
                return Ok(Next::Ended(how.map_or_else(|| "it closed its output".to_owned(), |how| how.to_string())));
            };
            if let Some(heard) = self.print(line)? {
                self.inbox.heard(&heard.text);
                return Ok(Next::Heard(heard));
            }
        }
    }

    /// Has somebody decide, and goes on meanwhile; what is one too many is given back.
    pub(super) fn ask(&mut self, ticket: T, action: Action) -> Option<T> {
        let (permissions, title) = (self.permissions.clone(), action.title.clone());
        self.wait(ticket, title, async move { Decided::Leave(permissions.decide(action).await) })
    }

    /// Has somebody answer a question, likewise.
    pub(super) fn wonder(&mut self, ticket: T, question: Question) -> Option<T> {
        let (permissions, title) = (self.permissions.clone(), question.words.clone());
        self.wait(ticket, title, async move { Decided::Answers(permissions.answer(question).await) })
    }

    fn wait(&mut self, ticket: T, title: String, decided: impl Future<Output = Decided> + Send + 'static) -> Option<T> {
        if self.open.len() >= OPEN_MAX {
            return Some(ticket);
        }
        self.asked += 1;
        let number = self.asked;
        self.open.insert(number, (ticket, title));
        self.deciding.spawn(async move { (number, decided.await) });
        None
    }

    /// Nobody decides any more: all that is open.
    pub(super) fn undecided(&mut self) -> Vec<T> {
        self.deciding = JoinSet::new();
        std::mem::take(&mut self.open).into_values().map(|(ticket, _)| ticket).collect()
    }

    /// What was decided, for who reads the log.
    fn tell(&self, title: &str, decided: &Decided) {
        let first = title.lines().next().unwrap_or_default();
        match decided {
            Decided::Leave(Leave::Given) => self.note(&format!("gave leave for: {first}")),
            Decided::Leave(Leave::Refused(why)) => self.note(&format!("did not give leave for: {first} ({why})")),
            Decided::Answers(Ok(_)) => self.note(&format!("had an answer to: {first}")),
            Decided::Answers(Err(why)) => self.note(&format!("had no answer to: {first} ({why})")),
        }
    }

    /// Prints what came as it came; the line that it ends, if it ends one.
    fn print(&self, line: Line) -> Result<Option<Heard>, DriveError> {
        let print = |bytes: &[u8]| self.console.data(bytes).map_err(DriveError::Print);
        let (bytes, is_abridged) = match line {
            Line::Whole(mut line) => {
                line.push(b'\n');
                print(&line)?;
                (line, false)
            }
            Line::Piece(piece) => {
                print(&piece)?;
                return Ok(None);
            }
            Line::Abridged(line) => {
                print(b"\n")?;
                (line, true)
            }
        };
        Ok(Some(Heard { text: String::from_utf8_lossy(&bytes).into_owned(), is_abridged }))
    }

    /// Ends the agent, and prints what it still says.
    async fn end(mut self) {
        self.program.hush();
        let patience = self.bounds.end;
        let rest = async {
            while let Ok(Some(line)) = self.program.line().await {
                if self.print(line).is_err() {
                    return;
                }
            }
        };
        let _is_silent = within(patience, rest).await.is_some();
        self.program.end(patience).await;
        self.inbox.close().await;
    }

    pub(super) fn note(&self, text: &str) {
        self.console.say(SafeText::line(text).as_str());
    }
}
