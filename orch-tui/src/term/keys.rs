//! From the bytes of a terminal to keys and pastes. Knows no terminal and no time: bytes come in whatever pieces they were
//! read, and whoever reads says when nothing followed the beginning of a sequence.
//!
//! **Invariant:** what was pasted is never a key, however it was cut into pieces.

use crate::view::{Code, Input, Key};

/// Longest sequence of a key, in bytes. What is longer is none and is left out.
const SEQUENCE_BYTES_MAX: usize = 64;

/// Longest paste that is taken, in bytes. The rest of a longer one is left out.
const PASTE_BYTES_MAX: usize = 1 << 20;

const ESC: u8 = 0x1b;
const PASTE_END: &[u8] = b"\x1b[201~";

/// What was read and is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    held: Vec<u8>,
    /// What was pasted so far, while a paste is under way.
    pasted: Option<Vec<u8>>,
}

/// What stands at the beginning of some bytes, and how many of them it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Key(Key, usize),
    /// A paste begins behind it.
    Paste(usize),
    /// Nothing that means anything here.
    Nothing(usize),
    /// The beginning of something.
    Begun,
}

impl Keys {
    /// Takes in what was read and gives what it means.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Input> {
        self.held.extend_from_slice(bytes);
        let mut inputs = Vec::new();
        let mut at = 0;
        while at < self.held.len() {
            let (input, length) = if self.pasted.is_some() { self.paste(at) } else { self.key(at) };
            inputs.extend(input);
            at += length;
            if length == 0 {
                break;
            }
        }
        self.held.drain(..at);
        inputs
    }

    /// Nothing followed what is held: an escape was the key of that name, a paste has no end, and the rest is nothing.
    pub(super) fn end(&mut self) -> Option<Input> {
        let held = std::mem::take(&mut self.held);
        match self.pasted.take() {
            Some(mut pasted) => {
                add(&mut pasted, &held);
                Some(paste(&pasted))
            }
            None => (held == [ESC]).then_some(Input::Key(Key::plain(Code::Esc))),
        }
    }

    /// Forgets the beginning of a sequence.
    pub(super) fn forget(&mut self) {
        (self.held, self.pasted) = (Vec::new(), None);
    }

    /// Whether the rest of a sequence is to come.
    pub(super) const fn has_begun(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the rest of a paste is to come.
    pub(super) const fn is_pasting(&self) -> bool {
        self.pasted.is_some()
    }

    /// What the held bytes from `at` on begin with; no bytes: their rest is to come.
    fn key(&mut self, at: usize) -> (Option<Input>, usize) {
        match found(&self.held[at..]) {
            Found::Key(key, length) => (Some(Input::Key(key)), length),
            Found::Nothing(length) => (None, length),
            Found::Begun => (None, 0),
            Found::Paste(length) => {
                self.pasted = Some(Vec::new());
                (None, length)
            }
        }
    }

    /// What of the held bytes from `at` on is pasted, with the mark of its end.
    fn paste(&mut self, at: usize) -> (Option<Input>, usize) {
        let Some(mut pasted) = self.pasted.take() else { return (None, 0) };
        let rest = &self.held[at..];
        match rest.windows(PASTE_END.len()).position(|bytes| bytes == PASTE_END) {
            Some(end) => {
                add(&mut pasted, &rest[..end]);
                (Some(paste(&pasted)), end + PASTE_END.len())
            }
            None => {
                // The last bytes may be the beginning of the mark.
                let length = rest.len().saturating_sub(PASTE_END.len() - 1);
                add(&mut pasted, &rest[..length]);
                self.pasted = Some(pasted);
                (None, length)
            }
        }
    }
}

