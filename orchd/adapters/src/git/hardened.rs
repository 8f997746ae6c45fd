//! The one maker of host-side git calls: an environment from nothing, and configuration that nobody else can add to.
//!
//! **Invariant:** every git process of the daemon is made by [`Hardened::call`], with an explicit git directory that
//! the daemon itself made. Discovery, system, user and repository configuration of others, hooks, monitors, credential
//! and pager programs, attributes, replace refs, lazy fetches and all transports are off.

use std::fmt;
use std::path::{Path, PathBuf};

use super::call::{Call, CallError};
use super::name::ObjectFormat;

/// The oldest git that can merge without a work tree (`git merge-tree --write-tree`).
pub const GIT_VERSION_MIN: GitVersion = GitVersion { major: 2, minor: 38 };

/// Where programs are looked for, by the daemon and inside the sandbox alike.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Configuration of every call. It is given on the command line, which outranks every file.
///
/// Settings that name a program are absent instead of empty: git takes an empty value for a program.
const CONFIG: [&str; 37] = [
    "safe.bareRepository=explicit",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.quotePath=true",
    "core.logAllRefUpdates=true",
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
    // A merge that the daemon has recorded must be on disk: objects and refs are synced before a command returns.
    "core.fsync=all",
    "core.fsyncMethod=fsync",
    // Large objects are streamed instead of held, so that a hostile one costs no memory.
    "core.bigFileThreshold=32m",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
    "core.deltaBaseCacheLimit=64m",
    "pack.threads=2",
    "protocol.allow=never",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "receive.fsckObjects=true",
    "transfer.bundleURI=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "log.showSignature=false",
    "log.mailmap=false",
    "color.ui=false",
    "diff.renames=true",
    "diff.noPrefix=false",
    "diff.mnemonicPrefix=false",
    "diff.algorithm=histogram",
    "diff.orderFile=/dev/null",
    "i18n.commitEncoding=UTF-8",
];

/// A version of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl GitVersion {
    /// Reads the answer of `git version`, as `git version 2.47.3` or `git version 2.39.5 (Apple Git-154)`.
    #[must_use]
    pub fn parse(answer: &str) -> Option<Self> {
        let mut parts = answer.strip_prefix("git version ")?.split(['.', ' ', '-', '\n']);
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for GitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why there is no usable git.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No program of that name.
    #[error("git is not installed (looked in {PATH})")]
    Missing,
    /// It did not answer.
    #[error("failed to ask git for its version")]
    Call(#[source] CallError),
    /// It answered something else.
    #[error("git did not tell its version: `{0}`")]
    Answer(String),
    /// It cannot do what is needed.
    #[error("git {found} is too old: {GIT_VERSION_MIN} or newer is needed")]
    TooOld { found: GitVersion },
}

impl ProbeError {
    /// The next step for a person.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "run `apt-get install git`",
            Self::Call(_) | Self::Answer(_) => "run `git version`; if it fails too, `apt-get install --reinstall git`",
            Self::TooOld { .. } => {
                "run `apt-get install git`; on Ubuntu 22.04 first `add-apt-repository ppa:git-core/ppa && apt-get update`"
            }
        }
    }
}

/// A git program that is new enough.
#[derive(Debug, Clone)]
pub struct Hardened {
    program: PathBuf,
    version: GitVersion,
}

impl Hardened {
    /// Finds git and asks for its version. Takes some milliseconds; do it once.
    ///
    /// # Errors
    /// If git is missing, does not answer, or is older than [`GIT_VERSION_MIN`].
    pub fn probe() -> Result<Self, ProbeError> {
        let program = PATH.split(':').map(|dir| Path::new(dir).join("git")).find(|path| path.is_file());
        Self::probe_at(program.ok_or(ProbeError::Missing)?)
    }

    /// Asks the git program at this path for its version.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub fn probe_at(program: PathBuf) -> Result<Self, ProbeError> {
        let call = Call::new(&program, "git version".to_owned()).env("PATH", PATH).env("LC_ALL", "C");
        let version = accept(&call.arg("version").line().map_err(ProbeError::Call)?)?;
        Ok(Self { program, version })
    }

    /// The version that was found.
    #[must_use]
    pub const fn version(&self) -> GitVersion {
        self.version
    }

    /// A call of `git <subcommand>` on a git directory that the daemon made.
    pub(super) fn call(&self, git_dir: &Path, format: ObjectFormat, subcommand: &str) -> Call {
        let mut call = Call::new(&self.program, format!("git {subcommand}"));
        for (name, value) in environment(format) {
            call = call.env(name, value);
        }
        call = call.env("GIT_DIR", git_dir);
        for setting in CONFIG {
            call = call.arg("-c").arg(setting);
        }
        call.arg(subcommand)
    }
}

/// The version in an answer of `git version`, if it is new enough.
fn accept(answer: &str) -> Result<GitVersion, ProbeError> {
    let found = GitVersion::parse(answer).ok_or_else(|| {
        let excerpt = answer.chars().take(80).flat_map(char::escape_default).collect();
        ProbeError::Answer(excerpt)
    })?;
    if found < GIT_VERSION_MIN { Err(ProbeError::TooOld { found }) } else { Ok(found) }
}

/// The whole environment of a call but for its git directory.
fn environment(format: ObjectFormat) -> [(&'static str, &'static str); 23] {
    [
        ("PATH", PATH),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("HOME", "/nonexistent"),
        ("XDG_CONFIG_HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        // Attributes come from the tree without entries: none of a hostile tree's are in force.
        ("GIT_ATTR_SOURCE", format.empty_tree()),
        ("GIT_CEILING_DIRECTORIES", "/"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("SSH_ASKPASS", "/bin/false"),
        ("GIT_SSH_COMMAND", "/bin/false"),
        ("GIT_EDITOR", "/bin/false"),
        ("GIT_PAGER", "cat"),
        ("GIT_ALLOW_PROTOCOL", ""),
        ("GIT_PROTOCOL_FROM_USER", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_any_vendor() {
        let version = |major, minor| Some(GitVersion { major, minor });
        assert_eq!(GitVersion::parse("git version 2.47.3"), version(2, 47));
        assert_eq!(GitVersion::parse("git version 2.39.5 (Apple Git-154)"), version(2, 39));
        assert_eq!(GitVersion::parse("git version 2.50.0.rc1-dirty"), version(2, 50));
        assert_eq!(GitVersion::parse("hello"), None);
    }

    #[test]
    fn an_old_git_is_refused_with_the_fix() {
        let error = accept("git version 2.34.1").unwrap_err();
        assert_eq!(error.to_string(), "git 2.34 is too old: 2.38 or newer is needed");
        assert!(error.hint().contains("apt-get install git"));
    }
}
