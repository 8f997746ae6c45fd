//! `orchctl plan`: make, read, change, compare and decide about plans.

use clap::{Subcommand, ValueEnum};
use orch_proto::request::{Accepted, Decision, PlanEdit, Request};
use orch_proto::view::{PlanEtaView, PlanView};
use orch_proto::{EntityKind, Ref};
use serde::Serialize;

use super::planning::{self, PlannerArgs};
use super::req::{DecideArgs, warn};
use super::{plan_text, project, task};
use crate::ctl::args::WaitArgs;
use crate::ctl::current_project::current;
use crate::ctl::digest;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::ctl::version::{self, Version, VersionArgs};
use crate::fmt::count;
use crate::fmt::eta;
use crate::fmt::graph;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Plan the approved requirements
    #[command(visible_alias = "create")]
    Propose(PlannerArgs),
    /// End what a model or an agent plans or derives for the project
    Cancel {
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// A version; the newest unless named
    #[command(visible_alias = "get")]
    Show {
        #[command(flatten)]
        version: VersionArgs,
        /// The graph alone
        #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "ascii")]
        graph: Option<GraphForm>,
    },
    /// The chain of tasks that takes longest
    CriticalPath(VersionArgs),
    /// Make a new version of a proposed plan
    Edit {
        /// `A:B`: task A must wait for task B (keys of the plan)
        #[arg(long, value_name = "A:B")]
        link: Vec<String>,
        /// `A:B`: task A need not wait for task B
        #[arg(long, value_name = "A:B")]
        unlink: Vec<String>,
        /// Take a task out of the plan
        #[arg(long, value_name = "KEY")]
        drop: Vec<String>,
        /// Why the plan changes
        #[arg(long, default_value = "edited by hand", hide_default_value = true)]
        reason: String,
    },
    /// What changed between two versions, or against the plan that was approved before
    Diff {
        /// The version before [default: the plan that was approved before]
        from: Option<Version>,
        /// The version after [default: the newest]
        to: Option<Version>,
    },
    /// All versions, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Approve a version: its tasks are made and queued
    Approve {
        #[command(flatten)]
        decide: DecideArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Reject a version
    Reject(DecideArgs),
}

/// Form of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphForm {
    Ascii,
    Dot,
    Json,
}

pub(crate) async fn run(session: &Session, command: PlanCommand) -> Result<(), Failure> {
    match command {
        PlanCommand::Propose(args) => propose(session, &current(session).await?, &args).await,
        PlanCommand::Cancel { reason } => planning::cancel(session, current(session).await?, reason).await,
        PlanCommand::Show { version, graph: None } => {
            let plan = named(session, &version).await?;
            session.show(&plan, || plan_text::show(&plan, session.text_width(), session.paint()))
        }
        PlanCommand::Show { version, graph: Some(form) } => show_graph(session, &named(session, &version).await?, form),
        PlanCommand::CriticalPath(version) => critical_path(session, &named(session, &version).await?),
        PlanCommand::Edit { link, unlink, drop, reason } => {
            let edits = edits(&link, &unlink, drop)?;
            let project = current(session).await?;
            let base_version = get(session, &project, None).await?.version;
            session
                .change(Request::PlanChange { project, base_version, edits, reason }, "wrote")
                .await
                .map(std::mem::drop)
        }
        PlanCommand::Diff { from, to } => {
            let (project, from) = version::find(session, EntityKind::Plan, from.as_ref()).await?;
            let to = to.map(|to| to.number_in(&project, EntityKind::Plan)).transpose()?;
            let newest = get(session, &project, to).await?;
            match from {
                Some(from) => {
                    let base = get(session, &project, Some(from)).await?;
                    let diff = plan_text::compare(&base, &newest);
                    session.report("PlanDiff", &diff, || plan_text::diff(&diff, session.paint()))
                }
                None => {
                    let diff = plan_text::against_approved(&newest);
                    session.report("PlanDiff", &diff, || plan_text::diff(&diff, session.paint()))
                }
            }
        }
        PlanCommand::List => {
            let project = current(session).await?;
            let plans = session.read(async |orch, context| orch.plans(context, project).await).await?;
            session.list(&plans)
        }
        PlanCommand::Approve { decide: args, wait } => {
            let project = decide(session, args, Decision::Approve).await?;
            if wait.wait.is_some() { task::settle_project(session, &project).await } else { Ok(()) }
        }
        PlanCommand::Reject(args) => decide(session, args, Decision::Deny).await.map(std::mem::drop),
    }
}

