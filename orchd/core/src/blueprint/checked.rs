//! A blueprint as the rest of the product sees it: checked, complete, storable.
//!
//! Built only by `parse`: every `needs`, `story` and `epic` exists, keys are unique, tasks form no circle.

use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, ParameterEnv};
use crate::recipe::{Glob, Key, Step};

/// Most tasks in one blueprint.
pub const TASKS_MAX: usize = 500;

/// A whole piece of software as scripted tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Name by which a Vision asks for it; the name of its directory.
    pub name: Key,
    /// Version of the blueprint itself.
    pub version: String,
    /// One line for people.
    pub title: String,
    /// What it builds and what it does not.
    pub description: String,
    /// What a Vision may choose.
    pub parameters: Vec<Parameter>,
    /// What the daemon runs again on the tree that would be merged. Never empty.
    pub gates: Vec<Step>,
    /// A change that touches one of these waits for an approval.
    pub protected_paths: Vec<Glob>,
    /// In the order written.
    pub epics: Vec<Epic>,
    /// In the order written.
    pub stories: Vec<Story>,
    /// In the order written, which need not be the order of work.
    pub tasks: Vec<Task>,
    /// How the finished software is tried out, if the blueprint says.
    pub verify: Option<Verify>,
}

/// A large part of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epic {
    /// Unique among epics.
    pub key: Key,
    /// One line.
    pub title: String,
}

/// A part of an epic that makes sense to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// Unique among stories.
    pub key: Key,
    /// One line.
    pub title: String,
    /// The epic it belongs to.
    pub epic: Key,
}

/// One scripted task; its result is one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique among tasks.
    pub key: Key,
    /// One line, imperative.
    pub title: String,
    /// The story it belongs to.
    pub story: Key,
    /// The epic of that story.
    pub epic: Key,
    /// Tasks that must be merged before it starts.
    pub needs: Vec<Key>,
    /// Requirement ids (`FR-3`) and keywords (`pagination`) that it serves.
    pub covers: Vec<String>,
    /// When it is done, in words.
    pub acceptance: Vec<String>,
    /// Commands, in order, run in the workspace. Never empty.
    pub steps: Vec<Step>,
    /// Files to keep when the task has ended, beside those of its steps.
    pub artifacts: Vec<Glob>,
    /// Expected duration, minutes.
    pub estimate_minutes: u32,
    /// What could go wrong, in words.
    pub risk: Option<String>,
}

/// How the finished software is tried out: start it, wait until it is ready, call it, stop it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Starts the service in the foreground; it listens on 127.0.0.1 and the port in `$PORT`, and ends on SIGTERM.
    pub start: Step,
    /// Path that answers 200 once the service is ready.
    pub ready_path: String,
    /// How long to wait for that, milliseconds.
    pub ready_timeout_ms: u64,
    /// Calls to make, in order. Never empty.
    pub calls: Vec<Call>,
}

/// One HTTP call with what is expected of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD` or `OPTIONS`.
    pub method: String,
    /// Path and query, starting with `/`. `{name}` stands for the value of a parameter; see `path_with`.
    pub path: String,
    /// Extra request headers, in the order written.
    pub headers: Vec<(String, String)>,
    /// Request body, sent as `application/json` unless a header says otherwise.
    pub body: Option<String>,
    /// Expected status code, 100 to 599.
    pub expect_status: u16,
    /// Text that the body of the answer must contain.
    pub expect_contains: Option<String>,
}

impl Call {
    /// The path with the values of parameters in it. A value has only the characters that its parameter allows and goes
    /// into a request line, never into a shell.
    pub fn path_with(&self, parameters: &[Parameter], values: &ParameterEnv) -> String {
        let mut path = self.path.clone();
        for parameter in parameters {
            if let Some(value) = values.get(&parameter.env_name()) {
                path = path.replace(&format!("{{{}}}", parameter.name), value);
            }
        }
        path
    }
}
