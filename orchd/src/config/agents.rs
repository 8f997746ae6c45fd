//! What the operator says of agents and of the models that they ask: which programs, which servers, whose keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use orch_adapters::agent::{AgentKind, Recorded, Replay, Settings};
use orch_adapters::gateway::{Api, Upstream};
use orch_core::entity::{Allowance, BUDGET_MAX, ServerUse};
use orch_core::recipe::{ANSWER_TOKENS_MAX, PROMPT_TOKENS_MAX, SecretName};
use orch_core::schedule::STAFF_RUNS_MAX;
use orch_proto::leave::{LeaveRule, RULES_MAX};
use serde::{Deserialize, Serialize};

use super::planner::percent;

/// Longest name of an agent or of a server, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// What agents can do where nothing is said: everything that the planner asks for.
const CAPABILITIES: [&str; 5] = ["developer", "docs", "infra", "qa", "security"];

/// `[models.NAME]` as it is written: a server of models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelsSection {
    api: Api,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hosted: bool,
}

/// `[agents.NAME]` as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentSection {
    kind: AgentKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Recorded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_per_run: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_task: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_per_task: Option<f64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    chat: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ask: Vec<LeaveRule>,
}

/// A server of models, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelServer {
    pub(crate) upstream: Upstream,
    /// Secret with its key; none where it wants none.
    pub(crate) key: Option<SecretName>,
    /// Requests may ask for what it does by itself: its own tools, data that it has or fetches.
    pub(crate) hosted: bool,
}

/// An agent, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    pub(crate) name: String,
    pub(crate) kind: AgentKind,
    /// None: looked for by its usual name in `PATH`.
    pub(crate) program: Option<PathBuf>,
    /// The tool whose program it is, in place of one of the host.
    pub(crate) tool: Option<String>,
    /// Name of the server that it asks; none asks none.
    pub(crate) models: Option<String>,
    /// What is replayed in the place of a program.
    pub(crate) replay: Option<Replay>,
    /// The model that it is told to use; none: what it chooses.
    pub(crate) model: Option<String>,
    /// What its requests ask for in the place of what it says itself, in hundredths; none: that.
    pub(crate) temperature_percent: Option<u32>,
    /// About how long what it is told of a task may be, where its role does not say.
    pub(crate) prompt_tokens: Option<u64>,
    /// How long an answer of its model may be, where its role does not say; none: as long as it asks for.
    pub(crate) answer_tokens: Option<u64>,
    /// Runs that it may have at once; none: as many as the host has places for.
    pub(crate) runs_max: Option<u32>,
    /// What it is chosen for.
    pub(crate) capabilities: BTreeSet<String>,
    /// What one attempt of it may spend on models.
    pub(crate) of_run: Allowance,
    /// What all attempts at a task may spend.
    pub(crate) of_task: Allowance,
    /// How a program that is any is started, and what it finds in its home.
    pub(crate) settings: Settings,
    /// It can be told something while it works.
    pub(crate) chat: bool,
    /// What it may do without asking, what not, and what a person is asked about.
    pub(crate) leave: Vec<LeaveRule>,
}

impl AgentConfig {
    /// Whether a driver has a conversation with it.
    pub(crate) fn is_driven(&self) -> bool {
        match &self.replay {
            Some(replay) => replay.recorded.spoken_to_as().is_some(),
            None => self.kind == AgentKind::Acp || self.chat || !self.leave.is_empty(),
        }
    }
}

/// Both, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentsConfig {
    pub(crate) models: BTreeMap<String, ModelServer>,
    pub(crate) agents: BTreeMap<String, AgentConfig>,
}

type Wrong = (String, String);

impl AgentsConfig {
    /// Checks both; the error is what is wrong with which key.
    pub(super) fn checked(
        models: &BTreeMap<String, ModelsSection>,
        agents: &BTreeMap<String, AgentSection>,
    ) -> Result<Self, Wrong> {
        let mut config = Self::default();
        for (name, section) in models {
            let server = server(section).map_err(|(key, problem)| (format!("models.{name}.{key}"), problem))?;
            named("models", name)?;
            config.models.insert(name.clone(), server);
        }
        for (name, section) in agents {
            named("agents", name)?;
            config.speaks_to(name, section)?;
            config.agents.insert(name.clone(), agent(name, section)?);
        }
        Ok(config)
    }

