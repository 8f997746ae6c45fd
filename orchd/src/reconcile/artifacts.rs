//! Keeps the files that a run leaves: finds what its task names in the workspace, and copies it into the blobs.
//!
//! What the run did to a file is a reason on record that it was not kept. What the host did is none: it is told to whoever
//! takes the result in, since it may be otherwise in a moment. Nothing is left out without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use orch_adapters::blobs::PutError;
use orch_core::entity::{Artifact, LeftOut, Run, RunPurpose, Task, Work};
use orch_core::recipe::Glob;
use orch_proto::id::RunId;
use orch_sandbox::artifacts;

use crate::app::App;
use crate::error_chain::chain;

/// Most artifacts of one run, and the largest of them in bytes.
const ARTIFACTS_MAX: usize = 1_000;
const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of all artifacts of one run: links and holes make many large files out of nothing.
const ARTIFACTS_BYTES_MAX: u64 = 4 << 30;
/// Longest path of an artifact as it is shown, in bytes. All of them are part of every view of the run.
const ARTIFACT_PATH_BYTES_MAX: usize = 1 << 10;
/// Longest beginning of such a path that is shown beside the reason why the file was not kept, in characters.
const LEFT_OUT_PATH_CHARS_MAX: usize = 200;

/// What was kept of the files of a run, and what was not.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) left_out: LeftOut,
    /// The first thing of the host's that kept a file from being kept.
    pub(super) fault: Option<String>,
}

/// Why a file was not kept.
enum NotKept {
    /// It is as it is, by what the run did.
    Refused(String),
    /// The host: it may be kept another time.
    Fault(String),
}

/// Keeps what the task names of a run that is over. Blocks.
pub(super) fn keep_all(app: &App, run: &Run, task: &Task) -> Kept {
    let mut kept = Kept::default();
    let Work::Steps { steps, artifacts, .. } = &task.spec.work else { return kept };
    let globs: Vec<&Glob> = artifacts.iter().chain(steps.iter().flat_map(|step| &step.artifacts)).collect();
    if run.purpose != RunPurpose::Work || globs.is_empty() {
        return kept;
    }
    let workspace = app.dirs.workspace(run.id);
    // A run that came to an end before it had a workspace left nothing.
    if workspace.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return kept;
    }
    let roots = match app.workspaces.roots(&workspace) {
        Ok(roots) => roots,
        Err(error) => {
            kept.fault(run.id, "the workspace", chain(&error));
            return kept;
        }
    };
    let paths = find_all(run.id, &roots, &globs, &mut kept);
    if let Some(more) = paths.len().checked_sub(ARTIFACTS_MAX).filter(|more| *more > 0) {
        kept.left_out.add(format!("{more} files"), format!("more than {ARTIFACTS_MAX}"));
    }
    let mut left = ARTIFACTS_BYTES_MAX;
    for (path, root) in paths.into_iter().take(ARTIFACTS_MAX) {
        let Some(root) = roots.get(root) else { continue };
        match keep(app, run.id, (root, &path), left) {
            Ok(artifact) => {
                left = left.saturating_sub(artifact.size_bytes);
                kept.artifacts.push(artifact);
            }
            Err(NotKept::Refused(reason)) => kept.left_out.add(shortened(&escaped(&path)), reason),
            Err(NotKept::Fault(reason)) => kept.fault(run.id, &escaped(&path), reason),
        }
    }
    kept
}

impl Kept {
    /// The host kept this from being kept.
    fn fault(&mut self, run: RunId, what: &str, reason: String) {
        tracing::warn!(%run, path = what, reason, "an artifact could not be kept");
        self.left_out.add(shortened(what), reason.clone());
        self.fault.get_or_insert_with(|| format!("failed to keep {}: {reason}", shortened(what)));
    }
}

