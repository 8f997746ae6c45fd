//! The escape suite, run by its own test program and counted.

use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::Place;

static ESCAPES: Bar =
    Bar { name: "escapes", unit: "failed", against: "the kernel", limit: Limit::AtMost(0.0), stretch: None };

pub(crate) static BARS: &[&Bar] = &[&ESCAPES];

/// Modules of the test program that attack from inside, and the list of all cases.
const PARTS: [&str; 5] = ["escapes::", "faults::", "floods::", "races::", "cases::"];

/// Lines of a failure that are shown.
const REASON_LINES: usize = 24;

pub(crate) fn measure(_: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let Some(suite) = &options.suite else {
        return Ok(vec![Finding::unknown(&ESCAPES, "no test program was given: use `cargo xtask bench sandbox`")]);
    };
    // Two at a time, and what they print: skipped cases say so.
    let output = Command::new(suite)
        .args(PARTS)
        .args(["--test-threads", "2", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start `{}`", suite.display()))?;
    let printed = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    let result = printed.lines().find(|line| line.starts_with("test result:"));
    let result = result.with_context(|| format!("the suite gave no result, and ended with {}", output.status))?;
    let count = |word: &str| -> anyhow::Result<u32> {
        let words: Vec<&str> = result.split_whitespace().collect();
        let at = words.iter().position(|found| found.trim_end_matches(';') == word).context("no such count")?;
        words.get(at.wrapping_sub(1)).and_then(|number| number.parse().ok()).context("a count is no number")
    };
    let (passed, failed) = (count("passed")?, count("failed")?);
    if passed + failed == 0 {
        return Ok(vec![Finding::unknown(&ESCAPES, "the test program has no escape cases")]);
    }
    let mut finding = Finding::of(&ESCAPES, f64::from(failed)).note(format!("{passed} tests passed"));
    for line in printed.lines().filter(|line| line.contains("skipped:")) {
        finding = finding.note(line);
    }
    for line in printed.lines().filter(|line| line.ends_with("... FAILED")) {
        finding = finding.note(line);
    }
    // Why, since a case that fails here and not in the suite is the more worth knowing.
    let lines: Vec<&str> = printed.lines().collect();
    for at in (0..lines.len()).filter(|at| lines[*at].contains("panicked at")) {
        for line in lines.iter().skip(at).take(REASON_LINES) {
            finding = finding.note(*line);
        }
    }
    Ok(vec![finding])
}