fn add(pasted: &mut Vec<u8>, bytes: &[u8]) {
    let room = PASTE_BYTES_MAX.saturating_sub(pasted.len());
    pasted.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn paste(bytes: &[u8]) -> Input {
    Input::Paste(String::from_utf8_lossy(bytes).into_owned())
}

/// What some bytes begin with.
fn found(bytes: &[u8]) -> Found {
    match bytes {
        [] | [ESC] | [ESC, b'O'] => Found::Begun,
        [ESC, ESC, ..] => Found::Key(Key::plain(Code::Esc), 1),
        [ESC, b'[', rest @ ..] => sequence(rest),
        [ESC, b'O', last, ..] => match named(*last, 0) {
            Some(code) => Found::Key(Key::plain(code), 3),
            None if last.is_ascii_graphic() => Found::Nothing(3),
            None => Found::Nothing(2),
        },
        [ESC, rest @ ..] => match found(rest) {
            Found::Key(key, length) => Found::Key(Key { alt: true, ..key }, length + 1),
            Found::Paste(length) | Found::Nothing(length) => Found::Nothing(length + 1),
            Found::Begun => Found::Begun,
        },
        [byte, ..] => match *byte {
            b'\r' => Found::Key(Key::plain(Code::Enter), 1),
            b'\t' => Found::Key(Key::plain(Code::Tab), 1),
            0x7f => Found::Key(Key::plain(Code::Backspace), 1),
            0 => with_ctrl(' '),
            0x01..=0x1a => with_ctrl(char::from(byte - 1 + b'a')),
            0x1b..=0x1f => with_ctrl(char::from(byte - 0x1b + b'3')),
            _ => character(bytes),
        },
    }
}

const fn with_ctrl(char: char) -> Found {
    Found::Key(Key { code: Code::Char(char), ctrl: true, alt: false }, 1)
}

/// A character in UTF-8.
fn character(bytes: &[u8]) -> Found {
    let length = match bytes.first() {
        Some(0x20..=0x7e) => 1,
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return Found::Nothing(1),
    };
    match std::str::from_utf8(&bytes[..length.min(bytes.len())]) {
        Ok(text) => match text.chars().next() {
            Some(char) => Found::Key(Key::plain(Code::Char(char)), char.len_utf8()),
            None => Found::Begun,
        },
        Err(error) if error.error_len().is_none() => Found::Begun,
        Err(_) => Found::Nothing(1),
    }
}

/// What stands behind `ESC [`: parameters and a last byte.
fn sequence(rest: &[u8]) -> Found {
    // Function keys of the Linux console have a letter behind a second bracket.
    if let [b'[', rest @ ..] = rest {
        return if rest.is_empty() { Found::Begun } else { Found::Nothing(4) };
    }
    let mut read = rest.iter().take(SEQUENCE_BYTES_MAX);
    let Some(end) = read.position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return if rest.len() < SEQUENCE_BYTES_MAX { Found::Begun } else { Found::Nothing(SEQUENCE_BYTES_MAX + 2) };
    };
    if !(0x40..=0x7e).contains(&rest[end]) {
        // What does not belong to it is looked at by itself.
        return Found::Nothing(end + 2);
    }
    let (number, modifiers) = parameters(&rest[..end]);
    if (rest[end], number) == (b'~', 200) {
        return Found::Paste(end + 3);
    }
    let Some(code) = named(rest[end], number) else { return Found::Nothing(end + 3) };
    let held = modifiers.saturating_sub(1);
    Found::Key(Key { code, ctrl: held & 4 != 0, alt: held & 2 != 0 }, end + 3)
}

