//! `codex app-server`: JSON-RPC on standard input and output. A thread, turns in it, approvals, and messages into a turn that
//! goes on.
//!
//! Written against 0.171. Every line of the agent is printed as it came. Its own sandbox is off: ours is around it. With
//! `approvalPolicy: untrusted` it was seen to ask before every command and every change of files; what it asks beyond that is
//! refused by name.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use orch_proto::channel::Said;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::wire::{Asked, Changes};
use super::job::{DriveError, Job};
use super::leave::{Leave, Permissions};
use super::messages::{self, Inbox};
use super::rpc::{self, Answer, Message};
use super::talk::{Next, Talk};
use crate::ctl::Console;

/// What it is waited for in words, when a turn goes on.
const TURN: &str = "turn/start";

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
    let (changes, untold) = (Changes::default(), BTreeMap::new());
    let mut conversation = Conversation { talk, thread: String::new(), turn: None, sent: 0, changes, untold };
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

/// A request for leave: its id, and how it is answered.
type Ticket = (Box<RawValue>, Asked);

struct Conversation<'a, P> {
    talk: Talk<'a, P, Ticket>,
    thread: String,
    /// The turn that goes on.
    turn: Option<String>,
    /// Requests so far that nobody waits for.
    sent: u64,
    /// Changes of files that were told of, and may be asked about.
    changes: Changes,
    /// What people said, until the agent has taken it up.
    untold: BTreeMap<u32, Said>,
}

