//! From a model's answer to requirements: checked like what a person writes, and held against what the rules read.
//!
//! **Invariant:** an id that the Vision gives is in the result. What of the Vision did not fit into the prompt is taken as the
//! rules read it.

use std::collections::BTreeSet;

use super::answer::{self, Found, Kind, Problems, RequirementAnswer, RequirementsAnswer};
use super::topics::Question;
use crate::decide::bounds::{self, ACCEPTANCE_MAX, LINE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::planner::model::{Extraction, LineRange, Requirement, RequirementKey, RequirementKind, Statement};

/// Most requirements that are taken from a model: more is no work of thought.
pub const REQUIREMENTS_OF_MODEL_MAX: usize = 500;
/// Most entries of any other list of an answer.
const STATEMENTS_MAX: usize = 200;
/// Longest question and longest choice, in bytes.
const QUESTION_BYTES_MAX: usize = 400;
/// Most choices of a question.
const CHOICES_MAX: usize = 8;
/// Where something stands that does not stand in the Vision.
const NOWHERE: LineRange = LineRange { first: 0, last: 0 };

/// What a model made of a Vision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    pub content: Extraction,
    /// What it asks people, at most one question for a topic.
    pub questions: Vec<Question>,
}

/// Reads an answer about `vision`, of which the model saw the first `shown` lines; `ruled` is what the rules made of it.
///
/// # Errors
/// What is wrong with it, for the model to mend.
pub fn requirements_of(text: &str, ruled: &Extraction, (vision, shown): (&str, u32)) -> Result<Understood, Problems> {
    let answer: RequirementsAnswer = answer::read(text)?;
    let count = answer.requirements.len();
    if count == 0 || count > REQUIREMENTS_OF_MODEL_MAX {
        return Err(Problems::one(format!(
            "there are {count} requirements; from 1 to {REQUIREMENTS_OF_MODEL_MAX} are accepted"
        )));
    }
    let mut found = Found::default();
    let title = found.check("title", bounds::title("title", &answer::plain_line(&answer.title)));
    let summary = answer::plain_text(&answer.summary);
    found.check("summary", bounds::bytes("summary", summary.len(), TEXT_BYTES_MAX));
    let questions = questions(&answer, &mut found);
    let requirements = requirements(&answer.requirements, ruled, &mut found);
    missing(ruled, &requirements, (vision, shown), &mut found);
    let mut list = |name: &str, lines: &[String]| statements(name, lines, &mut found);
    let mut content = Extraction {
        title: title.unwrap_or_default(),
        summary,
        front_matter: ruled.front_matter.clone(),
        goals: list("goals", &answer.goals),
        non_goals: list("non_goals", &answer.non_goals),
        constraints: list("constraints", &answer.constraints),
        acceptance: list("success_criteria", &answer.success_criteria),
        open_questions: list("open_questions", &answer.open_questions),
        risks: list("risks", &answer.risks),
        milestones: list("milestones", &answer.milestones),
        requirements,
        unclassified: Vec::new(),
        warnings: Vec::new(),
    };
    found.finish()?;
    keep_front_matter(&mut content, ruled);
    append_unseen(&mut content, ruled, shown);
    bounds::requirements(&content).map_err(|error| Problems::one(error.to_string()))?;
    Ok(Understood { content, questions })
}

fn requirements(answers: &[RequirementAnswer], ruled: &Extraction, found: &mut Found) -> Vec<Requirement> {
    let mut taken = BTreeSet::new();
    let mut keys: Vec<Option<RequirementKey>> = Vec::with_capacity(answers.len());
    for (at, answer) in answers.iter().enumerate() {
        let key = answer.id.as_deref().map(str::parse::<RequirementKey>);
        let key = key.and_then(|parsed| found.check(&format!("requirements[{at}].id"), parsed));
        if let Some(key) = &key
            && !taken.insert(key.as_str().to_ascii_uppercase())
        {
            found.say(format!("requirements[{at}].id: `{key}` is the id of another requirement, too"));
        }
        keys.push(key);
    }
    let mut number = 0;
    let mut next = || {
        loop {
            number += 1;
            if taken.insert(format!("REQ-{number}")) {
                return RequirementKey::numbered(number);
            }
        }
    };
    let keys: Vec<RequirementKey> = keys.into_iter().map(|key| key.unwrap_or_else(&mut next)).collect();
    let all: BTreeSet<&RequirementKey> = keys.iter().collect();
    let mut list = Vec::with_capacity(answers.len());
    for (at, (answer, key)) in answers.iter().zip(&keys).enumerate() {
        let place = |part: &str| format!("requirements[{at}].{part}");
        let title = found.check(&place("title"), bounds::title("title", &answer::plain_line(&answer.title)));
        let title = title.unwrap_or_default();
        let text = answer::plain_text(&answer.text);
        found.check(&place("text"), bounds::text("text", &text));
        let acceptance: Vec<String> = answer.acceptance.iter().map(|line| answer::plain_line(line)).collect();
        found.check(&place("acceptance"), bounds::acceptance(&acceptance));
        let known = ruled.requirements.iter().find(|known| known.id == *key);
        let priority = answer.priority.as_deref().map(answer::plain_line).filter(|priority| !priority.is_empty());
        if priority.as_ref().is_some_and(|priority| priority.len() > QUESTION_BYTES_MAX) {
            found.say(format!("{}: is no priority but a text", place("priority")));
        }
        list.push(Requirement {
            id: key.clone(),
            kind: kind(answer.kind),
            text: if text.is_empty() { title.clone() } else { text },
            title,
            group: known.and_then(|known| known.group.clone()),
            parent: known.and_then(|known| known.parent.clone()).filter(|parent| all.contains(parent)),
            priority: priority.or_else(|| known.and_then(|known| known.priority.clone())),
            acceptance,
            lines: known.map_or(NOWHERE, |known| known.lines),
        });
    }
    list
}

