//! What people say to a task: to the agent that works at it, or to the next one.

use orch_proto::Timestamp;
use orch_proto::id::RunId;
use serde::{Deserialize, Serialize};

use super::Task;

/// Most messages of one task.
pub const MESSAGES_MAX: usize = 100;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// From 1, in the order in which they were said.
    pub number: u32,
    pub text: String,
    /// The uid and the name of the person.
    pub by: u32,
    pub name: String,
    pub at: Timestamp,
    /// The run whose agent is told while it works; none: whoever comes next is told with the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When the agent of that run was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

/// What an agent answered to a message: its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub text: String,
    pub at: Timestamp,
}

impl Task {
    /// What a run is told when it begins: all but what it is told while it works.
    pub fn told_before(&self, run: RunId) -> impl Iterator<Item = &Message> {
        self.thread.iter().filter(move |message| message.run != Some(run))
    }

    /// What the agent of a run is told while it works, behind the message of this number.
    pub fn told_while(&self, run: RunId, after: u32) -> impl Iterator<Item = &Message> {
        self.thread.iter().filter(move |message| message.run == Some(run) && message.number > after)
    }

    pub(super) fn is_said(&mut self, message: &Message) {
        self.thread.push(message.clone());
    }

    pub(super) fn is_told(&mut self, number: u32, at: Timestamp) {
        if let Some(message) = self.thread.iter_mut().find(|message| message.number == number) {
            message.told_at.get_or_insert(at);
        }
    }

    pub(super) fn is_answered(&mut self, number: u32, text: &str, at: Timestamp) {
        if let Some(message) = self.thread.iter_mut().find(|message| message.number == number) {
            message.reply.get_or_insert_with(|| Reply { text: text.to_owned(), at });
        }
    }
}
