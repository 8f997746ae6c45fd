//! `orchctl req`: derive, read, edit, compare and decide about requirements.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orch_proto::request::{Accepted, Decision, Request};
use orch_proto::view::RequirementsView;
use orch_proto::{EntityKind, Ref};

use super::planning::{self, PlannerArgs};
use super::{project, req_form, req_text};
use crate::ctl::current_project::current;
use crate::ctl::digest;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::ctl::version::{self, Version, VersionArgs};
use crate::fmt::{count, natural};

#[derive(Debug, Subcommand)]
pub(crate) enum ReqCommand {
    /// Derive requirements from the newest Vision
    #[command(visible_alias = "derive")]
    Propose {
        /// Another version of the Vision, as `1` or `V-1`
        #[arg(long)]
        vision: Option<String>,
        #[command(flatten)]
        planner: PlannerArgs,
    },
    /// A version; the newest unless named
    #[command(visible_alias = "get")]
    Show(VersionArgs),
    /// All versions, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Make a new version: in your editor, or from a file of the same form
    Edit {
        /// YAML with the wanted requirements, `-` for standard input; see `req edit --print`
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print the form instead of opening an editor
        #[arg(long, conflicts_with = "file")]
        print: bool,
        /// Why the requirements change
        #[arg(long)]
        reason: Option<String>,
    },
    /// What changed between two versions
    Diff {
        /// The version before
        from: Version,
        /// The version after
        to: Version,
    },
    /// Say a word about a requirement, or about all of them
    Comment {
        /// What to say
        text: String,
        /// The requirement, as `FR-2`
        #[arg(long)]
        key: Option<String>,
    },
    /// Approve a version: planning may begin
    Approve(DecideArgs),
    /// Reject a version
    Reject(DecideArgs),
}

/// What is decided about, and why.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    pub(crate) version: VersionArgs,
    /// Digest of what was shown: fails if something else is there by now
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// Why
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

pub(crate) async fn run(session: &Session, command: ReqCommand) -> Result<(), Failure> {
    match command {
        ReqCommand::Propose { vision, planner } => propose(session, &current(session).await?, vision, &planner).await,
        ReqCommand::Show(version) => {
            let (project, version) = version.find(session, EntityKind::Requirements).await?;
            let reqs = get(session, &project, version).await?;
            session.show(&reqs, || req_text::show(&reqs, session.text_width(), session.paint()))
        }
        ReqCommand::List => {
            let project = current(session).await?;
            let versions = session.read(async |orch, context| orch.requirements_list(context, project).await).await?;
            session.list(&versions)
        }
        ReqCommand::Edit { file, print, reason } => {
            let base = get(session, &current(session).await?, None).await?;
            req_form::edit(session, &base, req_form::Source { file, print, reason }).await
        }
        ReqCommand::Diff { from, to } => {
            let (project, _) = version::find(session, EntityKind::Requirements, Some(&from)).await?;
            let from = from.number_in(&project, EntityKind::Requirements)?;
            let to = to.number_in(&project, EntityKind::Requirements)?;
            let mut diff =
                session.read(async |orch, context| orch.requirements_diff(context, project, from, to).await).await?;
            for items in [&mut diff.added, &mut diff.removed] {
                items.sort_by(|one, other| natural(&one.key).cmp(&natural(&other.key)));
            }
            diff.changed.sort_by(|(one, _), (other, _)| natural(&one.key).cmp(&natural(&other.key)));
            session.report("RequirementsDiff", &diff, || req_text::diff(&diff, session.paint()))
        }
        ReqCommand::Comment { text, key } => {
            let project = current(session).await?;
            let version = get(session, &project, None).await?.version;
            session.change(Request::RequirementsComment { project, version, key, text }, "commented on").await?;
            Ok(())
        }
        ReqCommand::Approve(args) => decide(session, args, Decision::Approve).await,
        ReqCommand::Reject(args) => decide(session, args, Decision::Deny).await,
    }
}

/// Reads one version; the newest when none is named.
pub(crate) async fn get(session: &Session, project: &Ref, version: Option<u32>) -> Result<RequirementsView, Failure> {
    let project = project.clone();
    session.read(async |orch, context| orch.requirements(context, project, version).await).await
}

async fn propose(session: &Session, project: &Ref, vision: Option<String>, args: &PlannerArgs) -> Result<(), Failure> {
    let before = project::get(session, project).await?.requirements_version.unwrap_or(0);
    let vision = match vision {
        Some(vision) => Some(match vision.parse::<Version>() {
            Ok(version) => Ref(format!("{project}/V-{}", version.number_in(project, EntityKind::Vision)?)),
            Err(_) => session.reference(&vision),
        }),
        None => None,
    };
    let request = Request::RequirementsPropose { project: project.clone(), vision, planner: args.planner() };
    let accepted = session.submit(request).await?;
    if planning::is_asked(&accepted) {
        if planning::follow(session, (project, args), &accepted).await?.is_some() {
            let reqs = get(session, project, None).await?;
            let requirements = count(reqs.requirements.len(), "requirement");
            session.note(&format!("requirements v{} with {requirements}: {}", reqs.version, reqs.reason));
            warn(session, &reqs.warnings);
            session.next(&format!("orchctl req show -p {project}, then orchctl req approve -p {project}"));
        }
        return Ok(());
    }
    let reqs = proposed(session, project, &accepted).await?;
    let done = if reqs.version > before || accepted.duplicate { "derived" } else { "unchanged," };
    session.accepted(&accepted, &format!("{done} {}:", count(reqs.requirements.len(), "requirement")))?;
    warn(session, &reqs.warnings);
    session.next(&format!("orchctl req show -p {project}, then orchctl req approve -p {project}"));
    Ok(())
}

/// Reads the version that a proposal made or found. It is there when the proposal is answered.
pub(crate) async fn proposed(
    session: &Session,
    project: &Ref,
    accepted: &Accepted,
) -> Result<RequirementsView, Failure> {
    get(session, project, Some(version::touched(accepted, EntityKind::Requirements)?)).await
}

/// Says what the planner warns of.
pub(super) fn warn(session: &Session, warnings: &[String]) {
    for warning in warnings {
        session.note(&format!("warning: {warning}"));
    }
}

async fn decide(session: &Session, args: DecideArgs, decision: Decision) -> Result<(), Failure> {
    let (project, version) = args.version.find(session, EntityKind::Requirements).await?;
    let reqs = get(session, &project, version).await?;
    let name = format!("requirements v{} of {project}", reqs.version);
    digest::check(args.digest.as_deref(), &reqs.digest, &name)?;
    let (verb, done) = match decision {
        Decision::Approve => ("approve", "approved"),
        Decision::Deny => ("reject", "rejected"),
    };
    let question = format!(
        "{verb} {name} ({}, {}, digest {})?",
        count(reqs.requirements.len(), "requirement"),
        count(reqs.open_questions.len(), "open question"),
        digest::short(&reqs.digest)
    );
    warn(session, &reqs.warnings);
    session.confirm_approval(&question, args.digest.as_deref()).await?;
    let next = format!("orchctl plan propose -p {project}");
    let request = Request::RequirementsDecide {
        project,
        version: Some(reqs.version),
        decision,
        digest: Some(reqs.digest),
        reason: args.reason,
    };
    let mut accepted = session.submit(request).await?;
    // The requirements are what the user decided about, whatever else was touched.
    accepted.touched.sort_by_key(|touched| touched.kind != EntityKind::Requirements);
    session.accepted(&accepted, done)?;
    if decision == Decision::Approve {
        session.next(&next);
    }
    Ok(())
}
