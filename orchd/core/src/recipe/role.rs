//! Roles: who does a kind of work, what it is told beside the task, and what it may spend, as data.
//!
//! A role is chosen by a capability that a task asks for. It is told its instructions in front of the task. What it may do is
//! the sandbox's business: a role can name hosts that its runs reach, which is the operator's word, and have fewer system calls.

use serde::{Deserialize, Serialize};

use super::access::{self, Reach};
use super::problem::{Problem, RecipeError};
use super::reader::{Fields, checked, count, decimal, line, list_of, scalar, text};
use super::text::{Key, printable};
use super::yaml::{self, Fault, Node};
use crate::entity::{Allowance, BUDGET_MAX};
use crate::schedule::STAFF_RUNS_MAX;

const KEYS: &[&str] = &[
    "name",
    "description",
    "instructions",
    "capabilities",
    "agent",
    "model",
    "prompt_tokens",
    "answer_tokens",
    "runs_max",
    "budget",
    "egress",
    "profile",
];
const BUDGET_KEYS: &[&str] = &["tokens_per_run", "cost_per_run", "tokens_per_task", "cost_per_task"];
/// Most capabilities of a role.
const CAPABILITIES_MAX: usize = 20;
/// Longest instructions, in bytes: about 4,000 tokens.
const INSTRUCTIONS_BYTES_MAX: usize = 16 << 10;
/// Longest prompt that a role can ask for, in tokens. What is longer is no task but a book.
pub const PROMPT_TOKENS_MAX: u64 = 100_000;
/// Longest answer that can be asked for in its place, in tokens: no model writes more at once.
pub const ANSWER_TOKENS_MAX: u64 = 1_000_000;
/// Longest name of a model, in bytes.
const MODEL_BYTES_MAX: usize = 200;
/// Largest cost, in millionths of a dollar.
const COST_MAX: u64 = 1_000_000 * 1_000_000;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: Key,
    /// One line for people.
    pub description: Option<String>,
    /// What it is told in front of each task.
    pub instructions: String,
    /// What a task asks for that it does. Never empty.
    pub capabilities: Vec<Key>,
    /// The agent of the configuration that has the role; none: the first that has the capability.
    pub agent: Option<Key>,
    /// The model that its agent is told to use, in place of the agent's own.
    pub model: Option<String>,
    /// Longest prompt, in tokens of about four bytes; none: as long as prompts may be.
    pub prompt_tokens: Option<u64>,
    /// Longest answer of its model, in tokens; none: as long as its agent asks for.
    #[serde(default)]
    pub answer_tokens: Option<u64>,
    /// Runs at once that may have it; none: as many as the host has places for.
    #[serde(default)]
    pub runs_max: Option<u32>,
    /// What one attempt may spend on models, in place of what its agent may.
    pub of_run: Allowance,
    /// What all attempts at a task may spend.
    pub of_task: Allowance,
    /// Hosts that its runs reach, beside models. Whoever wrote the role allowed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Reach>,
    /// What its runs may ask of the kernel.
    #[serde(default, skip_serializing_if = "Profile::is_standard")]
    pub profile: Profile,
}

/// Which system calls runs may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// What builds and agents need.
    #[default]
    Standard,
    /// Only what ordinary programs need.
    Strict,
}

impl Profile {
    const WORDS: &'static [&'static str] = &["standard", "strict"];

    /// For what is not written down because it is usual.
    #[must_use]
    pub const fn is_standard(&self) -> bool {
        matches!(self, Self::Standard)
    }
}

/// Reads the text of a role. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse_role(text: &str, file: &str) -> Result<Role, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| role(&node)).map_err(in_file)
}

fn role(node: &Node) -> Result<Role, Fault> {
    let fields = Fields::of(node, "a role", KEYS)?;
    let key = |node: &Node, key: &str| checked(node, key, Key::parse);
    let keys =
        |node: &Node, name: &str| list_of(node, name, CAPABILITIES_MAX, |node, name| checked(node, name, Key::parse));
    let capabilities = fields.req("capabilities", keys)?;
    if capabilities.is_empty() {
        let problem = Problem::EmptyValue { key: "capabilities".into() };
        return Err(fields.need("capabilities")?.fault(problem));
    }
    let (of_run, of_task) = fields.opt("budget", budget)?.unwrap_or_default();
    Ok(Role {
        name: fields.req("name", key)?,
        description: fields.opt("description", line)?,
        instructions: fields.req("instructions", |node, key| text(node, key, INSTRUCTIONS_BYTES_MAX))?,
        capabilities,
        agent: fields.opt("agent", key)?,
        model: fields.opt("model", model)?,
        prompt_tokens: fields.opt("prompt_tokens", |node, key| positive(node, key, PROMPT_TOKENS_MAX))?,
        answer_tokens: fields.opt("answer_tokens", |node, key| positive(node, key, ANSWER_TOKENS_MAX))?,
        runs_max: fields.opt("runs_max", runs_max)?,
        of_run,
        of_task,
        egress: fields.opt("egress", access::network)?.unwrap_or_default(),
        profile: fields.opt("profile", profile)?.unwrap_or_default(),
    })
}

