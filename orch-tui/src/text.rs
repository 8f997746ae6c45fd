//! Text from elsewhere, made harmless: what a terminal may be shown and nothing else.
//!
//! Repositories, agents and models are hostile (invariant I12), so every string of a view passes here before it reaches
//! a screen or a table. Nothing is hidden: what a terminal would obey, reorder or not show is written out in ASCII, as
//! `^[`, `\xff` or `<U+202E>`. Knows no terminal and no widget.
//!
//! **Invariant:** the text of a [`SafeText`] has no C0 or C1 control (but newlines in a block), no bidirectional control,
//! no invisible or private character, and at most [`MARKS_MAX`] combining marks on one base. Only this module makes one.

mod sgr;

use std::borrow::Cow;
use std::fmt;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub use sgr::{Color, Span, Style, paint, styled_line};

/// Most combining marks that are kept on one character. Real scripts need three; towers of marks draw over other lines.
pub const MARKS_MAX: u32 = 3;

const TAB_COLUMNS: usize = 8;

/// Text that can be written to a terminal as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeText(Cow<'static, str>);

impl SafeText {
    /// One line. Newlines in it are shown as `^J`; tabs become spaces.
    #[must_use]
    pub fn line(text: &str) -> Self {
        let mut writer = Writer::new(Newlines::Shown);
        writer.push_str(text.strip_suffix('\n').unwrap_or(text));
        writer.finish()
    }

    /// One line of bytes. Bytes that are not UTF-8 are shown as `\xff`.
    #[must_use]
    pub fn line_bytes(bytes: &[u8]) -> Self {
        let mut writer = Writer::new(Newlines::Shown);
        writer.push_bytes(bytes.strip_suffix(b"\n").unwrap_or(bytes));
        writer.finish()
    }

    /// Several lines: `\n` and `\r\n` stay line ends.
    #[must_use]
    pub fn block(text: &str) -> Self {
        let mut writer = Writer::new(Newlines::Kept);
        writer.push_str(text);
        writer.finish()
    }

    /// A text of this program's own source, which needs no look.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Columns that the text takes on a terminal, if it is one line.
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// The lines of a block.
    pub fn lines(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.lines().map(|line| Self(Cow::Owned(line.to_owned())))
    }

    /// The text cut to at most `columns`, with `...` where something is missing (if there is room for that).
    #[must_use]
    pub fn clip(&self, columns: usize) -> Self {
        if self.width() <= columns {
            return self.clone();
        }
        let marker = if columns > 3 { "..." } else { "" };
        let mut kept = self.take_columns(columns - marker.len());
        kept.push_str(marker);
        Self(Cow::Owned(kept))
    }

    /// The text from column `columns` on, for horizontal scrolling. A wide character that is cut becomes a space.
    #[must_use]
    pub fn skip_columns(&self, columns: usize) -> Self {
        let mut column = 0;
        let mut rest = String::new();
        let mut begun = false;
        for char in self.0.chars() {
            let width = char.width().unwrap_or(0);
            if column >= columns && (begun || width > 0) {
                begun = true;
                rest.push(char);
            } else if column < columns && column + width > columns {
                begun = true;
                rest.push(' ');
            }
            column += width;
        }
        Self(Cow::Owned(rest))
    }

    /// The text broken into lines of at most `columns` (at least 1), at spaces where there are any.
    #[must_use]
    pub fn wrap(&self, columns: usize) -> Vec<Self> {
        let columns = columns.max(1);
        let mut lines = Vec::new();
        for line in self.0.split('\n') {
            let mut rest = line;
            while rest.width() > columns {
                let fits = prefix_of_width(rest, columns);
                let cut = match rest[..fits].rfind(' ') {
                    Some(space) if space > 0 && !rest[fits..].starts_with(' ') => space,
                    Some(_) | None => fits,
                };
                lines.push(Self(Cow::Owned(rest[..cut].trim_end().to_owned())));
                rest = rest[cut..].trim_start_matches(' ');
            }
            lines.push(Self(Cow::Owned(rest.to_owned())));
        }
        lines
    }

