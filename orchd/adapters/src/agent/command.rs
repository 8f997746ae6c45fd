//! The command line and the surroundings of each agent.
//!
//! From the programs' own help and documentation, and from what was seen of them against a scripted server. A key is
//! needed by each of them and is worth nothing: the gateway puts the real one in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orch_proto::channel::VARIABLE;
use orch_sandbox::spec::{HOME_INSIDE, ListenerSpec, OUT_INSIDE, Phase, ReadOnlyMount, StepSpec};

use super::{AGENT, AgentJob, AgentKind, Driven, Manner, Replay, Resume, plans};
use crate::channel;

/// Name of the listener through which a run reaches its model.
pub const MODEL_LISTENER: &str = "models";
/// Where it is, on the loopback of the run.
pub const GATEWAY_PORT: u16 = 4141;
/// Variable of every step with its address.
pub const GATEWAY_VARIABLE: &str = "ORCH_MODELS";
/// Where a run finds what its agent is told.
pub const PROMPT_INSIDE: &str = "/orch/prompt.md";
/// Where it finds what speaks to an agent that wants a conversation.
const DRIVER_INSIDE: &str = "/orch/orchctl";
/// Where it finds the files of its agent's home, which are copied there: an agent may change its own.
const FILES_INSIDE: &str = "/orch/agent-home";

/// Where an agent's program keeps its sessions, in the directory for results of its run: they outlive it there.
pub const HOME_KEPT: &str = "agent-home";
/// Where a run finds what an earlier one left there.
const LEFT_INSIDE: &str = "/orch/agent-before";

/// What stands where a key belongs.
pub(super) const NO_KEY: &str = "held-by-the-gateway";
/// Variable in which Codex looks for its key.
const CODEX_KEY: &str = "ORCH_MODEL_KEY";

/// An agent's part of a run's spec.
#[derive(Clone, Debug)]
pub struct Session {
    pub step: StepSpec,
    pub mounts: Vec<ReadOnlyMount>,
    /// None for one that asks no model.
    pub listener: Option<ListenerSpec>,
}

impl Session {
    /// That of `job`, which may take so long.
    #[must_use]
    pub fn new(job: &AgentJob<'_>, timeout_ms: u64) -> Self {
        let Start { argv, env: own, mut mounts } = match job.manner {
            Manner::Codex => told_by_input(job, AgentKind::Codex, codex(job)),
            Manner::Claude => told_by_input(job, AgentKind::Claude, claude(job)),
            Manner::Driven(driven) => driven_by(&driven, job),
            Manner::Plans { schema } => plans::codex(job, schema),
            Manner::Replayed(replay) => replayed(&job.program.inside, replay),
        };
        let asks_no_model = matches!(job.manner, Manner::Replayed(_) | Manner::Driven(Driven { replay: Some(_), .. }));
        let mut env = variables(&[("HOME", HOME_INSIDE)]);
        for (name, below) in
            [("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"), ("XDG_DATA_HOME", ".local/share")]
        {
            env.insert(name.into(), format!("{HOME_INSIDE}/{below}"));
        }
        env.extend(own);
        mounts.extend(job.program.mount.clone());
        let left = job.resume.map(|resume| resume.left.to_owned());
        mounts.extend(left.map(|source| ReadOnlyMount { source, target: LEFT_INSIDE.into() }));
        mounts.push(ReadOnlyMount { source: job.prompt.to_owned(), target: PROMPT_INSIDE.into() });
        Self {
            step: StepSpec { name: AGENT.into(), argv, env, cwd: PathBuf::new(), timeout_ms, phase: Phase::Main },
            mounts,
            listener: (!asks_no_model).then(|| ListenerSpec {
                name: MODEL_LISTENER.into(),
                port: GATEWAY_PORT,
                variable: GATEWAY_VARIABLE.into(),
            }),
        }
    }
}

/// How an agent's step begins.
pub(super) struct Start {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// What it needs beside its program and its prompt.
    pub(super) mounts: Vec<ReadOnlyMount>,
}

/// An agent whose input is its prompt, and ends with it: one that wants to ask somebody gets no answer there.
pub(super) fn told_by_input(job: &AgentJob<'_>, kind: AgentKind, (arguments, env): Words) -> Start {
    let before = homed(kind, job.resume).join(" && ");
    let script = format!("{before} && exec \"$0\" \"$@\" < {PROMPT_INSIDE}");
    let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, job.program.inside.clone()];
    argv.extend(arguments);
    Start { argv, env, mounts: Vec::new() }
}

