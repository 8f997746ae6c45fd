//! The board: tasks by state as columns or as a list, and the live log of the selected one below.

mod dossier;
mod draw;
mod state;

pub(crate) use dossier::dossier;
pub(crate) use draw::draw;
pub(crate) use state::{Board, act, settle};
