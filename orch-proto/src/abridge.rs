//! A line of JSON that is longer than anybody holds, abridged while it comes: its long texts are cut, and of what is too much
//! the deep is left out before the shallow. The driver of an agent and the reader of its log see the same of such a line.
//!
//! What comes out is JSON if what went in is. Its size has a bound whatever goes in, and nothing recurses.

/// Most bytes that are kept of a text, as it is written: a little more than a reader of logs shows, which then says that it is cut.
pub const TEXT_BYTES_MAX: usize = 65 << 10;
/// What may be written, in bytes, before nothing more is begun at the top. Every list and object within may use half of the room
/// that is left around it, so what comes behind it has the other half.
const BYTES_MAX: usize = 1 << 20;
/// The most that is written of what is no JSON.
const WRITTEN_BYTES_MAX: usize = 2 * BYTES_MAX;
/// Most bytes of a number.
const WORD_BYTES_MAX: usize = 64;
/// By how much a text may be longer than is kept, so that it is not cut within a character.
const SLACK_BYTES: usize = 64;

/// Abridges one line.
#[derive(Clone, Debug, Default)]
pub struct Abridged {
    written: Vec<u8>,
    open: Vec<Open>,
    /// Values that are open within one that is left out; none: nothing is left out now.
    hidden: Option<u64>,
    text: Option<Text>,
    /// Bytes of a number, or of another word, that has no end yet.
    word: usize,
}

/// A list or an object that is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    is_object: bool,
    /// The next text is the name of a member.
    wants_name: bool,
    is_empty: bool,
    /// How much may be written before what begins in it is left out.
    room: usize,
}

/// A text that has no end yet.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    kept: usize,
    is_cut: bool,
    escape: Escape,
    /// What came last is the first half of a character of two.
    is_half: bool,
}

/// How far an escape in a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// Behind `\`.
    Begun,
    /// Behind `\u`: digits to come, and the value of those before.
    Digits(u8, u16),
}

impl Abridged {
    /// Takes the next bytes of the line.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if self.text.is_none() {
                self.outside(byte);
                continue;
            }
            self.inside(byte);
            if self.text.is_some_and(|text| text.escape == Escape::None && (text.is_cut || self.hidden.is_some())) {
                // Most of a long line is this.
                let passed = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
                rest = &rest[passed..];
            }
        }
    }

    /// The line, when nothing more of it comes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.written
    }

    fn outside(&mut self, byte: u8) {
        let is_word = !matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n');
        self.word = if is_word { self.word + 1 } else { 0 };
        match byte {
            b'"' => {
                self.begin();
                self.write(byte);
                self.text = Some(Text::default());
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(byte),
            b',' => self.separate(),
            b':' => {
                self.write(byte);
                // Behind the name of a member, for which there was room: without one nothing may begin unseen.
                if let (None, Some(open)) = (self.hidden, self.open.last_mut().filter(|open| !open.is_empty)) {
                    open.wants_name = false;
                }
            }
            _ if self.word == 1 => {
                self.begin();
                self.write(byte);
            }
            _ if is_word && self.word <= WORD_BYTES_MAX => self.write(byte),
            // Space, and what nobody reads of a number.
            _ => {}
        }
    }

    /// A value or the name of a member begins: it is written, or left out with all that belongs to it.
    fn begin(&mut self) {
        let (None, Some(open)) = (self.hidden, self.open.last_mut()) else { return };
        if open.is_object && !open.wants_name {
            return;
        }
        if self.written.len() >= open.room {
            self.hidden = Some(0);
            return;
        }
        if !open.is_empty {
            self.written.push(b',');
        }
        open.is_empty = false;
    }

    fn open(&mut self, byte: u8) {
        self.begin();
        if let Some(hidden) = &mut self.hidden {
            *hidden += 1;
            return;
        }
        self.write(byte);
        let (is_object, written) = (byte == b'{', self.written.len());
        let room = self.open.last().map_or(BYTES_MAX, |around| written + around.room.saturating_sub(written) / 2);
        self.open.push(Open { is_object, wants_name: is_object, is_empty: true, room });
    }

    fn close(&mut self, byte: u8) {
        if let Some(hidden) = self.hidden.as_mut().filter(|hidden| **hidden > 0) {
            *hidden -= 1;
            return;
        }
        self.hidden = None;
        self.open.pop();
        self.write(byte);
    }

    /// A comma: what comes next is another value, or another member.
    fn separate(&mut self) {
        if self.hidden.is_some_and(|hidden| hidden > 0) {
            return;
        }
        self.hidden = None;
        if let Some(open) = self.open.last_mut() {
            open.wants_name = open.is_object;
        }
    }

    fn inside(&mut self, byte: u8) {
        let Some(mut text) = self.text.take() else { return };
        if byte == b'"' && text.escape == Escape::None {
            self.write(byte);
            return;
        }
        let begins = text.escape == Escape::None && byte & 0b1100_0000 != 0b1000_0000;
        let is_over = text.kept >= TEXT_BYTES_MAX && begins && !text.is_half;
        text.is_cut |= is_over || text.kept >= TEXT_BYTES_MAX + SLACK_BYTES && text.escape == Escape::None;
        text.advance(byte);
        if !text.is_cut {
            text.kept += 1;
            self.write(byte);
        }
        self.text = Some(text);
    }

    fn write(&mut self, byte: u8) {
        if self.hidden.is_none() && self.written.len() < WRITTEN_BYTES_MAX {
            self.written.push(byte);
        }
    }
}