const fn kind(kind: Kind) -> RequirementKind {
    match kind {
        Kind::Functional => RequirementKind::Functional,
        Kind::NonFunctional => RequirementKind::NonFunctional,
        Kind::Constraint => RequirementKind::Constraint,
    }
}

/// Ids that the Vision gives, where the model could see them, have to stay.
fn missing(ruled: &Extraction, requirements: &[Requirement], (vision, shown): (&str, u32), found: &mut Found) {
    for known in ruled.requirements.iter().filter(|known| known.lines.first <= shown) {
        let is_written = || vision.contains(known.id.as_str());
        if !requirements.iter().any(|requirement| requirement.id == known.id) && is_written() {
            found.say(format!(
                "requirements: `{}`, which the vision has in line {}, is not there",
                known.id, known.lines.first
            ));
        }
    }
}

fn statements(name: &str, lines: &[String], found: &mut Found) -> Vec<Statement> {
    if lines.len() > STATEMENTS_MAX {
        found.say(format!("{name}: has {} entries; {STATEMENTS_MAX} are accepted", lines.len()));
        return Vec::new();
    }
    let plain = lines.iter().map(|line| answer::plain_line(line)).filter(|line| !line.is_empty());
    let list: Vec<Statement> = plain.map(|text| Statement { text, lines: NOWHERE }).collect();
    for statement in &list {
        found.check(name, bounds::bytes("an entry", statement.text.len(), LINE_BYTES_MAX));
    }
    list
}

fn questions(answer: &RequirementsAnswer, found: &mut Found) -> Vec<Question> {
    let mut topics = BTreeSet::new();
    let mut list = Vec::new();
    for (at, asked) in answer.questions.iter().enumerate().take(ACCEPTANCE_MAX) {
        let place = format!("questions[{at}]");
        let text = answer::plain_line(&asked.question);
        let choices: Vec<String> = asked.choices.iter().map(|choice| answer::plain_line(choice)).collect();
        if text.is_empty() || choices.iter().any(String::is_empty) {
            found.say(format!("{place}: has an empty text"));
        }
        found.check(&place, bounds::bytes("question", text.len(), QUESTION_BYTES_MAX));
        found.check(&place, bounds::count("choices", choices.len(), CHOICES_MAX));
        for choice in &choices {
            found.check(&place, bounds::bytes("choice", choice.len(), QUESTION_BYTES_MAX));
        }
        if topics.insert(asked.topic) {
            list.push(Question { topic: asked.topic, text, choices });
        } else {
            found.say(format!("{place}: there is another question about `{}`", asked.topic.word()));
        }
    }
    list
}

/// What the front matter says holds, whatever a model makes of it.
fn keep_front_matter(content: &mut Extraction, ruled: &Extraction) {
    if let Some(title) = &ruled.front_matter.title
        && !title.trim().is_empty()
    {
        content.title.clone_from(&ruled.title);
    }
    let own = &ruled.front_matter.constraints;
    content.constraints.retain(|known| !own.contains(&known.text));
    content.constraints.splice(0..0, ruled.constraints.iter().filter(|known| own.contains(&known.text)).cloned());
}

/// Requirements and statements behind the last line that the model saw, as the rules read them.
fn append_unseen(content: &mut Extraction, ruled: &Extraction, shown: u32) {
    let is_unseen = |lines: LineRange| lines.first > shown;
    let lists = [
        (&mut content.goals, &ruled.goals),
        (&mut content.non_goals, &ruled.non_goals),
        (&mut content.constraints, &ruled.constraints),
        (&mut content.acceptance, &ruled.acceptance),
        (&mut content.open_questions, &ruled.open_questions),
        (&mut content.risks, &ruled.risks),
        (&mut content.milestones, &ruled.milestones),
    ];
    for (list, of_rules) in lists {
        list.extend(of_rules.iter().filter(|statement| is_unseen(statement.lines)).cloned());
    }
    let mut taken: BTreeSet<String> =
        content.requirements.iter().map(|requirement| requirement.id.as_str().to_ascii_uppercase()).collect();
    let (mut number, mut added) = (0, 0_usize);
    for requirement in ruled.requirements.iter().filter(|requirement| is_unseen(requirement.lines)) {
        let mut requirement = requirement.clone();
        while !taken.insert(requirement.id.as_str().to_ascii_uppercase()) {
            number += 1;
            requirement.id = RequirementKey::numbered(number);
        }
        requirement.parent =
            requirement.parent.filter(|parent| content.requirements.iter().any(|one| one.id == *parent));
        content.requirements.push(requirement);
        added += 1;
    }
    if added > 0 {
        content.warnings.push(format!(
            "the model was shown the first {shown} lines of the Vision; the last {added} requirements are as the rules read them"
        ));
    }
}
