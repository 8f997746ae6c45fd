//! What passed between runs and models: from the record, and the texts from where they are kept.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_adapters::blobs::GetError;
use orch_core::digest::Digest;
use orch_core::entity::{Meter, Run, RunPart};
use orch_proto::request::Bytes;
use orch_proto::view::{ExchangePart, ExchangeView, TextView};
use orch_proto::{EntityKind, ErrorCode, LOG_PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Ref, RpcError};

use super::super::identity::Caller;
use super::super::{errors, resolve};
use super::{readable, with_view};
use crate::agents::PROMPT_FILE;
use crate::app::{App, blocking};
use crate::exchanges::{self, Exchange};

pub(crate) async fn run_exchanges(
    app: &Arc<App>,
    _: &Caller,
    run: Ref,
    after: u32,
    limit: u32,
) -> Result<Vec<ExchangeView>, RpcError> {
    let site = Arc::clone(app);
    let limit = limit.clamp(1, PAGE_ITEMS_MAX) as usize;
    with_view(app, move |view| {
        let run = resolve::entity::<Run>(view, &run)?;
        let found = readable(exchanges::list(view, run.id, (after, limit)))?;
        Ok(found.into_iter().map(|exchange| shown(&site, &run, exchange)).collect())
    })
    .await
}

fn shown(app: &App, run: &Run, exchange: Exchange) -> ExchangeView {
    let Exchange { number, at, request, answered } = exchange;
    let text = |digest: Digest, bytes, part| TextView {
        digest: digest.to_string(),
        bytes,
        is_kept: app.blobs.exists(&digest) || file_of(app, run, number, part).is_file(),
    };
    let request_text = text(request.body, request.body_bytes, ExchangePart::Request);
    let server = run.agent.as_ref().and_then(|agent| agent.server.as_ref()).map(|server| server.name.clone());
    let (answered_at, answer) = answered.unzip();
    ExchangeView {
        number,
        at,
        path: request.path,
        model: answer.as_ref().and_then(|answer| answer.model.clone()).or(request.model),
        server,
        end: answer.as_ref().map(|answer| answer.end.clone()),
        answered_at,
        status: answer.as_ref().and_then(|answer| answer.status),
        input_tokens: answer.as_ref().map_or(0, |answer| answer.tokens.input),
        cached_tokens: answer.as_ref().map_or(0, |answer| answer.tokens.cached),
        output_tokens: answer.as_ref().map_or(0, |answer| answer.tokens.output),
        is_estimate: answer.as_ref().is_some_and(|answer| answer.is_estimate),
        cost_text: answer.as_ref().and_then(|answer| answer.cost).map(|cost| Meter::Cost.amount(cost)),
        tries: answer.as_ref().map_or(0, |answer| answer.tries),
        request: request_text,
        answer: answer.and_then(|answer| Some(text(answer.body?, answer.body_bytes, ExchangePart::Answer))),
    }
}

/// Where versions before blobs kept a text.
fn file_of(app: &App, run: &Run, number: u32, part: ExchangePart) -> PathBuf {
    let directory = app.dirs.run(run.id);
    match part {
        ExchangePart::Request if number == 0 => directory.join(PROMPT_FILE),
        ExchangePart::Request => directory.join(format!("model-{number}.request")),
        ExchangePart::Answer => directory.join(format!("model-{number}.answer")),
    }
}

pub(crate) async fn run_exchange(
    app: &Arc<App>,
    _: &Caller,
    run: Ref,
    number: u32,
    part: ExchangePart,
    offset: u64,
) -> Result<Bytes, RpcError> {
    let (run, digest) = with_view(app, move |view| {
        let run = resolve::entity::<Run>(view, &run)?;
        let found = match number.checked_sub(1) {
            None => None,
            Some(before) => {
                let mut found = readable(exchanges::list(view, run.id, (before, 1)))?;
                Some(found.pop().filter(|found| found.number == number).ok_or_else(|| unknown(&run, number))?)
            }
        };
        let digest = match (part, found) {
            (ExchangePart::Request, None) => run.told.map(|told| told.prompt),
            (ExchangePart::Answer, None) => None,
            (ExchangePart::Request, Some(found)) => Some(found.request.body),
            (ExchangePart::Answer, Some(found)) => found.answered.and_then(|(_, answer)| answer.body),
        };
        Ok((run, digest))
    })
    .await?;
    let app = Arc::clone(app);
    blocking(move || text(&app, &run, (number, part, digest), offset)).await
}

/// A piece of a text. Blocks.
fn text(
    app: &App,
    run: &Run,
    (number, part, digest): (u32, ExchangePart, Option<Digest>),
    offset: u64,
) -> Result<Bytes, RpcError> {
    let bytes_max = u64::from(LOG_PAGE_BYTES_MAX);
    let failed = |error: &dyn std::error::Error| errors::internal("failed to read what passed to a model", error);
    match digest.map(|digest| app.blobs.read(&digest, offset, bytes_max)) {
        Some(Ok(bytes)) => return Ok(Bytes(bytes)),
        Some(Err(GetError::Missing(_))) | None => {}
        Some(Err(error)) => return Err(failed(&error)),
    }
    match piece(&file_of(app, run, number, part), offset, bytes_max) {
        Ok(bytes) => Ok(Bytes(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone(run, number, digest)),
        Err(error) => Err(failed(&error)),
    }
}

fn piece(path: &Path, offset: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unknown(run: &Run, number: u32) -> RpcError {
    let name = EntityKind::Run.short(run.number);
    let there = run.models.exchanges;
    RpcError::new(ErrorCode::NotFound, format!("{name} has no exchange {number}; it asked models {there} times"))
        .hint(format!("`orchctl run exchanges {name}` lists them"))
}

/// Why a text is not there.
fn gone(run: &Run, number: u32, digest: Option<Digest>) -> RpcError {
    if let Err(removed) = errors::unless_removed(run, RunPart::Texts) {
        return removed;
    }
    let name = EntityKind::Run.short(run.number);
    let what = if number == 0 { format!("what the agent of {name} was told") } else { format!("this text of {name}") };
    match digest {
        Some(digest) => RpcError::new(
            ErrorCode::NotFound,
            format!("{what} is not kept: there was no room for it, or its time is over; it was {digest}"),
        )
        .hint("a backup may have it, in its `blobs`"),
        None => RpcError::new(ErrorCode::NotFound, format!("{what} is not on record: there is none so far"))
            .hint(format!("`orchctl run exchanges {name}` says what there is")),
    }
}
