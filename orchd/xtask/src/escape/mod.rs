//! `cargo xtask escape --against PEER`: tries the same attacks in our sandbox and in another one, side by side.
//!
//! Knows programs by their path: `sbx-probe` says which cases there are and how each went; `orch-sandbox` and the peer are
//! started like a person would. **Invariant:** a result is what a run of that sandbox has just said, never what is known
//! about it.

mod outside;
mod sandboxes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::workspace;
use outside::Outside;
use sandboxes::Sandbox;

/// Longest time of one case, in seconds, after what is left to it after a polite signal.
const TIME: [&str; 3] = ["-k", "5", "60"];
/// Starts a sandbox as somebody does who forgets a descriptor: that of the file that it is named after.
const FORGETFUL: &str = "exec 9<>\"$0\"; exec \"$@\"";
/// Lines of a case that are shown when it escaped.
const SHOWN_MAX: usize = 3;

const USAGE: &str = "usage: cargo xtask escape --against bwrap|nsjail|none [--built]";

/// How one case went in one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// Everything was refused.
    Held,
    /// Something worked that must not.
    Escaped,
    /// It could not be tried.
    NotTried,
}

impl Went {
    /// Judges the exit code of the probe. Refused with another answer than in our sandbox is refused all the same.
    fn of(code: Option<i32>) -> Self {
        match code {
            Some(0 | 3) => Self::Held,
            Some(1) => Self::Escaped,
            Some(_) | None => Self::NotTried,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Escaped => "ESCAPED",
            Self::NotTried => "n/a",
        }
    }
}

/// A case in both sandboxes, with what the peer let through.
#[derive(Debug)]
struct Row {
    case: String,
    ours: Went,
    peer: Went,
    lines: Vec<String>,
}