/// What makes the place in which an agent's program keeps its sessions, with those that it takes up. Of what an earlier run left
/// nothing else is taken: settings, hooks and servers that it may have written there are not believed.
fn homed(kind: AgentKind, resume: Option<Resume<'_>>) -> Vec<String> {
    let mut words = vec!["mkdir -p \"$AGENT_HOME\"".to_owned()];
    let part = match kind {
        AgentKind::Codex => "sessions",
        AgentKind::Claude => "projects",
        // All of its data; what it is told lies elsewhere.
        AgentKind::Acp | AgentKind::Fake => ".",
    };
    // Without it, or with half of it, the program says what is missing.
    words.extend(resume.map(|_| format!("{{ cp -R -P {LEFT_INSIDE}/{part} \"$AGENT_HOME\" || :; }}")));
    words
}

/// Where that is, inside.
fn kept_home() -> String {
    format!("{OUT_INSIDE}/{HOME_KEPT}")
}

/// What an agent printed that was told by its input.
fn replayed(program: &str, replay: &Replay) -> Start {
    let mut argv = vec![program.to_owned()];
    argv.extend(replay.arguments());
    Start { argv, env: BTreeMap::new(), mounts: replay.mounts() }
}

/// An agent that is spoken to by `orchctl agent drive`.
fn driven_by(driven: &Driven<'_>, job: &AgentJob<'_>) -> Start {
    let mut mounts = vec![ReadOnlyMount { source: driven.driver.to_owned(), target: DRIVER_INSIDE.into() }];
    let asks = !driven.leave.is_empty();
    let (arguments, env) = match (driven.replay, driven.kind) {
        (Some(replay), _) => {
            mounts.extend(replay.mounts());
            (replay.arguments(), BTreeMap::new())
        }
        (None, AgentKind::Codex) => codex_served(job),
        (None, AgentKind::Claude) => claude_spoken_to(job, asks),
        (None, AgentKind::Acp | AgentKind::Fake) => {
            let home = kept_home();
            let mut env = variables(&[("AGENT_HOME", &home), ("XDG_DATA_HOME", &home)]);
            env.extend(driven.settings.environment.clone());
            (driven.settings.arguments.clone(), env)
        }
    };
    // What it needs before its program starts: a directory, or a copy of its files.
    let mut before = Vec::new();
    if env.contains_key("AGENT_HOME") {
        before.extend(homed(driven.kind, job.resume));
    }
    if let Some(home) = driven.home {
        mounts.push(ReadOnlyMount { source: home.to_owned(), target: FILES_INSIDE.into() });
        before.push(format!("cp -R {FILES_INSIDE}/. \"$HOME\""));
    }
    let mut argv = Vec::new();
    if !before.is_empty() {
        before.push("exec \"$0\" \"$@\"".to_owned());
        argv.extend(["/bin/sh".to_owned(), "-c".to_owned(), before.join(" && ")]);
    }
    argv.extend(words(&[DRIVER_INSIDE, "agent", "drive", driven.kind.word(), "--prompt", PROMPT_INSIDE]));
    if asks {
        // Rules that were read have a form.
        let rules = serde_json::to_string(driven.leave).unwrap_or_default();
        argv.extend(["--leave".to_owned(), rules]);
    }
    argv.extend(job.resume.into_iter().flat_map(|resume| words(&["--resume", resume.id])));
    argv.extend(words(&["--", &job.program.inside]));
    argv.extend(arguments);
    Start { argv, env, mounts }
}

pub(super) type Words = (Vec<String>, BTreeMap<String, String>);

/// How long a tool of the channel may take, in seconds: it waits for people.
const TOOL_SECONDS: u64 = 30 * 24 * 60 * 60;
/// How long a program waits for its model, in seconds. A request may wait for a person who has to allow more to be spent, and the
/// clock of the program goes on while its run stands still.
const ANSWER_SECONDS: u64 = 24 * 60 * 60;
/// How often a program asks its model again by itself. The gateway does so already; this is for a daemon that is killed.
const REQUEST_RETRIES: u32 = 2;
/// The same where the answer broke off.
const STREAM_RETRIES: u32 = 3;

/// With its prompt as its input.
fn codex(job: &AgentJob<'_>) -> Words {
    let mut words = vec!["exec".to_owned()];
    words.extend(job.resume.map(|_| "resume".to_owned()));
    words.extend(
        ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"].map(ToOwned::to_owned),
    );
    let (configured, env) = codex_configured(job.has_channel);
    words.extend(configured);
    words.extend(job.model.into_iter().flat_map(|model| ["-m".to_owned(), model.to_owned()]));
    words.extend(job.resume.map(|resume| resume.id.to_owned()));
    // The prompt is its standard input.
    words.push("-".into());
    (words, env)
}

