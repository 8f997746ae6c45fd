//! What a planning works on: read once for each look, since a person may have changed it in the meantime.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::blueprint::Blueprint;
use orch_core::command::PlanningOutcome;
use orch_core::decide::answered;
use orch_core::entity::{Plan, Planning, PlanningSubject, Project, Requirements, Vision};
use orch_core::planner::asked::{self, Prompt, Topic, Wanted};
use orch_core::planner::{self, Extraction, ProposedPlan};
use orch_core::planning;
use orch_core::state::document::DocumentState;
use orch_core::view::{Filter, View as _};

use crate::app::App;
use crate::error_chain::chain;

/// What agents can do whatever is configured: everything that the rules ask for.
const CAPABILITIES: [&str; 5] = ["developer", "docs", "infra", "qa", "security"];
/// Most tasks of the plan before that a model is told of.
const BEFORE_MAX: usize = 200;

/// What is worked on.
#[derive(Debug)]
pub(super) struct Work {
    of: Of,
    /// What the model, or the agent, is told of its work.
    instructions: String,
    prompt_tokens: u64,
    /// Who is asked, for the reason of the version, and whether that is an agent.
    who: String,
    is_agent: bool,
    refused: usize,
    /// What is wrong with the last answer that could not be used.
    problems: Vec<String>,
    lost: u32,
    fell_back: Option<(String, String)>,
    answers: BTreeMap<Topic, String>,
}

#[derive(Debug)]
enum Of {
    Requirements { vision: Box<Vision>, text: String, ruled: Box<Extraction> },
    Plan(Box<OfPlan>),
}

#[derive(Debug)]
struct OfPlan {
    document: Requirements,
    ruled: ProposedPlan,
    blueprint: Option<Blueprint>,
    project: Project,
    capabilities: BTreeSet<String>,
    /// Tasks of the plan before: key and title.
    before: Vec<(String, String)>,
}

impl Work {
    /// Reads it. Blocks.
    pub(super) fn gather(app: &App, project: &Project, planning: &Planning) -> Result<Self, String> {
        let said = |error: &dyn std::error::Error| chain(error);
        let (of, wanted) = match planning.subject {
            PlanningSubject::Requirements { vision } => {
                let found = app.store.read(|view| view.get::<Vision>(vision)).map_err(|error| said(&error))?;
                let vision = found.ok_or("its Vision is not there any more")?;
                let bytes = app.blobs.read_verified(&vision.text, orch_proto::VISION_BYTES_MAX as u64);
                let bytes = bytes.map_err(|error| said(&error))?;
                let ruled = planner::extract(&bytes).map_err(|error| said(&error))?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (Of::Requirements { vision: Box::new(vision), text, ruled: Box::new(ruled) }, "requirements")
            }
            PlanningSubject::Plan { requirements } => {
                let document = app.store.read(|view| view.get::<Requirements>(requirements));
                let document =
                    document.map_err(|error| said(&error))?.ok_or("its requirements are not there any more")?;
                (Of::Plan(Box::new(OfPlan::gather(app, project, document)?)), "plan")
            }
        };
        let mut instructions = app.recipes.planner(wanted).map_err(|error| said(&error))?;
        if let Some(role) = app.roles.named(&project.slug, "planner").filter(|_| matches!(of, Of::Plan(_))) {
            instructions.push('\n');
            instructions.push_str(role.instructions.trim());
        }
        if planning.planner.agent.is_some() {
            instructions.push('\n');
            instructions.push_str(&app.recipes.planner("agent").map_err(|error| said(&error))?);
        }
        let answers = app.store.read(|view| answered(view, project.id)).map_err(|error| said(&error))?;
        let planner = &planning.planner;
        Ok(Self {
            of,
            instructions,
            prompt_tokens: planner.prompt_tokens,
            who: planner.who(),
            is_agent: planner.agent.is_some(),
            refused: planning.refused.len(),
            problems: planning.refused.last().map(|refused| refused.problems.clone()).unwrap_or_default(),
            lost: planning.lost,
            fell_back: planning.fell_back.clone(),
            answers,
        })
    }

    /// What the model is told.
    pub(super) fn prompt(&self) -> Result<Prompt, String> {
        let wanted = match &self.of {
            Of::Requirements { text, .. } => Wanted::Requirements { vision: text, answers: &self.answers },
            Of::Plan(of) => Wanted::Plan {
                requirements: &of.document.content.requirements,
                ruled: &of.ruled,
                capabilities: &of.capabilities,
                before: &of.before,
                answers: &self.answers,
            },
        };
        let prompt = asked::prompt(wanted, &self.instructions, self.prompt_tokens, &self.problems);
        prompt.map_err(|error| error.to_string())
    }

