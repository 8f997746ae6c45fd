//! The planner: Markdown in, requirements and a task graph out, by rules.
//!
//! Pure text work: no I/O, no clock, the same input always gives the same output. It must not know how a plan is stored, run
//! or shown. `docs/planner.md` says how well it reads documents of other people. `asked` is what a model is asked instead,
//! and what is made of its answer.
//! Invariants: nothing of a section that looks like requirements is lost (it is a requirement or `unclassified`), ids of
//! the source are kept, every requirement of a plan is served by a task, and a plan has no cycle.

pub mod asked;
mod collect;
mod draft;
mod extract;
mod front_matter;
mod ids;
mod inline;
mod model;
mod nest;
mod outline;
mod phrase;
mod plan;
mod row;
mod section;
mod sections;
mod source;

pub use draft::REQUIREMENTS_MAX;
pub use extract::extract;
pub use model::{
    ExtractError, Extraction, FrontMatter, LineRange, REQUIREMENT_KEY_BYTES_MAX, Requirement, RequirementKey,
    RequirementKeyError, RequirementKind, Statement,
};
pub use phrase::TITLE_CHARS_MAX;
pub use plan::{
    BlueprintOutline, BlueprintTask, Epic, PLAN_TASKS_MAX, PlanError, PlanInput, PlannedTask, ProposedPlan, Story,
    TaskKind, ToolchainAction, ToolchainOutline, propose_plan,
};
pub use source::VISION_BYTES_MAX;