/// In a conversation: what it may do, the driver says.
fn codex_served(job: &AgentJob<'_>) -> Words {
    let mut words = words(&["app-server"]);
    let (configured, env) = codex_configured(job.has_channel);
    words.extend(configured);
    if job.has_channel {
        // It has a tool to ask people with, which it leaves out unless told, and the driver asks them.
        for more in ["features.default_mode_request_user_input=true", "suppress_unstable_features_warning=true"] {
            words.extend(["-c".into(), more.into()]);
        }
    }
    let model = job.model.map(|model| format!("model={}", serde_json::Value::from(model)));
    words.extend(model.into_iter().flat_map(|model| ["-c".to_owned(), model]));
    (words, env)
}

/// What it is told of its surroundings, whatever it does.
pub(super) fn codex_configured(has_channel: bool) -> Words {
    let idle_ms = ANSWER_SECONDS * 1_000;
    let provider = format!(
        "model_providers.orch={{name=\"orch\",base_url=\"http://127.0.0.1:{GATEWAY_PORT}/v1\",wire_api=\"responses\",\
         env_key=\"{CODEX_KEY}\",request_max_retries={REQUEST_RETRIES},stream_max_retries={STREAM_RETRIES},\
         stream_idle_timeout_ms={idle_ms}}}"
    );
    let mut words = vec!["-c".into(), "model_provider=\"orch\"".into(), "-c".into(), provider];
    // Of a search that the vendor makes nothing comes: no request that asks for one is passed on.
    words.extend(["-c".into(), "web_search=\"disabled\"".into()]);
    // Without it the program waits for seconds at its end for somebody whom it cannot reach.
    words.extend(["-c".into(), "analytics.enabled=false".into()]);
    if has_channel {
        let address = channel::address();
        // Nobody is there to allow the tools of the channel, and all they do is to ask.
        let server = format!(
            "mcp_servers.orch={{command=\"{}\",args=[\"agent\",\"mcp\"],env={{{VARIABLE}=\"{address}\"}},\
             tool_timeout_sec={TOOL_SECONDS},default_tools_approval_mode=\"approve\"}}",
            channel::PROGRAM_INSIDE
        );
        words.extend(["-c".into(), server]);
    }
    let home = kept_home();
    (words, variables(&[("AGENT_HOME", &home), ("CODEX_HOME", &home), (CODEX_KEY, NO_KEY)]))
}