fn profile(node: &Node, key: &str) -> Result<Profile, Fault> {
    let word = scalar(node, key)?;
    match word.as_str() {
        "standard" => Ok(Profile::Standard),
        "strict" => Ok(Profile::Strict),
        found => {
            let found = printable(found);
            Err(node.fault(Problem::NotOneOf { key: key.to_owned(), found, known: Profile::WORDS }))
        }
    }
}

/// The name of a model, which becomes an argument of a program.
fn model(node: &Node, key: &str) -> Result<String, Fault> {
    let name = line(node, key)?;
    if name.len() > MODEL_BYTES_MAX {
        return Err(node.fault(Problem::ValueTooLong { key: key.to_owned(), bytes: name.len(), max: MODEL_BYTES_MAX }));
    }
    if name.starts_with('-') {
        return Err(node.fault(Problem::Option { key: key.to_owned(), found: name }));
    }
    Ok(name)
}

/// Runs at once.
fn runs_max(node: &Node, key: &str) -> Result<u32, Fault> {
    let found = positive(node, key, STAFF_RUNS_MAX.into())?;
    Ok(u32::try_from(found).unwrap_or(STAFF_RUNS_MAX))
}

fn budget(node: &Node, _: &str) -> Result<(Allowance, Allowance), Fault> {
    let fields = Fields::of(node, "the budget of a role", BUDGET_KEYS)?;
    let tokens = |key: &'static str| fields.opt(key, |node, key| positive(node, key, BUDGET_MAX));
    let cost = |key: &'static str| {
        fields.opt(key, |node, key| match decimal(node, key, 6, COST_MAX)? {
            0 => Err(node.fault(Problem::Zero { key: key.to_owned() })),
            cost => Ok(cost),
        })
    };
    let of_run = Allowance { tokens: tokens("tokens_per_run")?, cost: cost("cost_per_run")? };
    Ok((of_run, Allowance { tokens: tokens("tokens_per_task")?, cost: cost("cost_per_task")? }))
}

fn positive(node: &Node, key: &str, max: u64) -> Result<u64, Fault> {
    match count(node, key, max)? {
        0 => Err(node.fault(Problem::Zero { key: key.to_owned() })),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_whole() {
        let text = "name: qa\ndescription: Looks for faults\ninstructions: |\n  Write tests.\n  Change nothing else.\n\
            capabilities: [qa, test]\nagent: tester\nmodel: some-model\nprompt_tokens: 400\nanswer_tokens: 300\nruns_max: 2\n\
            budget: { tokens_per_run: 20000, cost_per_task: 1.5 }\nprofile: strict\n\
            egress: [crates.io, \"*.example.org:8443\"]\n";
        let role = parse_role(text, "qa.yaml").unwrap();
        assert_eq!(role.instructions, "Write tests.\nChange nothing else.\n");
        assert_eq!(role.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>(), ["qa", "test"]);
        assert_eq!(
            (role.model.as_deref(), role.prompt_tokens, role.answer_tokens, role.runs_max),
            (Some("some-model"), Some(400), Some(300), Some(2))
        );
        assert_eq!(role.of_run, Allowance { tokens: Some(20_000), cost: None });
        assert_eq!(role.of_task, Allowance { tokens: None, cost: Some(1_500_000) });
        let egress: Vec<String> = role.egress.iter().map(ToString::to_string).collect();
        assert_eq!(
            (egress.as_slice(), role.profile),
            (&["crates.io:80,443".into(), "*.example.org:8443".into()][..], Profile::Strict)
        );
        let stored = serde_json::to_string(&role).unwrap();
        assert_eq!(serde_json::from_str::<Role>(&stored).unwrap(), role);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let base = "name: a\ninstructions: b\n";
        for (more, line) in [
            ("capabilities: []\n", 3),
            ("capabilities: [\"\"]\n", 3),
            ("capabilities: [a]\nbudget: { tokens: 1 }\n", 4),
            ("capabilities: [a]\nbudget: { cost_per_run: 0 }\n", 4),
            ("capabilities: [a]\nprompt_tokens: 0\n", 4),
            ("capabilities: [a]\nprompt_tokens: 1000000\n", 4),
            ("capabilities: [a]\nanswer_tokens: 0\n", 4),
            ("capabilities: [a]\nruns_max: 0\n", 4),
            ("capabilities: [a]\nruns_max: 10001\n", 4),
            ("capabilities: [a]\nnetwork: true\n", 4),
            ("capabilities: [a]\nmodel: --yes\n", 4),
            ("capabilities: [a]\negress: true\n", 4),
            ("capabilities: [a]\negress: [\"*\"]\n", 4),
            ("capabilities: [a]\negress: [10.0.0.1]\n", 4),
            ("capabilities: [a]\nprofile: none\n", 4),
        ] {
            let error = parse_role(&format!("{base}{more}"), "a.yaml").unwrap_err();
            assert_eq!(error.place.line, line, "{more}: {error}");
        }
        assert!(parse_role("name: a\ncapabilities: [a]\n", "a.yaml").is_err());
    }
}
