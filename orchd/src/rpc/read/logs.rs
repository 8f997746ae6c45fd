//! Logs, artifacts, diffs and events: what can be long, in pieces, and what can be waited for.

use std::sync::Arc;
use std::time::Duration;

use orch_adapters::git::CommitId;
use orch_adapters::{executor, run_log as log};
use orch_core::entity::{Change, Run, RunPart};
use orch_core::view::View as _;
use orch_proto::request::Bytes;
use orch_proto::view::{DiffView, EventPage, LogPage};
use orch_proto::{EntityKind, ErrorCode, LOG_PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Ref, RpcError, WAIT_MS_MAX};

use super::super::identity::Caller;
use super::super::{errors, resolve};
use super::{readable, with_view};
use crate::agents;
use crate::app::{App, blocking};
use crate::convert;

/// Longest diff that is answered, in bytes.
const DIFF_BYTES_MAX: u64 = 1 << 20;
/// How often a log that is waited for is looked at.
const LOG_LOOK: Duration = Duration::from_millis(40);
/// By which part of what waits to be read it has to grow before it is read again: a long line that does not end is not read
/// anew with each of its bytes.
const GROWTH: u64 = 8;

pub(crate) async fn run_log(
    app: &Arc<App>,
    _: &Caller,
    run: Ref,
    offset: u64,
    bytes_max: u32,
    wait_ms: u32,
    raw: bool,
) -> Result<LogPage, RpcError> {
    let run = with_view(app, move |view| {
        let run = resolve::entity::<Run>(view, &run)?;
        errors::unless_removed(&run, RunPart::Log).map(|()| run)
    })
    .await?;
    let id = run.id;
    let path = executor::log_path(&app.dirs.run(id));
    let agent = agents::output_of(app, &run).filter(|_| !raw);
    let bytes_max = bytes_max.clamp(1, LOG_PAGE_BYTES_MAX) as usize;
    let offset = offset.max(executor::LOG_START);
    let until = tokio::time::Instant::now() + Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
    let mut changed = app.store.subscribe();
    let mut over = false;
    let mut asked = false;
    // How large it was when it was read and gave nothing.
    let mut read_at = None;
    loop {
        // Whether the run is over is asked before its log is read: what was written before its end is then seen.
        if !asked || changed.has_changed().unwrap_or(false) {
            asked = true;
            changed.mark_unchanged();
            over = readable(app.read(move |view| view.get::<Run>(id)).await)?.is_none_or(|run| run.state.is_final());
        }
        let log = path.clone();
        let size = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let is_late = tokio::time::Instant::now() >= until;
        let waits =
            read_at.is_some_and(|read: u64| size < read.saturating_add(read.saturating_sub(offset) / GROWTH + 1));
        if waits && !over && !is_late {
            tokio::select! {
                () = app.stopped() => return Ok(LogPage { chunks: Vec::new(), next_offset: offset, end: false }),
                _ = changed.changed() => asked = false,
                () = tokio::time::sleep(LOG_LOOK) => {}
            }
            continue;
        }
        read_at = Some(size);
        let mut piece = blocking(move || match agent {
            Some(agent) => orch_adapters::agent::told(&log, offset, (bytes_max, over), agent),
            None => log::chunks(&log, offset, bytes_max),
        })
        .await
        .map_err(|error| errors::internal("failed to read the log of the run", &error))?;
        // The log knows the steps that are executed, people all of them.
        piece.items.iter_mut().for_each(|chunk| chunk.step = chunk.step.map(|step| run.step_at(step)));
        let moved = piece.next_offset > offset;
        if moved || over || is_late {
            return Ok(LogPage { chunks: piece.items, next_offset: piece.next_offset, end: over && !moved });
        }
    }
}

pub(crate) async fn artifact(
    app: &Arc<App>,
    _: &Caller,
    run: Ref,
    path: String,
    offset: u64,
) -> Result<Bytes, RpcError> {
    let digest = with_view(app, move |view| {
        let run = resolve::entity::<Run>(view, &run)?;
        errors::unless_removed(&run, RunPart::Artifacts)?;
        let kept = run.artifacts.iter().find(|kept| kept.path == path);
        kept.map(|kept| kept.digest).ok_or_else(|| {
            RpcError::new(ErrorCode::NotFound, format!("the run kept no artifact `{path}`"))
                .hint("`orchctl run artifacts` lists them")
        })
    })
    .await?;
    let app = Arc::clone(app);
    blocking(move || app.blobs.read(&digest, offset, u64::from(LOG_PAGE_BYTES_MAX)))
        .await
        .map(Bytes)
        .map_err(|error| errors::internal("failed to read the artifact", &error))
}

pub(crate) async fn change_diff(app: &Arc<App>, _: &Caller, change: Ref) -> Result<DiffView, RpcError> {
    let (change, run) = with_view(app, move |view| {
        let change = resolve::entity::<Change>(view, &change)?;
        let run = readable(view.get::<Run>(change.run))?;
        Ok((change, run))
    })
    .await?;
    let app = Arc::clone(app);
    blocking(move || {
        let removed = run.and_then(|run| errors::unless_removed(&run, RunPart::Result).err());
        // Its commit can still be there without the ref, which keeps it.
        let failed = |error: &dyn std::error::Error| {
            removed.clone().unwrap_or_else(|| errors::internal("failed to read the change", error))
        };
        let repository = app.repository(change.project).map_err(|error| failed(&error))?;
        let commit = |text: &String| CommitId::parse(text).map_err(|error| failed(&error));
        let base = change.proposal.base.as_ref().map(commit).transpose()?;
        let head = commit(&change.proposal.head)?;
        let diff = repository.diff_text(base.as_ref(), &head, DIFF_BYTES_MAX).map_err(|error| failed(&error))?;
        Ok(DiffView {
            name: EntityKind::Change.short(change.number),
            text: String::from_utf8_lossy(&diff.bytes).into_owned(),
            truncated: diff.truncated,
        })
    })
    .await
}

pub(crate) async fn events_since(
    app: &Arc<App>,
    _: &Caller,
    after: u64,
    limit: u32,
    wait_ms: u32,
    with_data: bool,
) -> Result<EventPage, RpcError> {
    let mut changed = app.store.subscribe();
    let mut outage = app.store.outage();
    let was_out = outage.borrow_and_update().is_some();
    let wait = Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
    tokio::select! {
        // Level-triggered: what was committed before this call counts as well.
        _ = changed.wait_for(|seq| *seq > after) => {}
        _ = outage.wait_for(|outage| outage.is_some() != was_out) => {}
        () = app.stopped() => {}
        () = tokio::time::sleep(wait) => {}
    }
    let limit = limit.clamp(1, PAGE_ITEMS_MAX);
    let outage = app.store.outage().borrow().is_some();
    with_view(app, move |view| {
        let recorded = readable(view.events(after, limit))?;
        let mut events = Vec::with_capacity(recorded.len());
        for event in &recorded {
            events.push(readable(convert::event_view(view, &event.recorded, with_data))?);
        }
        let next = recorded.last().map_or(after, |last| last.recorded.seq);
        Ok(EventPage { events, next, head: view.seq(), outage })
    })
    .await
}
