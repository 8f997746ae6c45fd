//! Sessions of agents: what an interrupted run left of the conversation that its agent's own program keeps, and whether the next
//! attempt takes that up.
//!
//! A session is taken up together with the files that belong to it, or not at all: what the agent remembers of its directory
//! would not be so.

use orch_proto::EntityKind;
use orch_proto::id::RunId;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Inputs};
use super::model_use::AgentUse;
use super::run::Run;
use super::step::PlannedStep;
use crate::digest::Digest;
use crate::state::run::{FailureClass, RunState};

/// Longest name that a program gives a session, in bytes.
pub const SESSION_ID_BYTES_MAX: usize = 200;

/// What there is of sessions in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUse {
    /// What it left when it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftSession>,
    /// What it took up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TakenUp>,
    /// Why it began anew although the attempt before it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<String>,
}

impl SessionUse {
    /// Whether there is nothing of any.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.left.is_none() && self.from.is_none() && self.anew.is_none()
    }

    pub(super) fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Left { left } => self.left = Some(left.clone()),
            SessionEvent::TakenUp { from } => self.from = Some(from.clone()),
            SessionEvent::Anew { reason } => self.anew = Some(reason.clone()),
        }
    }
}

/// What an interrupted run left of its agent's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum LeftSession {
    /// It can be taken up, by this name.
    Kept { id: String },
    /// It cannot, or its files cannot be had.
    NotKept { reason: String },
}

/// The session that a run took up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenUp {
    /// The attempt that left it, and its number.
    pub run: RunId,
    pub number: u32,
    /// How its program names it.
    pub id: String,
}

/// What happens to sessions in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum SessionEvent {
    /// It was interrupted, and left this.
    Left { left: LeftSession },
    /// It goes on with the session of an earlier attempt.
    TakenUp { from: TakenUp },
    /// It begins anew although the attempt before it was interrupted.
    Anew { reason: String },
}

impl SessionEvent {
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Left { .. } => "session_left",
            Self::TakenUp { .. } => "session_taken_up",
            Self::Anew { .. } => "session_anew",
        }
    }
}

impl Inputs {
    /// The digest of these and of the agent that works on them: what its session is about. What it may spend is no part of that.
    #[must_use]
    pub fn of_session(&self, agent: &AgentUse) -> Digest {
        let AgentUse { name, kind, model, role, server, is_driven, egress, profile, .. } = agent;
        Digest::of_json(&("session", self, (name, kind, model, role, server, is_driven), (egress, profile)))
    }
}

/// Whether a text can be the name of a session: one that is no option of a program, no path, and text to a terminal.
#[must_use]
pub fn is_session_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins_well && text.len() <= SESSION_ID_BYTES_MAX && text.bytes().all(is_plain)
}

impl Run {
    /// Whether it took up a session and came to nothing with it: its agent did not even ask its model. One that never began says
    /// nothing of the session, unless it was that which failed.
    #[must_use]
    pub fn took_up_in_vain(&self) -> bool {
        let is_of_agent =
            matches!(self.state, RunState::Failed { class: FailureClass::Agent | FailureClass::Task, .. });
        self.has_not_asked_in_its_session() && (self.started_at.is_some() || is_of_agent)
    }

    /// Whether it took up a session, and its agent has asked its model nothing yet. Of one that asks a model past the gateway nobody knows.
    #[must_use]
    pub fn has_not_asked_in_its_session(&self) -> bool {
        let asks_here = self.agent.as_ref().is_some_and(|agent| agent.server.is_some());
        self.session.from.is_some() && asks_here && self.models.exchanges == 0
    }
}

/// What an attempt is made of, as far as a session is about it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub steps: &'a [PlannedStep],
    pub base: Option<&'a str>,
    pub agent: Option<&'a AgentUse>,
}