impl Text {
    fn advance(&mut self, byte: u8) {
        (self.escape, self.is_half) = match (self.escape, byte) {
            (Escape::None, b'\\') => (Escape::Begun, self.is_half),
            (Escape::Begun, b'u') => (Escape::Digits(4, 0), self.is_half),
            (Escape::Digits(left, value), digit) if left > 1 => (Escape::Digits(left - 1, with(value, digit)), false),
            (Escape::Digits(_, value), digit) => (Escape::None, (0xd800..0xdc00).contains(&with(value, digit))),
            (Escape::None | Escape::Begun, _) => (Escape::None, false),
        };
    }
}

/// A number with one more digit in hex; what is none counts as nothing.
fn with(value: u16, digit: u8) -> u16 {
    let digit = char::from(digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
    (value << 4) | digit.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn abridged(line: &[u8], piece: usize) -> Vec<u8> {
        let mut abridged = Abridged::default();
        line.chunks(piece).for_each(|piece| abridged.push(piece));
        abridged.finish()
    }

    fn read(line: &str) -> Value {
        let found = abridged(line.as_bytes(), 64 << 10);
        assert!(found.len() <= BYTES_MAX + 2 * TEXT_BYTES_MAX, "{}", found.len());
        serde_json::from_slice(&found).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&found)))
    }

    #[test]
    fn what_is_short_stays_as_it_is_however_it_is_cut() {
        let line = r#" {"a":[1, -2.5e3 ,true,null,[],{}], "b\"\\":{"c":"\ud83d\ude00~","d":{}},"e":"" } "#;
        let line = line.replace('~', "\u{e9}");
        let whole = abridged(line.as_bytes(), line.len());
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), serde_json::from_str::<Value>(&line).unwrap());
        for piece in 1..line.len() {
            assert_eq!(abridged(line.as_bytes(), piece), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_what_follows_is_there() {
        for unit in ["x", "\u{20ac}", "\u{1f600}", "\\n", "\\u20ac", "\\ud83d\\ude00", "\\\\", "\\\""] {
            let long = unit.repeat((256 << 10) / unit.len());
            let line = format!(r#"{{"type":"result","result":"{long}","more":[{{"x":"{long}"}}],"is_error":false}}"#);
            let found = read(&line);
            assert_eq!((&found["type"], &found["is_error"]), (&json!("result"), &json!(false)), "{unit}");
            let text = found["result"].as_str().unwrap();
            let one: String = serde_json::from_str(&format!("\"{unit}\"")).unwrap();
            assert!(text.starts_with(&one) && text.ends_with(&one) && text.len() < long.len(), "{unit}");
            assert_eq!(text.len() / one.len(), TEXT_BYTES_MAX.div_ceil(unit.len()), "{unit}");
            assert_eq!(found["more"][0]["x"], found["result"]);
        }
    }

    #[test]
    fn of_too_much_the_deep_is_left_out_and_the_shallow_behind_it_is_not() {
        let many = |value: &str| vec![value; 1 << 20].join(",");
        let members: String = (0..100_000).map(|at| format!("\"m{at}\":{{\"x\":[{at}]}},")).collect();
        for deep in [format!("[{}]", many("1")), format!("[{}]", many("[[]]")), format!("{{{members}\"z\":1}}")] {
            let found = read(&format!(r#"{{"params":{{"x":{deep},"turn":{{"y":{deep},"id":"t"}}}},"id":7}}"#));
            assert_eq!((&found["params"]["turn"]["id"], &found["id"]), (&json!("t"), &json!(7)));
        }
        // Where the top itself is too much nothing can be said of its end.
        let found = read(&format!("{{{members}\"id\":7}}"));
        assert_eq!((&found["m0"], &found["id"]), (&json!({"x": [0]}), &Value::Null));
        let deep = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(read(&format!(r#"{{"a":{deep},"id":7}}"#))["id"], 7);
        let digits = "1".repeat(1 << 20);
        assert_eq!(read(&format!(r#"{{"a":{digits},"id":7}}"#))["id"], 7);
    }

    #[test]
    fn what_is_no_json_has_a_bound_too() {
        for hostile in [
            "[", "]", "{", "}", ",", "\"", "\\", ":", "1", "a ", "[\"", "{\"a\":", "{:", "{{:", "{1:", "{\"\":{",
            "\\ud83d", "\"\\", "\"\u{ff}",
        ] {
            let mut line = Abridged::default();
            line.push(hostile.repeat((3 << 20) / hostile.len()).as_bytes());
            assert!(line.open.len() <= 64, "{hostile}: {} are open", line.open.len());
            let found = line.finish();
            assert!(found.len() <= WRITTEN_BYTES_MAX, "{hostile}: {}", found.len());
        }
    }

    /// Any text: nothing panics, and pieces make no difference.
    #[test]
    fn pieces_make_no_difference_to_what_is_no_json() {
        let letters: Vec<char> = "[]{}:,\"\\u0d8e1 ".chars().collect();
        let mut state = 7_u64;
        for _ in 0..2_000 {
            let mut draw = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % below
            };
            let length = draw(80);
            let line: String = (0..length).map(|_| letters[draw(letters.len())]).collect();
            let whole = abridged(line.as_bytes(), 100);
            let piece = 1 + draw(8);
            assert_eq!(abridged(line.as_bytes(), piece), whole, "{line} in pieces of {piece}");
        }
    }
}
