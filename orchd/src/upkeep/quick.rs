//! The check that takes seconds, however much there is: the newest part of a large state, all of a small one.
//!
//! What it leaves out it says. Everything is what the other check is for.

use std::ops::ControlFlow;

use orch_core::digest::Digest;
use orch_core::entity::{Run, Vision};
use orch_core::view::{Filter, ReadError};
use orch_proto::view::CheckReport;
use orch_store::{READ_DEADLINE_MS_MAX, ReadView};

use super::check::{report, unreadable};
use super::names::{blob_of, blobs_of};
use super::progress::Ended;
use crate::app::App;

/// Newest events whose links are checked, and with what they happened to the rows.
const EVENTS_MAX: u64 = 50_000;
/// Events that are followed for that at most: all that ever happened to these things.
const FOLLOWED_MAX: u64 = 2 * EVENTS_MAX;
/// Newest runs, and newest Visions, whose blobs are looked for.
const NAMING_MAX: usize = 20_000;
/// Size up to which SQLite checks its file, in bytes: it reads all of it.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Blobs, each with what it is, for people.
type Blobs = Vec<(Digest, String)>;

/// Checks the newest part of the state of a running daemon. Blocks.
pub(super) fn check(app: &App) -> Result<CheckReport, Ended> {
    let failed = |error: &ReadError| Ended::from(unreadable(error));
    let store = &app.store;
    let mut left_out = Vec::new();
    let before = store.subscribe().borrow().saturating_sub(EVENTS_MAX);
    let audit = store.verify_chain_after(before).map_err(|error| failed(&error))?;
    let compared = if before == 0 { store.check_rebuild() } else { store.check_newest(before, FOLLOWED_MAX) };
    let rebuilt = compared.map_err(|error| failed(&error))?;
    if before > 0 {
        left_out.push(format!("events up to {before}, and rows of what nothing happened to since"));
    }
    let integrity = if store.size_bytes() <= FILE_BYTES_MAX {
        store.integrity().map_err(|error| failed(&error))?
    } else {
        left_out.push(format!("the form of the database file, which has {} MiB", store.size_bytes() >> 20));
        "ok".to_owned()
    };
    let mut report = report(audit, rebuilt, integrity);
    let (named, is_all) = store.read_within(READ_DEADLINE_MS_MAX, newest_blobs).map_err(|error| failed(&error))?;
    if !is_all {
        left_out.push(format!("blobs of all but the newest {NAMING_MAX} runs and Visions"));
    }
    let missing = named.iter().filter(|(digest, _)| !app.blobs.exists(digest));
    report.blobs_missing = missing.map(|(digest, what)| format!("{digest} ({what})")).collect();
    report.not_looked_at = left_out;
    Ok(report)
}

/// The blobs that the newest runs and Visions name, and whether that are all.
fn newest_blobs(view: &ReadView<'_>) -> Result<(Blobs, bool), ReadError> {
    let (mut blobs, mut runs, mut visions) = (Blobs::new(), 0, 0);
    let go_on = |count: &mut usize| {
        *count += 1;
        if *count > NAMING_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    view.each_newest(&Filter::default(), &[], |run: Run| {
        blobs.extend(blobs_of(&run).map(|(digest, (_, what))| (digest, what)));
        go_on(&mut runs)
    })?;
    view.each_newest(&Filter::default(), &[], |vision: Vision| {
        let (digest, (_, what)) = blob_of(&vision);
        blobs.push((digest, what));
        go_on(&mut visions)
    })?;
    Ok((blobs, runs.max(visions) <= NAMING_MAX))
}
