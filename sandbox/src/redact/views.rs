//! The ways in which output is read: as it is, and as each encoding would be decoded.
//!
//! A view turns bytes into symbols, without the freedom that the encoding gives its writer: case, padding, separators,
//! which bytes are escaped. So one pattern finds every form. A symbol remembers where it began in the output.
//!
//! Text that has nothing to decode is the same in three of the views. These go along with the plain one, which is all
//! that works then, and part from it at the first byte that they read differently.

use std::collections::VecDeque;

use super::automaton::{Automaton, ROOT};
use super::escapes::Escapes;
use super::percent::Percent;

pub(super) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Most bytes between two characters of base64 or hexadecimal digits that belong together.
const GAP_BYTES_MAX: u8 = 16;

/// Views in which something has begun, or can with a byte.
pub(super) type Active = u8;
const PLAIN: Active = 1;
const BASE64_VIEW: Active = 2;
const HEX_VIEW: Active = 4;
/// The first of the readings of text.
const READING: Active = 8;

/// What is looked for in each view.
pub(super) struct Views {
    /// In text, whatever it is escaped with.
    pub(super) text: Automaton,
    pub(super) base64: Automaton,
    pub(super) hex: Automaton,
    /// In which views a byte can begin something; ready after [`Views::finish`].
    begins: [Active; 256],
}

impl Views {
    pub(super) fn new() -> Self {
        let [text, base64, hex] = [(); 3].map(|()| Automaton::new());
        Self { text, base64, hex, begins: [0; 256] }
    }

    pub(super) fn finish(&mut self) {
        for automaton in [&mut self.text, &mut self.base64, &mut self.hex] {
            automaton.finish();
        }
        for byte in 0..=u8::MAX {
            let begins = |automaton: &Automaton, symbol| automaton.next(ROOT, symbol) != ROOT;
            let mut active = if begins(&self.text, byte) { PLAIN } else { 0 };
            if matches!(base64_symbol(byte), Symbol::Known(symbol) if begins(&self.base64, symbol)) {
                active |= BASE64_VIEW;
            }
            if matches!(hex_symbol(byte), Symbol::Known(symbol) if begins(&self.hex, symbol)) {
                active |= HEX_VIEW;
            }
            for (index, reading) in Cursor::default().readings.iter().enumerate() {
                if reading.decoder.differs(byte) {
                    active |= READING << index;
                }
            }
            self.begins[usize::from(byte)] = active;
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
        let depth = automaton.depth(self.state);
        if depth == 0 {
            return self.starts.clear();
        }
        self.starts.push_back(start);
        while self.starts.len() > depth {
            self.starts.pop_front();
        }
        if let Some(hit) = automaton.hit(self.state) {
            let start = self.starts.get(depth - hit.len).copied().unwrap_or(start);
            found(Region { start, end, owner: hit.owner });
        }
    }

    /// The part of a pattern that the output ends with, if that is half of one.
    fn half(&self, automaton: &Automaton, end: u64) -> Option<Region> {
        let owner = automaton.half(self.state)?;
        self.starts.front().map(|start| Region { start: *start, end, owner })
    }
}

/// Text that is read with one kind of escapes.
#[derive(Debug)]
struct Reading {
    decoder: Decoder,
    /// Whether it differs from plain text in what has begun.
    apart: bool,
    trail: Trail,
}

#[derive(Debug, Clone, Copy)]
enum Decoder {
    Escapes(Escapes),
    Percent(Percent),
}

impl Decoder {
    /// Whether `byte` is not itself outside of an escape.
    fn differs(self, byte: u8) -> bool {
        match self {
            Self::Escapes(_) => byte == b'\\',
            Self::Percent(percent) => percent.differs(byte),
        }
    }

    /// Where the escape begins that is being read.
    fn start(&self) -> Option<u64> {
        match self {
            Self::Escapes(escapes) => escapes.start(),
            Self::Percent(percent) => percent.start(),
        }
    }

    /// See [`Escapes::step`].
    fn step(&mut self, byte: u8, at: u64, symbols: impl FnMut(&[u8], (u64, u64))) -> bool {
        match self {
            Self::Escapes(escapes) => escapes.step(byte, at, symbols),
            Self::Percent(percent) => percent.step(byte, at, symbols),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Escapes(escapes) => *escapes = Escapes::default(),
            Self::Percent(percent) => percent.reset(),
        }
    }
}

impl Reading {
    fn new(decoder: Decoder) -> Self {
        Self { decoder, apart: false, trail: Trail::default() }
    }

    /// Takes the byte at `at`; `plain` is the state of plain text before it.
    fn step(&mut self, text: &Automaton, plain: u32, (byte, at): (u8, u64), found: &mut impl FnMut(Region)) {
        if !self.apart {
            self.apart = true;
            self.trail.state = plain;
            self.trail.starts.extend(at - text.depth(plain) as u64..at);
        }
        // What was no escape after all breaks off every pattern; then the byte begins anew.
        for _ in 0..2 {
            let trail = &mut self.trail;
            let take = |symbols: &[u8], place: (u64, u64)| {
                for symbol in symbols {
                    trail.symbol(text, *symbol, place, found);
                }
            };
            if self.decoder.step(byte, at, take) {
                return;
            }
            self.trail.reset();
        }
    }

