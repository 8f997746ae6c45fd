//! `claude -p` with `--input-format stream-json --output-format stream-json --verbose --replay-user-messages`: messages and
//! answers as lines of JSON, each way.
//!
//! What is to be asked about is asked by a hook before each tool, which is told of all of them; where the program asks by itself
//! beside that, it gets the same answer. What it asks a person by a tool of its own comes to the driver by that second way. A message
//! that is sent while it works is told to its model with what its tools give back, or else after its turn, in a turn of its own; the
//! program says which it took by printing it. Every line of the agent is printed as it came.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use orch_proto::channel::Said;

use self::wire::{Ends, Heard};
use super::job::{DriveError, Job};
use super::leave::{Leave, Permissions};
use super::talk::{Conversation, Decided, Next, TOO_LONG, TOO_MUCH, Talk};
use crate::clock::within;

/// What it is waited for, in words.
const TURN: &str = "a turn";
/// Most calls of tools that are remembered as allowed.
const GIVEN_MAX: usize = 256;

/// What was asked: by which request, how it is answered, and for which call of a tool.
#[derive(Debug)]
pub(super) struct Ticket {
    request: String,
    by: Way,
    call: String,
    /// What the tool is given, which an answer repeats.
    input: serde_json::Value,
}

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the hook that is told of each tool.
    Hook,
    /// By the program itself.
    Tool,
    /// By a server of tools.
    Elicitation,
}

/// A conversation with this program.
pub(super) struct Claude<'a, P> {
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

impl<'a, P: Permissions> Conversation<'a, P> for Claude<'a, P> {
    type Ticket = Ticket;

    fn new(talk: Talk<'a, P, Ticket>) -> Self {
        Self { talk, is_begun: false, early: Vec::new(), untold: BTreeSet::new(), given: BTreeSet::new() }
    }

    fn into_talk(self) -> Talk<'a, P, Ticket> {
        self.talk
    }

    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        self.talk.program.say(wire::initialize(job.asks)).await;
        let patience = self.talk.bounds.start;
        let silent = DriveError::Silent { method: wire::INITIALIZE, seconds: patience.as_secs() };
        within(patience, self.greeted()).await.unwrap_or(Err(silent))?;
        // The program takes no message twice: in a session that goes on, that of an earlier attempt had the first number.
        let number = job.resume.map_or(0, |resume| u32::MAX.saturating_sub(resume.attempt));
        self.talk.program.say(wire::message(number, job.prompt)).await;
        self.is_begun = true;
        for said in std::mem::take(&mut self.early) {
            self.tell(said).await;
        }
        // Its turn has ended, and there are messages that it is to take up in another one.
        let mut is_asked = false;
        loop {
            let heard = match is_asked {
                false => self.next(TURN).await?,
                true => match within(self.talk.bounds.heed, self.next(TURN)).await {
                    Some(heard) => heard?,
                    None => break,
                },
            };
            match heard {
                Some(Heard::Taken(number)) => {
                    is_asked = false;
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
                    if self.untold.is_empty() {
                        return Ok(());
                    }
                    // One that ended another turn without them has had its chance.
                    if std::mem::replace(&mut is_asked, true) {
                        break;
                    }
                }
                Some(Heard::Greeted | Heard::Asked(..) | Heard::Wonders(..) | Heard::Wants(_) | Heard::Other)
                | None => {}
            }
        }
        // They stay untold on record, and the next attempt is told.
        self.talk.note("the agent took up no more of what was said to it");
        Ok(())
    }

    async fn cancel(&mut self) {
        for ticket in self.talk.undecided() {
            self.refuse(&ticket, "the run is to end").await;
        }
        self.talk.program.say(wire::interrupt()).await;
        while !matches!(self.next(TURN).await, Ok(Some(Heard::Ended(_))) | Err(_)) {}
    }
}

impl<P: Permissions> Claude<'_, P> {
    async fn greeted(&mut self) -> Result<(), DriveError> {
        while !matches!(self.next(wire::INITIALIZE).await?, Some(Heard::Greeted)) {}
        Ok(())
    }

    /// What it says next; none when that was something else, which is done.
    async fn next(&mut self, method: &'static str) -> Result<Option<Heard>, DriveError> {
        match self.talk.next().await? {
            Next::Heard(heard) => {
                let (said, is_abridged) = (wire::hear(&heard.text), heard.is_abridged);
                return Ok(self.hear(said, is_abridged).await);
            }
            Next::Decided(ticket, Decided::Leave(leave)) => self.answer(ticket, leave).await,
            Next::Decided(ticket, Decided::Answers(answers)) => {
                self.talk.program.say(wire::answered(&ticket, answers)).await;
            }
            Next::Said(said) => match self.is_begun {
                true => self.tell(said).await,
                false => self.early.push(said),
            },
            Next::Ended(how) => return Err(DriveError::Ended { method, how }),
        }
        Ok(None)
    }

    /// Does what a line asks for; gives back what asks for nothing.
    async fn hear(&mut self, heard: Heard, is_abridged: bool) -> Option<Heard> {
        match heard {
            Heard::Asked(ticket, _) | Heard::Wonders(ticket, _) if is_abridged => self.refuse(&ticket, TOO_LONG).await,
            Heard::Asked(ticket, action) => {
                if let Some(answer) = self.known(&ticket) {
                    self.answer(ticket, answer).await;
                } else if let Some(ticket) = self.talk.ask(ticket, *action) {
                    self.refuse(&ticket, TOO_MUCH).await;
                }
            }
            // A hook is no place for an answer: the program asks again, in the place for that.
            Heard::Wonders(ticket, _) if ticket.by == Way::Hook => {
                self.talk.program.say(wire::answer(&ticket, &Leave::Given)).await;
            }
            Heard::Wonders(ticket, None) => self.refuse(&ticket, "a person cannot be asked this").await,
            Heard::Wonders(ticket, Some(question)) => {
                if let Some(ticket) = self.talk.wonder(ticket, *question) {
                    self.refuse(&ticket, TOO_MUCH).await;
                }
            }
            Heard::Wants(request) => self.talk.program.say(wire::unknown(&request)).await,
            heard => return Some(heard),
        }
        None
    }

    /// What is known already of a call that a hook gave leave for.
    fn known(&self, ticket: &Ticket) -> Option<Leave> {
        (ticket.by != Way::Hook && self.given.contains(&ticket.call)).then_some(Leave::Given)
    }

    async fn answer(&mut self, ticket: Ticket, leave: Leave) {
        if leave == Leave::Given && ticket.by == Way::Hook {
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

    /// Says no, in the way in which it was asked.
    async fn refuse(&mut self, ticket: &Ticket, why: &str) {
        self.talk.program.say(wire::answer(ticket, &Leave::Refused(why.to_owned()))).await;
    }
}
