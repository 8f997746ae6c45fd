//! Checkpoints: the workspace as a step left it, on its way into the repository and out of it again.
//!
//! A step of its own keeps it while the run goes on, in the folder that later steps can write to, too; what it says it kept is in the
//! log, which they cannot change. So what is taken is what was kept, or nothing: a commit is its content.

use std::path::{Path, PathBuf};

use super::bare::BareRepo;
use super::bundle::{Bundle, IngestError, IngestLimits, Strictness};
use super::merge::Identity;
use super::name::{CommitId, ObjectFormat, RefName};
use super::take::TakeError;
use super::workspace::argv;

const KEEP: &str = concat!(include_str!("scratch.sh"), include_str!("keep.sh"));
/// The one ref of a bundle with a checkpoint.
const CHECKPOINT_REF: &str = "refs/heads/checkpoint";
/// How the step says what it kept.
const SAID: &str = "checkpoint: kept as ";

/// How a workspace is kept between two steps. Paths are those inside the sandbox.
#[derive(Debug, Clone)]
pub struct KeepSpec {
    /// The workspace.
    pub workspace_at: PathBuf,
    /// Where [`BareRepo::objects_dir`] is mounted.
    pub objects_at: PathBuf,
    /// The folder for results.
    pub out_at: PathBuf,
    /// The commit that the workspace was made from.
    pub base: Option<CommitId>,
    /// Which step of the run keeps it.
    pub step: u32,
    /// Author and committer of the one commit.
    pub author: Identity,
    /// Its time, in seconds since 1970.
    pub at_unix_s: i64,
    /// Hash function of the repository.
    pub format: ObjectFormat,
}

impl KeepSpec {
    /// The argument list of the step.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        argv(
            KEEP,
            "orch-keep",
            [
                self.workspace_at.display().to_string(),
                self.objects_at.display().to_string(),
                self.out_at.display().to_string(),
                self.base.as_ref().map(ToString::to_string).unwrap_or_default(),
                self.step.to_string(),
                self.author.name().to_owned(),
                self.author.email().to_owned(),
                self.at_unix_s.to_string(),
                self.format.as_str().to_owned(),
            ],
        )
    }
}

/// The commit that the step said it kept, by what it wrote; none when it kept nothing.
#[must_use]
pub fn said(stdout: &str) -> Option<CommitId> {
    stdout.lines().rev().find_map(|line| CommitId::parse(line.strip_prefix(SAID)?.trim_end()).ok())
}

impl BareRepo {
    /// Takes what the step with this number kept from the folder of a run, under a ref of its own. `base` is the commit that the
    /// workspace was made from, `run` the run's unique name, as `R-31`, and `said` what the step said it kept.
    ///
    /// # Errors
    /// [`TakeError`]; nothing is recorded then.
    pub fn take_checkpoint(
        &self,
        (out, step): (&Path, u32),
        base: Option<&CommitId>,
        run: &str,
        said: &CommitId,
    ) -> Result<(), TakeError> {
        let kept_by = RefName::checkpoint(run)?;
        let limits = IngestLimits::RUN;
        let bundle = Bundle::open(&out.join(format!("checkpoint-{step}.bundle")), &limits)?;
        if bundle.format != self.format() {
            return Err(TakeError::Shape { what: "another hash function" });
        }
        if let Some(other) = bundle.prerequisites.iter().find(|id| Some(*id) != base) {
            return Err(IngestError::Prerequisite(other.clone()).into());
        }
        match bundle.refs.as_slice() {
            [(name, commit)] if name == CHECKPOINT_REF.as_bytes() && commit == said => {}
            _ => return Err(TakeError::Shape { what: "another commit than the step kept" }),
        }
        let quarantine = bundle.unpack(self, &limits, Strictness::Everything)?;
        quarantine.repo.check_parents(said, base)?;
        quarantine.repo.check_files(said)?;
        quarantine.admit().map_err(IngestError::Store)?;
        // One of this run that was taken before makes room: this is the later one.
        let before = self.head(&kept_by).map_err(super::refs::UpdateRefError::from)?;
        self.update_ref(&kept_by, said, before.as_ref(), "checkpoint of a run")?;
        Ok(())
    }

    /// Whether something is kept at all, without asking git.
    #[must_use]
    pub fn has_checkpoints(&self) -> bool {
        self.objects_dir().with_file_name(RefName::CHECKPOINTS.trim_end_matches('/')).exists()
    }

    /// Forgets what runs kept, but for those that `is_needed` names; they are asked for by their names, as `R-31`.
    ///
    /// # Errors
    /// When refs cannot be read or removed.
    pub fn forget_checkpoints(&self, is_needed: impl Fn(&str) -> bool) -> Result<(), TakeError> {
        let kept = self.refs(RefName::CHECKPOINTS).map_err(super::refs::UpdateRefError::from)?;
        for (name, commit) in kept {
            let run = name.as_str().strip_prefix(RefName::CHECKPOINTS).unwrap_or_default();
            if !is_needed(run) {
                self.delete_ref(&name, &commit)?;
            }
        }
        Ok(())
    }
}