    /// What is proposed of an answer, or what is wrong with it.
    pub(super) fn outcome(&self, answer: &str) -> Result<PlanningOutcome, Vec<String>> {
        let lines = |problems: asked::Problems| problems.lines().to_vec();
        match &self.of {
            Of::Requirements { vision, text, ruled } => {
                let shown = self.prompt().map_err(|error| vec![error])?.shown_lines;
                let understood = asked::requirements_of(answer, ruled, (text, shown)).map_err(lines)?;
                let said = format!("derived from Vision version {} by {}", vision.version, self.by_model());
                let (content, questions) = (Box::new(understood.content), understood.questions);
                Ok(PlanningOutcome::Requirements { content, said, ruled: None, questions })
            }
            Of::Plan(of) => {
                let requirements = &of.document.content.requirements;
                let plan = asked::plan_of(answer, &of.ruled, requirements, &of.capabilities).map_err(lines)?;
                let content = planning::content(plan, &of.document.content, &of.project, of.blueprint.as_ref());
                let content = content.map_err(|error| vec![error.to_string()])?;
                // What a person who edits the plan is held to.
                content.analyse().map_err(|error| vec![error.to_string()])?;
                let said = format!("planned from requirements version {} by {}", of.document.version, self.by_model());
                Ok(PlanningOutcome::Plan { content: Box::new(content), said, ruled: None })
            }
        }
    }

    /// What the rules make, and why they did.
    pub(super) fn by_rules(&self, reason: &str) -> Result<PlanningOutcome, String> {
        let warning = format!("made by the rules: {reason}");
        let ruled = Some(reason.to_owned());
        match &self.of {
            Of::Requirements { vision, text, ruled: extraction } => {
                let mut content = extraction.clone();
                asked::include(&mut content, &self.answers);
                let questions = asked::unsaid(text, &self.answers);
                content.warnings.insert(0, warning);
                let said = format!("derived from Vision version {} by the rules: {reason}", vision.version);
                Ok(PlanningOutcome::Requirements { content, said, ruled, questions })
            }
            Of::Plan(of) => {
                let plan = of.ruled.clone();
                let content = planning::content(plan, &of.document.content, &of.project, of.blueprint.as_ref());
                let mut content = content.map_err(|error| error.to_string())?;
                content.warnings.insert(0, warning);
                let said = format!("planned from requirements version {} by the rules: {reason}", of.document.version);
                Ok(PlanningOutcome::Plan { content: Box::new(content), said, ruled })
            }
        }
    }

    fn by_model(&self) -> String {
        let mended = match self.refused {
            0 => String::new(),
            1 => ", mended once".to_owned(),
            times => format!(", mended {times} times"),
        };
        let lost = match self.lost {
            0 => String::new(),
            lost if self.is_agent => format!(", lost {lost} times at its work"),
            lost => format!(", {lost} requests lost with a daemon that ended"),
        };
        let place = self.fell_back.as_ref().map_or_else(String::new, |(model, reason)| {
            format!(" in the place of `{model}`, which was asked in vain ({reason})")
        });
        format!("{}{mended}{lost}{place}", self.who)
    }
}

impl OfPlan {
    fn gather(app: &App, project: &Project, document: Requirements) -> Result<Self, String> {
        let blueprint = match &document.content.front_matter.blueprint {
            Some(name) => Some(app.recipes.blueprint(name).map_err(|error| chain(&error))?.0),
            None => None,
        };
        let ruled = planning::proposed(&document.content, project, blueprint.as_ref());
        let ruled = ruled.map_err(|error| chain(&error))?;
        let plans = app.store.read(|view| view.list::<Plan>(&Filter::of(project.id).open()));
        let plans = plans.map_err(|error| chain(&error))?;
        let before = plans.into_iter().rev().find(|plan| plan.state == DocumentState::Approved);
        let tasks = before.map(|plan| plan.content.tasks).unwrap_or_default();
        let before = tasks.into_iter().take(BEFORE_MAX).map(|task| (task.key, task.title)).collect();
        // What is to be done, and not by whom: an agent that is for single tasks is chosen by people.
        let mut capabilities = app.capabilities();
        capabilities.retain(|capability| !app.config.agents.agents.contains_key(capability.as_str()));
        capabilities.extend(CAPABILITIES.map(ToOwned::to_owned));
        Ok(Self { document, ruled, blueprint, project: project.clone(), capabilities, before })
    }
}