impl<P: Permissions> Conversation<'_, P> {
    /// From the greeting to the end of the last turn.
    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        self.begin(job).await?;
        let mut input = vec![job.prompt.to_owned()];
        for number in 0_u32.. {
            self.turn(number, &input).await?;
            self.untold.extend(self.talk.inbox.rest().await.into_iter().map(|said| (said.number, said)));
            if self.untold.is_empty() {
                break;
            }
            // What it did not take up in its turn, it is told in another one.
            let said = std::mem::take(&mut self.untold);
            input = said.values().map(messages::in_words).collect();
            said.keys().for_each(|number| self.talk.inbox.told(*number));
        }
        Ok(())
    }

    /// From the greeting to the thread.
    async fn begin(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        let us = json!({ "name": "orchctl", "title": "Codex Orchestrator", "version": env!("CARGO_PKG_VERSION") });
        let us = json!({ "clientInfo": us, "capabilities": { "optOutNotificationMethods": wire::UNHEARD } });
        self.talk.program.say(rpc::request("initialize", "initialize", &us)).await;
        self.answer_soon("initialize", "initialize").await?;
        self.talk.program.say(rpc::notification("initialized", &json!({}))).await;
        let approvals = if job.asks { "untrusted" } else { "never" };
        let thread = json!({ "cwd": job.directory, "approvalPolicy": approvals, "sandbox": "danger-full-access" });
        self.talk.program.say(rpc::request("new", "thread/start", &thread)).await;
        let begun = self.answer_soon("new", "thread/start").await?;
        let id = wire::text_at(&begun, "/thread/id");
        self.thread = id.ok_or_else(|| DriveError::not_as_said("thread/start", &begun))?;
        Ok(())
    }

    /// One turn, to its end.
    async fn turn(&mut self, number: u32, input: &[String]) -> Result<(), DriveError> {
        let id = format!("prompt-{number}");
        let turn = json!({ "threadId": self.thread, "input": wire::input(input) });
        self.talk.program.say(rpc::request(&id, TURN, &turn)).await;
        let begun = self.answer(&id, TURN).await?;
        let turn = wire::text_at(&begun, "/turn/id").ok_or_else(|| DriveError::not_as_said(TURN, &begun))?;
        self.turn = Some(turn.clone());
        // What was said before there was a turn to say it into.
        for said in self.untold.values().cloned().collect::<Vec<_>>() {
            self.steer(&wire::message_id(said.number), &messages::in_words(&said)).await;
        }
        loop {
            let Some(line) = self.next(TURN).await? else { continue };
            let Some(message) = Message::read(&line) else { continue };
            if let Some(end) = wire::end_of(&message, &turn) {
                self.turn = None;
                return end.map_err(|why| DriveError::Stopped { why });
            }
            self.hear(&message).await;
        }
    }

    /// The answer to a request before the work begins.
    async fn answer_soon(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        let bound = self.talk.bounds.start;
        let answer = timeout(bound, self.answer(id, method)).await;
        answer.unwrap_or(Err(DriveError::Silent { method, seconds: bound.as_secs() }))
    }

    async fn answer(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        loop {
            let Some(line) = self.next(method).await? else { continue };
            let Some(message) = Message::read(&line) else { continue };
            match message.answer_to(id) {
                Some(Answer::Result(result)) => return Ok(result),
                Some(Answer::Error { message, .. }) => return Err(DriveError::Refused { method, message }),
                None => self.hear(&message).await,
            }
        }
    }

    /// Its next line; none when something else happened, which is done.
    async fn next(&mut self, method: &'static str) -> Result<Option<String>, DriveError> {
        match self.talk.next().await? {
            Next::Line(line) => return Ok(Some(line)),
            Next::Decided(ticket, leave) => self.tell(ticket, &leave).await,
            Next::Said(said) => {
                self.steer(&wire::message_id(said.number), &messages::in_words(&said)).await;
                self.untold.insert(said.number, said);
            }
            Next::Ended(how) => return Err(DriveError::Ended { method, how }),
        }
        Ok(None)
    }

    /// Something that is no answer: a request, or a notification.
    async fn hear(&mut self, message: &Message<'_>) {
        let Some(method) = &message.method else { return };
        let Some(id) = message.id else {
            if let Some(number) = self.changes.note(method, message)
                && self.untold.remove(&number).is_some()
            {
                self.talk.inbox.told(number);
            }
            return;
        };
        let answer = match wire::asked(method, message, &self.changes) {
            Some((asked, action)) => match self.talk.ask((id.to_owned(), asked), action) {
                Some((id, asked)) => rpc::result(&id, &asked.answer(false)),
                None => return,
            },
            None => rpc::error(id, rpc::NO_SUCH_METHOD, "this client has no such method"),
        };
        self.talk.program.say(answer).await;
    }

    /// Tells the agent what was decided. The protocol has no place for why, so it is told that before, as a message.
    async fn tell(&mut self, (id, asked): Ticket, leave: &Leave) {
        if let Leave::Refused(why) = leave {
            self.steer("refusal", &format!("You were not given leave for what you asked for: {why}")).await;
        }
        self.talk.program.say(rpc::result(&id, &asked.answer(*leave == Leave::Given))).await;
    }

    /// Says something into the turn that goes on.
    async fn steer(&mut self, message: &str, text: &str) {
        let Some(turn) = &self.turn else { return };
        self.sent += 1;
        let input = wire::input(&[text.to_owned()]);
        let steer =
            json!({ "threadId": self.thread, "expectedTurnId": turn, "clientUserMessageId": message, "input": input });
        self.talk.program.say(rpc::request(&format!("steer-{}", self.sent), "turn/steer", &steer)).await;
    }

    /// Has the agent stop its turn, and waits a little for what it still says.
    async fn cancel(&mut self) {
        let open = self.talk.undecided();
        let Some(turn) = self.turn.clone() else { return };
        let patience = self.talk.bounds.end;
        let wait = async {
            for (id, asked) in open {
                self.talk.program.say(rpc::result(&id, &asked.answer(false))).await;
            }
            let turn_of = json!({ "threadId": self.thread, "turnId": turn });
            self.talk.program.say(rpc::request("interrupt", "turn/interrupt", &turn_of)).await;
            loop {
                let Ok(line) = self.next(TURN).await else { return };
                let message = line.as_deref().and_then(Message::read);
                if message.is_some_and(|message| wire::end_of(&message, &turn).is_some()) {
                    return;
                }
            }
        };
        // Whatever it says, it is to end now.
        let _is_over = timeout(patience, wait).await.is_ok();
    }
}

/// The parameters of a message, whatever they are.
fn params(message: &Message<'_>) -> Value {
    message.params().unwrap_or_default()
}
