//! What an agent program printed, in the place of the program: where it lies, and how `orchctl` is told to replay it.

use std::path::{Path, PathBuf};

use orch_core::agent::Protocol;
use orch_sandbox::spec::ReadOnlyMount;
use serde::{Deserialize, Serialize};

use super::AgentKind;

/// Where a run finds the transcript, and the files that belong to it.
const TRANSCRIPT_INSIDE: &str = "/orch/transcript";
const WORK_INSIDE: &str = "/orch/transcript.work";
/// What the name of the directory with those files ends in, in the place of the transcript's own ending.
const WORK: &str = "work";

/// How the program spoke that printed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recorded {
    CodexExec,
    CodexAppServer,
    ClaudeStream,
    Acp,
    Plain,
}

impl Recorded {
    /// The word for it.
    const fn word(self) -> &'static str {
        match self {
            Self::CodexExec => "codex-exec",
            Self::CodexAppServer => "codex-app-server",
            Self::ClaudeStream => "claude-stream",
            Self::Acp => "acp",
            Self::Plain => "plain",
        }
    }

    /// As what it is spoken to; none when nobody speaks to it.
    #[must_use]
    pub const fn spoken_to_as(self) -> Option<AgentKind> {
        match self {
            Self::CodexAppServer => Some(AgentKind::Codex),
            Self::ClaudeStream => Some(AgentKind::Claude),
            Self::Acp => Some(AgentKind::Acp),
            Self::CodexExec | Self::Plain => None,
        }
    }

    /// How its lines are read.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::CodexExec => Protocol::CodexExec,
            Self::CodexAppServer => Protocol::CodexAppServer,
            Self::ClaudeStream => Protocol::ClaudeStream,
            Self::Acp => Protocol::Acp,
            Self::Plain => Protocol::Plain,
        }
    }
}

/// A transcript on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub transcript: PathBuf,
    pub recorded: Recorded,
}

impl Replay {
    /// What the replayed program leaves in its directory: the files of a directory beside the transcript, if there is one.
    fn work(&self) -> Option<PathBuf> {
        Some(self.transcript.with_extension(WORK)).filter(|work| work.is_dir())
    }

    /// What a run needs to find.
    pub(super) fn mounts(&self) -> Vec<ReadOnlyMount> {
        let mount = |source: &Path, target: &str| ReadOnlyMount { source: source.to_owned(), target: target.into() };
        let work = self.work().map(|work| mount(&work, WORK_INSIDE));
        [mount(&self.transcript, TRANSCRIPT_INSIDE)].into_iter().chain(work).collect()
    }

    /// The arguments with which `orchctl` is that program.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut words = vec!["agent", "replay", self.recorded.word(), TRANSCRIPT_INSIDE];
        if self.work().is_some() {
            words.extend(["--work", WORK_INSIDE]);
        }
        words.into_iter().map(ToOwned::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_a_transcript_belong_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let replay = Replay { transcript: directory.path().join("a.jsonl"), recorded: Recorded::Acp };
        assert_eq!(replay.arguments(), ["agent", "replay", "acp", "/orch/transcript"]);
        assert_eq!(replay.mounts().len(), 1);
        std::fs::create_dir(directory.path().join("a.work")).unwrap();
        assert_eq!(replay.arguments()[4..], ["--work", "/orch/transcript.work"]);
        assert_eq!(replay.mounts()[1].source, directory.path().join("a.work"));
    }
}