    /// Whether the program of an agent and its server understand each other.
    fn speaks_to(&self, name: &str, section: &AgentSection) -> Result<(), Wrong> {
        let wrong = |problem: String| Err((format!("agents.{name}.models"), problem));
        let Some(models) = &section.models else {
            return match section.kind {
                AgentKind::Fake => Ok(()),
                _ => wrong("must be set: the name of a server".to_owned()),
            };
        };
        let Some(server) = self.models.get(models) else {
            return wrong(format!("names `{models}`; there is no `[models.{models}]`"));
        };
        let api = server.upstream.api;
        if section.kind.can_ask(api) {
            return Ok(());
        }
        let (kind, asks) = (section.kind.word(), section.kind.asks());
        wrong(format!("names `{models}`, whose api is `{}`; `{kind}` speaks to {asks}", api.word()))
    }

    /// Everything that a task can ask an agent for: capabilities, and agents by name.
    pub(crate) fn capabilities(&self) -> BTreeSet<String> {
        let of_all = self.agents.values().flat_map(|agent| agent.capabilities.iter());
        of_all.chain(self.agents.keys()).cloned().collect()
    }

    /// The agent for what a task asks for: the one of that name, or the first with that capability.
    pub(crate) fn agent_for(&self, capability: &str) -> Option<&AgentConfig> {
        let has = |agent: &&AgentConfig| agent.capabilities.contains(capability);
        self.agents.get(capability).or_else(|| self.agents.values().find(has))
    }

    /// The server of an agent, as it is put on record with each of its runs.
    pub(crate) fn server_of(&self, agent: &AgentConfig) -> Option<ServerUse> {
        let name = agent.models.as_ref()?;
        let upstream = &self.models.get(name)?.upstream;
        let (api, url) = (upstream.api.word().to_owned(), upstream.url().to_owned());
        Some(ServerUse { name: name.clone(), api, url })
    }

    /// The sections that say the same.
    pub(super) fn sections(&self) -> (BTreeMap<String, ModelsSection>, BTreeMap<String, AgentSection>) {
        let server = |server: &ModelServer| ModelsSection {
            api: server.upstream.api,
            url: server.upstream.url().to_owned(),
            key: server.key.as_ref().map(ToString::to_string),
            hosted: server.hosted,
        };
        let agent = |agent: &AgentConfig| AgentSection {
            kind: agent.kind,
            program: agent.program.clone(),
            tool: agent.tool.clone(),
            models: agent.models.clone(),
            transcript: agent.replay.as_ref().map(|replay| replay.transcript.clone()),
            protocol: agent.replay.as_ref().map(|replay| replay.recorded),
            model: agent.model.clone(),
            temperature: agent.temperature_percent.map(|percent| f64::from(percent) / 100.0),
            prompt_tokens: agent.prompt_tokens,
            answer_tokens: agent.answer_tokens,
            runs_max: agent.runs_max,
            capabilities: Some(agent.capabilities.clone()),
            tokens_per_run: agent.of_run.tokens,
            cost_per_run: agent.of_run.cost.map(dollars),
            tokens_per_task: agent.of_task.tokens,
            cost_per_task: agent.of_task.cost.map(dollars),
            arguments: agent.settings.arguments.clone(),
            environment: agent.settings.environment.clone(),
            files: agent.settings.files.clone(),
            chat: agent.chat,
            ask: agent.leave.clone(),
        };
        let models = self.models.iter().map(|(name, found)| (name.clone(), server(found))).collect();
        (models, self.agents.iter().map(|(name, found)| (name.clone(), agent(found))).collect())
    }
}

fn server(section: &ModelsSection) -> Result<ModelServer, (&'static str, String)> {
    let upstream = Upstream::new(section.api, &section.url).map_err(|error| ("url", error.to_string()))?;
    let key = section.key.as_deref().map(SecretName::parse).transpose();
    let key = key.map_err(|error| ("key", format!("is no name of a secret: {error}")))?;
    if key.is_some() && upstream.is_open_to_others() {
        let problem = "goes to another host without TLS, where anybody on the way reads the key; use `https://`";
        return Err(("url", problem.to_owned()));
    }
    Ok(ModelServer { upstream, key, hosted: section.hosted })
}

