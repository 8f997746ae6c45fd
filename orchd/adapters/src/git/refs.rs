//! Refs: reading them, and moving one only from the value that the caller saw.
//!
//! **Invariant:** there is no unconditional update. A lost race is an answer of its own, with the value that is there.

use std::collections::BTreeMap;

use super::bare::{BareRepo, commit_in};
use super::call::CallError;
use super::name::{CommitId, RefName};

/// Why refs could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// A git command failed.
    #[error("failed to read refs")]
    Git(#[from] CallError),
    /// Git answered something that is no ref of the daemon's making.
    #[error("unexpected answer about refs: `{0}`")]
    Answer(String),
}

/// Why a ref was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateRefError {
    /// It is not where the caller saw it.
    #[error("`{name}` has moved: it is {} now", found.as_ref().map_or("absent", CommitId::as_str))]
    Lost { name: RefName, found: Option<CommitId> },
    /// A git command failed.
    #[error("failed to move the ref")]
    Git(#[from] CallError),
    /// Its value could not be read after a failed update.
    #[error("failed to read the ref")]
    Read(#[from] RefError),
}

impl BareRepo {
    /// The commit that a ref names; `None` if there is no such ref, as for a branch without a commit.
    ///
    /// # Errors
    /// [`RefError`] if git fails.
    pub fn head(&self, name: &RefName) -> Result<Option<CommitId>, RefError> {
        let call = self.call("rev-parse").args(["--verify", "--quiet", "--end-of-options"]);
        let finished = call.arg(format!("{name}^{{commit}}")).run()?;
        match finished.code {
            Some(0) => {
                let answer = String::from_utf8_lossy(&finished.stdout).into_owned();
                commit_in(&answer).map(Some).ok_or_else(|| RefError::Answer(answer.escape_default().to_string()))
            }
            Some(1) => Ok(None),
            _ => Err(RefError::Git(finished.failure("git rev-parse".to_owned()))),
        }
    }

    /// The default branch, whether it has a commit or not.
    ///
    /// # Errors
    /// [`RefError`] if git fails.
    pub fn default_branch(&self) -> Result<RefName, RefError> {
        let answer = self.call("symbolic-ref").arg("HEAD").line()?;
        RefName::parse(&answer).map_err(|error| RefError::Answer(error.to_string()))
    }

    /// Refs below a prefix, as `refs/heads/`, with the commit of each. Refs that name no commit are left out.
    ///
    /// # Errors
    /// [`RefError`] if git fails.
    pub fn refs(&self, prefix: &str) -> Result<BTreeMap<RefName, CommitId>, RefError> {
        let format = "--format=%(objectname) %(*objectname) %(refname)";
        let answer = self.call("for-each-ref").arg(format).args(["--end-of-options", prefix]).output()?;
        let answer = String::from_utf8_lossy(&answer);
        let parse = |line: &str| {
            let mut fields = line.splitn(3, ' ');
            let (direct, peeled, name) = (fields.next()?, fields.next()?, fields.next()?);
            let commit = commit_in(if peeled.is_empty() { direct } else { peeled })?;
            Some((RefName::parse(name).ok().filter(|name| name.as_str().starts_with(prefix))?, commit))
        };
        Ok(answer.lines().filter_map(parse).collect())
    }

    /// Moves a ref from the value that the caller saw (`None`: it must not exist yet), with a line in its log.
    ///
    /// Harmless to repeat: moving a ref to where it is already is done, whatever was expected.
    ///
    /// # Errors
    /// [`UpdateRefError::Lost`] if the ref is elsewhere.
    pub fn update_ref(
        &self,
        name: &RefName,
        new: &CommitId,
        expected: Option<&CommitId>,
        why: &str,
    ) -> Result<(), UpdateRefError> {
        let null = "0".repeat(self.format.digits());
        let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
        let call = self.call("update-ref").args(["--no-deref", "--create-reflog", "-m", why.as_str()]);
        // The daemon is the one who moves refs, whoever wrote the commits.
        let call = call.env("GIT_COMMITTER_NAME", "orchd").env("GIT_COMMITTER_EMAIL", "orchd@localhost");
        let call = call.arg("--end-of-options");
        let expected_text = expected.map_or(null.as_str(), CommitId::as_str);
        let Err(failure) = call.args([name.as_str(), new.as_str(), expected_text]).output() else { return Ok(()) };
        let found = self.head(name)?;
        if found.as_ref() == Some(new) {
            Ok(())
        } else if found.as_ref() == expected {
            Err(UpdateRefError::Git(failure))
        } else {
            Err(UpdateRefError::Lost { name: name.clone(), found })
        }
    }

    /// Removes a ref that is where the caller saw it. Harmless to repeat.
    ///
    /// # Errors
    /// [`UpdateRefError::Lost`] if the ref is elsewhere.
    pub fn delete_ref(&self, name: &RefName, expected: &CommitId) -> Result<(), UpdateRefError> {
        let call = self.call("update-ref").args(["--no-deref", "-d", "--end-of-options"]);
        let Err(failure) = call.args([name.as_str(), expected.as_str()]).output() else { return Ok(()) };
        match self.head(name)? {
            None => Ok(()),
            Some(found) if found == *expected => Err(UpdateRefError::Git(failure)),
            found => Err(UpdateRefError::Lost { name: name.clone(), found }),
        }
    }
}
