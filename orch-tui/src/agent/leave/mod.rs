//! Whether an agent may do what it asks leave for: the one place where that is decided.
//!
//! In reading order: what is asked (here), `rules` (what an operator says of it), `shell` (which commands a line has), `people`
//! (what a person says). A driver is trusted as little as its agent, and can give leave for nothing that the sandbox does not
//! allow anyway.

mod people;
mod rules;
mod shell;

use std::sync::Arc;

use orch_proto::leave::{Deed, LeaveRule, Ruling};

use super::questions::{Answers, Question};

pub(crate) use people::{People, pieces};

/// What an agent is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) of: Deed,
    /// In a line, in its own words.
    pub(crate) title: String,
    /// What is compared with patterns, each by itself: a line of a shell, paths, an address, the name of a tool.
    pub(crate) words: Vec<String>,
    /// All of it, as a person is shown it, in pieces.
    pub(crate) details: Vec<String>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Given,
    /// With what the agent is told.
    Refused(String),
}

/// Who decides, and who answers. While that takes its time the agent is listened to, so it may take as long as a person needs.
pub(crate) trait Permissions: Clone + Send + 'static {
    /// Whether something may be done.
    fn decide(&self, action: Action) -> impl Future<Output = Leave> + Send;

    /// What is answered to a question of the program's own, of which no rule says anything.
    fn answer(&self, question: Question) -> impl Future<Output = Answers> + Send;
}

/// What an operator says, and whom it has ask.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    rules: Arc<[LeaveRule]>,
    people: People,
}

impl Policy {
    pub(crate) fn new(rules: Vec<LeaveRule>, people: People) -> Self {
        Self { rules: rules.into(), people }
    }
}

/// How the tools of the run's channel are called by different programs: all that they do is to say something, and to ask.
/// A program that speaks ACP gives its own name for one as a title, which opencode makes of the server's and the tool's.
const OF_CHANNEL: [&str; 3] = ["mcp__orch__", "orch/", "orch_"];

impl Permissions for Policy {
    async fn decide(&self, action: Action) -> Leave {
        let is_name = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_own = |words: &String| OF_CHANNEL.iter().any(|start| words.strip_prefix(start).is_some_and(is_name));
        if action.of == Deed::Tool && action.words.iter().any(is_own) {
            return Leave::Given;
        }
        let (ruling, rule) = rules::judge(&self.rules, &action);
        let because = rule.and_then(|rule| rule.because.as_deref());
        match ruling {
            Ruling::Allow => Leave::Given,
            Ruling::Deny => Leave::Refused(refusal("the rules of this agent do not allow it", because)),
            Ruling::Ask => self.people.ask(&action, because).await,
        }
    }

    async fn answer(&self, question: Question) -> Answers {
        self.people.answer(&question).await
    }
}

/// What an agent is told that may not.
fn refusal(why: &str, because: Option<&str>) -> String {
    let because = because.map_or_else(String::new, |because| format!(": {because}"));
    format!("{why}{because}. Go on without it, or in another way.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_rule_names_is_allowed_and_a_denial_says_why() {
        let deny = r#"[{"of":"command","matches":"rm *","then":"deny","because":"nothing is to be lost"},
                       {"of":"command","matches":"git push *","then":"ask"}]"#;
        let policy = Policy::new(serde_json::from_str(deny).unwrap(), People::none());
        let command = |line: &str| Action {
            of: Deed::Command,
            title: line.to_owned(),
            words: vec![line.to_owned()],
            details: pieces(line),
        };
        assert_eq!(policy.decide(command("ls")).await, Leave::Given);
        let Leave::Refused(why) = policy.decide(command("cd x; rm -r y")).await else { panic!("it is denied") };
        assert_eq!(
            why,
            "the rules of this agent do not allow it: nothing is to be lost. Go on without it, or in another way."
        );
        let Leave::Refused(why) = policy.decide(command("git push")).await else { panic!("nobody is there") };
        assert!(why.contains("there is nobody to ask"), "{why}");
        let all = Policy::new(serde_json::from_str(r#"[{"then":"deny"}]"#).unwrap(), People::none());
        let tool = |name: &str| Action { of: Deed::Tool, words: vec![name.to_owned()], ..command(name) };
        for own in ["mcp__orch__note", "orch/note", "orch_note"] {
            assert_eq!(all.decide(tool(own)).await, Leave::Given, "{own}");
        }
        for other in ["mcp__house__note", "orch_note; rm x", "orch/../x"] {
            assert_ne!(all.decide(tool(other)).await, Leave::Given, "{other}");
        }
    }
}
