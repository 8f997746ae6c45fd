//! The files of the repository, in memory.
//!
//! Looks at what git tracks, so that build output and notes of a developer are nobody's business; in an archive
//! without git, at all files but build output.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Directories that an archive never had.
const NOT_SOURCE: [&str; 3] = [".git", "target", ".cache"];

/// Text of each file by its path from the root; none for a file that is not text.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, Option<String>>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let paths = match tracked(root) {
            Some(paths) => paths,
            None => walked(root)?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            let full = root.join(&path);
            // What is tracked but was just deleted is no file of the next commit.
            let Ok(found) = full.symlink_metadata() else { continue };
            let bytes = if found.is_file() {
                fs::read(&full).with_context(|| format!("failed to read `{path}`"))?
            } else {
                Vec::new()
            };
            files.insert(path, String::from_utf8(bytes).ok());
        }
        ensure!(files.contains_key("Cargo.toml"), "`{}` is not the repository", root.display());
        Ok(Self { files })
    }

    /// Files whose names end so and that are text.
    pub(super) fn ending(&self, end: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.text().filter(move |(path, _)| path.ends_with(end))
    }

    /// All files that are text.
    pub(super) fn text(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), Some((*text).to_owned()));
        Self { files: files.iter().map(owned).collect() }
    }
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    // The checkout may belong to another user; listing its index executes nothing of it.
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached"])
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|text| output.status.success() && !text.is_empty())?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

fn walked(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("failed to list `{}`", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            if NOT_SOURCE.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_the_walk_agree_on_the_sources_of_this_crate() {
        let root = crate::workspace::root().unwrap();
        let own = |path: &String| path.starts_with("orchd/xtask/") && path.ends_with(".rs");
        let walked: Vec<_> = walked(&root).unwrap().into_iter().filter(own).collect();
        assert!(walked.contains(&"orchd/xtask/src/tidy/tree.rs".to_owned()), "{walked:?}");
        let tree = Tree::read(&root).unwrap();
        assert!(tree.ending(".rs").any(|(path, _)| path.starts_with("sandbox/src/")));
    }

    #[test]
    fn a_directory_without_the_workspace_is_refused() {
        let error = Tree::read(&crate::workspace::root().unwrap().join("recipes")).unwrap_err();
        assert!(error.to_string().contains("is not the repository"), "{error}");
    }
}
