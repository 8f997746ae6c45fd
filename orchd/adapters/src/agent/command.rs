//! The command line and the surroundings of each agent.
//!
//! From the programs' own help and documentation, and from what was seen of them against a scripted server. A key is
//! needed by each of them and is worth nothing: the gateway puts the real one in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orch_sandbox::spec::{HOME_INSIDE, ListenerSpec, Phase, ReadOnlyMount, StepSpec};

use super::{AGENT, AgentJob, AgentKind};

/// Name of the listener through which a run reaches its model.
pub const MODEL_LISTENER: &str = "models";
/// Where it is, on the loopback of the run.
pub const GATEWAY_PORT: u16 = 4141;
/// Variable of every step with its address.
pub const GATEWAY_VARIABLE: &str = "ORCH_MODELS";
/// Where a run finds what its agent is told.
pub const PROMPT_INSIDE: &str = "/orch/prompt.md";

/// What stands where a key belongs.
const NO_KEY: &str = "held-by-the-gateway";
/// Variable in which Codex looks for its key.
const CODEX_KEY: &str = "ORCH_MODEL_KEY";

/// An agent's part of a run's spec.
#[derive(Clone, Debug)]
pub struct Session {
    pub step: StepSpec,
    pub mounts: Vec<ReadOnlyMount>,
    pub listener: ListenerSpec,
}

impl Session {
    /// That of `job`, which may take so long.
    #[must_use]
    pub fn new(job: &AgentJob<'_>, timeout_ms: u64) -> Self {
        let (arguments, mut env) = match job.kind {
            AgentKind::Codex => codex(job.model),
            AgentKind::Claude => claude(job.model),
        };
        env.insert("HOME".into(), HOME_INSIDE.into());
        for (name, below) in
            [("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"), ("XDG_DATA_HOME", ".local/share")]
        {
            env.insert(name.into(), format!("{HOME_INSIDE}/{below}"));
        }
        // Its input is the prompt, and ends with it: an agent that wants to ask somebody gets no answer there.
        let script = format!("mkdir -p \"$AGENT_HOME\" && exec \"$0\" \"$@\" < {PROMPT_INSIDE}");
        let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, job.program.inside.clone()];
        argv.extend(arguments);
        let prompt = ReadOnlyMount { source: job.prompt.to_owned(), target: PROMPT_INSIDE.into() };
        Self {
            step: StepSpec { name: AGENT.into(), argv, env, cwd: PathBuf::new(), timeout_ms, phase: Phase::Main },
            mounts: job.program.mount.iter().cloned().chain([prompt]).collect(),
            listener: ListenerSpec {
                name: MODEL_LISTENER.into(),
                port: GATEWAY_PORT,
                variable: GATEWAY_VARIABLE.into(),
            },
        }
    }
}

type Words = (Vec<String>, BTreeMap<String, String>);

fn codex(model: Option<&str>) -> Words {
    let provider = format!(
        "model_providers.orch={{name=\"orch\",base_url=\"http://127.0.0.1:{GATEWAY_PORT}/v1\",wire_api=\"responses\",env_key=\"{CODEX_KEY}\"}}"
    );
    let mut words = words(&["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]);
    words.extend(["-c".into(), "model_provider=\"orch\"".into(), "-c".into(), provider]);
    words.extend(model.into_iter().flat_map(|model| ["-m".to_owned(), model.to_owned()]));
    // Of a search that the vendor makes nothing comes: no request that asks for one is passed on.
    words.extend(["-c".into(), "web_search=\"disabled\"".into()]);
    // Without it the program waits for seconds at its end for somebody whom it cannot reach.
    words.extend(["-c".into(), "analytics.enabled=false".into()]);
    // The prompt is its standard input.
    words.push("-".into());
    let home = format!("{HOME_INSIDE}/.codex");
    (words, variables(&[("AGENT_HOME", &home), ("CODEX_HOME", &home), (CODEX_KEY, NO_KEY)]))
}

fn claude(model: Option<&str>) -> Words {
    let mut words = words(&["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]);
    words.extend(model.into_iter().flat_map(|model| ["--model".to_owned(), model.to_owned()]));
    // The vendor would search, and there is no network to fetch from.
    words.push("--disallowedTools=WebSearch,WebFetch".to_owned());
    let home = format!("{HOME_INSIDE}/.claude");
    let base = format!("http://127.0.0.1:{GATEWAY_PORT}");
    let env = variables(&[
        ("AGENT_HOME", &home),
        ("CLAUDE_CONFIG_DIR", &home),
        ("ANTHROPIC_BASE_URL", &base),
        ("ANTHROPIC_API_KEY", NO_KEY),
        // Nothing but the model can be reached, and nothing else is worth a try.
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        // It refuses to work without questions as uid 0 unless it is told that it is held.
        ("IS_SANDBOX", "1"),
    ]);
    (words, env)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn variables(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Program;
    use super::*;

    #[test]
    fn every_agent_has_a_home_a_gateway_and_no_key() {
        let program = Program { inside: "/orch/agent/x".into(), mount: None, needs_node: false };
        for kind in [AgentKind::Codex, AgentKind::Claude] {
            let job =
                AgentJob { kind, program: &program, model: Some("some-model"), prompt: Path::new("/run/prompt.md") };
            let Session { step, mounts, listener } = Session::new(&job, 7);
            assert_eq!(step.argv[3], "/orch/agent/x");
            assert!(step.argv.iter().any(|word| word == "some-model"), "{step:?}");
            let said = format!("{step:?}");
            assert!(said.contains(&format!("http://127.0.0.1:{}", listener.port)), "{said}");
            assert!(said.contains(NO_KEY) && step.env["AGENT_HOME"].starts_with(HOME_INSIDE), "{said}");
            assert_eq!(mounts.last().unwrap().target, Path::new(PROMPT_INSIDE));
        }
    }
}
