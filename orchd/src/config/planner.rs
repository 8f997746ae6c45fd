//! Who plans in the place of the rules: `[planner]`, a model or an agent. Without that the rules plan.

use orch_adapters::agent::AgentKind;
use orch_adapters::gateway::Protocol;
use serde::{Deserialize, Serialize};

use super::agents::{AgentConfig, AgentsConfig};

/// How much the planner may be told where nothing is said, in tokens of about four bytes, and how much a model may answer.
pub(crate) const PROMPT_TOKENS: u64 = 24_000;
const OUTPUT_TOKENS: u64 = 16_000;
/// Most of either.
const TOKENS_MAX: u64 = 200_000;
/// Highest temperature.
const TEMPERATURE_MAX: f64 = 2.0;

/// `[planner]` as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlannerSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
}

/// Who plans, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannerConfig {
    pub(crate) by: PlannerBy,
    /// About how many tokens the planner may be told; none: what the role `planner` says.
    pub(crate) prompt_tokens: Option<u64>,
}

/// Who that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlannerBy {
    Model(ModelPlanner),
    /// The agent of this name.
    Agent(String),
}

/// The model that plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelPlanner {
    /// Name of the server that is asked.
    pub(crate) models: String,
    pub(crate) model: String,
    /// Asked when that cannot be.
    pub(crate) fallback: Option<String>,
    /// In hundredths; none: what the server takes.
    pub(crate) temperature_percent: Option<u32>,
    pub(crate) protocol: Protocol,
    output_tokens: Option<u64>,
}

impl ModelPlanner {
    /// How many tokens its answer may have.
    pub(crate) fn output_tokens(&self) -> u64 {
        self.output_tokens.unwrap_or(OUTPUT_TOKENS)
    }
}

impl PlannerConfig {
    /// The section that says the same.
    pub(super) fn section(&self) -> PlannerSection {
        let prompt_tokens = self.prompt_tokens;
        match &self.by {
            PlannerBy::Agent(name) => {
                PlannerSection { agent: Some(name.clone()), prompt_tokens, ..PlannerSection::default() }
            }
            PlannerBy::Model(by) => PlannerSection {
                agent: None,
                models: Some(by.models.clone()),
                model: Some(by.model.clone()),
                fallback: by.fallback.clone(),
                temperature: by.temperature_percent.map(|percent| f64::from(percent) / 100.0),
                protocol: Some(by.protocol),
                prompt_tokens,
                output_tokens: by.output_tokens,
            },
        }
    }
}

type Wrong = (&'static str, String);

impl PlannerSection {
    /// Checks it; the error is what is wrong with which key.
    pub(super) fn checked(&self, agents: &AgentsConfig) -> Result<PlannerConfig, Wrong> {
        let tokens = [("planner.prompt_tokens", self.prompt_tokens), ("planner.output_tokens", self.output_tokens)];
        for (key, tokens) in tokens {
            if tokens.is_some_and(|tokens| !(200..=TOKENS_MAX).contains(&tokens)) {
                return Err((key, format!("must be from 200 to {TOKENS_MAX}")));
            }
        }
        let by = match &self.agent {
            Some(agent) => PlannerBy::Agent(self.agent(agent, agents)?),
            None => PlannerBy::Model(self.model(agents)?),
        };
        Ok(PlannerConfig { by, prompt_tokens: self.prompt_tokens })
    }

    /// An agent, of which all but the length of its prompt is said with it.
    fn agent(&self, name: &str, agents: &AgentsConfig) -> Result<String, Wrong> {
        agents.planner(name).map_err(|problem| ("planner.agent", format!("names `{name}`: {problem}")))?;
        let of_a_model = [
            ("planner.models", self.models.is_some()),
            ("planner.model", self.model.is_some()),
            ("planner.fallback", self.fallback.is_some()),
            ("planner.temperature", self.temperature.is_some()),
            ("planner.protocol", self.protocol.is_some()),
            ("planner.output_tokens", self.output_tokens.is_some()),
        ];
        match of_a_model.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err((key, format!("cannot be set beside `agent`: `[agents.{name}]` says it"))),
            None => Ok(name.to_owned()),
        }
    }

    fn model(&self, agents: &AgentsConfig) -> Result<ModelPlanner, Wrong> {
        let either = || "must be set, or `agent` in its place".to_owned();
        let models = self.models.as_ref().ok_or_else(|| ("planner.models", either()))?;
        let model = self.model.as_ref().ok_or_else(|| ("planner.model", either()))?;
        if !agents.models.contains_key(models) {
            return Err(("planner.models", format!("names `{models}`; there is no `[models.{models}]`")));
        }
        if !is_model(model) {
            return Err(("planner.model", "must be the name of a model".into()));
        }
        if self.fallback.as_ref().is_some_and(|name| !is_model(name) || name == model) {
            return Err(("planner.fallback", "must be the name of another model".into()));
        }
        let temperature = self.temperature.map(percent).transpose();
        Ok(ModelPlanner {
            models: models.clone(),
            model: model.clone(),
            fallback: self.fallback.clone(),
            temperature_percent: temperature.map_err(|problem| ("planner.temperature", problem))?,
            protocol: self.protocol.unwrap_or_default(),
            output_tokens: self.output_tokens,
        })
    }
}

