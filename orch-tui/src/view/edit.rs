//! Text that a person edits, one line or several. Everything typed or pasted is text; nothing of it is a command.

use std::ops::Range;

use super::key::{Code, Key};
use crate::text::SafeText;

/// Longest line, in bytes. Reasons and filters are a sentence.
const LINE_BYTES_MAX: usize = 2_000;

/// Longest text of several lines, in bytes: as much as the daemon takes as a message to an agent.
pub(crate) const LINES_BYTES_MAX: usize = 4 << 10;

/// Longest text that is not shown, in bytes: as much as the value of a secret may have.
const HIDDEN_BYTES_MAX: usize = 64 << 10;

/// The text and where the cursor stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    text: String,
    /// Byte index, always on a character boundary.
    at: usize,
    /// Line ends are text, too.
    has_lines: bool,
}

impl Edit {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn with_text(text: &str) -> Self {
        Self { text: text.to_owned(), at: text.len(), has_lines: false }
    }

    /// A text that may have several lines.
    pub(crate) fn of_lines(text: String) -> Self {
        Self { at: text.len(), text, has_lines: true }
    }

    /// The part of the text that fits into `columns` and the column of the cursor in it.
    pub(crate) fn shown(&self, columns: usize) -> (SafeText, usize) {
        let before = SafeText::line(&self.text[..self.at]).width();
        let skip = (before + 1).saturating_sub(columns);
        (SafeText::line(&self.text).skip_columns(skip), before - skip.min(before))
    }

    /// All of the text in rows of at most `columns`, each line cut where it is full, and the row and column of the cursor.
    pub(crate) fn rows(&self, columns: usize) -> (Vec<SafeText>, (usize, usize)) {
        let pieces = self.pieces(columns.max(1));
        let row = pieces.iter().rposition(|piece| piece.start <= self.at).unwrap_or(0);
        let start = pieces.get(row).map_or(0, |piece| piece.start);
        let column = SafeText::line(&self.text[start..self.at]).width();
        let rows = pieces.into_iter().map(|piece| SafeText::line(&self.text[piece])).collect();
        (rows, (row, column))
    }

    /// What stands in each row.
    fn pieces(&self, columns: usize) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for line in self.text.split('\n') {
            let end = start + line.len();
            let mut from = start;
            for (offset, char) in line.char_indices() {
                let at = start + offset;
                if from < at && SafeText::line(&self.text[from..at + char.len_utf8()]).width() > columns {
                    pieces.push(from..at);
                    from = at;
                }
            }
            pieces.push(from..end);
            start = end + 1;
        }
        pieces
    }

    /// Puts pasted text in. In a single line, line ends become spaces.
    pub(crate) fn paste(&mut self, text: &str) {
        let text = if self.has_lines { text.replace("\r\n", "\n") } else { text.to_owned() };
        for char in text.chars() {
            self.insert(match char {
                '\n' | '\r' if self.has_lines => '\n',
                '\n' | '\r' | '\t' => ' ',
                char => char,
            });
        }
    }

    /// Edits by a key. False: the key is none of editing.
    pub(crate) fn on_key(&mut self, key: Key) -> bool {
        if self.has_lines && self.on_line_key(key) {
            return true;
        }
        if let Some(char) = key.typed() {
            self.insert(char);
            return true;
        }
        match (key.code, key.ctrl) {
            (Code::Char('a'), true) | (Code::Home, _) => self.at = 0,
            (Code::Char('e'), true) | (Code::End, _) => self.at = self.text.len(),
            (Code::Char('u'), true) => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            (Code::Char('w'), true) => self.delete_word(),
            (Code::Left, _) => self.at = self.previous(),
            (Code::Right, _) => self.at = self.next(),
            (Code::Backspace, _) => {
                let from = self.previous();
                self.text.drain(from..self.at);
                self.at = from;
            }
            (Code::Delete, _) => {
                self.text.drain(self.at..self.next());
            }
            _ => return false,
        }
        true
    }

    /// Edits by a key that means something else where there are several lines. False: it is none.
    fn on_line_key(&mut self, key: Key) -> bool {
        let line = self.line_at(self.at);
        match (key.code, key.ctrl) {
            (Code::Enter, _) | (Code::Char('j'), true) => self.insert('\n'),
            (Code::Char('a'), true) | (Code::Home, _) => self.at = line.start,
            (Code::Char('e'), true) | (Code::End, _) => self.at = line.end,
            (Code::Char('u'), true) => {
                self.text.drain(line.start..self.at);
                self.at = line.start;
            }
            (Code::Up, _) if line.start > 0 => self.go(&line, self.line_at(line.start - 1)),
            (Code::Down, _) if line.end < self.text.len() => self.go(&line, self.line_at(line.end + 1)),
            (Code::Up | Code::Down, _) => {}
            _ => return false,
        }
        true
    }

    /// The line in which a byte is.
    fn line_at(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        start..end
    }

    /// Puts the cursor as far into another line as it is in its own, or to the end of it.
    fn go(&mut self, from: &Range<usize>, to: Range<usize>) {
        let column = self.text[from.start..self.at].chars().count();
        let at = self.text[to.clone()].char_indices().nth(column);
        self.at = at.map_or(to.end, |(at, _)| to.start + at);
    }

    fn insert(&mut self, char: char) {
        let bytes_max = if self.has_lines { LINES_BYTES_MAX } else { LINE_BYTES_MAX };
        if self.text.len() + char.len_utf8() <= bytes_max {
            self.text.insert(self.at, char);
            self.at += char.len_utf8();
        }
    }

    fn delete_word(&mut self) {
        let head = self.text[..self.at].trim_end();
        let from = head
            .rfind(char::is_whitespace)
            .map_or(0, |space| self.text[space..].chars().next().map_or(space, |char| space + char.len_utf8()));
        self.text.drain(from..self.at);
        self.at = from;
    }

    fn previous(&self) -> usize {
        self.text[..self.at].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn next(&self) -> usize {
        self.text[self.at..].chars().next().map_or(self.at, |char| self.at + char.len_utf8())
    }
}

