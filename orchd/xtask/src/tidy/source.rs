//! Tells the parts of a Rust file apart: code, comments, and which lines are tests.
//!
//! Not a parser: it knows just enough of the language that a word in a string is not taken for code. Offsets and lines
//! of the parts are those of the file.

/// A Rust file, taken apart.
#[derive(Debug)]
pub(super) struct Source {
    /// The text with comments, strings and characters blanked out.
    pub(super) code: String,
    /// The text with all but comments blanked out.
    pub(super) comments: String,
    /// For each line, whether it is compiled for tests only.
    tests: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str, test_modules: &[String]) -> Self {
        let (code, comments) = parts(text);
        let all = is_test_file(path) || test_modules.iter().any(|module| path.starts_with(module.as_str()));
        let tests = if all { vec![true; text.lines().count()] } else { test_lines(&code) };
        Self { code, comments, tests }
    }

    /// Lines of code that ship: number from 0, and text.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().filter(|(line, _)| !self.is_test(*line))
    }

    /// Lines of code of tests: number from 0, and text.
    pub(super) fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().filter(|(line, _)| self.is_test(*line))
    }

    fn is_test(&self, line: usize) -> bool {
        self.tests.get(line).copied().unwrap_or(false)
    }
}

/// Whether a file holds tests by where it lies.
fn is_test_file(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or(path);
    stem == "tests.rs" || path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/")
}

/// Starts of the paths of modules that `path` declares for tests only: `#[cfg(test)] mod fake;`.
pub(super) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let base = match file {
        "lib.rs" | "main.rs" | "mod.rs" => directory.to_owned(),
        other => format!("{directory}/{}", other.trim_end_matches(".rs")),
    };
    let (code, _) = parts(text);
    let lines: Vec<&str> = code.lines().collect();
    let declared = test_lines(&code).into_iter().zip(&lines).filter(|(is_test, _)| *is_test).filter_map(|(_, line)| {
        let name = line.trim().strip_suffix(';')?.rsplit_once("mod ")?.1;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
    });
    declared.flat_map(|name| [format!("{base}/{name}.rs"), format!("{base}/{name}/")]).collect()
}

/// Where `word` stands by itself in `text`, as offsets.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).and_then(|before| text.as_bytes().get(before));
        let after = text.as_bytes().get(at + word.len());
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// What the reader is in.
#[derive(Clone, Copy)]
enum Part {
    Code,
    Line,
    Block { depth: usize },
    Text { quote: u8 },
    Raw { hashes: usize },
}

/// Code and comments, each with everything else blanked out.
fn parts(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let blank = || bytes.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }).collect::<Vec<u8>>();
    let (mut code, mut comments) = (blank(), blank());
    let mut part = Part::Code;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let mut length = 1;
        match part {
            Part::Code => {
                (part, length) = opening(bytes, at);
                if matches!(part, Part::Code) {
                    code[at..at + length].copy_from_slice(&bytes[at..at + length]);
                }
            }
            Part::Line if rest[0] == b'\n' => part = Part::Code,
            Part::Line => comments[at] = rest[0],
            Part::Block { depth } => {
                comments[at] = rest[0];
                if rest.starts_with(b"/*") {
                    (part, length) = (Part::Block { depth: depth + 1 }, 2);
                } else if rest.starts_with(b"*/") {
                    (part, length) = (if depth == 1 { Part::Code } else { Part::Block { depth: depth - 1 } }, 2);
                }
            }
            Part::Text { .. } if rest[0] == b'\\' => length = 2,
            Part::Text { quote } if rest[0] == quote => part = Part::Code,
            Part::Text { .. } => {}
            Part::Raw { hashes } => {
                if rest[0] == b'"' && rest[1..].iter().take_while(|byte| **byte == b'#').count() >= hashes {
                    (part, length) = (Part::Code, hashes + 1);
                }
            }
        }
        at += length;
    }
    // Blanks replace whole characters of text, so nothing is split.
    (String::from_utf8_lossy(&code).into_owned(), String::from_utf8_lossy(&comments).into_owned())
}

/// What begins at `at` in code, and its length.
fn opening(bytes: &[u8], at: usize) -> (Part, usize) {
    let rest = &bytes[at..];
    let in_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return (Part::Line, 2);
    }
    if rest.starts_with(b"/*") {
        return (Part::Block { depth: 1 }, 2);
    }
    if rest[0] == b'"' {
        return (Part::Text { quote: b'"' }, 1);
    }
    if !in_name && matches!(rest[0], b'r' | b'b' | b'c') {
        let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
        let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
        if prefix <= 2 && rest[..prefix].contains(&b'r') && rest.get(prefix + hashes) == Some(&b'"') {
            return (Part::Raw { hashes }, prefix + hashes + 1);
        }
    }
    // A character, not a lifetime: it ends after one character or begins with a backslash.
    if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'')) {
        return (Part::Text { quote: b'\'' }, 1);
    }
    (Part::Code, 1)
}

/// For each line of `code`, whether it belongs to an item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut tests = vec![false; code.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let first = code[..at].matches('\n').count();
        let last = first + code[at..at + item_length(&code[at..])].matches('\n').count();
        for line in tests.iter_mut().take(last + 1).skip(first) {
            *line = true;
        }
    }
    tests
}

/// Length of the item at the start of `code` with its attributes: to a semicolon or the end of its block.
fn item_length(code: &str) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets = brackets.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return at + 1;
                }
            }
            b';' if braces == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_characters_and_comments_are_not_code() {
        let text = "let a = \"x // y\\\" z\"; // c 'q'\nlet b = 'x'; let c: &'a str = r#\"un\"safe\"#; /* d /* e */ f */ end\n";
        let (code, comments) = parts(text);
        assert_eq!(code.split_whitespace().collect::<String>(), "leta=;letb=;letc:&'astr=;end");
        assert_eq!(comments.split_whitespace().collect::<Vec<_>>(), ["c", "'q'", "d", "/", "e", "*", "f", "*"]);
        assert_eq!((code.len(), comments.len()), (text.len(), text.len()));
    }

    #[test]
    fn an_item_under_cfg_test_is_a_test_to_its_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n#[cfg(test)]\nuse x;\nfn d() {}\n";
        let source = Source::new("orchd/src/a.rs", text, &[]);
        let product: Vec<_> = source.product_lines().map(|(line, _)| line).collect();
        assert_eq!(product, [0, 5, 8]);
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test() {
        let modules = test_modules("a/src/ctl/mod.rs", "mod real;\n#[cfg(test)]\npub(crate) mod fake;\n");
        assert_eq!(modules, ["a/src/ctl/fake.rs", "a/src/ctl/fake/"]);
        assert_eq!(test_modules("a/src/ctl.rs", "#[cfg(test)]\nmod fake;\n"), ["a/src/ctl/fake.rs", "a/src/ctl/fake/"]);
        assert_eq!(Source::new("a/src/ctl/fake.rs", "fn f() {}\n", &modules).product_lines().count(), 0);
        assert_eq!(Source::new("a/tests/x.rs", "fn f() {}\n", &[]).test_lines().count(), 1);
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("unsafe_op unsafe {", "unsafe").collect::<Vec<_>>(), [10]);
    }
}
