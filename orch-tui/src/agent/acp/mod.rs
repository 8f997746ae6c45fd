//! The Agent Client Protocol, version 1: a prompt, everything that the agent says until its turn has ended, and further prompts
//! as long as there is something to tell it.
//!
//! Every line of the agent is printed as it came, which is the log of the run. It is offered no files and no terminal: it
//! has its own, in the sandbox that it is in, and the tools of the run's channel. The protocol has no place for a message while a
//! turn goes on, nor for why leave is not given: both are told by a prompt after it.

mod wire;

#[cfg(test)]
mod tests;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use orch_proto::channel::{Said, VARIABLE};

use self::wire::{Choice, asked, outcome};
use super::job::{DriveError, Job, Tools};
use super::leave::{Leave, Permissions};
use super::messages;
use super::questions::{Question, elicited};
use super::rpc::{self, Answer, Message};
use super::talk::{Conversation, Decided, Heard, Next, TOO_LONG, Talk};
use crate::clock::within;

pub(super) use wire::VERSION;

/// Most refusals that are told of after one turn; more are not worth its while.
const REFUSALS_MAX: usize = 16;

/// A request of the agent: its id, and what it can be answered.
pub(super) enum Ticket {
    Leave(Box<RawValue>, Vec<Choice>),
    Question(Box<RawValue>),
}

/// A conversation in this protocol.
pub(super) struct Acp<'a, P> {
    talk: Talk<'a, P, Ticket>,
    /// The session that was told the prompt.
    session: Option<String>,
    /// The number of the prompt that it was told last.
    turn: u32,
    /// What people said and the agent was not told yet.
    said: Vec<Said>,
    /// What the agent was not given leave for in this turn: what, and why.
    refused: Vec<String>,
}

impl<'a, P: Permissions> Conversation<'a, P> for Acp<'a, P> {
    type Ticket = Ticket;

    fn new(talk: Talk<'a, P, Ticket>) -> Self {
        Self { talk, session: None, turn: 0, said: Vec::new(), refused: Vec::new() }
    }

    fn into_talk(self) -> Talk<'a, P, Ticket> {
        self.talk
    }

    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        let session = self.begin(job).await?;
        self.session = Some(session.clone());
        let mut prompt = job.prompt.to_owned();
        loop {
            self.prompt(&session, &prompt).await?;
            self.said.extend(self.talk.inbox.rest().await);
            let refused = std::mem::take(&mut self.refused);
            let said = std::mem::take(&mut self.said);
            if refused.is_empty() && said.is_empty() {
                return Ok(());
            }
            prompt = refused.into_iter().chain(said.iter().map(messages::in_words)).collect::<Vec<_>>().join("\n\n");
            said.iter().for_each(|said| self.talk.inbox.told(said.number));
            self.turn += 1;
        }
    }

    async fn cancel(&mut self) {
        let open = self.talk.undecided();
        let Some(session) = self.session.take() else { return };
        for ticket in open {
            let answer = match ticket {
                Ticket::Leave(id, _) => rpc::result(&id, &outcome(None)),
                Ticket::Question(id) => rpc::result(&id, &json!({ "action": "cancel" })),
            };
            self.talk.program.say(answer).await;
        }
        let session = json!({ "sessionId": session });
        self.talk.program.say(rpc::notification("session/cancel", &session)).await;
        // However it ends, it ends.
        let _is_done = self.answer(&wire::prompt_id(self.turn), "session/prompt").await.is_ok();
    }
}

