//! Texts that the daemon writes into history: conventional commit messages and branch names.
//!
//! Titles come from Visions, models and people. **Invariant:** whatever they hold, a message has one subject line and
//! exactly the trailers that the daemon gave it.

use std::fmt::Write as _;

use super::name::RefName;

/// Longest subject line, in characters; git's own tools cut there.
const SUBJECT_CHARS_MAX: usize = 72;
/// Longest line of the body, in characters.
const LINE_CHARS_MAX: usize = 400;
/// Most lines of the body.
const BODY_LINES_MAX: usize = 200;
/// Most bytes of the body, and of all trailers; both together stay below what a commit takes.
const BODY_BYTES_MAX: usize = 32 << 10;
const TRAILERS_BYTES_MAX: usize = 16 << 10;
/// Longest slug in a branch name, in characters.
const SLUG_CHARS_MAX: usize = 40;

/// Types that a title may name itself.
const KINDS: [&str; 10] = ["feat", "fix", "docs", "chore", "refactor", "test", "perf", "build", "ci", "style"];

/// The parts of a conventional commit message, raw.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The type, as `feat` or `fix`; anything but lowercase letters is dropped, nothing left is `chore`.
    pub kind: &'a str,
    /// The scope, made a slug; empty for none.
    pub scope: &'a str,
    /// What the change does.
    pub subject: &'a str,
    /// Why, in as many lines as needed; empty for none.
    pub body: &'a str,
    /// Name and value, as `Task` and `shop/T-12`; a name that is no trailer name is left out.
    pub trailers: &'a [(&'a str, String)],
}

/// A title in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headline<'a> {
    pub kind: &'a str,
    /// Empty for none.
    pub scope: &'a str,
    pub subject: &'a str,
}

impl<'a> Headline<'a> {
    /// What somebody wrote who may have written it in this form already: `fix(web): subject`. Otherwise it is of `kind`.
    #[must_use]
    pub fn of(title: &'a str, kind: &'a str) -> Self {
        let whole = Self { kind, scope: "", subject: title };
        let Some((head, subject)) = title.split_once(": ") else { return whole };
        let (found, scope) = match head.split_once('(') {
            Some((found, rest)) => match rest.strip_suffix(')') {
                Some(scope) => (found, scope),
                None => return whole,
            },
            None => (head, ""),
        };
        if KINDS.contains(&found) && !subject.trim().is_empty() { Self { kind: found, scope, subject } } else { whole }
    }
}

/// The whole message: `feat(scope): subject`, body, trailers.
#[must_use]
pub fn conventional_message(parts: &Message<'_>) -> String {
    let kind: String = parts.kind.chars().filter(char::is_ascii_lowercase).take(16).collect();
    let kind = if kind.is_empty() { "chore" } else { &kind };
    let scope = slug(parts.scope, 24);
    let scope = if scope.is_empty() { scope } else { format!("({scope})") };
    let mut subject = one_line(parts.subject);
    if subject.is_empty() {
        subject.push_str("change without a title");
    }
    let head = format!("{kind}{scope}: ");
    let room = SUBJECT_CHARS_MAX.saturating_sub(head.chars().count());
    let mut text = format!("{head}{}\n", cut(&subject, room));
    let body = joined(parts.body.lines().take(BODY_LINES_MAX).map(body_line), BODY_BYTES_MAX);
    if !body.trim().is_empty() {
        // The line break before the trailers below ends the body's paragraph, so that its last lines are none.
        let _infallible = write!(text, "\n{}\n", body.trim_matches('\n'));
    }
    let trailers = parts.trailers.iter().filter_map(|(name, value)| trailer(name, value));
    let trailers = joined(trailers, TRAILERS_BYTES_MAX);
    if !trailers.is_empty() {
        let _infallible = write!(text, "\n{trailers}\n");
    }
    text
}

/// As many of the lines as fit.
fn joined(lines: impl Iterator<Item = String>, bytes_max: usize) -> String {
    let mut text = String::new();
    for line in lines {
        if text.len() + line.len() >= bytes_max {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text
}

/// The branch of a task: `feature/T-12-add-login`, or `feature/T-12` for a title without letters and digits.
#[must_use]
pub fn branch_name(task_number: u64, title: &str) -> RefName {
    let slug = slug(title, SLUG_CHARS_MAX);
    let dash = if slug.is_empty() { "" } else { "-" };
    RefName::branch(&format!("feature/T-{task_number}{dash}{slug}"))
        .expect("digits, lowercase letters and single dashes make a branch name")
}

/// Lowercase ASCII letters and digits joined by single dashes, cut at a word where possible.
fn slug(text: &str, chars_max: usize) -> String {
    let mut slug = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let dash = usize::from(!slug.is_empty());
        if slug.len() + dash + word.len() > chars_max {
            if slug.is_empty() {
                slug.extend(word.chars().take(chars_max).map(|c| c.to_ascii_lowercase()));
            }
            break;
        }
        if dash == 1 {
            slug.push('-');
        }
        slug.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    slug
}

/// Visible characters in one line, single spaces between words.
fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|&c| shown(c)).collect();
    visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A line of the body that no tool takes for a trailer, a comment or the start of a patch.
fn body_line(line: &str) -> String {
    let line: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|&c| shown(c)).collect();
    let line = cut(line.trim_end(), LINE_CHARS_MAX);
    let token = line.split(':').next().unwrap_or_default();
    let like_trailer =
        line.contains(':') && !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let like_patch = ["---", "diff ", "Index: ", "#", "(cherry picked"].iter().any(|start| line.starts_with(start));
    if like_trailer || like_patch { format!("> {line}") } else { line }
}

