//! The terminal UI without a terminal: `update(model, message) -> commands`, and `draw(model)`. Both are pure.
//!
//! Nothing here reads a clock, an environment, a socket or a screen (invariant I10: the state changes in [`update`] only,
//! drawing changes nothing). Every text of the daemon becomes [`crate::text::SafeText`] in `rows` and nothing else is
//! drawn. Read `msg`, `model`, `update`, then the screens.

mod action;
mod canvas;
mod cursor;
mod data;
mod doc;
mod draw;
mod edit;
mod elsewhere;
mod enabled;
mod filter;
mod focus;
mod input;
mod key;
mod layout;
mod loader;
mod log;
mod model;
mod msg;
mod overlay;
mod rows;
mod screen;
mod submit;
mod theme;
mod toast;
mod update;
mod when;
mod words;

#[cfg(test)]
#[path = "../../tests/tui/samples.rs"]
mod samples;
#[cfg(test)]
mod tests;

pub(crate) use draw::draw;
pub(crate) use key::{Code, Input, Key};
pub(crate) use model::{Model, Options};
pub(crate) use msg::{Answer, Cmd, LinkEvent, Loaded, Msg, Query};
pub(crate) use theme::Theme;
pub(crate) use update::update;
pub(crate) use when::Now;

/// Columns that one press scrolls sideways, and the farthest that can be scrolled.
const LEFT_STEP: usize = 8;
const LEFT_MAX: usize = 4_000;
