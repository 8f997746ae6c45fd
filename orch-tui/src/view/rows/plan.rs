//! Plans and requirements.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::view::{DocumentState, PlanView, RequirementsView, TaskState};

use super::{joined, local_name, safe_all, safe_opt};
use crate::fmt::eta;
use crate::text::SafeText;
use crate::view::filter::Filtered;

/// A task of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanTask {
    pub(crate) key: SafeText,
    pub(crate) task: Option<SafeText>,
    pub(crate) title: SafeText,
    pub(crate) work: SafeText,
    pub(crate) needs: SafeText,
    pub(crate) requirements: SafeText,
    pub(crate) acceptance: Vec<SafeText>,
    pub(crate) estimate_minutes: (u32, u32),
    pub(crate) risk: Option<SafeText>,
    pub(crate) critical: bool,
    pub(crate) level: u32,
    pub(crate) state: Option<TaskState>,
    /// How long it will take, in a sentence.
    pub(crate) eta: Option<SafeText>,
    /// Not in the approved plan before this one.
    pub(crate) is_added: bool,
}

/// A version of a plan. Its tasks are ordered by level, the critical one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanRow {
    pub(crate) version: u32,
    pub(crate) state: DocumentState,
    pub(crate) requirements_version: u32,
    pub(crate) blueprint: Option<SafeText>,
    pub(crate) tasks: Vec<PlanTask>,
    pub(crate) critical_path: SafeText,
    pub(crate) critical_minutes: (u32, u32),
    /// When its open tasks will be done, as a band and in sentences.
    pub(crate) eta: Option<SafeText>,
    pub(crate) eta_lines: Vec<SafeText>,
    pub(crate) parallel_max: u32,
    pub(crate) added: usize,
    pub(crate) dropped: SafeText,
    pub(crate) dropped_count: usize,
    pub(crate) kept: usize,
    pub(crate) warnings: Vec<SafeText>,
    pub(crate) reason: SafeText,
    pub(crate) created_by: SafeText,
    pub(crate) created_at: Timestamp,
}

impl From<PlanView> for PlanRow {
    fn from(view: PlanView) -> Self {
        let added: BTreeSet<&String> = view.added.iter().collect();
        // A first plan adds everything, which is not worth a mark on every row.
        // People know an approved task by its number, the plan knows it by its key.
        let numbers: BTreeMap<&str, &str> =
            view.nodes.iter().filter_map(|node| Some((node.key.as_str(), node.task.as_deref()?))).collect();
        let named = |keys: &[String]| -> Vec<String> {
            let name = |key: &String| {
                numbers.get(key.as_str()).map_or_else(|| key.clone(), |name| local_name(name).to_string())
            };
            keys.iter().map(name).collect()
        };
        let marks_added = !view.kept.is_empty() || !view.dropped.is_empty();
        let mut tasks: Vec<_> = view
            .nodes
            .iter()
            .map(|node| PlanTask {
                key: SafeText::line(&node.key),
                task: node.task.as_deref().map(local_name),
                title: SafeText::line(&node.title),
                work: SafeText::line(&node.work),
                needs: joined(&named(&node.needs)),
                requirements: joined(&node.requirements),
                acceptance: safe_all(&node.acceptance),
                estimate_minutes: node.estimate_minutes,
                risk: safe_opt(node.risk.as_deref()),
                critical: node.critical,
                level: node.level,
                state: node.state,
                eta: node.eta.as_ref().map(|eta| SafeText::line(&eta::sentence(eta))),
                is_added: marks_added && added.contains(&node.key),
            })
            .collect();
        tasks.sort_by_key(|task| (task.level, !task.critical));
        Self {
            version: view.version,
            state: view.state,
            requirements_version: view.requirements_version,
            blueprint: safe_opt(view.blueprint.as_deref()),
            tasks,
            critical_path: SafeText::line(&named(&view.critical_path).join(" > ")),
            critical_minutes: view.critical_minutes,
            eta: view
                .eta
                .as_ref()
                .filter(|eta| eta.tasks > 0)
                .map(|eta| SafeText::line(&eta::span(eta.p50_ms, eta.p90_ms))),
            eta_lines: view.eta.iter().flat_map(eta::plan_lines).map(|line| SafeText::line(&line)).collect(),
            parallel_max: view.parallel_max,
            added: view.added.len(),
            dropped_count: view.dropped.len(),
            dropped: joined(&view.dropped),
            kept: view.kept.len(),
            warnings: safe_all(&view.warnings),
            reason: SafeText::line(&view.reason),
            created_by: SafeText::line(&view.created_by),
            created_at: view.created_at,
        }
    }
}

impl Filtered for PlanTask {
    fn haystack(&self) -> String {
        let name = self.task.as_ref().map_or("", SafeText::as_str);
        [self.key.as_str(), name, self.title.as_str(), self.work.as_str(), self.requirements.as_str()].join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "state" => self.state?.label().to_owned(),
            "level" => self.level.to_string(),
            "work" => self.work.to_string(),
            "needs" => self.needs.to_string(),
            "req" => self.requirements.to_string(),
            "critical" => self.critical.to_string(),
            _ => return None,
        })
    }
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequirementRow {
    pub(crate) key: SafeText,
    pub(crate) kind: SafeText,
    pub(crate) title: SafeText,
    pub(crate) text: SafeText,
    pub(crate) group: Option<SafeText>,
    pub(crate) acceptance: Vec<SafeText>,
    pub(crate) lines: Option<(u32, u32)>,
}

/// The newest version of the requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequirementsDoc {
    pub(crate) version: u32,
    pub(crate) state: DocumentState,
    pub(crate) vision_version: u32,
    pub(crate) title: SafeText,
    pub(crate) open_questions: usize,
    pub(crate) rows: Vec<RequirementRow>,
}

impl From<RequirementsView> for RequirementsDoc {
    fn from(view: RequirementsView) -> Self {
        let rows = view.requirements.iter().map(|requirement| RequirementRow {
            key: SafeText::line(&requirement.key),
            kind: SafeText::line(&requirement.kind),
            title: SafeText::line(&requirement.title),
            text: SafeText::block(&requirement.text),
            group: safe_opt(requirement.group.as_deref()),
            acceptance: safe_all(&requirement.acceptance),
            lines: requirement.lines,
        });
        Self {
            version: view.version,
            state: view.state,
            vision_version: view.vision_version,
            title: SafeText::line(&view.title),
            open_questions: view.open_questions.len(),
            rows: rows.collect(),
        }
    }
}

impl Filtered for RequirementRow {
    fn haystack(&self) -> String {
        [self.key.as_str(), self.kind.as_str(), self.title.as_str(), self.text.as_str()].join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "kind" => self.kind.to_string(),
            "key" => self.key.to_string(),
            "group" => self.group.as_ref()?.to_string(),
            _ => return None,
        })
    }
}