/// The first two numbers of a sequence; 0 for what is none.
fn parameters(bytes: &[u8]) -> (u32, u32) {
    let number = |part: &[u8]| std::str::from_utf8(part).ok()?.parse().ok();
    let mut numbers = bytes.split(|byte| *byte == b';').map(|part| number(part).unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The key of a sequence with this last byte and first number.
const fn named(last: u8, number: u32) -> Option<Code> {
    Some(match (last, number) {
        (b'A', _) => Code::Up,
        (b'B', _) => Code::Down,
        (b'C', _) => Code::Right,
        (b'D', _) => Code::Left,
        (b'H', _) | (b'~', 1 | 7) => Code::Home,
        (b'F', _) | (b'~', 4 | 8) => Code::End,
        (b'Z', _) => Code::BackTab,
        (b'~', 3) => Code::Delete,
        (b'~', 5) => Code::PageUp,
        (b'~', 6) => Code::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What some bytes mean that come at once, as text.
    fn meaning(bytes: &[u8]) -> String {
        let mut keys = Keys::default();
        let mut inputs = keys.take(bytes);
        inputs.extend(keys.end());
        said(&inputs)
    }

    fn said(inputs: &[Input]) -> String {
        let words = inputs.iter().map(|input| match input {
            Input::Key(key) => key.to_string(),
            Input::Paste(text) => format!("paste({text})"),
            Input::Resize { .. } => "resize".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_are_what_terminals_send_for_them() {
        for (bytes, keys) in [
            (&b"jG/ ~"[..], "j G / space ~"),
            (b"\r\n\t\x7f\x08", "enter ctrl-j tab bs ctrl-h"),
            (b"\x01\x1a\0\x1c\x1f", "ctrl-a ctrl-z ctrl-space ctrl-4 ctrl-7"),
            (b"\x1b[A\x1b[B\x1bOC\x1bOD", "up down right left"),
            (b"\x1b[H\x1b[4~\x1b[7~\x1bOF", "home end home end"),
            (b"\x1b[3~\x1b[5~\x1b[6~\x1b[Z", "del pgup pgdn s-tab"),
            (b"\x1b[1;5A\x1b[1;3D\x1b[5;7~", "ctrl-up alt-left ctrl-alt-pgup"),
            (b"\x1bj\x1b\r\x1b\x1b", "alt-j alt-enter esc esc"),
            ("\u{e9}\u{4e2d}\u{1f600}\x1b\u{e9}".as_bytes(), "\u{e9} \u{4e2d} \u{1f600} alt-\u{e9}"),
        ] {
            assert_eq!(meaning(bytes), keys, "{bytes:?}");
        }
    }

    #[test]
    fn what_means_nothing_takes_nothing_else_with_it() {
        for bytes in [
            &b"\x1b[15~"[..],
            b"\x1b[[A",
            b"\x1b[<0;10;20M",
            b"\x1b[201~",
            b"\x1bOP",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\x1b[12\x01\x02",
        ] {
            let shown = meaning(&[bytes, b"y"].concat());
            assert!(shown.ends_with('y') && !shown.contains("~"), "{bytes:?}: {shown}");
        }
        let endless = [b"\x1b[".to_vec(), vec![b'1'; 300], b"y".to_vec()].concat();
        assert!(meaning(&endless).ends_with('y'));
    }

    #[test]
    fn an_escape_is_a_key_when_nothing_follows_it() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"\x1b"), []);
        assert!(keys.has_begun());
        assert_eq!(said(&keys.take(b"[A")), "up");
        assert!(!keys.has_begun());
        keys.take(b"\x1b");
        assert_eq!(keys.end(), Some(Input::Key(Key::plain(Code::Esc))));
        keys.take(b"\x1b[1;");
        assert_eq!((keys.end(), keys.has_begun()), (None, false));
    }

    #[test]
    fn a_paste_is_one_whatever_is_in_it() {
        let pasted = b"\x1b[200~y\x1b[A\rq\xff\x1b[20\x1b[201~j";
        assert_eq!(meaning(pasted), "paste(y\x1b[A\rq\u{fffd}\x1b[20) j");
        let long = [b"\x1b[200~".to_vec(), vec![b'y'; PASTE_BYTES_MAX + 9], b"\x1b[201~j".to_vec()].concat();
        let inputs = Keys::default().take(&long);
        let [Input::Paste(text), Input::Key(_)] = &inputs[..] else { panic!("{} inputs", inputs.len()) };
        assert_eq!(text.len(), PASTE_BYTES_MAX);
    }

    proptest! {
        /// However the bytes are cut, and whatever they are, they mean the same.
        #[test]
        fn pieces_mean_what_the_whole_means(
            parts in prop::collection::vec(prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                prop::sample::select(vec!["\x1b[200~", "\x1b[201~", "\x1b[1;5A", "\x1bO", "\u{4e2d}", "\x1b["]).prop_map(|text| text.as_bytes().to_vec()),
            ], 0..40),
            size in 1_usize..9,
        ) {
            let bytes = parts.concat();
            let mut keys = Keys::default();
            let mut inputs: Vec<Input> = bytes.chunks(size).flat_map(|piece| keys.take(piece)).collect();
            inputs.extend(keys.end());
            prop_assert_eq!(said(&inputs), meaning(&bytes));
        }
    }
}
