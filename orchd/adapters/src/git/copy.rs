//! A copy of a repository with refs of the caller's choice, and the check that a repository is whole.
//!
//! Objects are only ever added (nothing of the daemon's packs or prunes), each under its final name at once, so that
//! copying their files while others work gives every object that was there at the beginning. Refs move, so they are not
//! copied but written as the caller says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bare::BareRepo;
use super::bundle::FORGIVEN;
use super::call::CallError;
use super::name::{CommitId, RefName};
use super::refs::RefError;

/// Files beside the objects that a repository of the daemon's making has and that say what it is.
const TOP_FILES: [&str; 2] = ["HEAD", "config"];
/// Folders of a repository that git wants to be there, also when they are empty.
const FOLDERS: [&str; 4] = ["objects/info", "objects/pack", "refs/heads", "refs/tags"];
/// Longest time of a check of a whole repository.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// Most lines that a check answers.
const PROBLEMS_MAX: usize = 20;

/// How much of a repository is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// That everything which refs lead to is there.
    Connected,
    /// That every object is what its name says, too.
    Contents,
}

impl BareRepo {
    /// Every ref with the object that it names, which for a tag may be a tag object. Names that the daemon would not make
    /// are left out.
    ///
    /// # Errors
    /// [`RefError`] if git fails.
    pub fn all_refs(&self) -> Result<BTreeMap<RefName, CommitId>, RefError> {
        let answer = self.call("for-each-ref").arg("--format=%(objectname) %(refname)").output()?;
        let answer = String::from_utf8_lossy(&answer);
        let parse = |line: &str| {
            let (object, name) = line.split_once(' ')?;
            Some((RefName::parse(name).ok()?, CommitId::parse(object).ok()?))
        };
        Ok(answer.lines().filter_map(parse).collect())
    }

    /// The files that a copy of the repository has, by their path within it: what says what it is, and all objects. What
    /// is half-written or not yet trusted is not among them.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files_to_copy(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = TOP_FILES.iter().map(PathBuf::from).collect();
        let mut open = vec![PathBuf::from("objects")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(self.path.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() && !entry.file_name().as_encoded_bytes().starts_with(b"tmp_") {
                    files.push(path);
                }
            }
        }
        // An index of a pack is read only when its pack is there.
        files.sort_by_key(|path| (path.extension().is_some_and(|extension| extension == "idx"), path.clone()));
        Ok(files)
    }

    /// The content of `packed-refs` for these refs.
    #[must_use]
    pub fn packed_refs(refs: &BTreeMap<RefName, CommitId>) -> String {
        refs.iter().map(|(name, object)| format!("{object} {name}\n")).collect()
    }

    /// Makes the folders at `target` that every repository has.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make_folders(target: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        FOLDERS.iter().try_for_each(|name| fs::DirBuilder::new().recursive(true).mode(0o700).create(target.join(name)))
    }

    /// Those of the commits that the repository has not.
    ///
    /// # Errors
    /// [`CallError`] if git fails.
    pub fn missing_commits(&self, commits: &BTreeSet<CommitId>) -> Result<BTreeSet<CommitId>, CallError> {
        if commits.is_empty() {
            return Ok(BTreeSet::new());
        }
        let asked: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let answer = self.call("cat-file").arg("--batch-check=%(objecttype)").input(asked.into_bytes()).output()?;
        let answer = String::from_utf8_lossy(&answer);
        let found = commits.iter().zip(answer.lines());
        Ok(found.filter(|(_, kind)| *kind != "commit").map(|(commit, _)| commit.clone()).collect())
    }

    /// Checks the repository as a whole; answers what is wrong, in git's words. Takes seconds per gigabyte, and changes
    /// nothing.
    ///
    /// # Errors
    /// [`CallError`] if git cannot be run or does not end.
    pub fn problems(&self, depth: Depth) -> Result<Vec<String>, CallError> {
        let call = self.call("fsck").args(["--no-dangling", "--no-progress", "--no-reflogs"]);
        let call = if depth == Depth::Connected { call.arg("--connectivity-only") } else { call.arg("--full") };
        // What history of others may have when it is imported is no damage.
        let mut call = call.time_max(CHECK_TIME_MAX).env("GIT_CONFIG_COUNT", FORGIVEN.len().to_string());
        for (number, fault) in FORGIVEN.iter().enumerate() {
            call = call.env(&format!("GIT_CONFIG_KEY_{number}"), format!("fsck.{fault}"));
            call = call.env(&format!("GIT_CONFIG_VALUE_{number}"), "ignore");
        }
        let finished = call.run()?;
        if finished.code == Some(0) {
            return Ok(Vec::new());
        }
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        let mut lines: Vec<String> =
            said.lines().take(PROBLEMS_MAX).map(|line| super::path::escape(line.as_bytes())).collect();
        if let CallError::Failed { stderr, .. } = finished.failure("git fsck".to_owned()) {
            lines.push(stderr);
        }
        Ok(lines)
    }
}
