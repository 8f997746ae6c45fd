//! What a model, or an agent, does for the planner of a project: who is asked for what, each exchange, and how it ended.
//!
//! A project has one at a time, and the last one stays to be seen. **Invariant:** an exchange is here before it leaves, and an
//! agent before its program starts; what is open is closed here, also when the planning is over.

use orch_proto::Timestamp;
use orch_proto::id::{RequirementsId, VisionId};
use serde::{Deserialize, Serialize};

use super::budget::BudgetUse;
use super::installed_tool::InstalledTool;
use super::model_use::{AgentUse, ModelAnswer, ModelRequest, ModelUse, OpenExchange, ServerUse, Told};
use crate::actor::Actor;
use crate::digest::Digest;
use crate::state::IllegalTransition;
use crate::state::planning::{PlanningState, PlanningStep};

/// How many answers of one planning may be of no use: the first, and two that were to mend it.
pub const ANSWERS_REFUSED_MAX: usize = 3;
/// How many requests of one planning may be lost with a daemon, or how often its agent, before the rules take its place.
pub const EXCHANGES_LOST_MAX: u32 = 2;
/// How an exchange ended of which nobody knows what became of it.
pub const END_UNKNOWN: &str = "unknown";

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlanningSubject {
    /// Requirements of a Vision.
    Requirements { vision: VisionId },
    /// A plan for approved requirements.
    Plan { requirements: RequirementsId },
}

/// Who is asked, and how: a model, or an agent with its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannerUse {
    pub server: ServerUse,
    /// Of an agent what its program is told to use; empty: what that chooses.
    pub model: String,
    /// How it is spoken to, where its server knows several ways: `responses`, `chat`.
    pub protocol: String,
    /// In hundredths; none: what the server takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_percent: Option<u32>,
    /// About how many tokens it may be told.
    pub prompt_tokens: u64,
    /// How many tokens its answer may have; of an agent nothing: that is said with it.
    pub output_tokens: u64,
    /// The model of the same server that is asked when this one cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The agent that works on it in the place of a single model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Box<AgentUse>>,
}

impl PlannerUse {
    /// Who that is, in a sentence.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.agent {
            Some(agent) => format!("the agent `{}`", agent.name),
            None => format!("`{}`", self.model),
        }
    }
}

/// An agent at work for a planning: from before its program starts until what came of it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTurn {
    /// From 1 within the planning.
    pub number: u32,
    pub since: Timestamp,
    /// Installed tools that it works with: its program may be of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<InstalledTool>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TurnEnd {
    /// Its last word, which is a blob.
    Answered { body: Digest, bytes: u64 },
    /// There is none, and another try would come to the same.
    Failed { reason: String },
    /// It is gone, and nobody knows what became of it.
    Lost,
    /// Nobody wanted it any more.
    Stopped,
}

/// An answer that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAnswer {
    /// Of its exchange, or of the agent's turn.
    pub number: u32,
    /// What was answered, as far as that was kept.
    pub body: Option<Digest>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// A model at work for the planner of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planning {
    /// From 1 within the project.
    pub number: u32,
    pub subject: PlanningSubject,
    pub planner: PlannerUse,
    pub state: PlanningState,
    pub asked_by: Actor,
    pub since: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub models: ModelUse,
    /// Number and text of an answer that came whole and was not looked at yet; of an agent, its turn and last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<(u32, Digest)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedAnswer>,
    /// The model that could not be asked, and why, when another took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<(String, String)>,
    /// Requests that were lost with a daemon; how often an agent was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// How often an agent was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turns: u32,
    /// An agent is at work, or its end is not on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<AgentTurn>,
    /// Why its agent came to nothing, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What can happen to a planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlanningEvent {
    Asked {
        subject: PlanningSubject,
        planner: PlannerUse,
    },
    /// A request is about to leave.
    ModelAsked {
        exchange: OpenExchange,
        request: Box<ModelRequest>,
    },
    /// What came of it, and what it used of budgets.
    ModelAnswered {
        exchange: u32,
        answer: Box<ModelAnswer>,
        uses: Vec<BudgetUse>,
    },
    /// An agent is about to start.
    AgentStarted {
        turn: u32,
        told: Told,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tools: Vec<InstalledTool>,
    },
    AgentEnded {
        turn: u32,
        end: TurnEnd,
    },
    /// The answer of an exchange, or of an agent's turn, cannot be used.
    Refused {
        exchange: u32,
        problems: Vec<String>,
    },
    /// The model cannot be asked: the other takes its place.
    FellBack {
        reason: String,
    },
    Ended {
        step: PlanningStep,
    },
}

