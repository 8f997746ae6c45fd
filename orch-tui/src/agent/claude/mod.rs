//! `claude -p` with `--input-format stream-json --output-format stream-json --verbose --replay-user-messages`: messages and
//! answers as lines of JSON, each way.
//!
//! What is to be asked about is asked by a hook before each tool, which is told of all of them; where the program asks by itself
//! beside that, it gets the same answer. A message that is sent while it works is told to its model with what its tools give
//! back, or else after its turn, in a turn of its own; the program says which it took by printing it. Every line of the agent is
//! printed as it came.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use orch_proto::channel::Said;
use tokio::time::timeout;

use self::wire::{Ends, Heard};
use super::job::{DriveError, Job};
use super::leave::{Leave, Permissions};
use super::messages::Inbox;
use super::talk::{Next, Talk};
use crate::ctl::Console;

/// What it is waited for, in words.
const TURN: &str = "a turn";
/// Most calls of tools that are remembered as allowed.
const GIVEN_MAX: usize = 256;

/// Has an agent do its job, and gives up when `told_to_end` says so.
///
/// # Errors
/// When it did not say that it is done; whatever it did until then is done.
pub(crate) async fn drive<P: Permissions>(
    job: Job<'_>,
    console: &Console,
    (permissions, inbox): (P, Inbox),
    told_to_end: impl Future<Output = ()>,
) -> Result<(), DriveError> {
    let talk = Talk::begin(&job, console, permissions, inbox)?;
    let mut conversation =
        Conversation { talk, is_begun: false, early: Vec::new(), untold: BTreeSet::new(), given: BTreeSet::new() };
    let outcome = tokio::select! {
        outcome = conversation.hold(&job) => outcome,
        () = told_to_end => {
            conversation.cancel().await;
            Err(DriveError::Terminated)
        }
    };
    conversation.talk.end().await;
    outcome
}

/// What was asked: by which request, how it is answered, and for which call of a tool.
#[derive(Debug)]
struct Ticket {
    request: String,
    by_hook: bool,
    call: String,
    /// What the tool is given, which an answer repeats.
    input: serde_json::Value,
}

struct Conversation<'a, P> {
    talk: Talk<'a, P, Ticket>,
    /// It was sent the prompt.
    is_begun: bool,
    /// What people said before that.
    early: Vec<Said>,
    /// Messages that it was sent and has not taken up.
    untold: BTreeSet<u32>,
    /// Calls of tools that it was given leave for by a hook.
    given: BTreeSet<String>,
}

impl<P: Permissions> Conversation<'_, P> {
    /// From the prompt to the end of the last turn.
    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        self.talk.program.say(wire::initialize(job.asks)).await;
        let patience = self.talk.bounds.start;
        let silent = DriveError::Silent { method: wire::INITIALIZE, seconds: patience.as_secs() };
        timeout(patience, self.greeted()).await.unwrap_or(Err(silent))?;
        self.talk.program.say(wire::message(0, job.prompt)).await;
        self.is_begun = true;
        for said in std::mem::take(&mut self.early) {
            self.tell(said).await;
        }
        loop {
            match self.next(TURN).await? {
                Some(Heard::Taken(number)) => {
                    if self.untold.remove(&number) {
                        self.talk.inbox.told(number);
                    }
                }
                Some(Heard::Ended(Ends::Badly(why))) => return Err(DriveError::Stopped { why }),
                Some(Heard::Ended(Ends::Well)) => {
                    let more = self.talk.inbox.rest().await;
                    for said in more {
                        self.tell(said).await;
                    }
                    // What it has not taken up yet it takes up in a turn of its own.
                    if self.untold.is_empty() {
                        return Ok(());
                    }
                }
                Some(Heard::Greeted | Heard::Asked(..) | Heard::Wants(_) | Heard::Other) | None => {}
            }
        }
    }

    async fn greeted(&mut self) -> Result<(), DriveError> {
        while !matches!(self.next(wire::INITIALIZE).await?, Some(Heard::Greeted)) {}
        Ok(())
    }

    /// What it says next; none when that was something else, which is done.
    async fn next(&mut self, method: &'static str) -> Result<Option<Heard>, DriveError> {
        match self.talk.next().await? {
            Next::Line(line) => match wire::hear(&line) {
                Heard::Asked(ticket, action) => {
                    if let Some(answer) = self.known(&ticket) {
                        self.answer(ticket, answer).await;
                    } else if let Some(ticket) = self.talk.ask(ticket, *action) {
                        self.answer(ticket, Leave::Refused("too much is asked for at once".to_owned())).await;
                    }
                    Ok(None)
                }
                Heard::Wants(request) => {
                    self.talk.program.say(wire::unknown(&request)).await;
                    Ok(None)
                }
                heard => Ok(Some(heard)),
            },
            Next::Decided(ticket, leave) => {
                self.answer(ticket, leave).await;
                Ok(None)
            }
            Next::Said(said) => {
                match self.is_begun {
                    true => self.tell(said).await,
                    false => self.early.push(said),
                }
                Ok(None)
            }
            Next::Ended(how) => Err(DriveError::Ended { method, how }),
        }
    }

    /// What is known already of a call that a hook gave leave for.
    fn known(&self, ticket: &Ticket) -> Option<Leave> {
        (!ticket.by_hook && self.given.contains(&ticket.call)).then_some(Leave::Given)
    }

    async fn answer(&mut self, ticket: Ticket, leave: Leave) {
        if leave == Leave::Given && ticket.by_hook {
            if self.given.len() >= GIVEN_MAX {
                self.given.clear();
            }
            // One without a name could be any.
            if !ticket.call.is_empty() {
                self.given.insert(ticket.call.clone());
            }
        }
        self.talk.program.say(wire::answer(&ticket, &leave)).await;
    }

    async fn tell(&mut self, said: Said) {
        self.untold.insert(said.number);
        self.talk.program.say(wire::message(said.number, &super::messages::in_words(&said))).await;
    }

    /// Has the agent stop its turn, and waits a little for what it still says.
    async fn cancel(&mut self) {
        let patience = self.talk.bounds.end;
        let wait = async {
            for ticket in self.talk.undecided() {
                self.answer(ticket, Leave::Refused("the run is to end".to_owned())).await;
            }
            self.talk.program.say(wire::interrupt()).await;
            while !matches!(self.next(TURN).await, Ok(Some(Heard::Ended(_))) | Err(_)) {}
        };
        // Whatever it says, it is to end now.
        let _is_over = timeout(patience, wait).await.is_ok();
    }
}
