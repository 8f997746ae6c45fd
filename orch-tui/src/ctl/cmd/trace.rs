//! `orchctl trace`: from a requirement to the commits that serve it.

use clap::Args;
use orch_proto::view::{TaskState, TraceView};

use crate::ctl::current_project::current;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::text::SafeText;

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The requirement, as `FR-2`
    pub(crate) key: String,
}

pub(crate) async fn run(session: &Session, args: TraceArgs) -> Result<(), Failure> {
    let project = current(session).await?;
    let trace = session.read(async |orch, context| orch.trace(context, project, args.key).await).await?;
    session.report("Trace", &trace, || text(&trace, session.paint()))
}

fn text(trace: &TraceView, paint: Paint) -> String {
    let requirement = &trace.requirement;
    let head = format!("{}  {}", requirement.key, requirement.title);
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let lines = requirement.lines.map_or(String::new(), |(from, to)| format!(", lines {from}-{to}"));
    out.push_str(&format!("  requirements v{}, vision v{}{lines}\n", trace.requirements_version, trace.vision_version));
    if trace.tasks.is_empty() {
        out.push_str("  no task serves it\n");
    }
    for task in &trace.tasks {
        out.push_str(&format!(
            "  {}\n",
            SafeText::line(&format!("{}  {}  {}", task.task, task.state.label(), task.title))
        ));
        for (run, outcome) in &task.runs {
            out.push_str(&format!("    {}\n", SafeText::line(&format!("{run}  {outcome}"))));
        }
        if let Some(commit) = &task.commit {
            out.push_str(&format!("    {}\n", SafeText::line(&format!("commit {commit}"))));
        } else if task.state == TaskState::Done {
            // It served the requirement by looking, or it did nothing: worth a look.
            out.push_str("    nothing to merge\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use orch_proto::view::TraceTask;

    use super::*;

    #[test]
    fn a_trace_goes_from_requirement_to_commit() {
        let requirements = crate::fmt::samples::requirements();
        let trace = TraceView {
            requirement: requirements.requirements[0].clone(),
            requirements_version: 1,
            vision_version: 1,
            tasks: vec![TraceTask {
                task: "shop/T-3".into(),
                title: "HTTP layer".into(),
                state: TaskState::Done,
                runs: vec![("shop/R-3".into(), "failed".into()), ("shop/R-7".into(), "succeeded".into())],
                commit: Some("4f2a".repeat(10)),
            }],
        };
        insta::assert_snapshot!(text(&trace, Paint::OFF));
    }
}