/// Reads one version; the newest when none is named.
pub(crate) async fn get(session: &Session, project: &Ref, version: Option<u32>) -> Result<PlanView, Failure> {
    let project = project.clone();
    session.read(async |orch, context| orch.plan(context, project, version).await).await
}

/// Reads the version that was named on the command line.
async fn named(session: &Session, version: &VersionArgs) -> Result<PlanView, Failure> {
    let (project, version) = version.find(session, EntityKind::Plan).await?;
    get(session, &project, version).await
}

/// Reads the version that a proposal made or found. It is there when the proposal is answered.
pub(crate) async fn proposed(session: &Session, project: &Ref, accepted: &Accepted) -> Result<PlanView, Failure> {
    get(session, project, Some(version::touched(accepted, EntityKind::Plan)?)).await
}

async fn propose(session: &Session, project: &Ref, args: &PlannerArgs) -> Result<(), Failure> {
    let before = project::get(session, project).await?.plan_version.unwrap_or(0);
    let request = Request::PlanPropose { project: project.clone(), planner: args.planner() };
    let accepted = session.submit(request).await?;
    if planning::is_asked(&accepted) {
        if planning::follow(session, (project, args), &accepted).await?.is_some() {
            let plan = get(session, project, None).await?;
            session.note(&format!("plan v{} with {}: {}", plan.version, count(plan.nodes.len(), "task"), plan.reason));
            warn(session, &plan.warnings);
            session.next(&format!("orchctl plan show --graph -p {project}, then orchctl plan approve -p {project}"));
        }
        return Ok(());
    }
    let plan = proposed(session, project, &accepted).await?;
    let done = if plan.version > before || accepted.duplicate { "planned" } else { "unchanged," };
    session.accepted(&accepted, &format!("{done} {}:", count(plan.nodes.len(), "task")))?;
    warn(session, &plan.warnings);
    session.next(&format!("orchctl plan show --graph -p {project}, then orchctl plan approve -p {project}"));
    Ok(())
}

fn show_graph(session: &Session, plan: &PlanView, form: GraphForm) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Graph<'a> {
        project: &'a str,
        version: u32,
        nodes: &'a [orch_proto::view::PlanNode],
        edges: Vec<Edge<'a>>,
        critical_path: &'a [String],
    }
    #[derive(Serialize)]
    struct Edge<'a> {
        from: &'a str,
        to: &'a str,
    }
    let json = form == GraphForm::Json || session.options.output.is_json();
    if json {
        let edges = plan
            .nodes
            .iter()
            .flat_map(|node| node.needs.iter().map(|need| Edge { from: need, to: &node.key }))
            .collect();
        let graph = Graph {
            project: &plan.project,
            version: plan.version,
            nodes: &plan.nodes,
            edges,
            critical_path: &plan.critical_path,
        };
        return session
            .line_raw(&crate::fmt::document::json_pretty(&crate::fmt::document::Single::new("PlanGraph", &graph))?);
    }
    let text = match form {
        GraphForm::Dot => graph::dot(plan),
        GraphForm::Ascii | GraphForm::Json => graph::ascii(plan, session.text_width(), session.paint()),
    };
    Ok(session.console.data(text.as_bytes())?)
}