/// Builds, tries every case in both sandboxes and prints the table. Fails when ours lets anything through.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (peer, build) = match words.as_slice() {
        ["--against", peer] => (*peer, true),
        ["--against", peer, "--built"] => (*peer, false),
        _ => bail!("{USAGE}"),
    };
    let peer = Sandbox::named(peer).context(USAGE)?;
    ensure!(peer != Sandbox::Nothing || own_user()? != 0, "without a sandbox this attacks the machine; not as root");
    let programs = programs(build)?;
    let outside = Outside::make(&programs.join("sbx-probe"))?;
    let cases = Command::new(outside.probe()).arg("cases").output().context("failed to start `sbx-probe`")?;
    let cases = String::from_utf8(cases.stdout).context("the cases are no text")?;
    let version = peer.version();
    let mut rows = Vec::new();
    for case in cases.lines() {
        let words: Vec<String> = case.split(' ').map(|word| outside.value(word)).collect();
        let name = words.first().cloned().unwrap_or_default();
        let (ours, seen) = attempt(&Sandbox::Ours, &programs, &outside, &words)?;
        let (went, lines) = match &version {
            Some(_) if peer.can_try(&name) => attempt(&peer, &programs, &outside, &words)?,
            Some(_) | None => (Went::NotTried, Vec::new()),
        };
        let lines = if ours == Went::Held { lines } else { seen };
        rows.push(Row { case: name, ours, peer: went, lines });
    }
    let name = format!("{} {}", peer.name(), version.unwrap_or_else(|| "(not installed)".to_owned()));
    print!("{}", table(&rows, name.trim(), own_user()?));
    Ok(if rows.iter().all(|row| row.ours == Went::Held) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the programs are, after building them.
fn programs(build: bool) -> anyhow::Result<PathBuf> {
    if !build {
        let own = std::env::current_exe().context("failed to find this program")?;
        return own.parent().map(Path::to_owned).context("this program is nowhere");
    }
    let root = workspace::root()?;
    let target = workspace::metadata(&root)?["target_directory"].as_str().map(PathBuf::from);
    let built = workspace::cargo().args(["build", "--package", "orch-sandbox", "--bins"]).current_dir(&root).status();
    ensure!(built.context("failed to start cargo")?.success(), "the build failed");
    Ok(target.context("`cargo metadata` names no target directory")?.join("debug"))
}

/// Tries one case in a fresh workspace; returns how it went with the lines that say what worked.
fn attempt(
    sandbox: &Sandbox,
    programs: &Path,
    outside: &Outside,
    words: &[String],
) -> anyhow::Result<(Went, Vec<String>)> {
    let workspace = outside.fresh_workspace()?;
    let mut command = Command::new("sh");
    command.args(["-c", FORGETFUL]).arg(outside.path("canary")).arg("timeout").args(TIME);
    command.args(sandbox.invocation(programs, outside, &workspace)?).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(&workspace);
    let output = command.output().with_context(|| format!("failed to start {}", sandbox.name()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A sandbox that could not start has its own words, and none of the probe's.
    let tried = said.lines().any(|line| ["held: ", "odd: ", "escaped: "].iter().any(|mark| line.starts_with(mark)));
    let went = if tried { Went::of(output.status.code()) } else { Went::NotTried };
    let lines = match went {
        Went::NotTried => said.lines().take(1).map(str::to_owned).collect(),
        Went::Held | Went::Escaped => {
            said.lines().filter(|line| line.starts_with("escaped: ")).map(str::to_owned).collect()
        }
    };
    Ok((went, lines))
}

/// The files of a process in `/proc` belong to its effective user.
fn own_user() -> anyhow::Result<u32> {
    Ok(Path::new("/proc/self").metadata().context("failed to read `/proc/self`")?.uid())
}

fn table(rows: &[Row], peer: &str, user: u32) -> String {
    let mut text = format!("escape suite as user {user}: ours against {peer}\n\n  case  ours     {peer}\n");
    let mut totals: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for row in rows {
        let case = row.case.to_uppercase();
        writeln!(text, "  {case:<5} {:<8} {}", row.ours.word(), row.peer.word()).expect("writing to a string works");
        for (column, went) in [row.ours, row.peer].into_iter().enumerate() {
            totals.entry(went.word()).or_default()[column] += 1;
        }
        for line in row.lines.iter().take(SHOWN_MAX) {
            let cut: String = line.chars().filter(|letter| !letter.is_control()).take(110).collect();
            writeln!(text, "          {cut}").expect("writing to a string works");
        }
        if row.lines.len() > SHOWN_MAX {
            writeln!(text, "          and {} more", row.lines.len() - SHOWN_MAX).expect("writing to a string works");
        }
    }
    text.push('\n');
    for word in [Went::Held, Went::Escaped, Went::NotTried].map(Went::word) {
        let [ours, theirs] = totals.get(word).copied().unwrap_or_default();
        writeln!(text, "  {word:<8} ours {ours:>3}   peer {theirs:>3}").expect("writing to a string works");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_the_probe_are_judged() {
        let codes = [Some(0), Some(3), Some(1), Some(64), Some(124), None];
        let went = codes.map(Went::of);
        assert_eq!(went[..3], [Went::Held, Went::Held, Went::Escaped]);
        assert_eq!(went[3..], [Went::NotTried; 3]);
    }

    #[test]
    fn the_table_counts_and_shows_what_worked() {
        let row = |case: &str, peer, lines: &[&str]| Row {
            case: case.to_owned(),
            ours: Went::Held,
            peer,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        let rows = [
            row("f1", Went::Held, &[]),
            row("k1", Went::Escaped, &["escaped: a", "escaped: \u{1b}b", "escaped: c", "escaped: d"]),
            row("n2", Went::NotTried, &["peer: no"]),
        ];
        let text = table(&rows, "peer 1", 7);
        assert!(text.contains("F1    held     held"), "{text}");
        assert!(text.contains("K1    held     ESCAPED\n          escaped: a\n          escaped: b\n"), "{text}");
        assert!(text.contains("and 1 more"), "{text}");
        assert!(text.contains("held     ours   3   peer   1"), "{text}");
        assert!(text.contains("n/a      ours   0   peer   1"), "{text}");
    }
}