/// With its prompt as its input.
fn claude(job: &AgentJob<'_>) -> Words {
    let words = words(&["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]);
    claude_configured(words, job)
}

/// In a conversation. Where it asks, the driver decides; a program that asks nothing may do everything, and still has people
/// answer what it wants to know.
fn claude_spoken_to(job: &AgentJob<'_>, asks: bool) -> Words {
    let mut words = words(&["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
    words.extend(["--replay-user-messages", "--permission-prompt-tool", "stdio"].map(ToOwned::to_owned));
    words.extend(match asks {
        // What a repository says of permissions, or of who is asked about them, does not count.
        true => ["--permission-mode", "default", "--setting-sources", "user"].map(ToOwned::to_owned).to_vec(),
        false => vec!["--dangerously-skip-permissions".to_owned()],
    });
    claude_configured(words, job)
}

/// With what it is told of its surroundings, whatever it does.
fn claude_configured(mut words: Vec<String>, job: &AgentJob<'_>) -> Words {
    words.extend(job.resume.into_iter().flat_map(|resume| ["--resume".to_owned(), resume.id.to_owned()]));
    words.extend(job.model.into_iter().flat_map(|model| ["--model".to_owned(), model.to_owned()]));
    // The vendor would search, and there is no network to fetch from.
    words.push("--disallowedTools=WebSearch,WebFetch".to_owned());
    if job.has_channel {
        let server = serde_json::json!({"mcpServers": {"orch": {
            "type": "stdio",
            "command": channel::PROGRAM_INSIDE,
            "args": ["agent", "mcp"],
            "env": {VARIABLE: channel::address()},
        }}});
        // A repository's own servers are not started.
        words.extend(["--mcp-config".into(), server.to_string(), "--strict-mcp-config".into()]);
    }
    let home = kept_home();
    let base = format!("http://127.0.0.1:{GATEWAY_PORT}");
    let timeout = (TOOL_SECONDS * 1_000).to_string();
    let (answer, retries) = ((ANSWER_SECONDS * 1_000).to_string(), STREAM_RETRIES.to_string());
    let env = variables(&[
        ("AGENT_HOME", &home),
        ("CLAUDE_CONFIG_DIR", &home),
        ("ANTHROPIC_BASE_URL", &base),
        ("ANTHROPIC_API_KEY", NO_KEY),
        // Nothing but the model can be reached, and nothing else is worth a try.
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("MCP_TOOL_TIMEOUT", &timeout),
        ("API_TIMEOUT_MS", &answer),
        // Ten unless said, which is three minutes of a wrong key.
        ("CLAUDE_CODE_MAX_RETRIES", &retries),
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

    use orch_proto::leave::{Deed, LeaveRule, Ruling};

    use super::super::{Program, Recorded, Settings};
    use super::*;

    const PROGRAM: &str = "/orch/agent/x";

    fn session(manner: Manner<'_>) -> Session {
        resumed(manner, None)
    }

    fn resumed(manner: Manner<'_>, resume: Option<Resume<'_>>) -> Session {
        let program = Program { real: "/x".into(), inside: PROGRAM.into(), mount: None, needs_node: false };
        let job = AgentJob {
            manner,
            program: &program,
            model: Some("some-model"),
            prompt: Path::new("/run/prompt.md"),
            has_channel: true,
            resume,
        };
        Session::new(&job, 7)
    }

    #[test]
    fn every_agent_has_a_home_a_gateway_and_no_key() {
        for manner in [Manner::Codex, Manner::Claude] {
            let Session { step, mounts, listener } = session(manner);
            assert_eq!(step.argv[3], PROGRAM);
            assert!(step.argv.iter().any(|word| word == "some-model"), "{step:?}");
            let said = format!("{step:?}");
            assert!(said.contains(&format!("http://127.0.0.1:{}", listener.unwrap().port)), "{said}");
            assert!(said.contains(channel::PROGRAM_INSIDE) && said.contains(&channel::address()), "{said}");
            assert!(said.contains(NO_KEY) && step.env["AGENT_HOME"] == "/out/agent-home", "{said}");
            assert!(said.contains("86400000") && !said.contains("request_user_input"), "{said}");
            let retries = ["request_max_retries=2,stream_max_retries=3", r#""CLAUDE_CODE_MAX_RETRIES": "3""#];
            assert!(retries.iter().any(|words| said.contains(words)), "{said}");
            assert_eq!(mounts.last().unwrap().target, Path::new(PROMPT_INSIDE));
        }
    }

    #[test]
    fn an_agent_of_any_program_is_driven_with_what_its_operator_says() {
        let settings = Settings {
            arguments: vec!["acp".into()],
            environment: [("KEY".to_owned(), "{key} at {gateway}".to_owned())].into(),
            ..Settings::default()
        };
        let driven = |home| Driven {
            driver: Path::new("/opt/orchctl"),
            kind: AgentKind::Acp,
            leave: &[],
            settings: &settings,
            replay: None,
            home,
        };
        let Session { step, mounts, .. } = session(Manner::Driven(driven(None)));
        let driver = ["/orch/orchctl", "agent", "drive", "acp", "--prompt", "/orch/prompt.md", "--", PROGRAM, "acp"];
        assert_eq!((step.argv[0].as_str(), &step.argv[3..]), ("/bin/sh", &driver.map(String::from)[..]));
        assert_eq!((step.env["HOME"].as_str(), step.env["XDG_DATA_HOME"].as_str()), (HOME_INSIDE, "/out/agent-home"));
        assert_eq!(
            mounts.iter().map(|mount| mount.source.as_path()).collect::<Vec<_>>(),
            [Path::new("/opt/orchctl"), Path::new("/run/prompt.md")]
        );
        let Session { step, mounts, .. } = session(Manner::Driven(driven(Some(Path::new("/run/agent-home")))));
        assert_eq!((step.argv[0].as_str(), &step.argv[3..]), ("/bin/sh", &driver.map(String::from)[..]));
        assert_eq!(mounts[1].target, Path::new(FILES_INSIDE));
    }

    #[test]
    fn an_agent_that_is_to_ask_is_driven_by_rules_and_its_own_sandbox_stays_off() {
        let rule =
            LeaveRule { of: Some(Deed::Command), matches: Some("git push *".into()), then: Ruling::Ask, because: None };
        for (kind, own) in [(AgentKind::Codex, "app-server"), (AgentKind::Claude, "--permission-prompt-tool")] {
            for leave in [&[][..], std::slice::from_ref(&rule)] {
                let settings = Settings::default();
                let (driver, settings) = (Path::new("/opt/orchctl"), &settings);
                let driven = Driven { driver, kind, leave, settings, replay: None, home: None };
                let Session { step, mounts, .. } = session(Manner::Driven(driven));
                let said = step.argv.join(" ");
                assert!(said.contains(&format!("{DRIVER_INSIDE} agent drive {} --prompt", kind.word())), "{said}");
                assert_eq!(said.contains("--leave") && said.contains("git push *"), !leave.is_empty(), "{said}");
                let skips = said.contains("--dangerously-skip-permissions");
                assert!(said.contains(own) && skips == (leave.is_empty() && kind == AgentKind::Claude), "{said}");
                assert_eq!(said.contains("request_user_input=true"), kind == AgentKind::Codex, "{said}");
                assert!(said.contains("some-model") && said.contains(channel::PROGRAM_INSIDE), "{said}");
                assert!(step.argv[2].starts_with("mkdir -p \"$AGENT_HOME\" && exec"), "{said}");
                assert_eq!(mounts[0].target, Path::new(DRIVER_INSIDE));
            }
        }
    }

    /// Of what an interrupted run left only sessions are copied, and no word of it is an option.
    #[test]
    fn an_agent_takes_up_its_own_session_and_nothing_else_that_was_left() {
        let (left, settings) = (Path::new("/runs/1/out/agent-home"), Settings::default());
        let resume = Some(Resume { id: "the-id", left });
        let driven = |kind| {
            let (driver, settings) = (Path::new("/opt/orchctl"), &settings);
            Manner::Driven(Driven { driver, kind, leave: &[], settings, replay: None, home: None })
        };
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let cases = [
            (Manner::Codex, "sessions", own(&["exec", "resume", "--json"]), own(&["some-model", "the-id", "-"])),
            (Manner::Claude, "projects", own(&["--resume", "the-id"]), vec![]),
            (driven(AgentKind::Codex), "sessions", own(&["--resume", "the-id", "--", PROGRAM, "app-server"]), vec![]),
            (driven(AgentKind::Claude), "projects", own(&["--resume", "the-id", "--", PROGRAM, "-p"]), vec![]),
            (driven(AgentKind::Acp), ".", own(&["--resume", "the-id", "--", PROGRAM]), vec![]),
        ];
        for (manner, part, words, ends) in cases {
            let Session { step, mounts, .. } = resumed(manner, resume);
            let copied = format!(
                "mkdir -p \"$AGENT_HOME\" && {{ cp -R -P /orch/agent-before/{part} \"$AGENT_HOME\" || :; }} && exec"
            );
            assert!(step.argv[2].starts_with(&copied), "{:?}", step.argv);
            assert!(step.argv.windows(words.len()).any(|window| window == words), "{words:?} in {:?}", step.argv);
            assert!(step.argv.ends_with(&ends), "{ends:?} in {:?}", step.argv);
            let mount = mounts.iter().find(|mount| mount.target == Path::new(LEFT_INSIDE)).unwrap();
            assert_eq!(mount.source, left);
            let Session { step, mounts, .. } = session(manner);
            let said = step.argv.join(" ");
            assert!(!said.contains("resume") && !said.contains(LEFT_INSIDE), "{said}");
            assert!(!mounts.iter().any(|mount| mount.target == Path::new(LEFT_INSIDE)), "{mounts:?}");
        }
    }

    #[test]
    fn a_transcript_is_replayed_in_the_place_of_a_program_and_asks_no_model() {
        let at = |recorded| Replay { transcript: "/nowhere/a.jsonl".into(), recorded };
        let Session { step, mounts, listener } = session(Manner::Replayed(&at(Recorded::CodexExec)));
        assert_eq!(step.argv, [PROGRAM, "agent", "replay", "codex-exec", "/orch/transcript"]);
        assert_eq!((mounts[0].source.as_path(), listener), (Path::new("/nowhere/a.jsonl"), None));
        let (replay, settings) = (at(Recorded::ClaudeStream), Settings::default());
        let (driver, kind) = (Path::new("/opt/orchctl"), AgentKind::Claude);
        let driven = Driven { driver, kind, leave: &[], settings: &settings, replay: Some(&replay), home: None };
        let Session { step, listener, .. } = session(Manner::Driven(driven));
        let words =
            ["drive", "claude", "--prompt", "/orch/prompt.md", "--", PROGRAM, "agent", "replay", "claude-stream"];
        assert_eq!((&step.argv[2..11], listener), (&words.map(String::from)[..], None));
    }
}
