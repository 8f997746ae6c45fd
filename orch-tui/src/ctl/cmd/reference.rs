//! What needs no daemon: help, exit codes, error codes, versions, completions and manual pages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use orch_proto::{ErrorCode, PROTOCOL_VERSION};
use serde::Serialize;

use crate::ctl::args::Cli;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code, as `E_NOT_FOUND`; all of them if none is named
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell that reads them
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory to write the pages to
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, as `task create`, or `exit-codes`
    pub(crate) topic: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    code: &'static str,
    exit_code: u8,
    retryable: Option<bool>,
    meaning: &'static str,
}

impl From<ErrorCode> for Explanation {
    fn from(code: ErrorCode) -> Self {
        Self { code: code.as_str(), exit_code: code.exit_code(), retryable: code.retryable(), meaning: code.meaning() }
    }
}

pub(crate) fn explain(session: &Session, args: &ExplainArgs) -> Result<(), Failure> {
    let Some(wanted) = &args.code else {
        let all: Vec<Explanation> = ErrorCode::ALL.iter().map(|code| (*code).into()).collect();
        return session.report("Codes", &BTreeMap::from([("items", &all)]), || {
            all.iter().map(|code| format!("{:<20} {:>3}  {}\n", code.code, code.exit_code, code.meaning)).collect()
        });
    };
    let name = wanted.to_ascii_uppercase();
    let known =
        ErrorCode::ALL.iter().find(|code| code.as_str() == name || code.as_str().strip_prefix("E_") == Some(&name));
    let code = known.copied().ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, format!("there is no code `{wanted}`"), "`orchctl explain` lists all codes")
    })?;
    let explanation = Explanation::from(code);
    session.report("Code", &explanation, || {
        let retry = match explanation.retryable {
            Some(true) => "the same call can succeed later",
            Some(false) => "the same call will not succeed later",
            None => "whether the same call can succeed later depends on the cause",
        };
        format!("{}: {}\n  exit code {}; {retry}\n", explanation.code, explanation.meaning, explanation.exit_code)
    })
}

pub(crate) async fn version(session: &Session) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let daemon = session.client().await.ok().map(|client| client.daemon_version().to_owned());
    #[derive(Serialize)]
    struct Versions<'a> {
        orchctl: &'a str,
        protocol: u32,
        orchd: Option<&'a str>,
    }
    let versions = Versions { orchctl: own, protocol: PROTOCOL_VERSION, orchd: daemon.as_deref() };
    session.report("Version", &versions, || {
        let daemon = daemon.as_deref().map_or_else(|| "not reachable".to_owned(), str::to_owned);
        format!("orchctl {own} (protocol {PROTOCOL_VERSION})\norchd {daemon}\n")
    })
}

pub(crate) fn completion(session: &Session, args: &CompletionArgs) -> Result<(), Failure> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "orchctl", &mut out);
    Ok(session.console.data(&out)?)
}

pub(crate) fn man(session: &Session, args: &ManArgs) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir))
        .and_then(|()| std::fs::write(args.dir.join("orch-exit-codes.7"), exit_codes_page()));
    written.map_err(|error| Failure::cannot_write(&args.dir, &error))?;
    session.note(&format!("wrote manual pages to `{}`", args.dir.display()));
    Ok(())
}

pub(crate) fn help(session: &Session, args: &HelpArgs) -> Result<(), Failure> {
    if args.topic == ["exit-codes"] {
        return Ok(session.console.data(exit_codes().as_bytes())?);
    }
    let mut command = Cli::command();
    command.build();
    let mut place = &mut command;
    for word in &args.topic {
        place = place.find_subcommand_mut(word).ok_or_else(|| {
            let message = format!("there is no command `{}`", args.topic.join(" "));
            Failure::new(ErrorCode::Usage, message, "`orchctl help` lists the commands; `orchctl help exit-codes`")
        })?;
    }
    let text = place.render_long_help().to_string();
    Ok(session.console.data(text.as_bytes())?)
}

/// The table of exit codes, made from the error codes.
fn exit_codes() -> String {
    let mut rows: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
    for code in ErrorCode::ALL {
        rows.entry(code.exit_code()).or_default().push(code.as_str());
    }
    let mut lines = vec![
        (0, "it was done".to_owned()),
        (1, "the thing that you asked about has failed: a run, a check".to_owned()),
        (8, "the thing that you asked about is not decided yet".to_owned()),
        (9, "some of several have failed; standard error has each".to_owned()),
        (74, "output could not be written".to_owned()),
        (130, "you stopped watching; what was watched goes on".to_owned()),
        (141, "whoever read the output went away".to_owned()),
    ];
    lines.extend(rows.into_iter().map(|(exit, codes)| (exit, codes.join(", "))));
    lines.sort();
    lines.iter().map(|(exit, meaning)| format!("{exit:>4}  {meaning}\n")).collect()
}

fn exit_codes_page() -> Vec<u8> {
    let mut page =
        b".TH orch-exit-codes 7\n.SH NAME\norch-exit-codes \\- exit codes of orchctl\n.SH CODES\n.nf\n".to_vec();
    page.extend(exit_codes().replace('-', "\\-").into_bytes());
    page.extend(b".fi\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_listed() {
        insta::assert_snapshot!(exit_codes());
    }
}
