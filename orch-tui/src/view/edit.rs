//! A line of text that a person edits. Everything typed or pasted is text; nothing of it is a command.

use super::key::{Code, Key};
use crate::text::SafeText;

/// Longest text, in bytes. Reasons and filters are a sentence.
const BYTES_MAX: usize = 2_000;

/// Longest text that is not shown, in bytes: as much as the value of a secret may have.
const HIDDEN_BYTES_MAX: usize = 64 << 10;

/// The text and where the cursor stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    text: String,
    /// Byte index, always on a character boundary.
    at: usize,
}

impl Edit {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn with_text(text: &str) -> Self {
        Self { text: text.to_owned(), at: text.len() }
    }

    /// The part of the text that fits into `columns` and the column of the cursor in it.
    pub(crate) fn shown(&self, columns: usize) -> (SafeText, usize) {
        let before = SafeText::line(&self.text[..self.at]).width();
        let skip = (before + 1).saturating_sub(columns);
        (SafeText::line(&self.text).skip_columns(skip), before - skip.min(before))
    }

    /// Puts pasted text in; line ends become spaces.
    pub(crate) fn paste(&mut self, text: &str) {
        for char in text.chars() {
            self.insert(if char == '\n' || char == '\r' || char == '\t' { ' ' } else { char });
        }
    }

    /// Edits by a key. False: the key is none of editing.
    pub(crate) fn on_key(&mut self, key: Key) -> bool {
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

    fn insert(&mut self, char: char) {
        if self.text.len() + char.len_utf8() <= BYTES_MAX {
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
