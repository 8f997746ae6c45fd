//! `codex app-server`: JSON-RPC on standard input and output. A thread, turns in it, approvals, and messages into a turn that
//! goes on.
//!
//! Written against 0.171. Every line of the agent is printed as it came. Its own sandbox is off: ours is around it. With
//! `approvalPolicy: untrusted` it was seen to ask before every command and every change of files. What its model and servers of
//! tools want to know of a person is asked; what it wants beyond that is refused by name.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use orch_proto::channel::Said;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::wire::{Asked, Changes, Wanted};
use super::job::{DriveError, Job};
use super::leave::{Leave, Permissions};
use super::messages;
use super::rpc::{self, Answer, Message};
use super::talk::{Conversation, Decided, Heard, Next, TOO_LONG, TOO_MUCH, Talk};
use crate::clock::within;

/// What it is waited for in words, when a turn goes on.
const TURN: &str = "turn/start";

/// A request of the program: its id, and how it is answered.
pub(super) type Ticket = (Box<RawValue>, Asked);

/// A conversation with this program.
pub(super) struct Codex<'a, P> {
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

impl<'a, P: Permissions> Conversation<'a, P> for Codex<'a, P> {
    type Ticket = Ticket;

    fn new(talk: Talk<'a, P, Ticket>) -> Self {
        let (changes, untold) = (Changes::default(), BTreeMap::new());
        Self { talk, thread: String::new(), turn: None, sent: 0, changes, untold }
    }

    fn into_talk(self) -> Talk<'a, P, Ticket> {
        self.talk
    }

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

    async fn cancel(&mut self) {
        let open = self.talk.undecided();
        let Some(turn) = self.turn.clone() else { return };
        for (id, asked) in open {
            self.talk.program.say(rpc::result(&id, &asked.refused())).await;
        }
        let turn_of = json!({ "threadId": self.thread, "turnId": turn });
        self.talk.program.say(rpc::request("interrupt", "turn/interrupt", &turn_of)).await;
        loop {
            let Ok(heard) = self.next(TURN).await else { return };
            let message = heard.as_ref().and_then(|heard| Message::read(&heard.text));
            if message.is_some_and(|message| wire::end_of(&message, &turn).is_some()) {
                return;
            }
        }
    }
}

impl<P: Permissions> Codex<'_, P> {
    /// From the greeting to the thread.
    async fn begin(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        let us = json!({ "name": "orchctl", "title": "Codex Orchestrator", "version": env!("CARGO_PKG_VERSION") });
        // What it asks people counts as an experiment of its makers.
        let able = json!({ "experimentalApi": true, "optOutNotificationMethods": wire::UNHEARD });
        let us = json!({ "clientInfo": us, "capabilities": able });
        self.talk.program.say(rpc::request("initialize", "initialize", &us)).await;
        self.answer_soon("initialize", "initialize").await?;
        self.talk.program.say(rpc::notification("initialized", &json!({}))).await;
        let approvals = if job.asks { "untrusted" } else { "never" };
        let mut thread = json!({ "cwd": job.directory, "approvalPolicy": approvals, "sandbox": "danger-full-access" });
        let mut method = "thread/start";
        if let Some(resume) = job.resume {
            // What was said in it is in the log of the attempt in which it was said.
            (thread["threadId"], thread["excludeTurns"]) = (resume.session.into(), true.into());
            method = "thread/resume";
        }
        self.talk.program.say(rpc::request("new", method, &thread)).await;
        let begun = self.answer_soon("new", method).await?;
        let id = wire::text_at(&begun, "/thread/id");
        self.thread = id.ok_or_else(|| DriveError::not_as_said(method, &begun))?;
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
            let Some(heard) = self.next(TURN).await? else { continue };
            let Some(message) = Message::read(&heard.text) else { continue };
            if let Some(end) = wire::end_of(&message, &turn) {
                self.turn = None;
                return end.map_err(|why| DriveError::Stopped { why });
            }
            self.hear(&message, &heard).await;
        }
    }

    /// The answer to a request before the work begins.
    async fn answer_soon(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        let bound = self.talk.bounds.start;
        let answer = within(bound, self.answer(id, method)).await;
        answer.unwrap_or(Err(DriveError::Silent { method, seconds: bound.as_secs() }))
    }

    async fn answer(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        loop {
            let Some(heard) = self.next(method).await? else { continue };
            let Some(message) = Message::read(&heard.text) else { continue };
            match message.answer_to(id) {
                Some(Answer::Result(result)) => return Ok(result),
                Some(Answer::Error { message, .. }) => return Err(DriveError::Refused { method, message }),
                None => self.hear(&message, &heard).await,
            }
        }
    }

    /// Its next line; none when something else happened, which is done.
    async fn next(&mut self, method: &'static str) -> Result<Option<Heard>, DriveError> {
        match self.talk.next().await? {
            Next::Heard(heard) => return Ok(Some(heard)),
            Next::Decided(ticket, decided) => self.tell(ticket, decided).await,
            Next::Said(said) => {
                self.steer(&wire::message_id(said.number), &messages::in_words(&said)).await;
                self.untold.insert(said.number, said);
            }
            Next::Ended(how) => return Err(DriveError::Ended { method, how }),
        }
        Ok(None)
    }

    /// Something that is no answer: a request, or a notification.
    async fn hear(&mut self, message: &Message<'_>, heard: &Heard) {
        let Some(method) = &message.method else { return };
        let Some(id) = message.id else {
            if let Some(number) = self.changes.note(method, message, heard.is_abridged)
                && self.untold.remove(&number).is_some()
            {
                self.talk.inbox.told(number);
            }
            return;
        };
        let Some((asked, wanted)) = wire::asked(method, message, &self.changes) else {
            self.talk.program.say(rpc::error(id, rpc::NO_SUCH_METHOD, "this client has no such method")).await;
            return;
        };
        let ticket = (id.to_owned(), asked);
        let (ticket, why) = match wanted {
            _ if heard.is_abridged => (Some(ticket), TOO_LONG),
            Wanted::Leave(action) => (self.talk.ask(ticket, action), TOO_MUCH),
            Wanted::Answers(Some(question)) => (self.talk.wonder(ticket, question), TOO_MUCH),
            Wanted::Answers(None) => (Some(ticket), "a person cannot be asked this"),
        };
        if let Some((id, asked)) = ticket {
            self.refuse(&id, &asked, why).await;
        }
    }

    /// Tells the agent what came of its request.
    async fn tell(&mut self, (id, asked): Ticket, decided: Decided) {
        let answer = match decided {
            Decided::Leave(Leave::Given) => asked.allowed(),
            Decided::Answers(Ok(answers)) => asked.answered(&answers),
            Decided::Leave(Leave::Refused(why)) => {
                let why = format!("You were not given leave for what you asked for: {why}");
                return self.refuse(&id, &asked, &why).await;
            }
            Decided::Answers(Err(why)) => {
                return self.refuse(&id, &asked, &format!("You got no answer to what you asked: {why}")).await;
            }
        };
        self.talk.program.say(rpc::result(&id, &answer)).await;
    }

    /// Says no. The protocol has no place for why, so the agent is told that before, as a message.
    async fn refuse(&mut self, id: &RawValue, asked: &Asked, why: &str) {
        self.steer("refusal", why).await;
        self.talk.program.say(rpc::result(id, &asked.refused())).await;
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
}

/// The parameters of a message, whatever they are.
fn params(message: &Message<'_>) -> Value {
    message.params().unwrap_or_default()
}
