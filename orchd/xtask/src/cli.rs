//! Chooses the command. No argument parser: xtask stands before everything else, so it is to build fast.

use std::process::ExitCode;

use anyhow::bail;

use crate::{bench, ci, demo, escape, plants, tidy, workspace};

const USAGE: &str = "\
developer commands of the Codex Orchestrator

usage: cargo xtask COMMAND

  demo [ARG...]        build in release mode, then run `orchctl demo ARG...` (also: cargo demo)
  tidy                 check the rules of the repository that compiler and clippy cannot check
  ci                   all that CI checks, on the tools that are installed (the same as .ci/run --no-install)
  bench sandbox [--json] [--only BAR]... [--runs N] [--user NAME]
                       measure the sandbox beside bubblewrap and print the bars; as root, as the user NAME
  bench scheduler [--json] [--only BAR]... [--tasks N] [--rounds N] [--queued N] [--finished N]
                       measure the scheduler and the state beside other queues
  bench agents [--json] [--only BAR]... [--blocks N] [--requests N] [--rounds N] [--seconds N] [--megabytes N]
                       measure the model gateway beside the direct way, and how fast transcripts are read
  escape --against bwrap|nsjail|none
                       try the attacks of the escape suite in our sandbox and in another one
  plants [NAME]...     plant faults into a copy of the repository, one at a time, and see whether the tests find each
  help                 this text
";

/// Exit code of a wrong call.
const WRONG_CALL: u8 = 2;

/// The whole program.
#[must_use]
pub fn main_impl() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(WRONG_CALL));
    };
    match command.as_str() {
        "demo" => demo::run(rest),
        "tidy" => {
            nothing_after("tidy", rest)?;
            report(&tidy::check(&workspace::root()?)?)
        }
        "ci" => {
            nothing_after("ci", rest)?;
            ci::run()
        }
        "bench" => match rest.split_first() {
            Some((area, rest)) => bench::run(area, rest),
            None => bail!("`bench` needs an area: agents, sandbox, scheduler"),
        },
        "escape" => escape::run(rest),
        "plants" => plants::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => {
            eprint!("xtask: error: there is no command `{other}`\n\n{USAGE}");
            Ok(ExitCode::from(WRONG_CALL))
        }
    }
}

fn nothing_after(command: &str, rest: &[String]) -> anyhow::Result<()> {
    match rest.first() {
        Some(argument) => bail!("`{command}` takes no arguments, and there is `{argument}`"),
        None => Ok(()),
    }
}

fn report(report: &tidy::Report) -> anyhow::Result<ExitCode> {
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    for finding in &report.findings {
        eprintln!("error: {finding}");
    }
    if !report.findings.is_empty() {
        bail!("tidy found {} problems in {} files", report.findings.len(), report.files);
    }
    println!("tidy: {} files are in order", report.files);
    Ok(ExitCode::SUCCESS)
}
