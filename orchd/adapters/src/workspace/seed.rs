//! What of a workspace is a run's own from the start: its branch, and who its commits are by.
//!
//! Formats of git, written by the daemon before the run begins, so that no git has to run first: `HEAD`, `config` and
//! one ref. Everything else of `.git` comes from the prepared checkout below.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::git::{CommitId, Identity, ObjectFormat, RefName};

/// What a run finds in its `.git`.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The branch that it finds itself on.
    pub branch: RefName,
    /// Where the branch is.
    pub base: CommitId,
    /// Who the run's own commits are by.
    pub author: Identity,
    /// Hash function of the repository.
    pub format: ObjectFormat,
}

impl Seed {
    /// Writes the files below `upper`, which must not exist yet.
    pub(super) fn write(&self, upper: &Path) -> io::Result<()> {
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(path);
        DirBuilder::new().mode(0o755).create(upper)?;
        let git = upper.join(".git");
        let branch = git.join(self.branch.as_str());
        make(branch.parent().unwrap_or(&git))?;
        fs::write(branch, format!("{}\n", self.base))?;
        fs::write(git.join("HEAD"), format!("ref: {}\n", self.branch))?;
        fs::write(git.join("config"), self.config())
    }

    fn config(&self) -> String {
        let (version, extensions) = match self.format {
            ObjectFormat::Sha1 => (0, String::new()),
            other => (1, format!("[extensions]\n\tobjectFormat = {}\n", other.as_str())),
        };
        let (name, email) = (quoted(self.author.name()), quoted(self.author.email()));
        format!(
            "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\
             \tlogallrefupdates = true\n\thooksPath = /dev/null\n{extensions}[user]\n\tname = {name}\n\temail = {email}\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[checkout]\n\tworkers = 0\n"
        )
    }
}

/// A value as git's configuration has it. Identities have no control characters.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        assert_eq!(quoted(r#"a "b" \c # ; d"#), r#""a \"b\" \\c # ; d""#);
    }
}