/// The session, with its files, that an attempt goes on with after `last`, or why it begins anew; none where that is no question: the
/// sessions of its agent are not kept, or the attempt before was not interrupted.
#[must_use]
pub fn taken_up(last: &Run, next: Attempt<'_>) -> Option<Result<(TakenUp, Checkpoint), String>> {
    let planned = next.steps.first().and_then(|step| step.inputs).filter(|_| next.agent.is_some())?;
    let name = EntityKind::Run.short(last.number);
    if let Some(from) = last.session.from.as_ref().filter(|_| last.took_up_in_vain()) {
        let from = EntityKind::Run.short(from.number);
        return Some(Err(format!("{name} took up the session of {from} and ended before its agent asked its model")));
    }
    let is_interrupted = match &last.state {
        RunState::Lost { .. } => true,
        RunState::Failed { class, .. } => matches!(class, FailureClass::Infrastructure | FailureClass::Host),
        RunState::Queued
        | RunState::Leased { .. }
        | RunState::Starting
        | RunState::Running
        | RunState::AwaitingInput { .. }
        | RunState::AwaitingApproval { .. }
        | RunState::Paused
        | RunState::Succeeded
        | RunState::TimedOut { .. }
        | RunState::Cancelled { .. } => false,
    };
    // What a person wanted to end is not gone on with.
    if !is_interrupted || last.cancel_requested.is_some() {
        return None;
    }
    let (from, files) = match (&last.session.left, &last.session.from) {
        (Some(LeftSession::Kept { id }), _) => {
            let from = TakenUp { run: last.id, number: last.number, id: id.clone() };
            (from, last.kept.iter().find(|kept| kept.step == 0))
        }
        (Some(LeftSession::NotKept { reason }), _) => return Some(Err(format!("{name} left no session: {reason}"))),
        // It never began: what it was to take up is as it was.
        (None, Some(from)) if last.started_at.is_none() => (from.clone(), last.resumed.as_ref()),
        (None, _) if last.started_at.is_none() => return None,
        (None, _) => return Some(Err(format!("what {name} left was not looked at"))),
    };
    let files = files.filter(|files| files.inputs == planned).cloned();
    Some(files.map(|files| (from, files)).ok_or_else(|| format!("since {name}, {}", changed(last, next))))
}

/// What is another thing now.
fn changed(last: &Run, next: Attempt<'_>) -> &'static str {
    let who = |agent: Option<&AgentUse>| {
        agent.map(|it| (it.name.clone(), it.kind.clone(), it.model.clone(), it.role.clone(), it.is_driven))
    };
    let server = |agent: Option<&AgentUse>| agent.and_then(|agent| agent.server.clone());
    if last.base.as_deref() != next.base {
        "the branch has moved, and its files are on another base"
    } else if who(last.agent.as_ref()) != who(next.agent) {
        "the agent, its model or its role is another"
    } else if server(last.agent.as_ref()) != server(next.agent) {
        "the agent asks another server"
    } else {
        "its program, its configuration, its role, the task, what that serves or the host's isolation is another"
    }
}

#[cfg(test)]
mod tests {
    use super::super::spend::Allowance;
    use super::*;
    use crate::recipe::Profile;

    #[test]
    fn a_name_of_a_session_is_no_option_no_path_and_nothing_for_a_terminal() {
        for good in ["01a22dbd-d9a2-7ea2-ad5e-f632dabdcc57", "ses_1", "2026:1.x"] {
            assert!(is_session_id(good), "{good}");
        }
        let long = "x".repeat(SESSION_ID_BYTES_MAX + 1);
        for bad in ["", "-p", "--last", "../x", "a/b", "a b", "a\u{1b}[2J", ".", &long] {
            assert!(!is_session_id(bad), "{bad}");
        }
    }

    #[test]
    fn a_session_is_about_its_agent_and_not_about_what_that_may_spend() {
        let inputs = Inputs {
            base: None,
            env: [].into(),
            programs: [].into(),
            access: crate::recipe::Access::default(),
            level: 3,
            level_required: 3,
        };
        let agent = AgentUse {
            name: "coder".into(),
            kind: "codex".into(),
            model: None,
            of_run: Allowance::default(),
            of_task: Allowance::default(),
            role: None,
            server: None,
            is_driven: false,
            answer_tokens: None,
            egress: Vec::new(),
            profile: Profile::default(),
        };
        let digest = inputs.of_session(&agent);
        let dearer = AgentUse { answer_tokens: Some(7), ..agent.clone() };
        assert_eq!(inputs.of_session(&dearer), digest);
        let other = AgentUse { model: Some("m".into()), ..agent.clone() };
        assert_ne!(inputs.of_session(&other), digest);
        let role = AgentUse { role: Some("qa".into()), ..agent };
        assert_ne!(inputs.of_session(&role), digest);
    }
}
