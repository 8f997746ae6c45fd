//! Branches that are not real: what is merged where, whoever pushed it.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::digest::Digest;

/// Branches of projects: what is merged where.
#[derive(Clone, Debug, Default)]
pub(super) struct Branches {
    heads: BTreeMap<String, String>,
    parents: BTreeMap<String, String>,
}

impl Branches {
    pub(super) fn head(&self, project: &str) -> Option<String> {
        self.heads.get(project).cloned()
    }

    /// Makes a commit; the same on the same base is the same.
    pub(super) fn commit(&mut self, name: &str, base: Option<&str>) -> String {
        let commit = format!("{name}@{}", base.map_or(0, |base| base.len()));
        let commit = format!("{commit}:{:016x}", digest(name, base));
        if let Some(base) = base {
            self.parents.insert(commit.clone(), base.to_owned());
        }
        commit
    }

    /// Moves a branch if it is where it should be; whether it did, and otherwise whether the commit is on it.
    pub(super) fn advance(&mut self, project: &str, commit: &str, base: Option<&str>) -> bool {
        if self.heads.get(project).map(String::as_str) == base {
            self.heads.insert(project.to_owned(), commit.to_owned());
            return true;
        }
        self.has(project, commit)
    }

    /// Somebody pushes past the daemon.
    pub(super) fn push(&mut self, project: &str, chance: u64) {
        let base = self.head(project);
        let commit = self.commit(&format!("push-{chance}"), base.as_deref());
        self.heads.insert(project.to_owned(), commit);
    }

    /// Whether a commit is on the branch.
    pub(super) fn has(&self, project: &str, commit: &str) -> bool {
        let mut at = self.heads.get(project);
        let mut seen = BTreeSet::new();
        while let Some(found) = at.filter(|found| seen.insert((*found).clone())) {
            if found == commit {
                return true;
            }
            at = self.parents.get(found);
        }
        false
    }
}

fn digest(name: &str, base: Option<&str>) -> u64 {
    let text = format!("{name} {}", base.unwrap_or_default());
    let digest = Digest::of(text.as_bytes());
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().unwrap_or_default())
}
