//! Reads backslash escapes as JSON, C, Python, Go, Rust and shells write them.

use super::views::digit;

/// Where in an escape the reader is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Escapes {
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Outside,
    /// After the backslash.
    Begun { start: u64 },
    /// Among the digits of `\x41`, `\u0041` or `\U00000041`.
    Digits { start: u64, left: u8, value: u32, kind: Kind },
    /// After `\u`, where a brace may follow.
    Unicode { start: u64, high: Option<u32> },
    /// Among the digits of `\u{41}`.
    Braced { start: u64, value: u32 },
    /// Among the digits of `\101`, of which there are one to three.
    Octal { start: u64, left: u8, value: u32 },
    /// After the first half of a pair: its second half must follow.
    Paired { start: u64, high: u32 },
    /// After the backslash of the second half.
    PairBegun { start: u64, high: u32 },
}

/// What a number stands for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Byte,
    /// A unit of UTF-16, with the first half of a pair if that came before.
    Unit {
        high: Option<u32>,
    },
    Character,
}

/// The two halves of a pair in UTF-16.
const HIGH: std::ops::Range<u32> = 0xd800..0xdc00;
const LOW: std::ops::Range<u32> = 0xdc00..0xe000;

impl Escapes {
    /// Where the escape begins that is being read.
    pub(super) fn start(self) -> Option<u64> {
        match self.state {
            State::Outside => None,
            State::Begun { start }
            | State::Digits { start, .. }
            | State::Unicode { start, .. }
            | State::Braced { start, .. }
            | State::Octal { start, .. }
            | State::Paired { start, .. }
            | State::PairBegun { start, .. } => Some(start),
        }
    }

    /// Takes the byte at `at`; `symbols` gets the bytes that are now known, and where they lie. Whether that was an escape
    /// so far: if not, the byte has not been taken.
    pub(super) fn step(&mut self, byte: u8, at: u64, mut symbols: impl FnMut(&[u8], (u64, u64))) -> bool {
        let end = at + 1;
        match (std::mem::take(&mut self.state), digit(byte)) {
            (State::Outside, _) => self.outside(byte, at, symbols),
            (State::Begun { start }, _) => self.begun(byte, (start, end), symbols),
            (State::Unicode { start, high }, Some(value)) => {
                self.state = State::Digits { start, left: 3, value: value.into(), kind: Kind::Unit { high } };
            }
            (State::Unicode { start, .. }, None) if byte == b'{' => self.state = State::Braced { start, value: 0 },
            (State::Digits { start, left, value, kind }, Some(next)) => {
                let value = value << 4 | u32::from(next);
                match left {
                    1 => return self.number(value, kind, (start, end), symbols),
                    left => self.state = State::Digits { start, left: left - 1, value, kind },
                }
            }
            (State::Braced { start, value }, Some(next)) if value < 1 << 20 => {
                self.state = State::Braced { start, value: value << 4 | u32::from(next) };
            }
            (State::Braced { start, value }, None) if byte == b'}' => return character(value, (start, end), symbols),
            (State::Octal { start, left, value }, Some(next @ 0..8)) if left > 0 => {
                self.octal(value << 3 | u32::from(next), left - 1, (start, end), symbols);
            }
            (State::Octal { start, value, .. }, _) => {
                symbols(&[value.to_le_bytes()[0]], (start, at));
                self.outside(byte, at, symbols);
            }
            (State::Paired { start, high }, _) if byte == b'\\' => self.state = State::PairBegun { start, high },
            (State::PairBegun { start, high }, _) if byte == b'u' => {
                self.state = State::Unicode { start, high: Some(high) };
            }
            (
                State::Unicode { .. }
                | State::Digits { .. }
                | State::Braced { .. }
                | State::Paired { .. }
                | State::PairBegun { .. },
                _,
            ) => return false,
        }
        true
    }

    fn outside(&mut self, byte: u8, at: u64, mut symbols: impl FnMut(&[u8], (u64, u64))) {
        match byte {
            b'\\' => self.state = State::Begun { start: at },
            _ => symbols(&[byte], (at, at + 1)),
        }
    }

    fn begun(&mut self, byte: u8, (start, end): (u64, u64), mut symbols: impl FnMut(&[u8], (u64, u64))) {
        let symbol = match byte {
            b'x' => return self.state = State::Digits { start, left: 2, value: 0, kind: Kind::Byte },
            b'u' => return self.state = State::Unicode { start, high: None },
            b'U' => return self.state = State::Digits { start, left: 8, value: 0, kind: Kind::Character },
            b'0'..=b'7' => return self.octal(u32::from(byte - b'0'), 2, (start, end), symbols),
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'a' => 0x07,
            b'e' | b'E' => 0x1b,
            other => other,
        };
        symbols(&[symbol], (start, end));
    }

    fn octal(&mut self, value: u32, left: u8, place: (u64, u64), mut symbols: impl FnMut(&[u8], (u64, u64))) {
        match left {
            0 => symbols(&[value.to_le_bytes()[0]], place),
            left => self.state = State::Octal { start: place.0, left, value },
        }
    }

    fn number(
        &mut self,
        value: u32,
        kind: Kind,
        place: (u64, u64),
        mut symbols: impl FnMut(&[u8], (u64, u64)),
    ) -> bool {
        match kind {
            Kind::Byte => symbols(&[value.to_le_bytes()[0]], place),
            Kind::Unit { high: None } if HIGH.contains(&value) => {
                self.state = State::Paired { start: place.0, high: value };
            }
            Kind::Unit { high: Some(high) } if LOW.contains(&value) => {
                let value = 0x1_0000 + ((high - HIGH.start) << 10) + (value - LOW.start);
                return character(value, place, symbols);
            }
            Kind::Unit { high: Some(_) } => return false,
            Kind::Unit { high: None } | Kind::Character => return character(value, place, symbols),
        }
        true
    }
}

/// Whether `value` is a character, which then is given to `symbols` in UTF-8.
fn character(value: u32, place: (u64, u64), mut symbols: impl FnMut(&[u8], (u64, u64))) -> bool {
    let Some(character) = char::from_u32(value) else { return false };
    symbols(character.encode_utf8(&mut [0; 4]).as_bytes(), place);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let (mut escapes, mut out) = (Escapes::default(), Vec::new());
        for (at, byte) in (0..).zip(text.bytes()) {
            if !escapes.step(byte, at, |symbols, _| out.extend_from_slice(symbols)) {
                out.extend_from_slice(b"<?>");
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_is_read() {
        assert_eq!(
            read(r#"a\"b\\c\/\n\x41\u00e9\u{1f600}\U0001f600\ud83d\ude00\101\0-"#),
            "a\"b\\c/\nA\u{e9}\u{1f600}\u{1f600}\u{1f600}A\0-"
        );
    }

    #[test]
    fn what_is_no_escape_is_said() {
        assert_eq!(read(r"\xzz"), "<?>z");
        assert_eq!(read(r"\ud83dx\udc00"), "<?><?>");
        assert_eq!(read(r"\u{ffffff}}"), "<?>}");
    }
}