fn agent(name: &str, section: &AgentSection) -> Result<AgentConfig, Wrong> {
    let wrong = |key: &str, problem: &str| Err((format!("agents.{name}.{key}"), problem.to_owned()));
    if let Some((key, problem)) = wrong_program(section) {
        return wrong(key, problem);
    }
    let replay = replay(name, section)?;
    let settings = settings(name, section)?;
    let is_text = |text: &String| !text.is_empty() && text.len() <= 200 && text.chars().all(|char| !char.is_control());
    if section.model.as_ref().is_some_and(|model| !is_text(model) || model.starts_with('-')) {
        return wrong("model", "must be the name of a model");
    }
    let capabilities = match &section.capabilities {
        Some(capabilities) if !capabilities.iter().all(is_text) => {
            return wrong("capabilities", "has an empty name, or one with control characters");
        }
        Some(capabilities) => capabilities.clone(),
        None => CAPABILITIES.iter().map(ToString::to_string).collect(),
    };
    if section.prompt_tokens.is_some_and(|tokens| tokens == 0 || tokens > PROMPT_TOKENS_MAX) {
        return wrong("prompt_tokens", &format!("must be from 1 to {PROMPT_TOKENS_MAX}"));
    }
    if section.answer_tokens.is_some_and(|tokens| tokens == 0 || tokens > ANSWER_TOKENS_MAX) {
        return wrong("answer_tokens", &format!("must be from 1 to {ANSWER_TOKENS_MAX}"));
    }
    if section.runs_max.is_some_and(|runs| runs == 0 || runs > STAFF_RUNS_MAX) {
        return wrong("runs_max", &format!("must be from 1 to {STAFF_RUNS_MAX}; left out, there is no bound"));
    }
    let temperature = section.temperature.map(percent).transpose();
    let temperature_percent = temperature.map_err(|problem| (format!("agents.{name}.temperature"), problem))?;
    let allowance = |of: &str, tokens: Option<u64>, cost: Option<f64>| {
        if tokens.is_some_and(|tokens| tokens == 0 || tokens > BUDGET_MAX) {
            return Err((format!("agents.{name}.tokens_per_{of}"), format!("must be from 1 to {BUDGET_MAX}")));
        }
        let cost =
            cost.map(|cost| micros(cost).ok_or_else(|| (format!("agents.{name}.cost_per_{of}"), COST.to_owned())));
        Ok(Allowance { tokens, cost: cost.transpose()? })
    };
    Ok(AgentConfig {
        of_run: allowance("run", section.tokens_per_run, section.cost_per_run)?,
        of_task: allowance("task", section.tokens_per_task, section.cost_per_task)?,
        name: name.to_owned(),
        kind: section.kind,
        program: section.program.clone(),
        tool: section.tool.clone(),
        models: section.models.clone(),
        replay,
        model: section.model.clone(),
        temperature_percent,
        prompt_tokens: section.prompt_tokens,
        answer_tokens: section.answer_tokens,
        runs_max: section.runs_max,
        capabilities,
        settings,
        chat: section.chat,
        leave: leave(name, &section.ask)?,
    })
}

/// What is replayed, which is known of one kind.
fn replay(name: &str, section: &AgentSection) -> Result<Option<Replay>, Wrong> {
    let wrong = |key: &str, problem: &str| Err((format!("agents.{name}.{key}"), problem.to_owned()));
    match (section.kind, &section.transcript, section.protocol) {
        (AgentKind::Fake, ..) if section.program.is_some() => {
            wrong("program", "cannot be set: `fake` takes the place of one")
        }
        (AgentKind::Fake, ..) if section.tool.is_some() => {
            wrong("tool", "cannot be set: `fake` takes the place of a program")
        }
        (AgentKind::Fake, Some(transcript), Some(recorded)) if transcript.is_absolute() => {
            Ok(Some(Replay { transcript: transcript.clone(), recorded }))
        }
        (AgentKind::Fake, _, None) => wrong("protocol", "must be set: how the program spoke that is replayed"),
        (AgentKind::Fake, ..) => wrong("transcript", "must be set, to an absolute path"),
        (_, None, None) => Ok(None),
        (kind, Some(_), _) => wrong("transcript", &format!("is for `fake`; `{}` has a program", kind.word())),
        (kind, None, Some(_)) => wrong("protocol", &format!("is for `fake`; `{}` has its own", kind.word())),
    }
}

