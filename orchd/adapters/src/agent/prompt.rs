//! What an agent is told: the task, what has to hold afterwards, how that is looked at, and what went wrong before.
//!
//! The same task in the same state gives the same text. It has a bound; what does not fit is left out from the end of its
//! longest part, with a line that says so: first of the requirements, and of what has to hold only far beyond what a person
//! reads.

use std::fmt::Write as _;

/// Most bytes of a prompt. About 12,000 tokens: an agent reads the files itself.
pub const PROMPT_BYTES_MAX: usize = 48 << 10;
/// Most bytes of what has to hold, and of what is run on the result.
const ACCEPTANCE_BYTES_MAX: usize = 20 << 10;
const GATES_BYTES_MAX: usize = 6 << 10;
/// Most bytes of what people said; the newest is told first.
const MESSAGES_BYTES_MAX: usize = 10 << 10;
/// Most bytes of one part that is quoted: a requirement, or what went wrong.
const QUOTE_BYTES_MAX: usize = 8 << 10;

/// About how many bytes are a token.
const BYTES_OF_TOKEN: usize = 4;

/// What a prompt is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// The name of its role, and what that says.
    pub role: Option<(String, String)>,
    /// How many tokens it has about at most, where less than [`PROMPT_BYTES_MAX`] is wanted.
    pub tokens_max: Option<u64>,
    /// `T-12`.
    pub task: String,
    pub title: String,
    /// What has to hold, in sentences.
    pub acceptance: Vec<String>,
    /// Requirements that the task serves: `REQ-3`, title, text.
    pub requirements: Vec<(String, String, String)>,
    /// What is run on the result: name and command.
    pub gates: Vec<(String, String)>,
    /// It can speak to people.
    pub has_channel: bool,
    /// From 1.
    pub attempt: u32,
    /// Why the attempt before was not good enough.
    pub last_failure: Option<String>,
    /// What people said to the task, the oldest first: who, and what.
    pub messages: Vec<(String, String)>,
}

/// The text of it.
#[must_use]
pub fn prompt(brief: &Brief) -> String {
    let wanted = brief.tokens_max.and_then(|tokens| usize::try_from(tokens).ok()?.checked_mul(BYTES_OF_TOKEN));
    let bytes_max = wanted.map_or(PROMPT_BYTES_MAX, |wanted| wanted.min(PROMPT_BYTES_MAX));
    // Of parts that may be long, as much as of a prompt that has all its room.
    let share = |most: usize| most.min(most * bytes_max / PROMPT_BYTES_MAX);
    let mut text = format!("# {}: {}\n\n", brief.task, brief.title);
    text.push_str(
        "You work alone in a checkout of the project's repository, which is the current directory. Nobody can answer \
         questions. There is no network. Change the files so that the task is done, and run what checks them. Do not \
         commit, push, or change `.git`: whatever you leave in the directory is taken as your result and checked again.\n",
    );
    if brief.has_channel {
        text.push_str(
            "If nothing has to be changed, say why with `orchctl agent note \"...\"` or the tool `note`: without a change and \
             without a note the task counts as not done.\n",
        );
    }
    if let Some((name, instructions)) = &brief.role {
        line_of(&mut text, format_args!("\n## Your role: {name}\n\n{}", instructions.trim()));
    }
    if !brief.acceptance.is_empty() {
        text.push_str("\n## What has to hold afterwards\n\n");
        let lines = brief.acceptance.iter().map(|line| format!("- {}", line.trim()));
        lines_of(&mut text, lines, share(ACCEPTANCE_BYTES_MAX));
    }
    if !brief.gates.is_empty() {
        text.push_str("\n## What is run on your result\n\n");
        lines_of(
            &mut text,
            brief.gates.iter().map(|(name, command)| format!("- {name}: `{command}`")),
            share(GATES_BYTES_MAX),
        );
    }
    if let Some(reason) = &brief.last_failure {
        line_of(
            &mut text,
            format_args!("\n## Attempt {} before this one was not accepted", brief.attempt.saturating_sub(1)),
        );
        line_of(&mut text, format_args!("\n{}", quoted(reason, share(QUOTE_BYTES_MAX))));
    }
    if !brief.messages.is_empty() {
        text.push_str("\n## What people said to this task, the newest first\n\n");
        let lines = brief.messages.iter().rev().map(|(who, what)| format!("- {who}: {}", what.trim()));
        lines_of(&mut text, lines, share(MESSAGES_BYTES_MAX));
    }
    if !brief.requirements.is_empty() {
        text.push_str("\n## Requirements that this serves\n");
        for (key, title, body) in &brief.requirements {
            let part = format!("\n### {key}: {title}\n\n{}\n", quoted(body, share(QUOTE_BYTES_MAX)));
            if text.len() + part.len() > bytes_max {
                text.push_str("\nMore requirements are left out here.\n");
                break;
            }
            text.push_str(&part);
        }
    }
    text
}