impl AgentsConfig {
    /// The agent of this name, if it can plan.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn planner(&self, name: &str) -> Result<&AgentConfig, String> {
        let agent = self.agents.get(name).ok_or_else(|| format!("there is no `[agents.{name}]`"))?;
        match agent.kind {
            AgentKind::Codex => Ok(agent),
            kind => {
                Err(format!("it is of kind `{}`, and only `codex` answers in the form that is asked for", kind.word()))
            }
        }
    }
}

/// Whether it can be the name of a model.
pub(crate) fn is_model(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 200 && name.chars().all(|char| !char.is_control())
}

/// A temperature in hundredths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
pub(super) fn percent(temperature: f64) -> Result<u32, String> {
    if (0.0..=TEMPERATURE_MAX).contains(&temperature) {
        Ok((temperature * 100.0).round() as u32)
    } else {
        Err(format!("must be from 0 to {TEMPERATURE_MAX}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::agents::{AgentSection, ModelsSection};
    use super::*;

    #[derive(Deserialize)]
    struct File {
        models: BTreeMap<String, ModelsSection>,
        agents: BTreeMap<String, AgentSection>,
    }

    fn checked(text: &str) -> Result<PlannerConfig, Wrong> {
        let file: File = toml::from_str(
            "[models.local]\napi = \"ollama\"\nurl = \"http://127.0.0.1:11434\"\n\
             [agents.coder]\nkind = \"codex\"\nmodels = \"local\"\n\
             [agents.any]\nkind = \"acp\"\nmodels = \"local\"\nprogram = \"/opt/any\"\n",
        )
        .unwrap();
        let agents = AgentsConfig::checked(&file.models, &file.agents).unwrap();
        let section: PlannerSection = toml::from_str(text).unwrap();
        section.checked(&agents)
    }

    fn model(config: &PlannerConfig) -> &ModelPlanner {
        match &config.by {
            PlannerBy::Model(model) => model,
            PlannerBy::Agent(name) => panic!("it is the agent {name}"),
        }
    }

    #[test]
    fn what_is_said_of_the_planner_is_read_and_written_as_it_is() {
        let config =
            checked("models = \"local\"\nmodel = \"qwen3:32b\"\ntemperature = 0.4\nprompt_tokens = 1500\n").unwrap();
        assert_eq!(model(&config).temperature_percent, Some(40));
        assert_eq!((config.prompt_tokens, model(&config).output_tokens()), (Some(1_500), OUTPUT_TOKENS));
        let again = toml::to_string(&config.section()).unwrap();
        assert_eq!(checked(&again).unwrap(), config);
        let agent = checked("agent = \"coder\"\nprompt_tokens = 9000\n").unwrap();
        assert_eq!((&agent.by, agent.prompt_tokens), (&PlannerBy::Agent("coder".into()), Some(9_000)));
        let again = toml::to_string(&agent.section()).unwrap();
        assert_eq!(checked(&again).unwrap(), agent);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, key) in [
            ("", "planner.models"),
            ("models = \"local\"\n", "planner.model"),
            ("models = \"other\"\nmodel = \"m\"\n", "planner.models"),
            ("models = \"local\"\nmodel = \" \"\n", "planner.model"),
            ("models = \"local\"\nmodel = \"m\"\nfallback = \"m\"\n", "planner.fallback"),
            ("models = \"local\"\nmodel = \"m\"\ntemperature = 3\n", "planner.temperature"),
            ("models = \"local\"\nmodel = \"m\"\noutput_tokens = 1\n", "planner.output_tokens"),
            ("agent = \"nobody\"\n", "planner.agent"),
            ("agent = \"any\"\n", "planner.agent"),
            ("agent = \"coder\"\nprompt_tokens = 1\n", "planner.prompt_tokens"),
            ("agent = \"coder\"\nmodels = \"local\"\n", "planner.models"),
            ("agent = \"coder\"\nmodel = \"m\"\n", "planner.model"),
            ("agent = \"coder\"\nfallback = \"m\"\n", "planner.fallback"),
            ("agent = \"coder\"\ntemperature = 1\n", "planner.temperature"),
            ("agent = \"coder\"\nprotocol = \"chat\"\n", "planner.protocol"),
            ("agent = \"coder\"\noutput_tokens = 900\n", "planner.output_tokens"),
        ] {
            assert_eq!(checked(more).unwrap_err().0, key, "{more}");
        }
        let problem = checked("agent = \"any\"\n").unwrap_err().1;
        assert!(problem.contains("`acp`") && problem.contains("`codex`"), "{problem}");
    }
}