    fn take_columns(&self, columns: usize) -> String {
        let mut column = 0;
        self.0
            .chars()
            .take_while(|char| {
                column += char.width().unwrap_or(0);
                column <= columns
            })
            .collect()
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for SafeText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Length in bytes of the longest prefix of at most `columns`, but of one character at least.
fn prefix_of_width(text: &str, columns: usize) -> usize {
    let mut column = 0;
    for (at, char) in text.char_indices() {
        column += char.width().unwrap_or(0);
        if column > columns {
            return if at == 0 { char.len_utf8() } else { at };
        }
    }
    text.len()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Newlines {
    Kept,
    Shown,
}

/// Builds the harmless form character by character.
struct Writer {
    out: String,
    newlines: Newlines,
    /// Column of the next character, for tabs.
    column: usize,
    /// What a mark would sit on: none at the start of a line and after something written out.
    base: Option<char>,
    marks: u32,
}

impl Writer {
    fn new(newlines: Newlines) -> Self {
        Self { out: String::new(), newlines, column: 0, base: None, marks: 0 }
    }

    fn finish(mut self) -> SafeText {
        self.end_marks();
        SafeText(Cow::Owned(self.out))
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            self.push_str(chunk.valid());
            for byte in chunk.invalid() {
                self.write_out(&format!("\\x{byte:02x}"));
            }
        }
    }

    fn push_str(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let line_ends = chars.peek().is_none_or(|&next| next == '\n');
            // The carriage return of a CRLF line end says nothing.
            if !(char == '\r' && line_ends) {
                self.push(char);
            }
        }
    }

    fn push(&mut self, char: char) {
        match char {
            '\n' if self.newlines == Newlines::Kept => {
                self.end_marks();
                self.out.push('\n');
                self.column = 0;
                self.base = None;
            }
            '\t' => {
                self.end_marks();
                let spaces = TAB_COLUMNS - self.column % TAB_COLUMNS;
                self.out.extend(std::iter::repeat_n(' ', spaces));
                self.column += spaces;
                self.base = None;
            }
            '\0'..='\x1f' | '\x7f' => {
                let caret = char::from_u32(u32::from(char) ^ 0x40).unwrap_or('?');
                self.write_out(&format!("^{caret}"));
            }
            // An emoji is drawn the same or nearly so without its joiners, which terminals measure differently. In a
            // word the same characters would make two different names look alike, so there they are named.
            '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' if self.base.is_some_and(|base| !base.is_alphanumeric()) => {}
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => self.keep(' '),
            _ if is_deceptive(char) => self.write_out(&format!("<U+{:04X}>", u32::from(char))),
            _ => match char.width() {
                Some(0) => self.push_mark(char),
                Some(_) => self.keep(char),
                None => self.write_out(&format!("<U+{:04X}>", u32::from(char))),
            },
        }
    }

    fn push_mark(&mut self, mark: char) {
        if self.base.is_none() {
            self.write_out(&format!("<U+{:04X}>", u32::from(mark)));
            return;
        }
        self.marks = self.marks.saturating_add(1);
        if self.marks <= MARKS_MAX {
            self.out.push(mark);
        }
    }

    fn keep(&mut self, char: char) {
        self.end_marks();
        self.out.push(char);
        self.column += char.width().unwrap_or(0);
        self.base = Some(char);
    }

    fn write_out(&mut self, ascii: &str) {
        self.end_marks();
        self.out.push_str(ascii);
        self.column += ascii.len();
        self.base = None;
    }

    fn end_marks(&mut self) {
        let marks = std::mem::take(&mut self.marks);
        if marks > MARKS_MAX {
            let text = format!("<+{} marks>", marks - MARKS_MAX);
            self.column += text.len();
            self.out.push_str(&text);
        }
    }
}

/// Whether a terminal would obey, reorder or hide the character, or show it by a font of its own: C1 controls, line
/// separators, Unicode's `Default_Ignorable_Code_Point` (bidirectional controls, tags, fillers, variation selectors),
/// annotations, private use and non-characters.
pub(crate) fn is_deceptive(char: char) -> bool {
    matches!(char,
        '\u{80}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{f0000}'..='\u{10ffff}'
    ) || u32::from(char) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Holds for every text that may reach a terminal. `newlines`: whether line ends are among it.
    pub(super) fn assert_harmless(text: &str, newlines: bool) {
        let mut marks = 0;
        for char in text.chars() {
            assert!(!is_deceptive(char), "{char:?} in {text:?}");
            assert!(!char.is_control() || newlines && char == '\n', "{char:?} in {text:?}");
            marks = if char.width() == Some(0) { marks + 1 } else { 0 };
            assert!(marks <= MARKS_MAX, "{text:?}");
        }
    }

    /// Any characters, with those that do harm made likely.
    fn hostile() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(
            "\u{1b}[]m;0123\r\n\t\u{7f}\u{9b}\u{202e}\u{2066}\u{200d}\u{fe0f}\u{301}\u{e0041}\u{2028}ae\u{4e2d}\u{1f600}"
                .chars()
                .collect::<Vec<_>>(),
        );
        prop::collection::vec(prop_oneof![3 => nasty, 1 => any::<char>()], 0..60)
            .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn lines_and_blocks_are_harmless(text in hostile()) {
            assert_harmless(SafeText::line(&text).as_str(), false);
            assert_harmless(SafeText::block(&text).as_str(), true);
        }

        #[test]
        fn bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            assert_harmless(SafeText::line_bytes(&bytes).as_str(), false);
        }

