//! The agent of a run, in words.

use orch_proto::view::AgentUseView;

use super::count::thousands;

/// `coder (codex, gpt-5-codex)`.
pub(crate) fn agent_line(agent: &AgentUseView) -> String {
    match &agent.model {
        Some(model) => format!("{} ({}, {model})", agent.name, agent.kind),
        None => format!("{} ({})", agent.name, agent.kind),
    }
}

/// `12 requests, 1 waits; 34,120 tokens in (20,000 cached), 2,048 out`.
pub(crate) fn model_line(agent: &AgentUseView) -> String {
    if agent.exchanges == 0 {
        return "asked for nothing so far".to_owned();
    }
    let requests = if agent.exchanges == 1 { "request" } else { "requests" };
    let waiting = match agent.waiting {
        0 => String::new(),
        1 => ", 1 waits".to_owned(),
        many => format!(", {many} wait"),
    };
    let cached =
        if agent.cached_tokens == 0 { String::new() } else { format!(" ({} cached)", thousands(agent.cached_tokens)) };
    let about = if agent.is_estimate { "about " } else { "" };
    format!(
        "{} {requests}{waiting}; {about}{} tokens in{cached}, {} out",
        thousands(agent.exchanges.into()),
        thousands(agent.input_tokens),
        thousands(agent.output_tokens)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_used_is_said_in_a_line() {
        let mut agent = AgentUseView {
            name: "coder".into(),
            kind: "codex".into(),
            model: None,
            exchanges: 0,
            waiting: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            is_estimate: false,
        };
        assert_eq!(agent_line(&agent), "coder (codex)");
        assert_eq!(model_line(&agent), "asked for nothing so far");
        agent = AgentUseView { exchanges: 1_200, waiting: 2, input_tokens: 34_120, output_tokens: 9, ..agent };
        agent = AgentUseView { model: Some("gpt".into()), cached_tokens: 20_000, is_estimate: true, ..agent };
        assert_eq!(agent_line(&agent), "coder (codex, gpt)");
        assert_eq!(model_line(&agent), "1,200 requests, 2 wait; about 34,120 tokens in (20,000 cached), 9 out");
    }
}
