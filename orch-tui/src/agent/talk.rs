//! What every conversation with an agent has: its lines, which are printed as they came, what is decided beside them, and what
//! people say.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::job::{Bounds, DriveError, Job};
use super::leave::{Action, Leave, Permissions};
use super::lines::Line;
use super::messages::Inbox;
use super::program::Program;
use crate::ctl::Console;
use crate::text::SafeText;

use orch_proto::channel::Said;

/// Requests for leave that are decided at once; more are not granted.
const DECISIONS_MAX: usize = 64;

/// What happens next in a conversation.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// The agent said this. What is not UTF-8 in it is not what is looked for.
    Line(String),
    /// This was decided, of what was asked with the ticket.
    Decided(T, Leave),
    /// A person says something.
    Said(Said),
    /// The agent says nothing more: how it ended.
    Ended(String),
}

/// A conversation; a request for leave is answered by its ticket.
pub(super) struct Talk<'a, P, T> {
    pub(super) program: Program,
    pub(super) inbox: Inbox,
    pub(super) bounds: Bounds,
    console: &'a Console,
    permissions: P,
    deciding: JoinSet<(u64, Leave)>,
    /// What nobody decided yet, with what it is about.
    open: BTreeMap<u64, (T, String)>,
    asked: u64,
}

impl<'a, P: Permissions, T> Talk<'a, P, T> {
    /// Starts the program.
    pub(super) fn begin(job: &Job<'_>, console: &'a Console, permissions: P, inbox: Inbox) -> Result<Self, DriveError> {
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
                    match decided.ok().and_then(|(number, leave)| Some((self.open.remove(&number)?, leave))) {
                        Some(((ticket, title), leave)) => {
                            self.tell(&title, &leave);
                            return Ok(Next::Decided(ticket, leave));
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
            if let Some(line) = self.print(line)? {
                let line = String::from_utf8_lossy(&line).into_owned();
                self.inbox.heard(&line);
                return Ok(Next::Line(line));
            }
        }
    }

    /// Has somebody decide, and goes on meanwhile; what is one too many is given back.
    pub(super) fn ask(&mut self, ticket: T, action: Action) -> Option<T> {
        if self.open.len() >= DECISIONS_MAX {
            return Some(ticket);
        }
        self.asked += 1;
        let (number, permissions) = (self.asked, self.permissions.clone());
        self.open.insert(number, (ticket, action.title.clone()));
        self.deciding.spawn(async move { (number, permissions.decide(action).await) });
        None
    }

    /// Nobody decides any more: all that is open.
    pub(super) fn undecided(&mut self) -> Vec<T> {
        self.deciding = JoinSet::new();
        std::mem::take(&mut self.open).into_values().map(|(ticket, _)| ticket).collect()
    }

    /// What was decided, for who reads the log.
    fn tell(&self, title: &str, leave: &Leave) {
        let first = title.lines().next().unwrap_or_default();
        match leave {
            Leave::Given => self.note(&format!("gave leave for: {first}")),
            Leave::Refused(why) => self.note(&format!("did not give leave for: {first} ({why})")),
        }
    }

    /// Prints a line as it came; none when it was too long for that.
    fn print(&self, line: Line) -> Result<Option<Vec<u8>>, DriveError> {
        match line {
            Line::Whole(mut line) => {
                line.push(b'\n');
                self.console.data(&line).map_err(DriveError::Print)?;
                Ok(Some(line))
            }
            Line::TooLong(bytes) => {
                self.note(&format!("a line of the agent is left out: it has {bytes} bytes"));
                Ok(None)
            }
        }
    }

    /// Ends the agent, and prints what it still says.
    pub(super) async fn end(mut self) {
        self.program.hush();
        let patience = self.bounds.end;
        let rest = async {
            while let Ok(Some(line)) = self.program.line().await {
                if self.print(line).is_err() {
                    return;
                }
            }
        };
        drop(timeout(patience, rest).await);
        self.program.end(patience).await;
        self.inbox.close().await;
    }

    pub(super) fn note(&self, text: &str) {
        self.console.say(SafeText::line(text).as_str());
    }
}
