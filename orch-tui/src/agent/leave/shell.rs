//! What commands a line of a shell has in it, as far as that can be seen: enough to ask about them by name.
//!
//! This is no shell. What is put together while a line runs is not seen, and what is not understood is a command as it
//! stands; whoever wants to get past a pattern can.

/// Longest line that is read; a longer one is one command as it stands.
const LINE_BYTES_MAX: usize = 64 << 10;
/// How deep a line may be in another one, as in `sh -c`.
const DEPTH_MAX: usize = 8;
/// Words before a command that are not its name.
const BEFORE: [&str; 13] =
    ["!", "{", "}", "coproc", "if", "then", "else", "elif", "fi", "do", "done", "while", "until"];
/// Programs that start another one, which is what is judged.
const RUNNERS: [Runner; 16] = [
    Runner::of("builtin", &[]),
    Runner::of("busybox", &[]),
    Runner::of("command", &[]),
    Runner::of("doas", &["-u", "-C"]),
    Runner::of("env", &["-u", "-C", "--unset", "--chdir"]),
    Runner::of("exec", &["-a"]),
    Runner::of("ionice", &["-c", "-n", "--class", "--classdata"]),
    Runner::of("nice", &["-n", "--adjustment"]),
    Runner::of("nohup", &[]),
    Runner::of("setsid", &[]),
    Runner::of("stdbuf", &["-i", "-o", "-e", "--input", "--output", "--error"]),
    Runner::of(
        "sudo",
        &["-C", "-D", "-R", "-T", "-U", "-g", "-h", "-p", "-r", "-t", "-u", "--chdir", "--chroot", "--group", "--user"],
    ),
    Runner::of("time", &["-f", "-o", "--format", "--output"]),
    Runner { name: "timeout", valued: &["-k", "-s", "--kill-after", "--signal"], own: 1 },
    Runner::of("watch", &["-n", "--interval"]),
    Runner::of(
        "xargs",
        &["-E", "-I", "-L", "-P", "-a", "-d", "-n", "-s", "--arg-file", "--delimiter", "--max-args", "--max-procs"],
    ),
];
/// Options of `git` before its command that take a value.
const OF_GIT: [&str; 6] = ["-C", "-c", "--config-env", "--git-dir", "--namespace", "--work-tree"];
/// What begins a command of `find`.
const OF_FIND: [&str; 4] = ["-exec", "-execdir", "-ok", "-okdir"];
/// Programs whose `-c` is a line of a shell.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ash"];

/// A program that starts another one.
struct Runner {
    name: &'static str,
    /// Its options that take a value, in a word of its own.
    valued: &'static [&'static str],
    /// Words of its own before the other program.
    own: usize,
}

impl Runner {
    const fn of(name: &'static str, valued: &'static [&'static str]) -> Self {
        Self { name, valued, own: 0 }
    }
}

/// What was seen of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    /// Each as its words with a space between, without quotes.
    pub(super) seen: Vec<String>,
    /// It is too long or too deep: there may be others, which nobody looked at.
    pub(super) has_more: bool,
}

