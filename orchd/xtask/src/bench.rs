//! `cargo xtask bench AREA`: builds what an area measures with and starts its benchmarks, which print the bars.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::workspace;

/// The package with the sandbox, and its two programs that are needed.
const SANDBOX: &str = "orch-sandbox";
/// The package whose benchmark is that of workspaces.
const ADAPTERS: &str = "orch-adapters";

/// The package with the benchmarks of the scheduler and of agents.
const TESTS: &str = "orch-tests";
/// The package whose benchmark is that of transcripts.
const CORE: &str = "orch-core";

/// Measures `area` with the benchmarks' own arguments.
pub(crate) fn run(area: &str, arguments: &[String]) -> anyhow::Result<ExitCode> {
    match area {
        "sandbox" => sandbox(arguments),
        "scheduler" => scheduler(arguments),
        "agents" => agents(arguments),
        other => bail!("there is no bench area `{other}`; there are: agents, sandbox, scheduler"),
    }
}

/// Every benchmark is started, also when one before it finds a bar broken.
fn sandbox(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let mut held = true;
    if wants(arguments, |bar| !bar.starts_with("workspace")) {
        let mut with_suite = arguments.to_vec();
        // Tests take a while to build; without the bar they are not needed.
        if wants(arguments, |bar| "escapes".starts_with(bar)) {
            let suite = suite(&root)?;
            with_suite.extend(["--suite".to_owned(), suite.to_string_lossy().into_owned()]);
        }
        held &= benchmark(&root, SANDBOX, "sandbox", &with_suite)?;
    }
    if wants(arguments, |bar| bar.starts_with("workspace")) && has_benchmark(&root, ADAPTERS, "workspace")? {
        held &= benchmark(&root, ADAPTERS, "workspace", arguments)?;
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scheduler(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let held = benchmark(&workspace::root()?, TESTS, "scheduler", arguments)?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The gateway, and how fast transcripts are read. Each gets the sizes that it knows.
fn agents(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let mut held = true;
    if wants(arguments, |bar| bar.starts_with("gateway") || "gateway".starts_with(bar)) {
        held &= benchmark(&root, TESTS, "agents", &without(arguments, &["--megabytes"]))?;
    }
    if wants(arguments, |bar| bar.starts_with("agents") || "agents".starts_with(bar)) {
        let sizes = ["--blocks", "--requests", "--seconds"];
        held &= benchmark(&root, CORE, "transcripts", &without(arguments, &sizes))?;
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments but for these, each of which has a value.
fn without(arguments: &[String], names: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if names.contains(&word.as_str()) {
            words.next();
        } else {
            left.push(word.clone());
        }
    }
    left
}

/// Whether `--only` names nothing, or something that is `meant`.
fn wants(arguments: &[String], meant: impl Fn(&str) -> bool) -> bool {
    let only = arguments.iter().zip(arguments.iter().skip(1)).filter(|(word, _)| *word == "--only");
    let mut bars = only.map(|(_, bar)| bar.as_str()).peekable();
    bars.peek().is_none() || bars.any(meant)
}

/// Starts a benchmark; whether it found every bar to hold.
fn benchmark(root: &Path, package: &str, name: &str, arguments: &[String]) -> anyhow::Result<bool> {
    let status = workspace::cargo()
        .args(["bench", "--package", package, "--bench", name, "--"])
        .args(arguments)
        .current_dir(root)
        .status()
        .context("failed to start cargo")?;
    Ok(status.success())
}

/// Builds the tests of the sandbox; the path of their program.
fn suite(root: &Path) -> anyhow::Result<PathBuf> {
    let output = workspace::cargo()
        .args(["test", "--release", "--package", SANDBOX, "--test", "sandbox", "--no-run", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start cargo")?;
    ensure!(output.status.success(), "building the tests of the sandbox failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    program_of_tests(&messages).context("cargo names no program of the tests")
}

/// The program of the target `sandbox` among the messages of cargo.
fn program_of_tests(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests =
        messages.filter(|message| message["target"]["name"] == "sandbox" && message["target"]["kind"][0] == "test");
    tests.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next()
}

fn has_benchmark(root: &Path, package: &str, name: &str) -> anyhow::Result<bool> {
    let metadata = workspace::metadata(root)?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
    let targets =
        packages.iter().filter(|found| found["name"] == package).filter_map(|found| found["targets"].as_array());
    Ok(targets.flatten().any(|target| target["name"] == name && target["kind"][0] == "bench"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn only_what_is_named_is_measured() {
        let is_workspace = |bar: &str| bar.starts_with("workspace");
        assert!(wants(&words(&["--json"]), is_workspace));
        assert!(wants(&words(&["--only", "start", "--only", "workspace-100k"]), is_workspace));
        assert!(!wants(&words(&["--only", "start-cli", "--runs", "9"]), is_workspace));
        assert!(wants(&words(&["--only", "esc"]), |bar| "escapes".starts_with(bar)));
    }

    #[test]
    fn sizes_of_another_benchmark_are_left_out() {
        let all = words(&["--json", "--requests", "9", "--rounds", "1", "--megabytes", "5"]);
        assert_eq!(without(&all, &["--megabytes"]), words(&["--json", "--requests", "9", "--rounds", "1"]));
        assert_eq!(without(&all, &["--requests", "--blocks"]), words(&["--json", "--rounds", "1", "--megabytes", "5"]));
    }

    #[test]
    fn the_program_of_the_tests_is_found_among_messages() {
        let messages = concat!(
            "not json\n",
            r#"{"target":{"name":"sandbox","kind":["bench"]},"executable":"/b"}"#,
            "\n",
            r#"{"target":{"name":"sandbox","kind":["test"]},"executable":"/t"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(program_of_tests(messages), Some(PathBuf::from("/t")));
        assert_eq!(program_of_tests("{}"), None);
    }
}
