//! Policy data of a repository: for now, which paths need an approval before a change to them is merged.

use serde::{Deserialize, Serialize};

use super::glob::Glob;
use super::problem::{Problem, RecipeError};
use super::reader::{Fields, checked, line, list_of};
use super::text::Key;
use super::yaml::{self, Fault, Node};

const KEYS: &[&str] = &["name", "description", "protected_paths"];
const PATHS_MAX: usize = 200;

/// Paths that need an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Name shown with a decision.
    pub name: Key,
    /// One line for people.
    pub description: Option<String>,
    /// A change that touches one of these waits for an approval. Never empty.
    pub protected_paths: Vec<Glob>,
}

impl Policy {
    /// The first pattern that `path` (relative to the repository) falls under.
    pub fn protects(&self, path: &str) -> Option<&Glob> {
        self.protected_paths.iter().find(|glob| glob.guards(path))
    }
}

/// Reads the text of a policy file. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse_policy(text: &str, file: &str) -> Result<Policy, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| policy(&node)).map_err(in_file)
}

fn policy(node: &Node) -> Result<Policy, Fault> {
    let fields = Fields::of(node, "a policy", KEYS)?;
    let globs = |node: &Node, key: &str| list_of(node, key, PATHS_MAX, |node, key| checked(node, key, Glob::parse));
    let protected_paths = fields.req("protected_paths", globs)?;
    if protected_paths.is_empty() {
        let problem = Problem::EmptyValue { key: "protected_paths".into() };
        return Err(fields.need("protected_paths")?.fault(problem));
    }
    Ok(Policy {
        name: fields.req("name", |node, key| checked(node, key, Key::parse))?,
        description: fields.opt("description", line)?,
        protected_paths,
    })
}
