//! What commands a line of a shell has in it, as far as that can be seen: enough to ask about them by name.
//!
//! This is no shell. What is put together while a line runs is not seen, and what is not understood is a command as it
//! stands; whoever wants to get past a pattern can.

/// Longest line that is read; a longer one is one command as it stands.
const LINE_BYTES_MAX: usize = 64 << 10;
/// How deep a line may be in another one, as in `sh -c`.
const DEPTH_MAX: usize = 8;
/// Words before a command that are not its name.
const BEFORE: [&str; 19] = [
    "!", "{", "}", "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "time", "exec", "command",
    "builtin", "env", "nohup", "sudo",
];
/// Programs whose `-c` is a line of a shell.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ash"];

/// The commands in a line, each as its words with a space between, without quotes.
pub(super) fn commands(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    if line.len() <= LINE_BYTES_MAX {
        read(line, 0, &mut found);
    }
    if found.is_empty() {
        found.push(line.trim().to_owned());
    }
    found
}

/// A command that has not ended, and what began it.
#[derive(Debug, Default)]
struct Open {
    words: Vec<String>,
    word: Option<String>,
    /// It is in a text between double quotes.
    is_quoted: bool,
    /// What ends it, where it is in another one.
    until: Option<char>,
}

impl Open {
    fn push(&mut self, char: char) {
        self.word.get_or_insert_default().push(char);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Whether what comes next is the place to which something is sent, as behind `2>`.
    fn redirects(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.ends_with(['<', '>']))
    }
}

fn read(line: &str, depth: usize, found: &mut Vec<String>) {
    let mut open = vec![Open::default()];
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        let Some(top) = open.last_mut() else { return };
        match char {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => top.push(next),
            },
            '"' => {
                top.is_quoted = !top.is_quoted;
                top.word.get_or_insert_default();
            }
            '`' if top.until == Some('`') => end_inner(&mut open, depth, found),
            '`' => open.push(Open { until: Some('`'), ..Open::default() }),
            '$' if chars.peek() == Some(&'(') => {
                chars.next();
                top.push('$');
                open.push(Open { until: Some(')'), ..Open::default() });
            }
            _ if top.is_quoted => top.push(char),
            '\'' => {
                let text: String = chars.by_ref().take_while(|next| *next != '\'').collect();
                top.word.get_or_insert_default().push_str(&text);
            }
            '(' => open.push(Open { until: Some(')'), ..Open::default() }),
            ')' if top.until == Some(')') => end_inner(&mut open, depth, found),
            '&' if top.redirects() => top.push(char),
            '&' if chars.peek() == Some(&'>') => top.end_word(),
            '<' | '>' => {
                let is_descriptor = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
                if !top.redirects() && !top.word.as_ref().is_some_and(is_descriptor) {
                    top.end_word();
                }
                top.push(char);
            }
            '\n' | ';' | '&' | '|' | ')' => end(top, depth, found),
            '#' if top.word.is_none() => {
                // A remark, to the end of its line.
                while chars.next_if(|next| *next != '\n').is_some() {}
            }
            _ if char.is_whitespace() => top.end_word(),
            _ => top.push(char),
        }
    }
    while let Some(mut last) = open.pop() {
        end(&mut last, depth, found);
    }
}

/// Ends a command that is in another one.
fn end_inner(open: &mut Vec<Open>, depth: usize, found: &mut Vec<String>) {
    if let Some(mut inner) = open.pop() {
        end(&mut inner, depth, found);
    }
    if open.is_empty() {
        open.push(Open::default());
    }
}

/// Takes a command in that has ended, without what stands before its name.
fn end(open: &mut Open, depth: usize, found: &mut Vec<String>) {
    open.end_word();
    let words = std::mem::take(&mut open.words);
    let is_before = |word: &&String| BEFORE.contains(&word.as_str()) || is_assignment(word);
    let at = words.iter().take_while(is_before).count();
    let Some((name, rest)) = words[at..].split_first() else { return };
    let is_shell = SHELLS.contains(&base(name));
    let runs = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    let script = rest.iter().position(runs).filter(|_| is_shell).and_then(|flag| rest.get(flag + 1));
    let script = if name == "eval" { Some(rest.join(" ")) } else { script.cloned() };
    match script {
        Some(script) if depth < DEPTH_MAX => read(&script, depth + 1, found),
        _ => found.push(words[at..].join(" ")),
    }
}

fn is_assignment(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(plain) && !name.starts_with(|first: char| first.is_ascii_digit())
    })
}

/// The name of a program without its directory.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_line_are_seen_one_by_one() {
        for (line, expected) in [
            ("git push origin main", &["git push origin main"][..]),
            ("cd a && git  push; ls|wc -l", &["cd a", "git push", "ls", "wc -l"]),
            ("/bin/bash -lc 'touch \"a b\"; rm -rf x'", &["touch a b", "rm -rf x"]),
            ("git commit -m 'a; b' -m \"c (d) | e\"", &["git commit -m a; b -m c (d) | e"]),
            ("echo \"$(git push)\" `id`", &["git push", "id", "echo $"]),
            ("A=1 B=2 sudo env C=3 make x # git push", &["make x"]),
            ("if true; then git push; fi", &["true", "git push"]),
            ("(cd a; git push) 2>&1 > log", &["cd a", "git push", "2>&1 > log"]),
            ("make 2>/dev/null&git push", &["make 2>/dev/null", "git push"]),
            ("eval 'git push' x", &["git push x"]),
            ("a \\\n b\nc", &["a b", "c"]),
            ("sh -c \"sh -c 'git push'\"", &["git push"]),
            ("git push \"un", &["git push un"]),
            ("cat <<'E'\nE", &["cat <<E", "E"]),
            ("", &[""]),
            ("A=1", &["A=1"]),
        ] {
            assert_eq!(commands(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_too_much_is_one_command() {
        let long = "a;".repeat(LINE_BYTES_MAX);
        assert_eq!(commands(&long), std::slice::from_ref(&long));
        for hostile in ["(".repeat(1_000), ")".repeat(1_000), "`".repeat(999), "$(".repeat(500), "sh -c '".repeat(500)]
        {
            assert!(!commands(&hostile).is_empty(), "{hostile}");
        }
    }
    proptest::proptest! {
        /// Whatever stands in a line, its words are judged: none is lost because of what stands around it.
        #[test]
        fn no_line_hides_all_of_itself(line in "[a-z '\"`$();&|<>\\\\#=\n-]{0,60}") {
            let found = commands(&line);
            proptest::prop_assert!(!found.is_empty() && found.iter().all(|command| command.len() <= 2 * line.len()));
        }
    }
}
