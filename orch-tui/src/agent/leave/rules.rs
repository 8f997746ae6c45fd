//! What the rules of an operator say of what an agent is about to do.

use orch_proto::leave::{Deed, LeaveRule, Ruling};

use super::{Action, shell};

/// What is to become of an action, and the rule that says so; none says so where it is allowed because nothing else is said.
pub(super) fn judge<'r>(rules: &'r [LeaveRule], action: &Action) -> (Ruling, Option<&'r LeaveRule>) {
    let single = |words: &String| {
        let rule = rules.iter().find(|rule| fits(rule, action.of, words));
        (rule.map_or(Ruling::Allow, |rule| rule.then), rule)
    };
    // Each command of a line is judged, and the line as strictly as the worst of them.
    let each = action.words.iter().flat_map(|words| match action.of {
        Deed::Command => {
            let commands = shell::commands(words);
            // What nobody could look at may be what the strictest rule is for.
            let strictest = || rules.iter().filter(|rule| rule.of.is_none_or(|of| of == Deed::Command)).rev();
            let hidden = commands.has_more.then(|| strictest().max_by_key(|rule| rule.then)).flatten();
            let hidden = hidden.map(|rule| (rule.then, Some(rule)));
            commands.seen.iter().map(single).chain(hidden).collect()
        }
        Deed::Change | Deed::Read | Deed::Network | Deed::Tool => vec![single(words)],
    });
    let all: Vec<_> = each.collect();
    // The first of the strictest: that is the one a reader finds first.
    all.into_iter().rev().max_by_key(|(ruling, _)| *ruling).unwrap_or_else(|| single(&String::new()))
}

fn fits(rule: &LeaveRule, of: Deed, words: &str) -> bool {
    if rule.of.is_some_and(|only| only != of) {
        return false;
    }
    let Some(pattern) = &rule.matches else { return true };
    if is_like(pattern, words) {
        return true;
    }
    // A program is known by its name, wherever it is.
    let (name, rest) = words.split_at(words.find(' ').unwrap_or(words.len()));
    of == Deed::Command && name.contains('/') && is_like(pattern, &format!("{}{rest}", shell::base(name)))
}

/// Whether a text is what a pattern says, in which `*` stands for any text and a last ` *` also for none.
fn is_like(pattern: &str, text: &str) -> bool {
    if pattern.strip_suffix(" *").is_some_and(|whole| is_like(whole, text)) {
        return true;
    }
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    // Where the last star is, and how much of the text it stands for.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == text[in_text] => (at, in_text) = (at + 1, in_text + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, in_text) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(of: Option<Deed>, matches: Option<&str>, then: Ruling) -> LeaveRule {
        LeaveRule { of, matches: matches.map(ToOwned::to_owned), then, because: None }
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_the_worst_command_of_a_line() {
        let rules = [
            rule(Some(Deed::Command), Some("git status"), Ruling::Allow),
            rule(Some(Deed::Command), Some("git push *"), Ruling::Ask),
            rule(Some(Deed::Command), Some("rm *"), Ruling::Deny),
            rule(Some(Deed::Change), Some("*/secrets/*"), Ruling::Deny),
            rule(Some(Deed::Tool), None, Ruling::Ask),
        ];
        for (of, words, expected) in [
            (Deed::Command, "git status", Ruling::Allow),
            (Deed::Command, "git push", Ruling::Ask),
            (Deed::Command, "/usr/bin/git push -f", Ruling::Ask),
            (Deed::Command, "git pushy", Ruling::Allow),
            (Deed::Command, "git status && git push; ls", Ruling::Ask),
            (Deed::Command, "bash -lc 'git push; rm -rf /'", Ruling::Deny),
            (Deed::Command, "eval eval eval eval eval eval eval eval eval true", Ruling::Deny),
            (Deed::Change, "/w/secrets/a", Ruling::Deny),
            (Deed::Read, "/w/secrets/a", Ruling::Allow),
            (Deed::Tool, "mcp/x", Ruling::Ask),
        ] {
            let action = Action { of, title: String::new(), words: vec![words.to_owned()], details: Vec::new() };
            assert_eq!(judge(&rules, &action).0, expected, "{words}");
        }
        let nothing = Action { of: Deed::Tool, title: String::new(), words: Vec::new(), details: Vec::new() };
        assert_eq!(judge(&rules, &nothing).0, Ruling::Ask, "what names nothing is judged all the same");
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xaxxbx", true),
            ("make *", "make", true),
            ("make *", "makefile", false),
            ("", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
