//! Asks a person over the channel of the run: to allow one action of an agent, and what the agent's program asks by itself.
//!
//! Each request for leave is a question of its own, bound to all that the person is shown: an action that is another, or
//! comes again, is asked about again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use orch_proto::RpcError;
use orch_proto::channel::{EXPIRES_MS_DEFAULT, Verb};
use tokio::sync::{Semaphore, oneshot};

use super::super::questions::{Answers, Question, nobody};
use super::{Action, Leave, refusal};
use crate::channel::{self, Channel, Outcome, Patience, Secrets, Wanted};
use crate::text::SafeText;

/// Questions that wait at once. A run may have a few more, which are for its agent's own.
const OPEN_MAX: usize = 3;
/// Most characters of what a person reads first.
const TITLE_CHARS_MAX: usize = 150;
/// Most bytes of one piece of the details, and most pieces of what an agent would do.
const PIECE_BYTES_MAX: usize = 4 << 10;
/// See [`PIECE_BYTES_MAX`].
const PIECES_MAX: usize = 18;
/// What stands before the agent's own words.
const OF_AGENT: &str = "what follows is as the agent says it:";
/// Most lines that are pieces of their own.
const LINES_MAX: usize = 12;

/// Who can be asked.
#[derive(Clone, Debug)]
pub(crate) struct People(Option<Arc<Asking>>);

#[derive(Debug)]
struct Asking {
    channel: Channel,
    /// None: the run has no home, so nothing can be asked for there.
    secrets: Option<Secrets>,
    turns: Semaphore,
    asked: AtomicU32,
}

impl People {
    /// Those whom the channel of the run leads to.
    pub(crate) fn of_run(channel: &Channel, secrets: Option<Secrets>) -> Self {
        let (turns, asked) = (Semaphore::new(OPEN_MAX), AtomicU32::new(0));
        Self(Some(Arc::new(Asking { channel: channel.another(), secrets, turns, asked })))
    }

    /// Nobody: the run has no channel.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Asks, and waits for as long as it takes.
    pub(super) async fn ask(&self, action: &Action, because: Option<&str>) -> Leave {
        let Some(asking) = &self.0 else {
            return Leave::Refused(refusal("a person would have to allow it, and there is nobody to ask", because));
        };
        if action.details.len() > PIECES_MAX {
            return Leave::Refused(refusal("a person would have to allow it, and it is too long to be shown", because));
        }
        let Ok(_turn) = asking.turns.acquire().await else {
            return Leave::Refused(refusal("nobody is asked any more", because));
        };
        let key = format!("leave-{}", asking.asked.fetch_add(1, Ordering::Relaxed));
        // Ours come first: what follows may look like anything.
        let ours = because.map(|because| format!("asked because: {because}"));
        let ours = ours.into_iter().chain([OF_AGENT.to_owned()]);
        let details = ours.chain(action.details.iter().cloned());
        let question = Verb::AwaitApproval {
            key,
            action: title(&action.title),
            details: details.collect(),
            expires_ms: EXPIRES_MS_DEFAULT,
            wait_ms: 0,
        };
        let ask =
            move |channel: &mut Channel, patience: &Patience| channel::await_approval(channel, &question, patience);
        match held(asking.channel.another(), ask).await {
            Ok(Outcome::Granted) => Leave::Given,
            Ok(Outcome::Without { state, reason }) if reason.is_empty() => {
                Leave::Refused(refusal(&format!("a person was asked: {state}"), None))
            }
            Ok(Outcome::Without { state, reason }) => {
                Leave::Refused(refusal(&format!("a person was asked: {state}"), Some(&reason)))
            }
            Ok(
                Outcome::Answered(_)
                | Outcome::Here { .. }
                | Outcome::NextAttempt
                | Outcome::Waiting
                | Outcome::Withdrawn,
            ) => Leave::Refused(refusal("nobody decided", None)),
            Err(error) => {
                Leave::Refused(refusal("a person would have to allow it and cannot be asked", Some(&error.to_string())))
            }
        }
    }

