//! `orchctl demo --agent`: the whole demo, in which a real agent program does one task. Its model is a script.

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use orch_tests::command_line::output;
use orch_tests::model_server::{ModelServer, Script, Turn};
use orch_tests::{Setup, agents};
use serde_json::Value;

use crate::story;

/// The key that the server wants, and one that lies about and is for somebody else.
const KEY: &str = "sk-demo-7a41c09be2d85f36";
const OTHER: &str = "sk-other-0b52d18cf3e96a47";

/// What the demo asks its agent for.
const WORK: &str = r#"cat > shop/__main__.py <<'E'
"""`python3 -m shop` runs the service."""

import sys

from . import __version__
from .app import main

if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write("shop {}\n".format(__version__))
        sys.exit(0)
    sys.exit(main())
E
python3 -m shop --version"#;

#[test]
fn codex_does_a_task_of_the_demo() -> anyhow::Result<()> {
    does_a_task("codex", "OPENAI_API_KEY")
}

#[test]
fn claude_does_a_task_of_the_demo() -> anyhow::Result<()> {
    does_a_task("claude", "ANTHROPIC_API_KEY")
}

fn does_a_task(word: &'static str, variable: &str) -> anyhow::Result<()> {
    story(&format!("the demo with {word}"), Setup::Runs, async |story| {
        let program = match agents::program(word) {
            Ok(program) => program,
            Err(missing) => return missing.holds().map(drop),
        };
        let env = story.env();
        let script = [Turn::run(WORK).usage(500, 100), Turn::say("It prints its version.").usage(600, 20)];
        let server = ModelServer::start(Script::new(script).require_key(KEY)).await?;
        let key = env.path("key");
        std::fs::write(&key, format!("{KEY}\n"))?;
        let installed = program.parent().context("a program is in a directory")?;
        let path = format!("{}:{}", installed.display(), std::env::var("PATH")?);
        let root = env.path("demo");
        let mut command = env.command(env.programs().orchctl);
        command.args(["--yes", "-o", "json", "demo", "--agent", word, "--model", "some-model"]);
        command.arg("--models-url").arg(server.url()).arg("--key-file").arg(&key).arg("--directory").arg(&root);
        command.env("PATH", path).env(variable, OTHER).env("ORCHD_PROGRAM", env.programs().orchd);
        let told = output(command).await?;
        let said = told.stderr.clone();
        let report: Value = serde_json::from_str(&told.ok()?).with_context(|| said.clone())?;
        ensure!(said.contains("which costs money"), "what it costs is said even if nobody is asked: {said}");
        ensure!(!said.contains(KEY) && !said.contains(OTHER), "a key is in the messages: {said}");
        let asked = server.requests();
        let turns: Vec<_> = asked.iter().filter(|request| request.is_turn()).collect();
        let as_told = format!(
            "the server was asked {} times, and of the agent is told {:#}\n{said}",
            turns.len(),
            report["agent"]
        );
        // What is wrong comes first: what the demo says is long.
        holds(&report, word).map_err(|wrong| anyhow!("{wrong:#}\n{as_told}"))?;
        ensure!(turns.len() == 2, "{as_told}");
        ensure!(turns.iter().all(|turn| turn.key.as_deref() == Some(KEY)), "{asked:#?}");
        let main = std::fs::read_to_string(root.join("checkout/shop/__main__.py"))?;
        ensure!(main.contains("--version"), "what the agent wrote was not used: {main}");
        // It is gone with the demo, and the one that lay about was never taken.
        nowhere(&root, KEY)?;
        nowhere(&root, OTHER)
    })
}

/// The demo claims what the agent did, and all that it claims holds.
fn holds(report: &Value, word: &str) -> anyhow::Result<()> {
    let checks = report["checks"].as_array().context("checks")?;
    let failed: Vec<_> = checks.iter().filter(|check| check["holds"] != true).collect();
    ensure!(report["ok"] == true && failed.is_empty(), "these do not hold: {failed:#?}");
    // Each probed it from inside.
    let confined = "every run had the isolation that it needs, by probes inside it";
    let least = checks.iter().find(|check| check["claim"] == confined).context(confined)?;
    let level = least["evidence"].as_str().and_then(|text| text.rsplit_once("least level ")?.1.parse::<u8>().ok());
    ensure!(level >= Some(3), "{least:#}");
    for claim in ["the agent's change passed the gates", "the key is nowhere"] {
        let claims = |check: &Value| check["claim"].as_str().is_some_and(|text| text.starts_with(claim));
        ensure!(checks.iter().any(claims), "`{claim}` is not among {checks:#?}");
    }
    let done = &report["agent"];
    ensure!(
        done["agent"] == word && done["inputTokens"] == 1_100 && done["outputTokens"] == 120,
        "of {word} is told something else than 1,100 tokens in and 120 out, as the server says"
    );
    Ok(())
}

fn nowhere(root: &Path, key: &str) -> anyhow::Result<()> {
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path())?;
                let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
                ensure!(!found, "{key} is in {}", entry.path().display());
            }
        }
    }
    Ok(())
}
