//! The agent of a run, in words.

use orch_proto::view::AgentUseView;

use super::count::thousands;

/// `coder (codex, gpt-5-codex) as developer`.
pub(crate) fn agent_line(agent: &AgentUseView) -> String {
    let role = agent.role.as_ref().map_or_else(String::new, |role| format!(" as {role}"));
    match &agent.model {
        Some(model) => format!("{} ({}, {model}){role}", agent.name, agent.kind),
        None => format!("{} ({}){role}", agent.name, agent.kind),
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
        "{} {requests}{waiting}; {about}{} tokens in{cached}, {} out{}",
        thousands(agent.exchanges.into()),
        thousands(agent.input_tokens),
        thousands(agent.output_tokens),
        cost(agent)
    )
}

/// `; $1.25 and what has no price`. Nothing where no model has one.
fn cost(agent: &AgentUseView) -> String {
    let unpriced = if agent.is_unpriced { " and what has no price" } else { "" };
    agent.cost_text.as_ref().map_or_else(String::new, |cost| format!("; {cost}{unpriced}"))
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
            role: None,
            exchanges: 0,
            waiting: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            is_estimate: false,
            cost_micros: 0,
            cost_text: None,
            is_unpriced: false,
            spending: Vec::new(),
            prompt: None,
        };
        assert_eq!(agent_line(&agent), "coder (codex)");
        assert_eq!(model_line(&agent), "asked for nothing so far");
        agent = AgentUseView { exchanges: 1_200, waiting: 2, input_tokens: 34_120, output_tokens: 9, ..agent };
        agent = AgentUseView {
            model: Some("gpt".into()),
            role: Some("qa".into()),
            cached_tokens: 20_000,
            is_estimate: true,
            ..agent
        };
        assert_eq!(agent_line(&agent), "coder (codex, gpt) as qa");
        assert_eq!(model_line(&agent), "1,200 requests, 2 wait; about 34,120 tokens in (20,000 cached), 9 out");
        agent = AgentUseView {
            cost_text: Some("$1.25".into()),
            is_unpriced: true,
            is_estimate: false,
            waiting: 0,
            ..agent
        };
        assert_eq!(
            model_line(&agent),
            "1,200 requests; 34,120 tokens in (20,000 cached), 9 out; $1.25 and what has no price"
        );
    }
}
