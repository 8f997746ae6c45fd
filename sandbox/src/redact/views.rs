//! The ways in which output is read: as it is, and as each encoding would be decoded.
//!
//! A view turns bytes into symbols, without the freedom that the encoding gives its writer: case, padding, separators,
//! which bytes are escaped. So one pattern finds every form. A symbol remembers where it began in the output.

use std::collections::VecDeque;

use super::automaton::{Automaton, ROOT};
use super::escapes::Escapes;

pub(super) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Most bytes between two characters of base64 or hexadecimal digits that belong together.
const GAP_BYTES_MAX: u8 = 16;

/// What is looked for in each view.
pub(super) struct Views {
    pub(super) plain: Automaton,
    pub(super) base64: Automaton,
    pub(super) hex: Automaton,
    pub(super) percent: Automaton,
    pub(super) escape: Automaton,
}

impl Views {
    pub(super) fn new() -> Self {
        let [plain, base64, hex, percent, escape] = [(); 5].map(|()| Automaton::new());
        Self { plain, base64, hex, percent, escape }
    }

    pub(super) fn finish(&mut self) {
        let Self { plain, base64, hex, percent, escape } = self;
        for automaton in [plain, base64, hex, percent, escape] {
            automaton.finish();
        }
    }
}

/// A place in the output where a pattern was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) owner: u16,
}

/// How far the patterns of one view have been seen.
#[derive(Debug, Default)]
struct Trail {
    state: u32,
    /// Where each symbol of the longest pattern that has begun starts, in the output.
    starts: VecDeque<u64>,
}

impl Trail {
    fn reset(&mut self) {
        self.state = ROOT;
        self.starts.clear();
    }

    /// Takes the symbol that lies at `start..end` of the output.
    fn symbol(&mut self, automaton: &Automaton, symbol: u8, (start, end): (u64, u64), found: &mut impl FnMut(Region)) {
        self.state = automaton.next(self.state, symbol);
        self.starts.push_back(start);
        while self.starts.len() > automaton.depth(self.state) {
            self.starts.pop_front();
        }
        if let Some(hit) = automaton.hit(self.state) {
            let start = self.starts.get(self.starts.len() - hit.len).copied().unwrap_or(start);
            found(Region { start, end, owner: hit.owner });
        }
    }

    /// The part of a pattern that the output ends with, if that is half of one.
    fn half(&self, automaton: &Automaton, end: u64) -> Option<Region> {
        let owner = automaton.half(self.state)?;
        self.starts.front().map(|start| Region { start: *start, end, owner })
    }
}

/// One position in the output, in every view.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    plain: Trail,
    base64: Trail,
    base64_gap: u8,
    hex: Trail,
    hex_gap: u8,
    percent: Trail,
    percent_state: Percent,
    escape: Trail,
    escapes: Escapes,
}

/// Where in `%41` a view is.
#[derive(Debug, Clone, Copy, Default)]
enum Percent {
    #[default]
    Outside,
    Begun {
        start: u64,
    },
    Half {
        start: u64,
        high: u8,
    },
}