    /// Goes along with plain text again when the two have come to the same.
    fn rejoin(&mut self, plain: u32, start: u64) {
        if self.apart && self.decoder.start().is_none() && self.trail.state == plain {
            self.apart = self.trail.starts.front().is_some_and(|first| *first != start);
            if !self.apart {
                self.trail.reset();
            }
        }
    }

    fn held_from(&self) -> Option<u64> {
        self.trail.starts.front().copied().into_iter().chain(self.decoder.start()).min()
    }
}

/// One position in the output, in every view.
#[derive(Debug)]
pub(super) struct Cursor {
    active: Active,
    plain: u32,
    readings: [Reading; 3],
    base64: Gapped,
    hex: Gapped,
}

impl Default for Cursor {
    fn default() -> Self {
        let readings = [
            Decoder::Escapes(Escapes::default()),
            Decoder::Percent(Percent::new(true)),
            Decoder::Percent(Percent::new(false)),
        ];
        Self {
            active: 0,
            plain: ROOT,
            readings: readings.map(Reading::new),
            base64: Gapped::default(),
            hex: Gapped::default(),
        }
    }
}

impl Cursor {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.active = 0;
        self.plain = ROOT;
        for reading in &mut self.readings {
            reading.apart = false;
            reading.decoder.reset();
            reading.trail.reset();
        }
        self.base64.trail.reset();
        self.hex.trail.reset();
    }

    /// Whether nothing has begun, so that the next byte can be judged by itself.
    pub(super) fn idle(&self) -> bool {
        self.active == 0
    }

    /// Where the first pattern that has begun starts, when the output so far ends at `end`.
    pub(super) fn held_from(&self, views: &Views, end: u64) -> u64 {
        let plain = end - views.text.depth(self.plain) as u64;
        let readings = self.readings.iter().filter_map(Reading::held_from);
        let gapped = [&self.base64, &self.hex].into_iter().filter_map(|view| view.trail.starts.front().copied());
        readings.chain(gapped).fold(plain, u64::min)
    }

    /// Takes the byte at `at` of the output.
    pub(super) fn step(&mut self, views: &Views, byte: u8, at: u64, found: &mut impl FnMut(Region)) {
        let work = self.active | views.begins[usize::from(byte)];
        let mut active = 0;
        let before = self.plain;
        if work & PLAIN != 0 {
            self.plain = views.text.next(before, byte);
            if let Some(hit) = views.text.hit(self.plain) {
                found(Region { start: at + 1 - hit.len as u64, end: at + 1, owner: hit.owner });
            }
            active |= if self.plain == ROOT { 0 } else { PLAIN };
        }
        if work >= READING {
            let start = at + 1 - views.text.depth(self.plain) as u64;
            for (index, reading) in self.readings.iter_mut().enumerate().filter(|(index, _)| work >> index >= READING) {
                if work & READING << index != 0 {
                    reading.step(&views.text, before, (byte, at), found);
                    reading.rejoin(self.plain, start);
                    active |= if reading.apart { READING << index } else { 0 };
                }
            }
        }
        if work & BASE64_VIEW != 0 {
            self.base64.step(&views.base64, base64_symbol(byte), at, found);
            active |= if self.base64.trail.state == ROOT { 0 } else { BASE64_VIEW };
        }
        if work & HEX_VIEW != 0 {
            self.hex.step(&views.hex, hex_symbol(byte), at, found);
            active |= if self.hex.trail.state == ROOT { 0 } else { HEX_VIEW };
        }
        self.active = active;
    }

    /// Half patterns that the output ends with at `end`.
    pub(super) fn halves(&self, views: &Views, end: u64) -> impl Iterator<Item = Region> {
        let start = end - views.text.depth(self.plain) as u64;
        let plain = views.text.half(self.plain).map(|owner| Region { start, end, owner });
        let readings = self.readings.iter().map(move |reading| reading.trail.half(&views.text, end));
        let gapped = [self.base64.trail.half(&views.base64, end), self.hex.trail.half(&views.hex, end)];
        readings.chain(gapped).chain([plain]).flatten()
    }
}

/// A view of single characters with gaps between them.
#[derive(Debug, Default)]
struct Gapped {
    trail: Trail,
    gap: u8,
}

/// What a byte is in such a view.
#[derive(Debug, Clone, Copy)]
enum Symbol {
    Known(u8),
    Gap,
    Foreign,
}

impl Gapped {
    fn step(&mut self, automaton: &Automaton, symbol: Symbol, at: u64, found: &mut impl FnMut(Region)) {
        match symbol {
            Symbol::Known(symbol) => {
                self.gap = 0;
                self.trail.symbol(automaton, symbol, (at, at + 1), found);
            }
            Symbol::Gap if self.gap < GAP_BYTES_MAX => self.gap += 1,
            Symbol::Gap | Symbol::Foreign => self.trail.reset(),
        }
    }
}

fn base64_symbol(byte: u8) -> Symbol {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => Symbol::Known(byte),
        b'-' => Symbol::Known(b'+'),
        b'_' => Symbol::Known(b'/'),
        b'\n' | b'\r' | b'\t' | b' ' => Symbol::Gap,
        _ => Symbol::Foreign,
    }
}

fn hex_symbol(byte: u8) -> Symbol {
    match byte {
        b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f' => Symbol::Known(byte.to_ascii_lowercase()),
        b':' | b'-' | b',' | b'\\' | b'x' | b'\n' | b'\r' | b'\t' | b' ' => Symbol::Gap,
        _ => Symbol::Foreign,
    }
}

/// The value of a hexadecimal digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
