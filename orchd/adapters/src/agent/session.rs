//! The session that an agent's program said it has, by the log of its run.
//!
//! Written by a program that nobody vouches for: what is no name of a session is none, and one that is another's leads nowhere but to
//! what lies in the run's own directory.

use std::path::Path;

use orch_core::agent::{Parser, RunEvent};
use orch_core::entity::is_session_id;
use orch_sandbox::log::{Ending, ReadLogError};

use super::AgentKind;
use super::told::{AgentOutput, is_agents};
use crate::executor::LOG_START;
use crate::run_log;

/// As much of a log is read at a time, and in all: a session is said before anything else.
const STEP_BYTES: usize = 1 << 20;
const BYTES_MAX: u64 = 16 << 20;

impl AgentKind {
    /// Whether its program can have named a session so.
    fn names_so(self, id: &str) -> bool {
        match self {
            // Anything else may be a title, or a file.
            Self::Codex | Self::Claude => is_uuid(id),
            Self::Acp => is_session_id(id),
            Self::Fake => false,
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let is_digit = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_digit)
}

/// The first session that the agent of a run said it has, by the beginning of its log; none when it said none that can be one.
///
/// # Errors
/// When the log exists and cannot be read, or is none.
pub fn session_of(log: &Path, agent: AgentOutput, kind: AgentKind) -> Result<Option<String>, ReadLogError> {
    let (mut parser, mut found, mut offset) = (Parser::new(agent.protocol), None, LOG_START);
    loop {
        let (records, next) = run_log::read(log, offset, STEP_BYTES)?;
        let mut hear = |_, event| {
            if let RunEvent::SessionStarted { native_id, .. } = event
                && found.is_none()
            {
                found = Some(native_id);
            }
        };
        for record in records.iter().filter(|record| is_agents(record, agent)) {
            parser.feed(&record.payload, &mut hear);
            if record.ending != Ending::Continues {
                parser.feed(b"\n", &mut hear);
            }
        }
        if found.is_some() || next == offset || next > BYTES_MAX {
            return Ok(found.filter(|id: &String| kind.names_so(id)));
        }
        offset = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::tests::log_of;
    use super::*;
    use orch_core::agent::Protocol;

    const ID: &str = "01a22dbd-d9a2-7ea2-ad5e-f632dabdcc57";

    #[test]
    fn a_session_is_the_first_that_the_agent_names_and_one_that_it_can_have() {
        let started = |id: &str| format!(r#"{{"type":"thread.started","thread_id":"{id}"}}"#);
        let begun = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":"new","result":{{"sessionId":"{id}"}}}}"#);
        let long = "7".repeat(300);
        let cases = [
            (AgentKind::Codex, started(ID), Some(ID)),
            (AgentKind::Codex, format!("no JSON\n{}\n{}", started(ID), started("x")), Some(ID)),
            (AgentKind::Codex, format!("{}\n{}", started("--last"), started(ID)), None),
            (AgentKind::Codex, started("../../etc/passwd"), None),
            (AgentKind::Codex, started(""), None),
            (AgentKind::Acp, begun("ses_1"), Some("ses_1")),
            (AgentKind::Acp, begun("-p"), None),
            (AgentKind::Acp, begun(&long), None),
            (AgentKind::Fake, started(ID), None),
        ];
        for (kind, said, expected) in cases {
            let protocol = if kind == AgentKind::Acp { Protocol::Acp } else { Protocol::CodexExec };
            let agent = AgentOutput { step: 1, protocol };
            let log = log_of(&[(1, 0, said.as_bytes())]);
            assert_eq!(session_of(log.path(), agent, kind).unwrap().as_deref(), expected, "{said}");
        }
        // What is no output of the agent names nothing.
        for (stream, step) in [(2, 1), (1, 0)] {
            let log = log_of(&[(stream, 0, started(ID).as_bytes())]);
            let agent = AgentOutput { step, protocol: Protocol::CodexExec };
            assert_eq!(session_of(log.path(), agent, AgentKind::Codex).unwrap(), None);
        }
    }
}
