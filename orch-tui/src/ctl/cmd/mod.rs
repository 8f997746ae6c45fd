//! The verbs of `orchctl`, one file per noun: its arguments, its calls and its text.

pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod change;
pub(crate) mod daemon;
pub(crate) mod events;
mod isolation;
mod patience;
pub(crate) mod plan;
pub(crate) mod plan_text;
pub(crate) mod project;
pub(crate) mod reference;
pub(crate) mod req;
mod req_draft;
pub(crate) mod req_form;
pub(crate) mod req_text;
pub(crate) mod run;
pub(crate) mod run_log;
pub(crate) mod secret;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod task;
pub(crate) mod task_form;
pub(crate) mod task_terms;
pub(crate) mod task_tree;
pub(crate) mod trace;
pub(crate) mod vision;
