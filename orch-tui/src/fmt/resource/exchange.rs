//! Table of what passed between a run and models.

use orch_proto::view::ExchangeView;

use super::Resource;
use crate::fmt::duration::{age, bytes};
use crate::fmt::table::Column;
use crate::fmt::table::Show::{Flexible, OnDemand, Usual};
use crate::fmt::thousands;

/// How it ended, in a word; `waits` while it has not.
fn end(exchange: &ExchangeView) -> String {
    let status = exchange.status.map_or_else(String::new, |status| format!(" {status}"));
    format!("{}{status}", exchange.end.as_deref().unwrap_or("waits"))
}

/// A number of tokens; with a mark where it is no server's figure.
fn tokens(exchange: &ExchangeView, count: u64) -> String {
    let about = if exchange.is_estimate { "~" } else { "" };
    format!("{about}{}", thousands(count))
}

impl Resource for ExchangeView {
    const KIND: &'static str = "Exchange";
    const LIST_KIND: &'static str = "ExchangeList";

    fn name(&self) -> String {
        self.number.to_string()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ExchangeView>; 13] = [
            Column { name: "number", show: Usual, cell: |exchange, _| exchange.number.to_string().into() },
            Column { name: "age", show: Usual, cell: |exchange, now| age(exchange.at, now).into() },
            Column { name: "model", show: Flexible, cell: |exchange, _| exchange.model.as_deref().into() },
            Column { name: "end", show: Usual, cell: |exchange, _| end(exchange).into() },
            Column { name: "in", show: Usual, cell: |exchange, _| tokens(exchange, exchange.input_tokens).into() },
            Column { name: "out", show: Usual, cell: |exchange, _| tokens(exchange, exchange.output_tokens).into() },
            Column { name: "cost", show: Usual, cell: |exchange, _| exchange.cost_text.as_deref().into() },
            Column { name: "asked", show: Usual, cell: |exchange, _| bytes(exchange.request.bytes).into() },
            Column {
                name: "answered",
                show: Usual,
                cell: |exchange, _| exchange.answer.as_ref().map_or("-".into(), |text| bytes(text.bytes).into()),
            },
            Column { name: "tries", show: OnDemand, cell: |exchange, _| exchange.tries.to_string().into() },
            Column { name: "path", show: OnDemand, cell: |exchange, _| exchange.path.as_str().into() },
            Column { name: "server", show: OnDemand, cell: |exchange, _| exchange.server.as_deref().into() },
            Column { name: "digest", show: OnDemand, cell: |exchange, _| exchange.request.digest.as_str().into() },
        ];
        &COLUMNS
    }
}
