//! What a Vision should say something about, and the questions about what it does not.
//!
//! Six topics, from the seed documents. The rules look for words; a model asks for itself, about the same topics.

use std::collections::BTreeMap;

use super::answer::plain_line;
use super::shape::words;
use crate::planner::model::{Extraction, LineRange, Statement};
use crate::planner::plan::keyword;

words! {
    /// What a question is about.
    pub enum Topic {
        /// For whom it is, and what their trade is.
        Domain = "domain",
        /// Languages, frameworks, databases, where it runs.
        Stack = "stack",
        /// What must not be changed or used.
        Constraints = "constraints",
        /// What it may cost.
        Budget = "budget",
        /// When it has to be there.
        Timeline = "timeline",
        /// Laws and standards that hold.
        Compliance = "compliance",
    }
}

/// A question to people about a Vision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub topic: Topic,
    pub text: String,
    /// Likely answers; none: any text.
    pub choices: Vec<String>,
}

impl Topic {
    /// All of them, in the order in which people are asked.
    pub const ALL: [Self; 6] =
        [Self::Domain, Self::Stack, Self::Constraints, Self::Budget, Self::Timeline, Self::Compliance];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Stack => "stack",
            Self::Constraints => "constraints",
            Self::Budget => "budget",
            Self::Timeline => "timeline",
            Self::Compliance => "compliance",
        }
    }

    /// The topic with this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.word() == word)
    }

    /// What the rules ask.
    const fn question(self) -> &'static str {
        match self {
            Self::Domain => "For whom is it, and in which trade?",
            Self::Stack => "Which languages, frameworks and databases are wanted, and where will it run?",
            Self::Constraints => "What must not be changed or used, and what does it have to fit into?",
            Self::Budget => "What may it cost, to make and to run?",
            Self::Timeline => "When does a first version have to be there?",
            Self::Compliance => "Which laws, standards or rules of the house hold for it?",
        }
    }

    /// Words of a text that says something about it.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Domain => DOMAIN,
            Self::Stack => STACK,
            Self::Constraints => CONSTRAINTS,
            Self::Budget => BUDGET,
            Self::Timeline => TIMELINE,
            Self::Compliance => COMPLIANCE,
        }
    }
}

/// Words of texts that say something about a topic.
const DOMAIN: &[&str] = &[
    "user",
    "users",
    "customer",
    "team",
    "audience",
    "client",
    "operator",
    "student",
    "patient",
    "shop",
    "business",
    "company",
    "developer",
    "persona",
    "stakeholder",
];
const STACK: &[&str] = &[
    "rust",
    "python",
    "java",
    "javascript",
    "typescript",
    "golang",
    "kotlin",
    "swift",
    "ruby",
    "php",
    "postgres",
    "postgresql",
    "mysql",
    "sqlite",
    "redis",
    "react",
    "django",
    "node",
    "linux",
    "docker",
    "kubernetes",
    "aws",
    "gcp",
    "azure",
    "stack",
    "framework",
    "database",
    "language",
    "cli",
    "http",
];
const CONSTRAINTS: &[&str] = &["constraint", "must not", "limited", "only", "without", "assumption", "existing"];
const BUDGET: &[&str] = &["budget", "cost", "price", "usd", "eur", "dollar", "euro", "spend", "cheap"];
const TIMELINE: &[&str] =
    &["deadline", "timeline", "milestone", "week", "month", "quarter", "day", "release", "phase", "until"];
const COMPLIANCE: &[&str] = &[
    "compliance",
    "gdpr",
    "hipaa",
    "iso",
    "soc",
    "pci",
    "license",
    "licence",
    "legal",
    "law",
    "regulation",
    "audit",
    "privacy",
    "standard",
    "policy",
    "rfc",
];

/// Topics of which a Vision says nothing, and nobody has answered, as questions.
#[must_use]
pub fn unsaid(vision: &str, answered: &BTreeMap<Topic, String>) -> Vec<Question> {
    let stems = keyword::stems(vision);
    let is_unsaid = |topic: &&Topic| {
        !answered.contains_key(*topic) && !topic.words().iter().any(|word| keyword::speaks_of(&stems, word))
    };
    let question = |topic: &Topic| Question { topic: *topic, text: topic.question().to_owned(), choices: Vec::new() };
    Topic::ALL.iter().filter(is_unsaid).map(question).collect()
}

/// Puts what was answered among the constraints of requirements that the rules read.
pub fn include(content: &mut Extraction, answered: &BTreeMap<Topic, String>) {
    let line = |(topic, answer): (&Topic, &String)| Statement {
        text: format!("{}, as answered: {}", topic.word(), plain_line(answer)),
        lines: LineRange { first: 0, last: 0 },
    };
    content.constraints.extend(answered.iter().map(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_vision_says_nothing_about_is_asked() {
        let asked = |text: &str, answered: &[(Topic, &str)]| {
            let answered = answered.iter().map(|(topic, text)| (*topic, (*text).to_owned())).collect();
            unsaid(text, &answered).into_iter().map(|question| question.topic.word()).collect::<Vec<_>>()
        };
        let all = ["domain", "stack", "constraints", "budget", "timeline", "compliance"];
        assert_eq!(asked("A thing that sings.", &[]), all);
        let said = "For customers, in Rust, without a database, at most 5,000 EUR, in two weeks, under the GDPR.";
        assert_eq!(asked(said, &[]), Vec::<&str>::new());
        assert_eq!(asked("A thing that sings.", &[(Topic::Budget, "none")]).len(), 5);
        assert_eq!(Topic::of("budget"), Some(Topic::Budget));
        assert_eq!(Topic::of("weather"), None);
        // The word of the type and that of its JSON are one.
        assert!(Topic::ALL.iter().all(|topic| serde_json::to_value(topic).unwrap() == topic.word()));
    }
}
