//! What an agent may do without asking, what it may not, and what a person is asked about: rules that an operator writes and
//! the driver of an agent applies.
//!
//! They say what is asked about and bound nothing: what an agent can do is bounded by the sandbox of its run, and a command
//! line can hide what it does from any pattern.

use serde::{Deserialize, Serialize};

/// Most rules of one agent.
pub const RULES_MAX: usize = 64;
/// Longest pattern and longest reason, in bytes.
pub const RULE_BYTES_MAX: usize = 400;

/// What sort of thing an agent is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A command of a shell.
    Command,
    /// A change of files by a tool of its own.
    Change,
    /// A look at files by a tool of its own.
    Read,
    /// A request to the network by a tool of its own.
    Network,
    /// Any other tool.
    Tool,
}

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    Allow,
    /// A person decides.
    Ask,
    Deny,
}

/// One rule. Of several the first that fits decides; where none fits, it is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveRule {
    /// Of which sort; none: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Deed>,
    /// A pattern for its words, in which `*` stands for anything; none: for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    pub then: Ruling,
    /// What the agent is told when it is denied, and a person who is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl LeaveRule {
    /// What is wrong with it; none when nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_text = |text: &String| {
            !text.trim().is_empty() && text.len() <= RULE_BYTES_MAX && !text.chars().any(char::is_control)
        };
        let wrong = |key: &str| format!("`{key}` must be a line of 1 to {RULE_BYTES_MAX} bytes");
        if self.matches.as_ref().is_some_and(|text| !is_text(text)) {
            return Some(wrong("matches"));
        }
        self.because.as_ref().is_some_and(|text| !is_text(text)).then(|| wrong("because"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written_and_says_what_is_wrong() {
        let rule = |text: &str| serde_json::from_str::<LeaveRule>(text);
        let ask = rule(r#"{"of":"command","matches":"git push *","then":"ask"}"#).unwrap();
        assert_eq!((ask.of, ask.then, ask.problem()), (Some(Deed::Command), Ruling::Ask, None));
        assert!(rule(r#"{"of":"wish","then":"ask"}"#).is_err() && rule(r#"{"then":"ask","when":"now"}"#).is_err());
        assert!(rule(r#"{"of":"command"}"#).is_err());
        assert!(rule(r#"{"matches":" ","then":"ask"}"#).unwrap().problem().unwrap().contains("`matches`"));
        assert!(rule(r#"{"because":"a\nb","then":"deny"}"#).unwrap().problem().unwrap().contains("`because`"));
        assert!(Ruling::Deny > Ruling::Ask && Ruling::Ask > Ruling::Allow, "of several the strictest counts");
    }
}
