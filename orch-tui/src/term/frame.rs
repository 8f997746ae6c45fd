//! From one drawn screen to the next: the difference as one piece of bytes, none when there is no difference.
//!
//! Asks the terminal nothing and never clears what it is about to repaint, but after a change of size.

use std::io;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{Clear, ClearType};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

/// What is on the terminal, and what shall be.
#[derive(Debug)]
pub(crate) struct Frames {
    shown: Buffer,
    next: Buffer,
    cursor: Option<Position>,
    /// Nothing is known of the terminal: everything has to be painted.
    is_unknown: bool,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { shown: Buffer::empty(Rect::ZERO), next: Buffer::empty(Rect::ZERO), cursor: None, is_unknown: true }
    }

    /// Says that the terminal may show anything: the next frame paints everything.
    pub(crate) const fn forget(&mut self) {
        self.is_unknown = true;
    }

    /// An empty screen to draw the next frame on.
    pub(crate) fn begin(&mut self, area: Rect) -> &mut Buffer {
        self.next.resize(area);
        self.next.reset();
        &mut self.next
    }

    /// The bytes that turn what is shown into what was drawn.
    ///
    /// # Errors
    /// None in practice: the bytes go to memory.
    pub(crate) fn finish(&mut self, cursor: Option<Position>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_unknown || self.shown.area != self.next.area {
            queue!(bytes, Hide, SetAttribute(Attribute::Reset), Clear(ClearType::All))?;
            self.shown = Buffer::empty(self.next.area);
            (self.cursor, self.is_unknown) = (None, false);
        }
        let difference = self.shown.diff(&self.next);
        if !difference.is_empty() {
            if self.cursor.take().is_some() {
                queue!(bytes, Hide)?;
            }
            CrosstermBackend::new(&mut bytes).draw(difference.into_iter())?;
        }
        if cursor != self.cursor {
            match cursor {
                Some(Position { x, y }) => queue!(bytes, MoveTo(x, y), Show)?,
                None => queue!(bytes, Hide)?,
            }
            self.cursor = cursor;
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use ratatui::style::Style;

    use super::*;

    const AREA: Rect = Rect { x: 0, y: 0, width: 20, height: 3 };

    fn terminal() -> vt100::Parser {
        vt100::Parser::new(NonZero::new(3).unwrap(), NonZero::new(20).unwrap(), 0)
    }

    fn frame(frames: &mut Frames, text: &str, cursor: Option<Position>) -> Vec<u8> {
        frames.begin(AREA).set_string(0, 1, text, Style::new());
        frames.finish(cursor).unwrap()
    }

    /// Goal: the differences, replayed on a terminal, give what was drawn, and nothing is sent for nothing.
    #[test]
    fn differences_add_up_to_the_frame_and_a_clean_frame_sends_nothing() {
        let mut frames = Frames::new();
        let mut terminal = terminal();
        let texts = ["hello", "help \u{4e2d}\u{6587} x", "a \u{4e2d} b", "", "cafe\u{301} ok"];
        for text in texts {
            terminal.process(&frame(&mut frames, text, None));
            assert_eq!(terminal.screen().contents().trim(), text.trim());
            assert_eq!(frame(&mut frames, text, None), b"");
        }
    }

    #[test]
    fn the_cursor_is_shown_where_it_is_wanted_only() {
        let mut frames = Frames::new();
        let mut terminal = terminal();
        terminal.process(&frame(&mut frames, "type: a", Some(Position { x: 7, y: 1 })));
        assert_eq!((terminal.screen().cursor_position(), terminal.screen().hide_cursor()), ((1, 7), false));
        terminal.process(&frame(&mut frames, "type: ab", Some(Position { x: 8, y: 1 })));
        assert_eq!((terminal.screen().cursor_position(), terminal.screen().hide_cursor()), ((1, 8), false));
        terminal.process(&frame(&mut frames, "type: ab", None));
        assert!(terminal.screen().hide_cursor());
    }

    #[test]
    fn a_forgotten_screen_is_painted_whole() {
        let mut frames = Frames::new();
        let first = frame(&mut frames, "hello", None);
        frames.forget();
        assert_eq!(frame(&mut frames, "hello", None), first);
    }
}
