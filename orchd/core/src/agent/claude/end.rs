//! The last line of a turn: totals, and how it ended.

use super::types::ResultLine;
use super::{Claude, tools};
use crate::agent::event::{RunEvent, Stop};
use crate::agent::text::Text;
use crate::agent::usage::{Usage, usd_micros};
use crate::agent::wire::Str;

impl Claude {
    pub(super) fn result(&mut self, line: ResultLine<'_>, sink: &mut dyn FnMut(RunEvent)) {
        // The counts by model are those of the session, with those of agents inside it; `usage` is the turn's alone.
        let used = line.model_usage.0.and_then(|models| models.usage());
        let used = used.or_else(|| line.usage.0.as_ref().map(super::types::Tokens::usage)).unwrap_or_default();
        let cost_usd_micros = line.total_cost_usd.0.and_then(usd_micros);
        let usage = Usage { cost_usd_micros, cumulative: true, ..used };
        if usage != (Usage { cumulative: true, ..Usage::default() }) {
            sink(RunEvent::Usage(usage));
        }
        let deferred = line.deferred_tool_use.0.as_ref().and_then(Option::as_ref);
        deferred.into_iter().for_each(|tool| tools::deferred(tool, sink));
        let subtype = line.subtype.0.as_ref().map_or("", Str::as_str);
        let is_error = line.is_error.0.unwrap_or_else(|| subtype.starts_with("error"));
        let stop = match subtype {
            "error_max_turns" => Stop::TurnLimit,
            "error_max_budget_usd" => Stop::BudgetLimit,
            _ if is_error => Stop::Failed,
            _ if deferred.is_some() => Stop::Deferred,
            _ => match line.stop_reason.0.as_ref().map_or("", Str::as_str) {
                "max_tokens" => Stop::TokenLimit,
                "refusal" => Stop::Refused,
                _ => Stop::Completed,
            },
        };
        if is_error {
            let name = if subtype == "success" { String::new() } else { subtype.to_owned() };
            let status = line.api_error_status.0.and_then(|status| u16::try_from(status).ok());
            let errors = line.errors.0.map(|errors| errors.items).unwrap_or_default();
            let message = line.result.0.filter(|text| !text.is_empty()).or_else(|| errors.into_iter().next());
            let message = message.map_or_else(|| Text::from(name.as_str()), Text::from);
            self.failed(status, &name, message, sink);
        }
        sink(RunEvent::TurnFinished { stop });
    }
}