/// `Name: value`, if the name is one.
fn trailer(name: &str, value: &str) -> Option<String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let value = cut(&one_line(value), LINE_CHARS_MAX);
    (plain && name.starts_with(|c: char| c.is_ascii_alphabetic()) && !value.is_empty())
        .then(|| format!("{name}: {value}"))
}

/// Whether a character is one that can be seen: no control, format or direction-changing character.
fn shown(c: char) -> bool {
    let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden
}

/// The text, or its start and `...`.
fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let start: String = text.chars().take(chars_max.saturating_sub(3)).collect();
    format!("{}...", start.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_subject_body_and_trailers() {
        let trailers = [("Task", "shop/T-12".to_owned()), ("Requirement", "FR-3".to_owned())];
        let parts =
            Message { kind: "feat", scope: "Web API", subject: "add login", body: "Because.", trailers: &trailers };
        let expected = "feat(web-api): add login\n\nBecause.\n\nTask: shop/T-12\nRequirement: FR-3\n";
        assert_eq!(conventional_message(&parts), expected);
    }

    /// A title or body must not add a line that reads as one of the daemon's trailers.
    #[test]
    fn nothing_can_be_smuggled_into_the_trailers() {
        let trailers =
            [("Task", "T-1\nReviewed-by: root".to_owned()), ("Bad name", "x".to_owned()), ("Run", "\n".to_owned())];
        let parts = Message {
            kind: "feat!: x\n\nTask: evil",
            scope: "a)\nb",
            subject: "fix\n\nReviewed-by: root\u{202e}\x1b[2J",
            body: "\n\nText\nApproved-by: root\n# gone\n---\ndiff --git a b\n\n",
            trailers: &trailers,
        };
        let message = conventional_message(&parts);
        let expected = "featxaskevil(a-b): fix Reviewed-by: root[2J\n\nText\n> Approved-by: root\n> # gone\n> ---\n> diff --git a b\n\nTask: T-1 Reviewed-by: root\n";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_title_may_name_its_type_and_scope() {
        let parts = |title: &'static str| {
            let Headline { kind, scope, subject } = Headline::of(title, "feat");
            (kind, scope, subject)
        };
        assert_eq!(parts("fix(web): a: b"), ("fix", "web", "a: b"));
        assert_eq!(parts("docs: more"), ("docs", "", "more"));
        for whole in ["add login", "Note: it works", "evil(x: y", "fix: ", "fix(web)more: x", "(web): x", "fix:x"] {
            assert_eq!(parts(whole), ("feat", "", whole));
        }
    }

    #[test]
    fn empty_and_long_parts_are_made_usable() {
        let parts = Message { kind: "", scope: "", subject: " \n", body: "", trailers: &[] };
        assert_eq!(conventional_message(&parts), "chore: change without a title\n");
        let long = "word ".repeat(100);
        let parts = Message { subject: &long, ..parts };
        let message = conventional_message(&parts);
        assert!(message.trim_end().chars().count() <= 72 && message.trim_end().ends_with("..."), "{message}");
    }

    #[test]
    fn branch_names_are_slugs_of_titles() {
        assert_eq!(branch_name(12, "Add  Login/Logout!").as_str(), "refs/heads/feature/T-12-add-login-logout");
        assert_eq!(branch_name(1, "\u{43f}\u{440}\u{438}").as_str(), "refs/heads/feature/T-1");
        assert_eq!(branch_name(2, "../../x.lock").as_str(), "refs/heads/feature/T-2-x-lock");
        assert!(branch_name(3, &"a".repeat(500)).as_str().len() < 80);
        assert_eq!(branch_name(4, "-- --upload-pack=x").short(), "feature/T-4-upload-pack-x");
    }

    /// A message that no commit takes would hold up the merge queue for ever.
    #[test]
    fn the_longest_message_fits_a_commit() {
        let body = format!("- {}\n", "\u{1f600}".repeat(1_000)).repeat(1_000);
        let trailers: Vec<_> =
            (0..5_000).map(|number| ("Requirement", format!("{}-{number}", "R".repeat(60)))).collect();
        let subject = "x".repeat(10_000);
        let parts = Message { kind: "feat", scope: "", subject: &subject, body: &body, trailers: &trailers };
        let message = conventional_message(&parts);
        assert!((40 << 10..60 << 10).contains(&message.len()), "{}", message.len());
    }
}