fn critical_path(session: &Session, plan: &PlanView) -> Result<(), Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct CriticalPath<'a> {
        keys: &'a [String],
        minutes: (u32, u32),
        parallel_max: u32,
        eta: Option<&'a PlanEtaView>,
    }
    let path = CriticalPath {
        keys: &plan.critical_path,
        minutes: plan.critical_minutes,
        parallel_max: plan.parallel_max,
        eta: plan.eta.as_ref(),
    };
    session.report("CriticalPath", &path, || {
        if session.options.output == crate::ctl::args::Format::Name {
            return plan.critical_path.iter().map(|key| format!("{}\n", SafeText::line(key))).collect();
        }
        let lines = plan.eta.iter().flat_map(eta::plan_lines);
        let lines = lines.map(|line| format!("{}\n", SafeText::line(&format!("eta: {line}"))));
        graph::critical_path(plan, session.text_width()) + &lines.collect::<String>()
    })
}

fn edits(link: &[String], unlink: &[String], drop: Vec<String>) -> Result<Vec<PlanEdit>, Failure> {
    let pair = |text: &String| match text.split_once(':') {
        Some((task, needs)) if !task.is_empty() && !needs.is_empty() => Ok((task.to_owned(), needs.to_owned())),
        Some(_) | None => Err(Failure::usage(format!("`{text}` is not of the form `A:B`, task A waits for task B"))),
    };
    let mut edits = Vec::new();
    for text in link {
        let (task, needs) = pair(text)?;
        edits.push(PlanEdit::Link { task, needs });
    }
    for text in unlink {
        let (task, needs) = pair(text)?;
        edits.push(PlanEdit::Unlink { task, needs });
    }
    edits.extend(drop.into_iter().map(|task| PlanEdit::Drop { task }));
    if edits.is_empty() {
        return Err(Failure::usage("nothing to change; use `--link A:B`, `--unlink A:B` or `--drop KEY`"));
    }
    Ok(edits)
}

/// Answers, and says for which project.
async fn decide(session: &Session, args: DecideArgs, decision: Decision) -> Result<Ref, Failure> {
    let (project, version) = args.version.find(session, EntityKind::Plan).await?;
    let plan = get(session, &project, version).await?;
    let name = format!("plan v{} of {project}", plan.version);
    digest::check(args.digest.as_deref(), &plan.digest, &name)?;
    let (verb, done) = match decision {
        Decision::Approve => ("approve", "approved"),
        Decision::Deny => ("reject", "rejected"),
    };
    let question = format!(
        "{verb} {name} ({}, {} added, {} dropped, digest {})?",
        count(plan.nodes.len(), "task"),
        plan.added.len(),
        plan.dropped.len(),
        digest::short(&plan.digest)
    );
    warn(session, &plan.warnings);
    session.confirm_approval(&question, args.digest.as_deref()).await?;
    let request = Request::PlanDecide {
        project: project.clone(),
        version: Some(plan.version),
        decision,
        digest: Some(plan.digest),
        reason: args.reason,
    };
    let mut accepted = session.submit(request).await?;
    accepted.touched.sort_by_key(|touched| touched.kind != EntityKind::Plan);
    session.accepted(&accepted, done)?;
    if decision == Decision::Approve {
        session.next(&format!("orchctl task wait --all -p {project}"));
    }
    Ok(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_pairs_of_keys() {
        let edits_of = |link: &[&str], drop: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
            edits(&own(link), &[], own(drop))
        };
        let link = PlanEdit::Link { task: "http".into(), needs: "storage".into() };
        assert_eq!(edits_of(&["http:storage"], &["docs"]).unwrap(), [link, PlanEdit::Drop { task: "docs".into() }]);
        for wrong in ["http", ":storage", "http:"] {
            assert_eq!(edits_of(&[wrong], &[]).unwrap_err().exit_code(), 2, "{wrong}");
        }
        assert!(edits_of(&[], &[]).is_err());
    }
}