impl<P: Permissions> Acp<'_, P> {
    /// From the greeting to the session.
    async fn begin(&mut self, job: &Job<'_>) -> Result<String, DriveError> {
        let client = json!({
            "protocolVersion": wire::VERSION,
            "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false,
                "elicitation": { "form": {} } },
            "clientInfo": { "name": "orchctl", "title": "Codex Orchestrator", "version": env!("CARGO_PKG_VERSION") },
        });
        self.talk.program.say(rpc::request(wire::INITIALIZE, "initialize", &client)).await;
        let greeting = self.answer_soon(wire::INITIALIZE, "initialize").await?;
        let agent: wire::Initialized = read(&greeting, "initialize")?;
        if agent.protocol_version.as_u64() != Some(wire::VERSION) {
            return Err(DriveError::Version { theirs: rpc::start(&agent.protocol_version.to_string()) });
        }
        let servers: Vec<Value> = job.tools.into_iter().map(server).collect();
        let mut place = json!({ "cwd": job.directory, "mcpServers": servers });
        if let Some(resume) = job.resume {
            let method = agent.resumes().ok_or(DriveError::NoResume)?;
            place["sessionId"] = resume.session.into();
            self.talk.program.say(rpc::request(wire::SESSION, method, &place)).await;
            self.answer_soon(wire::SESSION, method).await?;
            return Ok(resume.session.to_owned());
        }
        self.talk.program.say(rpc::request(wire::SESSION, "session/new", &place)).await;
        let begun = self.answer_soon(wire::SESSION, "session/new").await?;
        let session = read::<wire::Begun>(&begun, "session/new")?.session_id;
        session.ok_or_else(|| DriveError::not_as_said("session/new", &begun))
    }

    /// One turn, to its end.
    async fn prompt(&mut self, session: &str, text: &str) -> Result<(), DriveError> {
        let prompt = json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] });
        let id = wire::prompt_id(self.turn);
        self.talk.program.say(rpc::request(&id, "session/prompt", &prompt)).await;
        let done = self.answer(&id, "session/prompt").await?;
        let stop = read::<wire::Done>(&done, "session/prompt")?.stop_reason;
        let stop = stop.ok_or_else(|| DriveError::not_as_said("session/prompt", &done))?;
        match stop.as_str() {
            // Some end their turn so when they may not do something.
            "cancelled" if !self.refused.is_empty() => Ok(()),
            other => stopped(other),
        }
    }

    /// The answer to a request before the work begins.
    async fn answer_soon(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        let bound = self.talk.bounds.start;
        let answer = within(bound, self.answer(id, method)).await;
        answer.unwrap_or(Err(DriveError::Silent { method, seconds: bound.as_secs() }))
    }

    /// The answer to our request with this id. What comes before it is answered where that is wanted.
    async fn answer(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        loop {
            let heard = match self.talk.next().await? {
                Next::Heard(heard) => heard,
                Next::Ended(how) => return Err(DriveError::Ended { method, how }),
                Next::Said(said) => {
                    self.said.push(said);
                    continue;
                }
                Next::Decided(ticket, decided) => {
                    self.tell(ticket, decided).await;
                    continue;
                }
            };
            let Some(message) = Message::read(&heard.text) else { continue };
            match message.answer_to(id) {
                Some(Answer::Result(result)) => return Ok(result),
                Some(Answer::Error { code: Some(wire::AUTH_REQUIRED), message }) => {
                    return Err(DriveError::Login { message });
                }
                Some(Answer::Error { message, .. }) => return Err(DriveError::Refused { method, message }),
                None => self.hear(&message, &heard).await,
            }
        }
    }

    /// Something that is no answer: a request of the agent, or a notification, of which none needs an answer.
    async fn hear(&mut self, message: &Message<'_>, heard: &Heard) {
        let (Some(id), Some(method)) = (message.id, &message.method) else { return };
        let answer = match method.as_ref() {
            _ if heard.is_abridged => rpc::error(id, rpc::INVALID_PARAMS, TOO_LONG),
            "session/request_permission" => match asked(message.params) {
                Some((action, choices)) => match self.talk.ask(Ticket::Leave(id.to_owned(), choices), action) {
                    Some(_) => rpc::result(id, &outcome(None)),
                    None => return,
                },
                None => rpc::error(id, rpc::INVALID_PARAMS, "the parameters cannot be read"),
            },
            "elicitation/create" => {
                let params: Value = message.params().unwrap_or_default();
                match Question::of_schema(&params["message"], &params["requestedSchema"]) {
                    Some(question) => match self.talk.wonder(Ticket::Question(id.to_owned()), question) {
                        Some(_) => rpc::result(id, &json!({ "action": "decline" })),
                        None => return,
                    },
                    None => rpc::error(id, rpc::INVALID_PARAMS, "a person cannot be asked this"),
                }
            }
            _ => rpc::error(id, rpc::NO_SUCH_METHOD, "this client has no such method; use your own tools"),
        };
        self.talk.program.say(answer).await;
    }

    /// Tells the agent what came of its request.
    async fn tell(&mut self, ticket: Ticket, decided: Decided) {
        match (ticket, decided) {
            (Ticket::Leave(id, choices), Decided::Leave(leave)) => self.tell_leave(&id, &choices, leave).await,
            (Ticket::Question(id), Decided::Answers(answers)) => {
                self.talk.program.say(rpc::result(&id, &elicited(answers))).await;
            }
            // What is asked one way is not answered the other way.
            (Ticket::Leave(..), Decided::Answers(_)) | (Ticket::Question(_), Decided::Leave(_)) => {}
        }
    }

    /// Tells the agent whether it may.
    async fn tell_leave(&mut self, id: &RawValue, choices: &[Choice], leave: Leave) {
        let chosen = wire::choose(choices, &leave);
        if chosen.is_none() && leave == Leave::Given {
            self.talk.note("the agent offers no answer that gives it leave");
        }
        if let Leave::Refused(why) = leave
            && self.refused.len() < REFUSALS_MAX
        {
            self.refused.push(format!("You were not given leave for what you asked for: {why}"));
        }
        self.talk.program.say(rpc::result(id, &outcome(chosen))).await;
    }
}

/// The tools of the run's channel, as a server that the agent starts.
fn server(tools: &Tools) -> Value {
    json!({ "name": "orch", "command": tools.program, "args": ["agent", "mcp"],
        "env": [{ "name": VARIABLE, "value": tools.address }] })
}

fn read<'a, T: serde::Deserialize<'a>>(answer: &'a str, method: &'static str) -> Result<T, DriveError> {
    serde_json::from_str(answer).map_err(|_| DriveError::not_as_said(method, answer))
}

/// What a turn's end means for the work.
fn stopped(reason: &str) -> Result<(), DriveError> {
    let why = match reason {
        "end_turn" => return Ok(()),
        "max_tokens" => "its model may not say more (max_tokens)".to_owned(),
        "max_turn_requests" => "it asked its model as often as it may (max_turn_requests)".to_owned(),
        "refusal" => "its model refuses to do this (refusal)".to_owned(),
        "cancelled" => "it was cancelled (cancelled)".to_owned(),
        other => format!("it says `{}`, which nobody here knows", rpc::start(other)),
    };
    Err(DriveError::Stopped { why })
}
