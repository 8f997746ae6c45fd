//! Tables of events and of the checks of the host.

use orch_proto::view::{CheckResult, DoctorCheck, EventView, SecretView, ToolView};

use super::{Resource, state_role};
use crate::fmt::duration::bytes;
use crate::fmt::table::Show::{Flexible, OnDemand, Usual};
use crate::fmt::table::{Cell, Column};

impl Resource for EventView {
    const KIND: &'static str = "Event";
    const LIST_KIND: &'static str = "EventList";

    fn name(&self) -> String {
        self.seq.to_string()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<EventView>; 8] = [
            Column { name: "seq", show: Usual, cell: |event, _| event.seq.to_string().into() },
            Column { name: "at", show: Usual, cell: |event, _| event.at.to_string().into() },
            Column { name: "actor", show: Usual, cell: |event, _| event.actor.as_str().into() },
            Column { name: "kind", show: Usual, cell: |event, _| event.kind.as_str().into() },
            Column { name: "project", show: OnDemand, cell: |event, _| event.project.as_deref().into() },
            Column { name: "subject", show: Usual, cell: |event, _| event.subject.as_str().into() },
            Column { name: "text", show: Flexible, cell: |event, _| event.text.as_str().into() },
            Column { name: "hash", show: OnDemand, cell: |event, _| event.hash.as_str().into() },
        ];
        &COLUMNS
    }
}

/// The word for the result of a check.
#[must_use]
pub const fn check_word(result: CheckResult) -> &'static str {
    match result {
        CheckResult::Ok => "ok",
        CheckResult::Warning => "warning",
        CheckResult::Failed => "failed",
    }
}

impl Resource for SecretView {
    const KIND: &'static str = "Secret";
    const LIST_KIND: &'static str = "SecretList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<SecretView>; 4] = [
            Column { name: "name", show: Usual, cell: |secret, _| secret.name.as_str().into() },
            Column { name: "source", show: Usual, cell: |secret, _| secret.source.as_str().into() },
            Column { name: "size", show: Usual, cell: |secret, _| bytes(secret.size_bytes).into() },
            Column { name: "changed", show: Usual, cell: |secret, _| secret.changed_at.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for ToolView {
    const KIND: &'static str = "Tool";
    const LIST_KIND: &'static str = "ToolList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ToolView>; 7] = [
            Column { name: "name", show: Usual, cell: |tool, _| tool.name.as_str().into() },
            Column { name: "version", show: Usual, cell: |tool, _| tool.version.as_str().into() },
            Column {
                name: "state",
                show: Usual,
                cell: |tool, _| Cell::new(tool.state.label(), state_role(tool.state.label())),
            },
            Column { name: "size", show: Usual, cell: |tool, _| bytes(tool.size_bytes).into() },
            Column { name: "detail", show: Flexible, cell: |tool, _| tool.detail.as_deref().into() },
            Column { name: "content", show: OnDemand, cell: |tool, _| tool.content.as_deref().into() },
            Column { name: "by", show: OnDemand, cell: |tool, _| tool.by.as_deref().into() },
        ];
        &COLUMNS
    }
}

impl Resource for DoctorCheck {
    const KIND: &'static str = "Check";
    const LIST_KIND: &'static str = "CheckList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<DoctorCheck>; 4] = [
            Column {
                name: "result",
                show: Usual,
                cell: |check, _| Cell::new(check_word(check.result), state_role(check_word(check.result))),
            },
            Column { name: "name", show: Usual, cell: |check, _| check.name.as_str().into() },
            Column { name: "detail", show: Flexible, cell: |check, _| check.detail.as_str().into() },
            Column { name: "fix", show: OnDemand, cell: |check, _| check.fix.as_deref().into() },
        ];
        &COLUMNS
    }
}
