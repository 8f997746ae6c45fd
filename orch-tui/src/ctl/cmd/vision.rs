//! `orchctl vision`: hand in a Vision and look at its versions.

use std::path::PathBuf;

use clap::Subcommand;
use orch_proto::request::{Bytes, Request};
use orch_proto::view::VisionView;
use orch_proto::{EntityKind, ErrorCode, VISION_BYTES_MAX};

use crate::ctl::current_project::current;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::ctl::version::VersionArgs;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum VisionCommand {
    /// Hand in a Vision, or a new version of it
    Submit {
        /// Markdown file, or `-` for standard input
        file: PathBuf,
    },
    /// A version with its text; the newest unless named
    #[command(visible_alias = "get")]
    Show(VersionArgs),
    /// All versions, newest first
    #[command(visible_alias = "ls")]
    List,
}

pub(crate) async fn run(session: &Session, command: VisionCommand) -> Result<(), Failure> {
    match command {
        VisionCommand::Submit { file } => {
            // The file is looked at first: a mistake there needs no daemon to be told.
            let (file_name, text) = input::read_text(session, &file, VISION_BYTES_MAX)?;
            if text.trim().is_empty() {
                return Err(Failure::new(
                    ErrorCode::EmptyVision,
                    format!("`{file_name}` has no text"),
                    "write what is wanted",
                ));
            }
            let project = current(session).await?;
            let next = format!("orchctl req propose -p {project}");
            let request = Request::VisionSubmit { project, file_name, text: Bytes(text.into_bytes()) };
            session.change(request, "submitted").await?;
            session.next(&next);
            Ok(())
        }
        VisionCommand::Show(version) => {
            let (project, version) = version.find(session, EntityKind::Vision).await?;
            let vision = session.read(async |orch, context| orch.vision(context, project, version).await).await?;
            session.show(&vision, || text(&vision))
        }
        VisionCommand::List => {
            let project = current(session).await?;
            let visions = session.read(async |orch, context| orch.visions(context, project).await).await?;
            session.list(&visions)
        }
    }
}

fn text(vision: &VisionView) -> String {
    let blueprint = vision.blueprint.as_ref().map_or(String::new(), |name| format!(", blueprint {name}"));
    let head = format!(
        "# {} vision v{} ({}{blueprint}), by {} at {}",
        vision.project, vision.version, vision.file_name, vision.submitted_by, vision.submitted_at
    );
    let body = SafeText::block(vision.text.as_deref().unwrap_or("").trim_end());
    format!("{}\n\n{body}\n", SafeText::line(&head))
}