/// As many of these lines as fit, and how many do not.
fn lines_of(text: &mut String, lines: impl Iterator<Item = String>, bytes_max: usize) {
    let (mut left, mut left_out) = (bytes_max, 0_usize);
    for line in lines {
        if left_out > 0 || line.len() >= left {
            left_out += 1;
        } else {
            left -= line.len() + 1;
            line_of(text, format_args!("{line}"));
        }
    }
    if left_out > 0 {
        line_of(text, format_args!("\n[{left_out} more lines are left out]"));
    }
}

fn line_of(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let written = text.write_fmt(line).and_then(|()| text.write_char('\n'));
    debug_assert!(written.is_ok());
}

/// A text of somebody else, cut to its bound.
fn quoted(text: &str, bytes_max: usize) -> String {
    let text = text.trim();
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n[{} more bytes are left out]", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_said_is_told_the_newest_first_and_in_its_bound() {
        let said = |text: &str| ("ada".to_owned(), text.to_owned());
        let brief = Brief { messages: vec![said("first"), said(" second\nline "), said("third")], ..Brief::default() };
        let text = prompt(&brief);
        let part = &text[text.find("## What people said").unwrap()..];
        assert_eq!(
            part,
            "## What people said to this task, the newest first\n\n- ada: third\n- ada: second\nline\n- ada: first\n"
        );
        let long = Brief { messages: vec![said(&"x".repeat(4 << 10)); 100], ..Brief::default() };
        assert!(prompt(&long).len() < MESSAGES_BYTES_MAX + (2 << 10));
        assert!(prompt(&long).contains("more lines are left out]"));
    }

    #[test]
    fn a_prompt_says_what_has_to_hold_and_what_went_wrong() {
        let brief = Brief {
            task: "T-7".into(),
            title: "Say hello".into(),
            acceptance: vec!["`hello` prints `hi`".into()],
            requirements: vec![("REQ-1".into(), "Greeting".into(), "People are greeted.".into())],
            gates: vec![("test".into(), "cargo test".into())],
            has_channel: true,
            attempt: 2,
            last_failure: Some("gate `test` failed: exit code 101".into()),
            ..Brief::default()
        };
        let text = prompt(&brief);
        for part in [
            "# T-7: Say hello",
            "- `hello` prints `hi`",
            "- test: `cargo test`",
            "`orchctl agent note",
            "Attempt 1",
            "exit code 101",
            "### REQ-1: Greeting",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text, prompt(&brief));
    }

    #[test]
    fn a_role_is_told_first_and_can_have_less_told() {
        let long = "Something has to hold. ".repeat(20);
        let role = Some(("qa".to_owned(), "Write tests.\n".to_owned()));
        let acceptance = vec![long.clone(); 30];
        let brief = Brief { role, acceptance, last_failure: Some(long.repeat(20)), ..Brief::default() };
        let text = prompt(&brief);
        assert!(text.find("## Your role: qa\n\nWrite tests.") < text.find("## What has to hold"), "{text}");
        let short = prompt(&Brief { tokens_max: Some(1_000), ..brief.clone() });
        assert!(short.len() < 4_500 && short.contains("more lines are left out"), "{}", short.len());
        assert_eq!(prompt(&Brief { tokens_max: Some(u64::MAX), ..brief }), text);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let long = "\u{e9}".repeat(PROMPT_BYTES_MAX);
        let requirement = |number: usize| (format!("REQ-{number}"), "t".to_owned(), long.clone());
        let brief = Brief {
            requirements: (0..20).map(requirement).collect(),
            last_failure: Some(long.clone()),
            acceptance: vec!["x".repeat(4 << 10); 200],
            gates: vec![("gate".to_owned(), "y".repeat(1 << 10)); 50],
            ..Brief::default()
        };
        let text = prompt(&brief);
        assert!(text.len() < PROMPT_BYTES_MAX + 200, "{}", text.len());
        assert!(text.contains("More requirements are left out here."));
        assert!(text.contains("more bytes are left out]"));
        assert!(text.contains("[196 more lines are left out]"), "of what has to hold");
    }
}