/// What is wrong with what is said of the program, with its key.
fn wrong_program(section: &AgentSection) -> Option<(&'static str, &'static str)> {
    let is_name = |tool: &String| !tool.is_empty() && tool.len() <= NAME_BYTES_MAX;
    match (&section.program, &section.tool) {
        (Some(_), Some(_)) => Some(("tool", "and `program` say two things: keep one of them")),
        (Some(program), None) if !program.is_absolute() => Some(("program", "must be an absolute path")),
        (None, Some(tool)) if !is_name(tool) => Some(("tool", "must be the name of a tool recipe")),
        (None, None) if section.kind == AgentKind::Acp => {
            Some(("program", "must be set, or `tool`: any program can be of this kind"))
        }
        _ => None,
    }
}

const COST: &str = "must be dollars, from 0.000001 to 1000000";

/// Dollars, in millionths.
fn micros(cost: f64) -> Option<u64> {
    let micros = (cost * 1e6).round();
    // Within the range every number is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (1.0..=1e12).contains(&micros).then_some(micros as u64)
}

/// Millionths, in dollars.
#[expect(clippy::cast_precision_loss, reason = "at most a million dollars")]
fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// How its program is started, which is known of all but one kind.
fn settings(name: &str, section: &AgentSection) -> Result<Settings, Wrong> {
    let AgentSection { kind, arguments, environment, files, .. } = section;
    let settings = Settings { arguments: arguments.clone(), environment: environment.clone(), files: files.clone() };
    if *kind != AgentKind::Acp && !settings.is_empty() {
        let problem = format!("`{}` takes no `arguments`, `environment` and `files`", kind.word());
        return Err((format!("agents.{name}.kind"), problem));
    }
    match settings.check(section.model.is_some()) {
        Ok(()) => Ok(settings),
        Err(wrong) => Err((format!("agents.{name}.{}", wrong.key), wrong.problem)),
    }
}

/// The rules of an agent, in their order.
fn leave(name: &str, rules: &[LeaveRule]) -> Result<Vec<LeaveRule>, Wrong> {
    let wrong = |problem: String| Err((format!("agents.{name}.ask"), problem));
    if rules.len() > RULES_MAX {
        return wrong(format!("has more than {RULES_MAX} rules"));
    }
    match rules.iter().enumerate().find_map(|(at, rule)| rule.problem().map(|problem| (at + 1, problem))) {
        Some((at, problem)) => wrong(format!("is wrong in rule {at}: {problem}")),
        None => Ok(rules.to_vec()),
    }
}

fn named(section: &str, name: &str) -> Result<(), Wrong> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) {
        return Ok(());
    }
    Err((format!("{section}.{name}"), format!("must be named with 1 to {NAME_BYTES_MAX} of `a-z`, `0-9` and `-`")))
}

