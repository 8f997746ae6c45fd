//! The model that plans in the place of the rules: `[planner]`. Without that the rules plan.

use std::collections::BTreeMap;

use orch_adapters::gateway::Protocol;
use serde::{Deserialize, Serialize};

use super::agents::ModelServer;

/// How much the model may be told where nothing is said, in tokens of about four bytes, and how much it may answer.
const PROMPT_TOKENS: u64 = 24_000;
const OUTPUT_TOKENS: u64 = 16_000;
/// Most of either.
const TOKENS_MAX: u64 = 200_000;
/// Highest temperature.
const TEMPERATURE_MAX: f64 = 2.0;

/// `[planner]` as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlannerSection {
    models: String,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    #[serde(default)]
    protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
}

/// The model that plans, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannerConfig {
    /// Name of the server that is asked.
    pub(crate) models: String,
    pub(crate) model: String,
    /// Asked when that cannot be.
    pub(crate) fallback: Option<String>,
    /// In hundredths; none: what the server takes.
    pub(crate) temperature_percent: Option<u32>,
    pub(crate) protocol: Protocol,
    /// None: what the role `planner` says.
    prompt_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl PlannerConfig {
    /// About how many tokens the model may be told; `of_role` is what its role says.
    pub(crate) fn prompt_tokens(&self, of_role: Option<u64>) -> u64 {
        self.prompt_tokens.or(of_role).unwrap_or(PROMPT_TOKENS)
    }

    /// How many tokens its answer may have.
    pub(crate) fn output_tokens(&self) -> u64 {
        self.output_tokens.unwrap_or(OUTPUT_TOKENS)
    }

    /// The section that says the same.
    pub(super) fn section(&self) -> PlannerSection {
        PlannerSection {
            models: self.models.clone(),
            model: self.model.clone(),
            fallback: self.fallback.clone(),
            temperature: self.temperature_percent.map(|percent| f64::from(percent) / 100.0),
            protocol: self.protocol,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
        }
    }
}

impl PlannerSection {
    /// Checks it; the error is what is wrong with which key.
    pub(super) fn checked(
        &self,
        models: &BTreeMap<String, ModelServer>,
    ) -> Result<PlannerConfig, (&'static str, String)> {
        if !models.contains_key(&self.models) {
            return Err(("planner.models", format!("names `{}`; there is no `[models.{0}]`", self.models)));
        }
        if !is_model(&self.model) {
            return Err(("planner.model", "must be the name of a model".into()));
        }
        if self.fallback.as_deref().is_some_and(|name| !is_model(name) || name == self.model) {
            return Err(("planner.fallback", "must be the name of another model".into()));
        }
        let tokens = [("planner.prompt_tokens", self.prompt_tokens), ("planner.output_tokens", self.output_tokens)];
        for (key, tokens) in tokens {
            if tokens.is_some_and(|tokens| !(200..=TOKENS_MAX).contains(&tokens)) {
                return Err((key, format!("must be from 200 to {TOKENS_MAX}")));
            }
        }
        let temperature = self.temperature.map(percent).transpose();
        Ok(PlannerConfig {
            models: self.models.clone(),
            model: self.model.clone(),
            fallback: self.fallback.clone(),
            temperature_percent: temperature.map_err(|problem| ("planner.temperature", problem))?,
            protocol: self.protocol,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
        })
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
    use orch_adapters::gateway::{Api, Upstream};

    use super::*;

    fn checked(text: &str) -> Result<PlannerConfig, (&'static str, String)> {
        let upstream = Upstream::new(Api::Ollama, "http://127.0.0.1:11434").unwrap();
        let local = ModelServer { upstream, key: None, hosted: false };
        let section: PlannerSection = toml::from_str(text).unwrap();
        section.checked(&BTreeMap::from([("local".to_owned(), local)]))
    }

    #[test]
    fn what_is_said_of_the_planner_is_read_and_written_as_it_is() {
        let config =
            checked("models = \"local\"\nmodel = \"qwen3:32b\"\ntemperature = 0.4\nprompt_tokens = 1500\n").unwrap();
        assert_eq!(config.temperature_percent, Some(40));
        assert_eq!((config.prompt_tokens(Some(9)), config.output_tokens()), (1_500, OUTPUT_TOKENS));
        let again = toml::to_string(&config.section()).unwrap();
        assert_eq!(checked(&again).unwrap(), config);
        let plain = checked("models = \"local\"\nmodel = \"m\"\n").unwrap();
        assert_eq!((plain.prompt_tokens(Some(900)), plain.prompt_tokens(None)), (900, PROMPT_TOKENS));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, key) in [
            ("models = \"other\"\nmodel = \"m\"\n", "planner.models"),
            ("models = \"local\"\nmodel = \" \"\n", "planner.model"),
            ("models = \"local\"\nmodel = \"m\"\nfallback = \"m\"\n", "planner.fallback"),
            ("models = \"local\"\nmodel = \"m\"\ntemperature = 3\n", "planner.temperature"),
            ("models = \"local\"\nmodel = \"m\"\noutput_tokens = 1\n", "planner.output_tokens"),
        ] {
            assert_eq!(checked(more).unwrap_err().0, key, "{more}");
        }
    }
}
