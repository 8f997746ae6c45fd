//! Merges and commits on bare trees: no work tree, no index, no checkout.
//!
//! Knows no policy: what may be merged and when is decided elsewhere. A merge leaves objects only; a branch moves by
//! [`BareRepo::update_ref`].

use std::str;

use super::bare::{BareRepo, commit_in};
use super::call::CallError;
use super::name::{CommitId, TreeId};
use super::path::{PathError, RepoPath};

/// Longest commit message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Longest name and longest address in an identity, in bytes.
const IDENTITY_BYTES_MAX: usize = 200;

/// Why two commits could not be merged or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A git command failed.
    #[error("failed to merge")]
    Git(#[from] CallError),
    /// Git answered something unexpected.
    #[error("unexpected answer of the merge")]
    Answer,
    /// A conflict at a path that cannot be one.
    #[error("unexpected path in the answer of the merge")]
    Path(#[from] PathError),
}

/// Why a commit was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A name or address that would break the commit's header.
    #[error("identity is not usable: `{0}`")]
    Identity(String),
    /// A message that is empty, too long or has a NUL.
    #[error("commit message is empty, longer than {MESSAGE_BYTES_MAX} bytes or has a NUL")]
    Message,
    /// A git command failed.
    #[error("failed to write the commit")]
    Git(#[from] CallError),
    /// Git answered something that is no commit.
    #[error("unexpected answer about the commit")]
    Answer,
}

/// A name and address in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    email: String,
}

impl Identity {
    /// Checks name and address: neither empty nor long, no `<`, `>`, control characters, or only punctuation.
    ///
    /// # Errors
    /// [`CommitError::Identity`] with the offending text.
    pub fn new(name: &str, email: &str) -> Result<Self, CommitError> {
        for text in [name, email] {
            let plain = |c: char| !c.is_control() && !matches!(c, '<' | '>');
            let says_something = text.chars().any(char::is_alphanumeric);
            if !text.chars().all(plain) || !says_something || text.len() > IDENTITY_BYTES_MAX || text.trim() != text {
                return Err(CommitError::Identity(text.chars().take(80).flat_map(char::escape_default).collect()));
            }
        }
        Ok(Self { name: name.to_owned(), email: email.to_owned() })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }
}

/// A commit to be made.
#[derive(Debug, Clone)]
pub struct CommitSpec {
    /// Its content.
    pub tree: TreeId,
    /// Its parents, in order; none for a first commit.
    pub parents: Vec<CommitId>,
    /// Its whole message; see [`super::conventional_message`].
    pub message: String,
    /// Who wrote the change.
    pub author: Identity,
    /// Who records it.
    pub committer: Identity,
    /// When, in seconds since 1970; the same values always make the same commit.
    pub at_unix_s: i64,
}

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// The merged content.
    Clean { tree: TreeId },
    /// Paths that both sides changed in ways that do not fit together, in order.
    Conflict { paths: Vec<RepoPath> },
}

impl BareRepo {
    /// Merges the content of two commits from their merge base; commits without one are merged from nothing.
    ///
    /// # Errors
    /// [`MergeError`]; a conflict is an outcome, not an error.
    pub fn merge_tree(&self, ours: &CommitId, theirs: &CommitId) -> Result<MergeOutcome, MergeError> {
        let call = self.call("merge-tree");
        let call = call.args(["--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories"]);
        let finished = call.args([ours.as_str(), theirs.as_str()]).run()?;
        let mut fields = finished.stdout.split(|&byte| byte == 0);
        let tree = fields.next().and_then(|field| str::from_utf8(field).ok());
        let tree = tree.and_then(|text| TreeId::parse(text.trim()).ok());
        // Git also ends with 1 when it does not know a commit; then there is no tree in the answer.
        match (finished.code, tree) {
            (Some(0), Some(tree)) if !finished.truncated => Ok(MergeOutcome::Clean { tree }),
            (Some(1), Some(_)) if !finished.truncated => {
                let paths = fields.filter(|field| !field.is_empty()).map(RepoPath::parse);
                let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
                paths.sort();
                paths.dedup();
                Ok(MergeOutcome::Conflict { paths })
            }
            (Some(0), _) => Err(MergeError::Answer),
            _ => Err(MergeError::Git(finished.failure("git merge-tree".to_owned()))),
        }
    }

    /// The best common ancestor of two commits, if there is one.
    ///
    /// # Errors
    /// [`MergeError`] if git fails.
    pub fn merge_base(&self, one: &CommitId, other: &CommitId) -> Result<Option<CommitId>, MergeError> {
        let finished = self.call("merge-base").args([one.as_str(), other.as_str()]).run()?;
        match finished.code {
            Some(0) => str::from_utf8(&finished.stdout).ok().and_then(commit_in).map(Some).ok_or(MergeError::Answer),
            Some(1) => Ok(None),
            _ => Err(MergeError::Git(finished.failure("git merge-base".to_owned()))),
        }
    }

    /// Whether one commit is the other or among its ancestors.
    ///
    /// # Errors
    /// [`MergeError`] if git fails, also when one of the commits does not exist.
    pub fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, MergeError> {
        let call = self.call("merge-base").arg("--is-ancestor");
        let finished = call.args([ancestor.as_str(), of.as_str()]).run()?;
        match finished.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(MergeError::Git(finished.failure("git merge-base".to_owned()))),
        }
    }

    /// Writes a commit. No ref moves; a commit that no ref names is lost at the next clean-up.
    ///
    /// # Errors
    /// [`CommitError`] if the message is unusable or git fails.
    pub fn commit_tree(&self, spec: &CommitSpec) -> Result<CommitId, CommitError> {
        let message = spec.message.trim();
        if message.is_empty() || message.len() > MESSAGE_BYTES_MAX || message.contains('\0') {
            return Err(CommitError::Message);
        }
        let date = format!("@{} +0000", spec.at_unix_s);
        let call = self.call("commit-tree").env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        let call = call.env("GIT_AUTHOR_NAME", &spec.author.name).env("GIT_AUTHOR_EMAIL", &spec.author.email);
        let call = call.env("GIT_COMMITTER_NAME", &spec.committer.name);
        let call = call.env("GIT_COMMITTER_EMAIL", &spec.committer.email);
        let parents = spec.parents.iter().flat_map(|parent| ["-p", parent.as_str()]);
        let call = call.arg("--no-gpg-sign").args(parents).args(["-F", "-", spec.tree.as_str()]);
        let answer = call.input(format!("{message}\n").into_bytes()).line()?;
        commit_in(&answer).ok_or(CommitError::Answer)
    }

    /// The content of a commit.
    ///
    /// # Errors
    /// [`CommitError`] if there is no such commit.
    pub fn tree_of(&self, commit: &CommitId) -> Result<TreeId, CommitError> {
        let call = self.call("rev-parse").args(["--verify", "--quiet", "--end-of-options"]);
        let answer = call.arg(format!("{commit}^{{tree}}")).line()?;
        TreeId::parse(&answer).map_err(|_| CommitError::Answer)
    }
}