impl Planning {
    /// Whether something may still be asked.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, PlanningState::Asked)
    }

    /// How many answers there can have been: one of each exchange, or of each turn of an agent.
    #[must_use]
    pub const fn answers_max(&self) -> u32 {
        if self.planner.agent.is_some() { self.turns } else { self.models.exchanges }
    }

    /// Puts what happened into the planning of a project.
    pub(super) fn apply(
        current: &mut Option<Self>,
        number: u32,
        event: &PlanningEvent,
        (at, actor): (Timestamp, &Actor),
    ) -> Result<(), IllegalTransition> {
        if let PlanningEvent::Asked { subject, planner } = event {
            if current.as_ref().is_some_and(Self::is_open) {
                let (state, event) = ("asked", PlanningStep::Asked.label());
                return Err(IllegalTransition { machine: "planning", state, event });
            }
            *current = Some(Self {
                number,
                subject: *subject,
                planner: planner.clone(),
                state: PlanningState::next(None, &PlanningStep::Asked)?,
                asked_by: actor.clone(),
                since: at,
                ended_at: None,
                models: ModelUse::default(),
                unread: None,
                refused: Vec::new(),
                fell_back: None,
                lost: 0,
                turns: 0,
                turn: None,
                given_up: None,
            });
            return Ok(());
        }
        let absent = || IllegalTransition { machine: "planning", state: "absent", event: event.label() };
        let planning = current.as_mut().filter(|planning| planning.number == number).ok_or_else(absent)?;
        match event {
            PlanningEvent::Asked { .. } => {}
            PlanningEvent::ModelAsked { exchange, .. } => planning.models.asked(*exchange),
            PlanningEvent::ModelAnswered { exchange, answer, .. } => planning.answered(*exchange, answer),
            PlanningEvent::AgentStarted { turn, tools, .. } => {
                planning.turns = *turn;
                planning.turn = Some(AgentTurn { number: *turn, since: at, tools: tools.clone() });
            }
            PlanningEvent::AgentEnded { turn, end } => planning.end_turn(*turn, end),
            PlanningEvent::Refused { exchange, problems } => planning.refuse(*exchange, problems),
            PlanningEvent::FellBack { reason } => {
                planning.unread = None;
                if let Some(other) = planning.planner.fallback.take() {
                    let model = std::mem::replace(&mut planning.planner.model, other);
                    planning.fell_back = Some((model, reason.clone()));
                }
            }
            PlanningEvent::Ended { step } => {
                planning.state = PlanningState::next(Some(&planning.state), step)?;
                planning.ended_at = Some(at);
                planning.unread = None;
            }
        }
        Ok(())
    }

    fn answered(&mut self, number: u32, answer: &ModelAnswer) {
        self.models.answered(number, answer);
        if self.planner.agent.is_some() {
            // What the agent makes of it counts.
            return;
        }
        // One that nobody waited for any more, but a daemon that stopped.
        let is_given_up = answer.end == "unwanted" && answer.status.is_none() && self.is_open();
        if answer.end == END_UNKNOWN || is_given_up {
            self.lost = self.lost.saturating_add(1);
        }
        let is_whole = answer.end == "complete" && answer.status.is_some_and(|status| (200..300).contains(&status));
        if self.is_open() && is_whole {
            self.unread = answer.body.map(|body| (number, body));
        }
    }

    fn end_turn(&mut self, number: u32, end: &TurnEnd) {
        self.turn = None;
        if !self.is_open() {
            return;
        }
        match end {
            TurnEnd::Answered { body, .. } => self.unread = Some((number, *body)),
            TurnEnd::Failed { reason } => self.given_up = Some(reason.clone()),
            TurnEnd::Lost => self.lost = self.lost.saturating_add(1),
            TurnEnd::Stopped => {}
        }
    }

    fn refuse(&mut self, number: u32, problems: &[String]) {
        let body = self.unread.take().filter(|(unread, _)| *unread == number).map(|(_, body)| body);
        self.refused.push(RefusedAnswer { number, body, problems: problems.to_vec() });
    }
}

impl PlanningEvent {
    /// The word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "planning_asked",
            Self::ModelAsked { .. } => "planning_model_asked",
            Self::ModelAnswered { .. } => "planning_model_answered",
            Self::AgentStarted { .. } => "planning_agent_started",
            Self::AgentEnded { .. } => "planning_agent_ended",
            Self::Refused { .. } => "planning_answer_refused",
            Self::FellBack { .. } => "planning_fell_back",
            Self::Ended { .. } => "planning_ended",
        }
    }
}
