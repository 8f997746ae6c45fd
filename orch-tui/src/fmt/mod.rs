//! How things look as text: tables, ages, colours, graphs, and the machine formats. Shared by both programs.
//!
//! Pure: a view and the time in, text out. What comes from a view passes through [`SafeText`](crate::text::SafeText)
//! here; the machine formats keep the data whole and escape what a terminal would obey.

pub(crate) mod agent;
pub mod color;
mod count;
pub mod diff;
pub mod document;
pub mod duration;
pub mod eta;
pub mod graph;
mod natural;
pub mod resource;
pub mod table;

pub use count::count;
pub(crate) use count::thousands;
pub use natural::natural;
#[cfg(test)]
pub(crate) use resource::samples;
pub use resource::{Resource, document_state, project_state};