        #[test]
        fn a_second_pass_changes_nothing(text in hostile()) {
            let once = SafeText::line(&text);
            prop_assert_eq!(SafeText::line(once.as_str()), once);
        }

        #[test]
        fn cut_and_wrapped_texts_fit(text in hostile(), columns in 0_usize..40) {
            let text = SafeText::line(&text);
            prop_assert!(text.clip(columns).width() <= columns);
            assert_harmless(text.skip_columns(columns).as_str(), false);
            for line in text.wrap(columns) {
                prop_assert!(line.width() <= columns.max(2), "{:?}", line);
            }
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (raw, shown) in [
            ("\x1b]52;c;AAAA\x07", "^[]52;c;AAAA^G"),
            ("a\rb", "a^Mb"),
            ("line\r\n", "line"),
            ("two\nlines", "two^Jlines"),
            ("x\ty", "x       y"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("plan.bin\u{202e}gpj", "plan.bin<U+202E>gpj"),
            ("pay\u{200d}pal", "pay<U+200D>pal"),
            ("\u{26a0}\u{fe0f} careful", "\u{26a0} careful"),
            ("a\u{301}", "a\u{301}"),
            ("\u{301}", "<U+0301>"),
            ("z\u{301}\u{301}\u{301}\u{301}\u{301}!", "z\u{301}\u{301}\u{301}<+2 marks>!"),
            ("\u{e0041}", "<U+E0041>"),
            ("caf\u{e9} \u{4e2d}\u{6587}", "caf\u{e9} \u{4e2d}\u{6587}"),
        ] {
            assert_eq!(SafeText::line(raw).as_str(), shown, "{raw:?}");
        }
        assert_eq!(SafeText::line_bytes(b"ok \xff\xc3\x28").as_str(), "ok \\xff\\xc3(");
        assert_eq!(SafeText::block("a\r\nb\n").as_str(), "a\nb\n");
    }

    #[test]
    fn cutting_respects_wide_characters() {
        let text = SafeText::line("\u{4e2d}\u{6587}\u{4e2d}\u{6587}");
        assert_eq!(text.width(), 8);
        assert_eq!(text.clip(6).as_str(), "\u{4e2d}...");
        assert_eq!(text.clip(3).as_str(), "\u{4e2d}");
        assert_eq!(text.skip_columns(3).as_str(), " \u{4e2d}\u{6587}");
        let wrapped: Vec<_> = SafeText::line("the quick brown fox").wrap(10).iter().map(ToString::to_string).collect();
        assert_eq!(wrapped, ["the quick", "brown fox"]);
    }
}
