//! What a model is asked in the place of the rules, and what is made of its answer.
//!
//! In reading order: `shape` ties a type to its JSON schema, `answer` has the types that a model fills in, `prompt` says what it
//! is told, `requirements` and `plan` check an answer and make of it what the rules would have made, `topics` is what people are
//! asked. Pure: who asks, over which wire, and what that costs is nothing of this. **Invariant:** an answer is a stranger's
//! text: it is bounded before it is read, nothing of it is taken that does not hold, and what is wrong is said in bounded words.

mod answer;
mod plan;
mod prompt;
mod requirements;
mod shape;
mod topics;

pub use answer::{ANSWER_BYTES_MAX, Problems, Wish};
pub use plan::{TASKS_OF_MODEL_MAX, plan_of};
pub use prompt::{Prompt, PromptError, Reply, Speaker, Wanted, prompt, repair};
pub use requirements::{REQUIREMENTS_OF_MODEL_MAX, Understood, requirements_of};
pub use topics::{Question, Topic, include, unsaid};