/// A text that is typed and not shown: no cursor moves in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden(String);

/// Nothing of it is in any log.
impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({} bytes)", self.0.len())
    }
}

impl Hidden {
    /// What was typed, without the newline that ends a last line.
    pub(crate) fn value(&self) -> &str {
        self.0.strip_suffix('\n').unwrap_or(&self.0)
    }

    /// Puts pasted text in, with its lines: keys and certificates have several. Terminals send them with carriage returns.
    pub(crate) fn paste(&mut self, text: &str) {
        text.replace("\r\n", "\n").chars().for_each(|char| self.insert(if char == '\r' { '\n' } else { char }));
    }

    /// Adds what is typed, or takes from the end of it.
    pub(crate) fn on_key(&mut self, key: Key) {
        if let Some(char) = key.typed() {
            self.insert(char);
            return;
        }
        match (key.code, key.ctrl) {
            (Code::Char('u'), true) => self.0.clear(),
            (Code::Backspace, _) => {
                self.0.pop();
            }
            _ => {}
        }
    }

    fn insert(&mut self, char: char) {
        if self.0.len() + char.len_utf8() <= HIDDEN_BYTES_MAX {
            self.0.push(char);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_respects_characters_and_shows_hostile_ones() {
        let mut edit = Edit::default();
        edit.paste("a\u{e9}b\nc\u{1b}");
        assert_eq!(edit.text(), "a\u{e9}b c\u{1b}");
        assert_eq!(edit.shown(20).0.as_str(), "a\u{e9}b c^[");
        for _ in 0..4 {
            edit.on_key(Key::plain(Code::Left));
        }
        edit.on_key(Key::plain(Code::Backspace));
        assert_eq!(edit.text(), "ab c\u{1b}");
        edit.on_key(Key::parse("ctrl-e").unwrap());
        edit.on_key(Key::parse("ctrl-w").unwrap());
        assert_eq!(edit.text(), "ab ");
        assert!(!edit.on_key(Key::plain(Code::Enter)));
    }

    /// Everything in rows of some columns, with the cursor as `_`.
    fn drawn(edit: &Edit, columns: usize) -> String {
        let (rows, (row, column)) = edit.rows(columns);
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        let at = rows[row].char_indices().nth(column).map_or(rows[row].len(), |(at, _)| at);
        rows[row].insert(at, '_');
        rows.join("|")
    }

    fn press(edit: &mut Edit, keys: &str) {
        for key in keys.split(' ') {
            assert!(edit.on_key(Key::parse(key).unwrap()), "{key}");
        }
    }

    #[test]
    fn a_text_of_several_lines_is_edited_line_by_line() {
        let mut edit = Edit::of_lines("one".into());
        press(&mut edit, "ctrl-j t w o");
        edit.on_key(Key { alt: true, ..Key::plain(Code::Enter) });
        edit.paste("three\r\nfour\tfive\rsix");
        assert_eq!(edit.text(), "one\ntwo\nthree\nfour five\nsix");
        press(&mut edit, "up up home up X down end !");
        assert_eq!(edit.text(), "one\nXtwo\nthree!\nfour five\nsix");
        press(&mut edit, "ctrl-u ctrl-e bs up up up up");
        assert_eq!(drawn(&edit, 40), "one_|Xtwo|four five|six");
        press(&mut edit, "down down end down down down");
        assert_eq!(drawn(&edit, 40), "one|Xtwo|four five|six_");
    }

    #[test]
    fn long_lines_are_cut_where_they_are_full_and_no_character_is_lost() {
        let mut edit = Edit::of_lines("abcdef\n\u{4e2d}\u{6587}x\u{1b}y\n".into());
        assert_eq!(drawn(&edit, 3), "abc|def|\u{4e2d}|\u{6587}x|^[y|_");
        press(&mut edit, "up up home right right right");
        assert_eq!(drawn(&edit, 3), "abc|_def|\u{4e2d}|\u{6587}x|^[y|");
        assert_eq!(drawn(&Edit::of_lines(String::new()), 3), "_");
        edit.paste(&"x".repeat(2 * LINES_BYTES_MAX));
        assert_eq!(edit.text().len(), LINES_BYTES_MAX);
    }

    #[test]
    fn what_is_hidden_keeps_its_lines_and_shows_nothing() {
        let mut hidden = Hidden::default();
        hidden.paste("-----BEGIN\r\nhunter2\rEND\n");
        assert_eq!(hidden.value(), "-----BEGIN\nhunter2\nEND");
        assert!(!format!("{hidden:?}").contains("hunter2"));
        hidden.on_key(Key::plain(Code::Backspace));
        hidden.on_key(Key::plain(Code::Backspace));
        assert_eq!(hidden.value(), "-----BEGIN\nhunter2\nEN");
        hidden.on_key(Key::parse("ctrl-u").unwrap());
        hidden.paste(&"x".repeat(HIDDEN_BYTES_MAX + 5));
        assert_eq!(hidden.value().len(), HIDDEN_BYTES_MAX);
    }

    #[test]
    fn the_cursor_stays_visible() {
        let edit = Edit::with_text("0123456789");
        let (shown, column) = edit.shown(5);
        assert_eq!((shown.as_str(), column), ("6789", 4));
    }
}