    /// Has a person answer a question, and waits for as long as it takes.
    pub(super) async fn answer(&self, question: &Question) -> Answers {
        let asking = self.0.as_ref().and_then(|asking| Some((asking, asking.secrets.clone()?)));
        let Some((asking, secrets)) = asking else { return Err(nobody("there is nobody to ask")) };
        let Ok(_turn) = asking.turns.acquire().await else { return Err(nobody("nobody is asked any more")) };
        let verb = Verb::RequestInfo {
            key: format!("question-{}", asking.asked.fetch_add(1, Ordering::Relaxed)),
            text: question.words.clone(),
            fields: question.fields(),
            expires_ms: EXPIRES_MS_DEFAULT,
            wait_ms: 0,
        };
        let ask =
            move |channel: &mut Channel, patience: &Patience| channel::request_info(channel, &verb, &secrets, patience);
        match held(asking.channel.another(), ask).await {
            Ok(Outcome::Answered(values)) => question.read(&values).map_err(|why| nobody(&why)),
            Ok(Outcome::Without { state, reason }) => {
                Err(nobody(&format!("a person was asked, and the question is {state}: {reason}")))
            }
            Ok(
                Outcome::Granted | Outcome::Here { .. } | Outcome::NextAttempt | Outcome::Waiting | Outcome::Withdrawn,
            ) => Err(nobody("nobody answered")),
            Err(error) => Err(nobody(&format!("nobody can be asked: {error}"))),
        }
    }
}

/// Has a question taken back for which nobody waits any more.
struct WhileWanted(Wanted);

impl Drop for WhileWanted {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Asks on a thread of its own, which ends with the program: nobody waits for one that waits for a person. When this is dropped
/// the question is taken back.
async fn held(
    mut channel: Channel,
    ask: impl FnOnce(&mut Channel, &Patience) -> Result<Outcome, RpcError> + Send + 'static,
) -> Result<Outcome, RpcError> {
    let (answer, answered) = oneshot::channel();
    let wanted = WhileWanted(Wanted::default());
    let patience = Patience { at_most: None, wanted: wanted.0.clone() };
    let ask = move || {
        let outcome = ask(&mut channel, &patience);
        // Without a reader there is nobody to tell.
        let _is_told = answer.send(outcome).is_ok();
    };
    let begun = std::thread::Builder::new().name("ask".to_owned()).spawn(ask);
    let lost = |why: String| RpcError::new(orch_proto::ErrorCode::Internal, why);
    begun.map_err(|error| lost(format!("no thread to ask with: {error}")))?;
    answered.await.map_err(|_| lost("the question was dropped".to_owned()))?
}

/// A line for people, whatever the agent says.
fn title(text: &str) -> String {
    let safe = SafeText::line(text.trim());
    let line: String = safe.as_str().chars().filter(|char| !char.is_control()).take(TITLE_CHARS_MAX).collect();
    match (line.trim().is_empty(), safe.as_str().chars().count() > TITLE_CHARS_MAX) {
        (true, _) => "do something that it does not name".to_owned(),
        (false, true) => format!("{}...", line.trim_end()),
        (false, false) => line.trim().to_owned(),
    }
}

/// A text in as few pieces as can be shown: its lines, or several of them where there are many.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let is_short = text.lines().count() <= LINES_MAX && text.lines().all(|line| line.len() <= PIECE_BYTES_MAX);
    if is_short {
        return text.lines().map(ToOwned::to_owned).collect();
    }
    for char in text.chars() {
        match found.last_mut() {
            Some(last) if last.len() + char.len_utf8() <= PIECE_BYTES_MAX => last.push(char),
            _ => found.push(char.to_string()),
        }
        if found.len() > PIECES_MAX {
            // More than is shown, whatever follows.
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_reads_first_is_one_harmless_line() {
        assert_eq!(title(" rm x\n"), "rm x");
        let evil = title(&format!("\u{1b}[2J\u{202e}{}", "x".repeat(500)));
        assert!(!evil.chars().any(char::is_control) && !evil.contains('\u{202e}'), "{evil:?}");
        assert!(evil.chars().count() <= TITLE_CHARS_MAX + 3 && evil.ends_with("..."), "{evil}");
        assert_eq!(title("\n"), "do something that it does not name");
    }

    #[test]
    fn a_text_is_shown_whole_or_not_at_all() {
        assert_eq!(pieces("a\n\nb"), ["a", "", "b"]);
        let many = "line\n".repeat(1_000);
        assert_eq!(pieces(&many).concat(), many);
        assert!(pieces(&many).len() <= PIECES_MAX);
        assert!(pieces(&"x".repeat(PIECE_BYTES_MAX * PIECES_MAX + 1)).len() > PIECES_MAX);
    }
}