impl Cursor {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        let Self { plain, base64, base64_gap: _, hex, hex_gap: _, percent, percent_state, escape, escapes } = self;
        for trail in [plain, base64, hex, percent, escape] {
            trail.reset();
        }
        (*percent_state, *escapes) = (Percent::Outside, Escapes::default());
    }

    /// Whether nothing has begun, so that the next byte can be judged by itself.
    pub(super) fn idle(&self) -> bool {
        let Self { plain, base64, base64_gap: _, hex, hex_gap: _, percent, percent_state, escape, escapes } = self;
        plain.state | base64.state | hex.state | percent.state | escape.state == ROOT
            && matches!(percent_state, Percent::Outside)
            && escapes.start().is_none()
    }

    /// Where the first pattern that has begun starts.
    pub(super) fn held_from(&self) -> Option<u64> {
        let percent = match self.percent_state {
            Percent::Outside => None,
            Percent::Begun { start } | Percent::Half { start, .. } => Some(start),
        };
        let trails = [&self.plain, &self.base64, &self.hex, &self.percent, &self.escape];
        let starts = trails.into_iter().filter_map(|trail| trail.starts.front().copied());
        starts.chain(percent).chain(self.escapes.start()).min()
    }

    /// Takes the byte at `at` of the output.
    pub(super) fn step(&mut self, views: &Views, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        let place = (at, at + 1);
        self.plain.symbol(&views.plain, byte, place, found);
        self.step_base64(&views.base64, byte, at, found);
        self.step_hex(&views.hex, byte, at, found);
        self.step_percent(&views.percent, byte, at, found);
        self.step_escape(&views.escape, byte, at, found);
    }

    /// Half patterns that the output ends with at `end`.
    pub(super) fn halves(&self, views: &Views, end: u64) -> impl Iterator<Item = Region> {
        let pairs = [
            (&self.plain, &views.plain),
            (&self.base64, &views.base64),
            (&self.hex, &views.hex),
            (&self.percent, &views.percent),
            (&self.escape, &views.escape),
        ];
        pairs.map(|(trail, automaton)| trail.half(automaton, end)).into_iter().flatten()
    }

    fn step_base64(&mut self, automaton: &Automaton, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        let symbol = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => byte,
            b'-' => b'+',
            b'_' => b'/',
            b'\n' | b'\r' | b'\t' | b' ' => return skip(&mut self.base64, &mut self.base64_gap),
            _ => return self.base64.reset(),
        };
        self.base64_gap = 0;
        self.base64.symbol(automaton, symbol, (at, at + 1), found);
    }

    fn step_hex(&mut self, automaton: &Automaton, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        match byte {
            b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f' => {
                self.hex_gap = 0;
                self.hex.symbol(automaton, byte.to_ascii_lowercase(), (at, at + 1), found);
            }
            b':' | b'-' | b',' | b'\\' | b'x' | b'\n' | b'\r' | b'\t' | b' ' => skip(&mut self.hex, &mut self.hex_gap),
            _ => self.hex.reset(),
        }
    }

    fn step_escape(&mut self, automaton: &Automaton, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        let Self { escapes, escape, .. } = self;
        let mut take = |symbols: &[u8], place| {
            for symbol in symbols {
                escape.symbol(automaton, *symbol, place, found);
            }
        };
        if !escapes.step(byte, at, &mut take) {
            // What was no escape after all breaks off every pattern; a new one may begin here.
            escape.reset();
            let mut take = |symbols: &[u8], place| {
                for symbol in symbols {
                    escape.symbol(automaton, *symbol, place, found);
                }
            };
            escapes.step(byte, at, &mut take);
        }
    }

    fn step_percent(&mut self, automaton: &Automaton, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        match (std::mem::take(&mut self.percent_state), digit(byte)) {
            (Percent::Begun { start }, Some(high)) => self.percent_state = Percent::Half { start, high },
            (Percent::Half { start, high }, Some(low)) => {
                self.percent.symbol(automaton, plus_as_space(high << 4 | low), (start, at + 1), found);
            }
            (state, _) => {
                if !matches!(state, Percent::Outside) {
                    self.percent.reset();
                }
                match byte {
                    b'%' => self.percent_state = Percent::Begun { start: at },
                    _ => self.percent.symbol(automaton, plus_as_space(byte), (at, at + 1), found),
                }
            }
        }
    }
}

/// Passes over a byte between two symbols.
fn skip(trail: &mut Trail, gap: &mut u8) {
    *gap = gap.saturating_add(1);
    if *gap > GAP_BYTES_MAX {
        trail.reset();
    }
}

/// Forms write a space as `+`, so a plus and a space are one symbol.
fn plus_as_space(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}

/// The value of a hexadecimal digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