/// The files that these patterns name, each with the number of the root that has it.
fn find_all(run: RunId, roots: &[PathBuf], globs: &[&Glob], kept: &mut Kept) -> BTreeMap<PathBuf, usize> {
    let bounds = artifacts::Bounds { files_max: ARTIFACTS_MAX, ..artifacts::Bounds::default() };
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let mut paths = BTreeMap::new();
    for glob in globs.iter().map(|glob| glob.as_str()).collect::<BTreeSet<_>>() {
        let pattern = match glob.parse::<artifacts::Pattern>() {
            Ok(pattern) => pattern,
            Err(error) => {
                kept.left_out.add(shortened(glob), chain(&error));
                continue;
            }
        };
        match artifacts::find_in_layers(&roots, &pattern, bounds) {
            Ok(found) => {
                if found.incomplete {
                    let reason = "not all of it was looked through: it is too much, or cannot be read";
                    kept.left_out.add(shortened(glob), reason.into());
                }
                paths.extend(found.paths);
            }
            Err(error) => kept.fault(run, glob, chain(&error)),
        }
    }
    paths
}

/// Copies the file out of the workspace by descriptor, then into the blobs; `left` is what all files may still have, in bytes.
fn keep(app: &App, run: RunId, (workspace, path): (&Path, &Path), left: u64) -> Result<Artifact, NotKept> {
    let shown = escaped(path);
    if shown.len() > ARTIFACT_PATH_BYTES_MAX {
        return Err(NotKept::Refused(format!("its path is longer than {ARTIFACT_PATH_BYTES_MAX} bytes")));
    }
    let max_bytes = left.min(ARTIFACT_BYTES_MAX);
    let too_large = |reason: String| match left {
        ..ARTIFACT_BYTES_MAX => format!("with it all files have more than {ARTIFACTS_BYTES_MAX} bytes"),
        _ => reason,
    };
    let copy = app.dirs.artifact_copy(run);
    let remove = || remove_file(&copy).map_err(|error| NotKept::Fault(error.to_string()));
    remove()?;
    match artifacts::collect(workspace, path, &copy, max_bytes) {
        Ok(artifacts::Artifact::Collected { .. }) => {}
        Ok(artifacts::Artifact::Skipped { reason }) => {
            let is_size = matches!(reason, artifacts::SkipReason::TooLarge { .. });
            let reason = reason.to_string();
            return Err(NotKept::Refused(if is_size { too_large(reason) } else { reason }));
        }
        Err(error) => return Err(NotKept::Fault(chain(&error))),
    }
    let file = std::fs::File::open(&copy).map_err(|error| NotKept::Fault(error.to_string()))?;
    let blob = app.blobs.put_reader(file, max_bytes).map_err(|error| match error {
        PutError::TooLarge { .. } => NotKept::Refused(too_large(error.to_string())),
        error => NotKept::Fault(chain(&error)),
    });
    // What it takes is missed by what comes after it.
    remove()?;
    let blob = blob?;
    Ok(Artifact { path: shown, size_bytes: blob.size_bytes, digest: blob.hash })
}

/// A path that a run made, for people.
fn escaped(path: &Path) -> String {
    orch_adapters::git::escape(path.as_os_str().as_encoded_bytes())
}

/// As much of a path as is shown beside a reason.
fn shortened(path: &str) -> String {
    match path.char_indices().nth(LEFT_OUT_PATH_CHARS_MAX).and_then(|(end, _)| path.get(..end)) {
        Some(start) => format!("{start}..."),
        None => path.to_owned(),
    }
}

/// Removes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_where_a_character_ends() {
        assert_eq!(shortened("out/report.txt"), "out/report.txt");
        let long = "\u{fc}".repeat(LEFT_OUT_PATH_CHARS_MAX + 1);
        assert_eq!(shortened(&long).chars().count(), LEFT_OUT_PATH_CHARS_MAX + 3);
    }

    #[test]
    fn what_the_host_did_is_told_and_is_left_out_by_name() {
        let mut kept = Kept::default();
        let run: RunId = orch_core::ids::sample_id(1);
        kept.fault(run, "out/a", "no space left for the blob".into());
        kept.fault(run, "out/b", "too many open files".into());
        assert_eq!(kept.fault.as_deref(), Some("failed to keep out/a: no space left for the blob"));
        let lines: Vec<String> = kept.left_out.lines().collect();
        assert_eq!(lines, ["out/a: no space left for the blob", "out/b: too many open files"]);
    }
}
