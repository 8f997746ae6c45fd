//! What a model fills in, and how its text becomes that.
//!
//! Bounded before anything of it is looked at: size, then form. The form is fixed, so that nothing nests deeper than it does.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::shape::{Shape as _, shape, words};
use super::topics::Topic;
use crate::planner::inline::printable;

/// Longest answer that is read, in bytes. What a person reads before approving is far shorter.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most problems that are told at once.
const PROBLEMS_MAX: usize = 12;
/// Longest problem, in characters.
const PROBLEM_CHARS_MAX: usize = 300;

/// What is wrong with an answer, in words for its model and for people. Never empty, and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// One problem.
    pub(super) fn one(problem: impl Into<String>) -> Self {
        let mut found = Found::default();
        found.say(problem);
        Self(found.list)
    }

    /// They.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// Problems while they are looked for.
#[derive(Debug, Default)]
pub(super) struct Found {
    list: Vec<String>,
    more: usize,
}

impl Found {
    pub(super) fn say(&mut self, problem: impl Into<String>) {
        if self.list.len() == PROBLEMS_MAX {
            self.more += 1;
            return;
        }
        let problem: String = problem.into();
        let plain: String = problem.chars().map(printable).take(PROBLEM_CHARS_MAX).collect();
        self.list.push(plain);
    }

    /// Says what is wrong with something, if it is.
    pub(super) fn check<T, E: std::fmt::Display>(&mut self, place: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.say(format!("{place}: {error}"))).ok()
    }

    /// All of them; nothing when all is well.
    pub(super) fn finish(mut self) -> Result<(), Problems> {
        if self.more > 0 {
            self.list.push(format!("and {} more problems", self.more));
        }
        if self.list.is_empty() { Ok(()) } else { Err(Problems(self.list)) }
    }
}

words! {
    /// What a requirement asks for.
    pub(super) enum Kind {
        /// Something the product does.
        Functional = "functional",
        /// A quality the product has.
        NonFunctional = "non_functional",
        /// A limit on how the product is made.
        Constraint = "constraint",
    }
}

shape! {
    /// Requirements as a model writes them.
    struct RequirementsAnswer {
        /// Name of the product, one line.
        title: String,
        /// What it is and for whom, in a few sentences.
        summary: String,
        /// What it is for.
        goals: Vec<String>,
        /// What it is not to do.
        non_goals: Vec<String>,
        /// Limits that are no requirement, and assumptions that you make.
        constraints: Vec<String>,
        /// How somebody sees that the whole is good.
        success_criteria: Vec<String>,
        /// What can go wrong, and what is done about it.
        risks: Vec<String>,
        /// The steps to a first version that is of use, and what comes later.
        milestones: Vec<String>,
        /// What the vision leaves open and you could not decide.
        open_questions: Vec<String>,
        /// What the product has to do and to be: one thing each, which can be checked.
        requirements: Vec<RequirementAnswer>,
        /// What people have to say before this can be planned well: at most one question for each topic, none about what is said.
        questions: Vec<QuestionAnswer>,
    }
}

shape! {
    /// One requirement.
    struct RequirementAnswer {
        /// The id that the vision gives it, as FR-12; null where it gives none.
        id: Option<String>,
        /// Its kind.
        kind: Kind,
        /// One line.
        title: String,
        /// The whole requirement.
        text: String,
        /// When it is met: sentences that a machine or a person can check.
        acceptance: Vec<String>,
        /// Its priority as the vision writes it; null where it says none.
        priority: Option<String>,
    }
}

shape! {
    /// A question to people.
    struct QuestionAnswer {
        /// What it is about.
        topic: Topic,
        /// One sentence.
        question: String,
        /// Likely answers, if there are few; otherwise empty.
        choices: Vec<String>,
    }
}

shape! {
    /// A plan as a model writes it.
    struct PlanAnswer {
        /// Large parts of the work, in the order in which a person should read them.
        epics: Vec<EpicAnswer>,
    }
}

shape! {
    /// A large part of the work.
    struct EpicAnswer {
        /// One line.
        title: String,
        /// Its parts.
        stories: Vec<StoryAnswer>,
    }
}

shape! {
    /// Tasks that belong together.
    struct StoryAnswer {
        /// One line.
        title: String,
        /// They.
        tasks: Vec<TaskAnswer>,
    }
}

shape! {
    /// One task, which one agent can finish in a day at most.
    struct TaskAnswer {
        /// Unique in the plan: words of a-z and 0-9 joined by `-`, as `add-search`.
        key: String,
        /// One line.
        title: String,
        /// Who does it, as one of the capabilities that are listed.
        capability: String,
        /// Keys of the tasks that have to be done before.
        needs: Vec<String>,
        /// Ids of the requirements that it serves.
        requirements: Vec<String>,
        /// When it is done: sentences that a machine or a person can check.
        acceptance: Vec<String>,
        /// Shortest time in minutes.
        minutes_low: u32,
        /// Longest time in minutes.
        minutes_high: u32,
        /// What can go wrong; null where nothing special can.
        risk: Option<String>,
    }
}

/// What a model is asked to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Requirements,
    Plan,
}

impl Wish {
    /// The name of its schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requirements => "requirements",
            Self::Plan => "plan",
        }
    }

    /// Its JSON schema.
    #[must_use]
    pub fn schema(self) -> Value {
        match self {
            Self::Requirements => RequirementsAnswer::schema(),
            Self::Plan => PlanAnswer::schema(),
        }
    }
}

/// Reads an answer: one JSON object, which a fence of Markdown may be around.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problems> {
    if text.len() > ANSWER_BYTES_MAX {
        return Err(Problems::one(format!(
            "the answer has {} bytes; {ANSWER_BYTES_MAX} are read: write less",
            text.len()
        )));
    }
    let json = unfenced(text);
    if !json.starts_with('{') {
        return Err(Problems::one("the answer is not JSON: begin with `{`, end with `}`, and write nothing around it"));
    }
    serde_json::from_str(json).map_err(|error| {
        Problems::one(if error.is_eof() {
            "the answer ends before its JSON is complete: write less".to_owned()
        } else {
            format!("the answer does not have the form that was asked for: {error}")
        })
    })
}

/// The text within a fence of Markdown, if that is all that there is.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    match inner.and_then(|inner| inner.split_once('\n')) {
        Some((_, json)) => json.trim(),
        None => text,
    }
}

/// A line of a stranger as a person can be shown it.
pub(super) fn plain_line(text: &str) -> String {
    text.trim().chars().map(printable).collect()
}

/// The same of a text, whose lines stay.
pub(super) fn plain_text(text: &str) -> String {
    text.trim()
        .lines()
        .map(|line| line.trim_end().chars().map(printable).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}
