//! `orchctl run exchanges` and `orchctl run prompt`: what an agent was told, what it asked models and was answered.

use clap::Args;
use orch_proto::view::{ExchangePart, ExchangeView, RunView, TextView};
use orch_proto::{ErrorCode, PAGE_ITEMS_MAX, Ref};

use super::run;
use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::duration::bytes;
use crate::fmt::thousands;
use crate::text::SafeText;

/// Which exchanges, and what of them.
#[derive(Debug, Args)]
pub(crate) struct ExchangeArgs {
    /// The run, as `R-12` or `shop/R-12`
    run: String,
    /// One of them, with what was asked and answered
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    number: Option<u32>,
    /// Only what was asked
    #[arg(long, requires = "number", conflicts_with = "answer")]
    request: bool,
    /// Only what was answered
    #[arg(long, requires = "number")]
    answer: bool,
    /// The bytes as they were; on a terminal only for models and agents that you trust
    #[arg(long, requires = "number")]
    raw: bool,
}

pub(crate) async fn run(session: &Session, args: ExchangeArgs) -> Result<(), Failure> {
    let run = run::get(session, &session.reference(&args.run)).await?;
    let id = Ref(run.id.to_string());
    let Some(number) = args.number else { return session.list(&all(session, &id).await?) };
    let wanted = match (args.request, args.answer) {
        (true, _) => Some(ExchangePart::Request),
        (false, true) => Some(ExchangePart::Answer),
        (false, false) => None,
    };
    if let Some(part) = wanted {
        let text = whole(session, &id, (number, part)).await?;
        return write(session, &text, args.raw);
    }
    let found = page(session, &id, (number - 1, 1)).await?.pop().filter(|found| found.number == number);
    let found = found.ok_or_else(|| no_exchange(&run, number))?;
    if session.options.output != Format::Table || !session.options.columns.is_empty() {
        return session.show(&found, String::new);
    }
    session.console.data(head(&run, &found).as_bytes())?;
    for (word, part, text) in [
        ("asked", ExchangePart::Request, Some(&found.request)),
        ("answered", ExchangePart::Answer, found.answer.as_ref()),
    ] {
        let Some(text) = text else { continue };
        session.line(&format!("--- {word}: {}", size(text)))?;
        if text.is_kept {
            write(session, &whole(session, &id, (number, part)).await?, args.raw)?;
        }
    }
    Ok(())
}

/// What the agent of a run was told.
pub(crate) async fn prompt(session: &Session, run: &str, raw: bool) -> Result<(), Failure> {
    let run = run::get(session, &session.reference(run)).await?;
    if run.agent.is_none() {
        let message = format!("{} does known steps: nobody was told anything", run.name);
        return Err(Failure::new(ErrorCode::NotFound, message, "`orchctl run steps` shows them"));
    }
    let text = whole(session, &Ref(run.id.to_string()), (0, ExchangePart::Request)).await?;
    write(session, &text, raw)
}

fn no_exchange(run: &RunView, number: u32) -> Failure {
    let asked = run.agent.as_ref().map_or(0, |agent| agent.exchanges);
    let message = format!("{} has no exchange {number}; it asked models {asked} times", run.name);
    Failure::new(ErrorCode::NotFound, message, format!("`orchctl run exchanges {}` lists them", run.name))
}

async fn all(session: &Session, run: &Ref) -> Result<Vec<ExchangeView>, Failure> {
    let mut found: Vec<ExchangeView> = Vec::new();
    loop {
        let after = found.last().map_or(0, |last| last.number);
        let more = page(session, run, (after, PAGE_ITEMS_MAX)).await?;
        let is_all = more.len() < PAGE_ITEMS_MAX as usize;
        found.extend(more);
        if is_all {
            return Ok(found);
        }
    }
}

async fn page(session: &Session, run: &Ref, (after, limit): (u32, u32)) -> Result<Vec<ExchangeView>, Failure> {
    let run = run.clone();
    session.read(async |orch, context| orch.run_exchanges(context, run, after, limit).await).await
}

/// All of a text.
async fn whole(session: &Session, run: &Ref, (number, part): (u32, ExchangePart)) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    loop {
        let (run, offset) = (run.clone(), text.len() as u64);
        let piece =
            session.read(async |orch, context| orch.run_exchange(context, run, number, part, offset).await).await?;
        if piece.0.is_empty() {
            return Ok(text);
        }
        text.extend(piece.0);
    }
}

/// Writes a text, which ends with a line end in any case unless its bytes are wanted.
fn write(session: &Session, text: &[u8], raw: bool) -> Result<(), Failure> {
    if raw {
        return Ok(session.console.data(text)?);
    }
    let text = SafeText::block(&String::from_utf8_lossy(text));
    let end = if text.as_str().ends_with('\n') { "" } else { "\n" };
    Ok(session.console.data(format!("{text}{end}").as_bytes())?)
}

/// What is known of an exchange, a line each.
fn head(run: &RunView, exchange: &ExchangeView) -> String {
    let mut out = format!("{}  exchange {}\n", SafeText::line(&run.name), exchange.number);
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<11} {}\n", SafeText::line(value)));
    let model = exchange.model.as_deref().unwrap_or("a model");
    let server = exchange.server.as_ref().map_or_else(String::new, |server| format!(" of {server}"));
    field("asked", &format!("{} {model}{server}, {}", exchange.at, exchange.path));
    match (&exchange.end, exchange.answered_at) {
        (Some(end), Some(at)) => {
            let status = exchange.status.map_or_else(String::new, |status| format!(" {status}"));
            let tries = if exchange.tries > 1 { format!(", sent {} times", exchange.tries) } else { String::new() };
            field("answered", &format!("{at} {end}{status}{tries}"));
        }
        _ => field("answered", "not yet"),
    }
    let about = if exchange.is_estimate { "about " } else { "" };
    let cost = exchange.cost_text.as_ref().map_or_else(String::new, |cost| format!("; {cost}"));
    let (input, output) = (thousands(exchange.input_tokens), thousands(exchange.output_tokens));
    field("tokens", &format!("{about}{input} in ({} cached), {output} out{cost}", thousands(exchange.cached_tokens)));
    out
}

fn size(text: &TextView) -> String {
    let kept = if text.is_kept { "" } else { ", not kept" };
    format!("{}, {}{kept}", bytes(text.bytes), text.digest)
}