/// The commands in a line.
pub(super) fn commands(line: &str) -> Commands {
    let mut found = Commands::default();
    if line.len() <= LINE_BYTES_MAX {
        read(line, 0, &mut found);
    } else {
        found.has_more = true;
    }
    if found.seen.is_empty() {
        found.seen.push(line.trim().to_owned());
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

fn read(line: &str, depth: usize, found: &mut Commands) {
    if depth > DEPTH_MAX {
        found.has_more = true;
        return;
    }
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
            // Texts with escapes and translated ones are texts.
            '$' if !top.is_quoted && matches!(chars.peek(), Some('\'' | '"')) => {}
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
            // The name of a function, whose body follows.
            '(' if chars.peek() == Some(&')') && top.word.is_some() => {
                chars.next();
                end(top, depth, found);
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
fn end_inner(open: &mut Vec<Open>, depth: usize, found: &mut Commands) {
    if let Some(mut inner) = open.pop() {
        end(&mut inner, depth, found);
    }
    if open.is_empty() {
        open.push(Open::default());
    }
}

/// Takes a command in that has ended.
fn end(open: &mut Open, depth: usize, found: &mut Commands) {
    open.end_word();
    take(&std::mem::take(&mut open.words), depth, found);
}

/// The commands in these words, without what stands before the name of each.
fn take(all: &[String], depth: usize, found: &mut Commands) {
    let mut words = all;
    loop {
        words = past(words);
        let Some((name, rest)) = words.split_first() else {
            // What is sent somewhere without a command is one.
            found.seen.extend(all.iter().any(|word| to_place(word).is_some()).then(|| all.join(" ")));
            return;
        };
        let Some(runner) = RUNNERS.iter().find(|runner| runner.name == base(name)) else { break };
        let other = behind(rest, runner.valued);
        let is_script = |word: &String| word == "-S" || word == "--split-string";
        if runner.name == "env" && rest[..rest.len() - other.len()].iter().any(is_script) {
            return read(&other.join(" "), depth + 1, found);
        }
        let other = &other[runner.own.min(other.len())..];
        if other.is_empty() {
            // By itself it is the command.
            break;
        }
        words = other;
    }
    let Some((name, rest)) = words.split_first() else { return };
    match script(base(name), rest) {
        Some(script) => return read(&script, depth + 1, found),
        None => found.seen.push(words.join(" ")),
    }
    match base(name) {
        // Both forms are judged: an option may be what matters.
        "git" => {
            let command = behind(rest, &OF_GIT);
            found.seen.extend((command.len() < rest.len()).then(|| format!("git {}", command.join(" "))));
        }
        "find" => of_find(rest, depth + 1, found),
        _ => {}
    }
}

/// The words from the name of a command on.
fn past(words: &[String]) -> &[String] {
    let mut words = words;
    while let Some((word, rest)) = words.split_first() {
        words = match to_place(word) {
            // The place may be the next word.
            Some(place) => rest.get(usize::from(place.is_empty())..).unwrap_or_default(),
            None if word == "function" => rest.get(1..).unwrap_or_default(),
            None if BEFORE.contains(&word.as_str()) || is_assignment(word) => rest,
            None => return words,
        };
    }
    words
}

/// The place to which a word such as `2>log` sends something.
fn to_place(word: &str) -> Option<&str> {
    let sends = word.trim_start_matches(|char: char| char.is_ascii_digit());
    let place = sends.trim_start_matches(['<', '>', '&', '|']);
    sends.starts_with(['<', '>']).then_some(place)
}

/// The commands that a `find` starts.
fn of_find(words: &[String], depth: usize, found: &mut Commands) {
    let mut rest = words;
    if depth > DEPTH_MAX {
        found.has_more |= rest.iter().any(|word| OF_FIND.contains(&word.as_str()));
        return;
    }
    while let Some(at) = rest.iter().position(|word| OF_FIND.contains(&word.as_str())) {
        rest = &rest[at + 1..];
        let length = rest.iter().position(|word| word == ";" || word == "+").unwrap_or(rest.len());
        take(&rest[..length], depth, found);
        rest = &rest[length..];
    }
}

/// A line of a shell that a program is given.
fn script(name: &str, rest: &[String]) -> Option<String> {
    if name == "eval" {
        return Some(rest.join(" "));
    }
    let runs = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    let at = rest.iter().position(runs).filter(|_| SHELLS.contains(&name))?;
    // Options may stand behind it, too.
    let mut behind = rest.get(at + 1..)?;
    while let Some((word, rest)) =
        behind.split_first().filter(|(word, _)| word.len() > 1 && word.starts_with(['-', '+']))
    {
        behind = if word.ends_with(['o', 'O']) && word != "--" { rest.get(1..)? } else { rest };
        if word == "--" {
            break;
        }
    }
    behind.first().cloned()
}

/// The words behind options, of which these take a value.
fn behind<'w>(words: &'w [String], valued: &[&str]) -> &'w [String] {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first().filter(|(word, _)| word.len() > 1 && word.starts_with('-')) {
        rest = after;
        if word == "--" {
            break;
        }
        // In a group of letters the first that takes a value has the others as that, unless it is the last.
        let first = word.chars().skip(1).position(|letter| valued.contains(&format!("-{letter}").as_str()));
        let is_last = first.is_some_and(|at| at + 2 == word.chars().count());
        if valued.contains(&word.as_str()) || is_last && !word.starts_with("--") {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    rest
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
            ("2>/dev/null git push", &["git push"]),
            ("> log 2>&1 A=1 git push", &["git push"]),
            ("bash -c -- 'git push'", &["git push"]),
            ("bash -e -c -o pipefail 'git push' x", &["git push"]),
            ("$'git' $\"push\" \"a$'b'\"", &["git push a$'b'"]),
            ("f() { git push; }; f", &["f", "git push", "f"]),
            ("function f { git push; }", &["git push"]),
            ("coproc git push", &["git push"]),
            ("make 2>/dev/null&git push", &["make 2>/dev/null", "git push"]),
            ("eval 'git push' x", &["git push x"]),
            ("a \\\n b\nc", &["a b", "c"]),
            ("sh -c \"sh -c 'git push'\"", &["git push"]),
            ("git push \"un", &["git push un"]),
            ("cat <<'E'\nE", &["cat <<E", "E"]),
            ("", &[""]),
            ("A=1", &["A=1"]),
            ("sudo -n git push", &["git push"]),
            ("sudo -nu root -- git push", &["git push"]),
            ("sudo -l", &["sudo -l"]),
            ("timeout -k 5s -s KILL 10 git push", &["git push"]),
            ("timeout -k10s 60 sh -c 'git push; ls'", &["git push", "ls"]),
            ("env -i -u A B=1 git push", &["git push"]),
            ("env -S 'git push' -f", &["git push -f"]),
            ("nice -n5 ionice -c 3 nohup setsid stdbuf -oL git push", &["git push"]),
            ("ls | xargs -0 -n 1 rm -rf", &["ls", "rm -rf"]),
            ("busybox sh -c 'rm x'", &["rm x"]),
            ("time -p doas -u a command git push", &["git push"]),
            ("git -C a -c b=c --no-pager push -f", &["git -C a -c b=c --no-pager push -f", "git push -f"]),
            (
                "find . -name x -exec rm -f {} \\; -ok git push +",
                &["find . -name x -exec rm -f {} ; -ok git push +", "rm -f {}", "git push"],
            ),
            ("xargs", &["xargs"]),
        ] {
            let found = commands(line);
            assert_eq!(
                (&found.seen[..], found.has_more),
                (&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..], false),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_too_much_is_one_command() {
        let long = "a;".repeat(LINE_BYTES_MAX);
        assert_eq!(commands(&long), Commands { seen: vec![long.clone()], has_more: true });
        let deep = |depth: usize| format!("{} git push", "eval ".repeat(depth));
        assert!(!commands(&deep(8)).has_more && commands(&deep(9)).has_more);
        assert!(commands(&format!("find {}-exec git push +", "-exec find ".repeat(9))).has_more);
        let of_find = format!("find{}", " -exec find".repeat(500));
        let all = ["(".repeat(1_000), ")".repeat(1_000), "`".repeat(999), "$(".repeat(500), "sh -c '".repeat(500)];
        for hostile in all.into_iter().chain(["sudo ".repeat(5_000), of_find]) {
            assert!(!commands(&hostile).seen.is_empty(), "{hostile}");
        }
    }
    proptest::proptest! {
        /// Whatever stands in a line, its words are judged: none is lost because of what stands around it.
        #[test]
        fn no_line_hides_all_of_itself(line in "[a-z '\"`$();&|<>\\\\#=\n-]{0,60}") {
            let found = commands(&line).seen;
            proptest::prop_assert!(!found.is_empty() && found.iter().all(|command| command.len() <= 2 * line.len()));
        }
    }
}