#[cfg(test)]
mod tests {
    use orch_proto::leave::Ruling;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        models: BTreeMap<String, ModelsSection>,
        #[serde(default)]
        agents: BTreeMap<String, AgentSection>,
    }

    fn checked(text: &str) -> Result<AgentsConfig, Wrong> {
        let file: File = toml::from_str(text).unwrap();
        AgentsConfig::checked(&file.models, &file.agents)
    }

    const MODELS: &str = "[models.open]\napi = \"openai\"\nurl = \"https://api.openai.com\"\nkey = \"openai-key\"\n\
                          [models.local]\napi = \"ollama\"\nurl = \"http://127.0.0.1:11434\"\n";

    #[test]
    fn a_task_gets_the_agent_that_it_names_or_the_first_that_can() {
        let text = format!(
            "{MODELS}[agents.a]\nkind = \"codex\"\nmodels = \"open\"\ncapabilities = [\"qa\"]\n\
             [agents.b]\nkind = \"codex\"\nmodels = \"local\"\nmodel = \"qwen\"\n"
        );
        let config = checked(&text).unwrap();
        let name = |capability: &str| config.agent_for(capability).map(|agent| agent.name.as_str());
        assert_eq!(
            [name("qa"), name("b"), name("developer"), name("cooking")],
            [Some("a"), Some("b"), Some("b"), None]
        );
        assert!(config.capabilities().contains("a") && config.capabilities().contains("infra"));
    }

    /// The one that the documentation has.
    #[test]
    fn an_agent_of_any_program_is_written_as_the_documentation_says() {
        let documented = include_str!("../../docs/agents.md");
        let begins = documented.find("[agents.open]").expect("an example of an agent of kind `acp`");
        let ends = begins + documented[begins..].find("```").expect("the end of the example");
        let config =
            checked(&format!("{MODELS}{}", documented[begins..ends].replace("\"openai\"", "\"open\""))).unwrap();
        let agent = &config.agents["open"];
        assert_eq!((agent.kind, agent.settings.arguments.as_slice()), (AgentKind::Acp, &["acp".to_owned()][..]));
        let files = &agent.settings.filled(agent.model.as_deref()).files;
        let file = &files[".config/opencode/opencode.json"];
        let json: serde_json::Value = serde_json::from_str(file).unwrap();
        assert_eq!(json.pointer("/provider/gateway/options/baseURL").unwrap(), "http://127.0.0.1:4141/v1", "{file}");
        // What is printed says the same.
        let (models, agents) = config.sections();
        assert_eq!(AgentsConfig::checked(&models, &agents).unwrap(), config);
    }

    #[test]
    fn the_program_of_an_agent_can_be_that_of_a_tool() {
        let more = "[agents.a]\nkind = \"acp\"\nmodels = \"open\"\ntool = \"opencode\"\narguments = [\"acp\"]\n";
        let config = checked(&format!("{MODELS}{more}")).unwrap();
        let agent = &config.agents["a"];
        assert_eq!((agent.tool.as_deref(), &agent.program), (Some("opencode"), &None));
        let (models, agents) = config.sections();
        assert_eq!(AgentsConfig::checked(&models, &agents).unwrap(), config);
    }

    #[test]
    fn what_may_be_spent_is_read_and_written_as_it_is() {
        let more = "[agents.a]\nkind = \"codex\"\nmodels = \"open\"\ntokens_per_run = 1000\ncost_per_task = 2.5\nruns_max = 3\nanswer_tokens = 300\n";
        let config = checked(&format!("{MODELS}{more}")).unwrap();
        let agent = &config.agents["a"];
        assert_eq!((agent.of_run, agent.runs_max), (Allowance { tokens: Some(1_000), cost: None }, Some(3)));
        assert_eq!(agent.answer_tokens, Some(300));
        assert_eq!(agent.of_task, Allowance { tokens: None, cost: Some(2_500_000) });
        let (models, agents) = config.sections();
        assert_eq!(AgentsConfig::checked(&models, &agents).unwrap(), config);
    }

    #[test]
    fn what_an_agent_is_to_ask_about_is_read_in_its_order() {
        let more = "[agents.a]\nkind = \"codex\"\nmodels = \"open\"\n[agents.b]\nkind = \"codex\"\nmodels = \"open\"\nchat = true\n\
                    [[agents.a.ask]]\nof = \"command\"\nmatches = \"git push *\"\nthen = \"ask\"\n\
                    [[agents.a.ask]]\nthen = \"deny\"\nbecause = \"it only looks\"\n";
        let config = checked(&format!("{MODELS}{more}")).unwrap();
        let agent = &config.agents["a"];
        assert_eq!(agent.leave.iter().map(|rule| rule.then).collect::<Vec<_>>(), [Ruling::Ask, Ruling::Deny]);
        assert!(agent.is_driven() && config.agents["b"].is_driven());
        let (models, agents) = config.sections();
        assert_eq!(AgentsConfig::checked(&models, &agents).unwrap(), config);
    }

    #[test]
    fn a_transcript_takes_the_place_of_a_program_and_of_a_server() {
        let of = |protocol: &str| {
            let text = format!("[agents.a]\nkind = \"fake\"\ntranscript = \"/t/a.jsonl\"\nprotocol = \"{protocol}\"\n");
            checked(&text).unwrap()
        };
        for (protocol, is_driven) in [
            ("codex-exec", false),
            ("codex-app-server", true),
            ("claude-stream", true),
            ("acp", true),
            ("plain", false),
        ] {
            let config = of(protocol);
            let agent = &config.agents["a"];
            assert_eq!((agent.is_driven(), config.server_of(agent)), (is_driven, None), "{protocol}");
            let (models, agents) = config.sections();
            assert_eq!(AgentsConfig::checked(&models, &agents).unwrap(), config);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, key) in [
            ("[models.x]\napi = \"openai\"\nurl = \"ftp://a\"\n", "models.x.url"),
            ("[models.x]\napi = \"openai\"\nurl = \"http://a\"\nkey = \"a b\"\n", "models.x.key"),
            ("[models.x]\napi = \"openai\"\nurl = \"http://a.example\"\nkey = \"k\"\n", "models.x.url"),
            ("[models.\"X y\"]\napi = \"openai\"\nurl = \"http://a\"\n", "models.X y"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"none\"\n", "agents.x.models"),
            ("[agents.x]\nkind = \"claude\"\nmodels = \"open\"\n", "agents.x.models"),
            ("[agents.x]\nkind = \"claude\"\nmodels = \"local\"\n", "agents.x.models"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nprogram = \"codex\"\n", "agents.x.program"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nprogram = \"/a\"\ntool = \"a\"\n", "agents.x.tool"),
            ("[agents.x]\nkind = \"acp\"\nmodels = \"open\"\ntool = \"\"\n", "agents.x.tool"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nmodel = \"--x\"\n", "agents.x.model"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\ncapabilities = [\"\"]\n", "agents.x.capabilities"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\ntokens_per_run = 0\n", "agents.x.tokens_per_run"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nruns_max = 0\n", "agents.x.runs_max"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nanswer_tokens = 0\n", "agents.x.answer_tokens"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\ncost_per_task = -1.0\n", "agents.x.cost_per_task"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\ncost_per_run = 1e9\n", "agents.x.cost_per_run"),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\narguments = [\"a\"]\n", "agents.x.kind"),
            (
                "[agents.x]\nkind = \"codex\"\nmodels = \"open\"\n[[agents.x.ask]]\nmatches = \"\"\nthen = \"ask\"\n",
                "agents.x.ask",
            ),
            ("[agents.x]\nkind = \"acp\"\nmodels = \"open\"\n", "agents.x.program"),
            ("[agents.x]\nkind = \"codex\"\n", "agents.x.models"),
            ("[agents.x]\nkind = \"fake\"\nprotocol = \"acp\"\n", "agents.x.transcript"),
            ("[agents.x]\nkind = \"fake\"\nprotocol = \"acp\"\ntranscript = \"a\"\n", "agents.x.transcript"),
            ("[agents.x]\nkind = \"fake\"\ntranscript = \"/a\"\n", "agents.x.protocol"),
            (
                "[agents.x]\nkind = \"fake\"\ntranscript = \"/a\"\nprotocol = \"acp\"\nprogram = \"/a\"\n",
                "agents.x.program",
            ),
            (
                "[agents.x]\nkind = \"fake\"\ntranscript = \"/a\"\nprotocol = \"acp\"\nmodels = \"open\"\n",
                "agents.x.models",
            ),
            ("[agents.x]\nkind = \"codex\"\nmodels = \"open\"\nprotocol = \"acp\"\n", "agents.x.protocol"),
            (
                "[agents.x]\nkind = \"acp\"\nmodels = \"open\"\nprogram = \"/a\"\narguments = [\"{model}\"]\n",
                "agents.x.arguments",
            ),
            (
                "[agents.x]\nkind = \"acp\"\nmodels = \"open\"\nprogram = \"/a\"\n[agents.x.files]\n\"../a\" = \"\"\n",
                "agents.x.files",
            ),
        ] {
            let (found, problem) = checked(&format!("{MODELS}{more}")).unwrap_err();
            assert_eq!(found, key, "{problem}");
        }
    }
}
