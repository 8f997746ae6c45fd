//! An event of an agent in lines for people.

use orch_core::agent::{Choice, FileOp, PlanItem, PlanStatus, Role, RunEvent, Text, ToolKind, ToolStatus, Usage};

/// Most lines of what a tool gave back that are shown; the raw log has all.
const OUTPUT_LINES_MAX: usize = 20;
/// Most lines of what it says itself.
const MESSAGE_LINES_MAX: usize = 1_000;

/// An event in lines.
pub(super) fn words(event: &RunEvent) -> Vec<String> {
    match event {
        RunEvent::SessionStarted { native_id, model } => {
            let model = model.as_ref().map_or_else(String::new, |model| format!(" with {model}"));
            vec![format!("session {native_id}{model}")]
        }
        RunEvent::Message { role: Role::Agent, text, .. } => block("", text, MESSAGE_LINES_MAX),
        RunEvent::Message { role: Role::User, text, .. } => block("> ", text, OUTPUT_LINES_MAX),
        RunEvent::Thought { text, .. } => block("~ ", text, OUTPUT_LINES_MAX),
        RunEvent::Plan { items } => items.iter().map(plan_item).collect(),
        RunEvent::ToolStarted { kind: ToolKind::Execute, input, .. } => block("$ ", input, OUTPUT_LINES_MAX),
        RunEvent::ToolStarted { tool, input, .. } => block(&format!("{tool}: "), input, 1),
        RunEvent::ToolOutput { text, .. } => block("  | ", text, OUTPUT_LINES_MAX),
        RunEvent::ToolFinished { status, exit_code, .. } => finished(*status, *exit_code),
        RunEvent::FileChanged { path, op } => vec![format!("{} {path}", letter(*op))],
        RunEvent::Usage(used) => tokens(used).into_iter().collect(),
        RunEvent::ApprovalRequested { tool, action, .. } => block(&format!("asks for leave: {tool}: "), action, 5),
        RunEvent::InfoRequested { question, options, .. } => {
            let labels: Vec<&str> = options.iter().map(|Choice { label, .. }| label.as_str()).collect();
            let mut lines = block("asks: ", question, OUTPUT_LINES_MAX);
            lines.extend((!labels.is_empty()).then(|| format!("asks: one of {}", labels.join(", "))));
            lines
        }
        RunEvent::RateLimited { resets_at } => {
            let until = resets_at.map_or_else(String::new, |at| format!(" until {at}"));
            vec![format!("its model's provider lets nothing more through{until}")]
        }
        RunEvent::Error { message, .. } => block("error: ", message, OUTPUT_LINES_MAX),
        RunEvent::TurnFinished { stop } => {
            let stop = serde_json::to_value(stop).ok();
            let stop = stop.as_ref().and_then(|stop| stop.as_str()).unwrap_or("other").replace('_', " ");
            vec![format!("its turn ended: {stop}")]
        }
        RunEvent::Unknown { .. } | RunEvent::Raw { .. } => Vec::new(),
    }
}

/// The lines of a text, the first behind `first` and the others below it.
fn block(first: &str, text: &Text, lines_max: usize) -> Vec<String> {
    let (mut lines, mut all) = (Vec::new(), text.text.trim_end().lines());
    let below = " ".repeat(first.chars().count());
    let repeats = first.starts_with("  ") || first.len() == 2 && !first.starts_with('$');
    for (at, line) in all.by_ref().take(lines_max).enumerate() {
        let margin = if at == 0 || repeats { first } else { &below };
        lines.push(format!("{margin}{line}"));
    }
    let more = all.count();
    if more > 0 {
        lines.push(format!("{below}... {more} more lines"));
    }
    if text.dropped_bytes > 0 {
        lines.push(format!("{below}... {} more bytes", text.dropped_bytes));
    }
    lines
}

fn plan_item(item: &PlanItem) -> String {
    let mark = match item.status {
        PlanStatus::Pending => ' ',
        PlanStatus::InProgress => '>',
        PlanStatus::Completed => 'x',
    };
    format!("[{mark}] {}", item.text)
}

fn finished(status: ToolStatus, exit_code: Option<i32>) -> Vec<String> {
    let line = match (status, exit_code) {
        (ToolStatus::Succeeded, None | Some(0)) => return Vec::new(),
        (_, Some(code)) => format!("  exit code {code}"),
        (ToolStatus::Declined, None) => "  declined".to_owned(),
        (ToolStatus::Cancelled, None) => "  cancelled".to_owned(),
        (ToolStatus::Failed, None) => "  failed".to_owned(),
    };
    vec![line]
}

const fn letter(op: FileOp) -> char {
    match op {
        FileOp::Added => 'A',
        FileOp::Modified => 'M',
        FileOp::Deleted => 'D',
    }
}

/// What the program counts, which is its own word; the run's figures are the gateway's.
fn tokens(used: &Usage) -> Option<String> {
    let (input, output) = (used.input?, used.output.unwrap_or(0));
    let cached =
        used.cached.filter(|cached| *cached > 0).map_or_else(String::new, |cached| format!(" ({cached} cached)"));
    Some(format!("tokens: {input} in{cached}, {output} out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_gave_back_is_cut_and_said_so() {
        let text = (0..30).map(|number| format!("{number}\n")).collect::<String>();
        let lines = block("  | ", &Text::from(text.as_str()), OUTPUT_LINES_MAX);
        assert_eq!((lines.len(), lines[0].as_str(), lines[20].as_str()), (21, "  | 0", "    ... 10 more lines"));
    }
}
