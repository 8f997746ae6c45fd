//! Reads percent-encoding, with `+` as a space as forms write it or as itself as addresses do.

use super::views::digit;

/// Where in `%41` the reader is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Percent {
    plus_is_space: bool,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Outside,
    Begun { start: u64 },
    Half { start: u64, high: u8 },
}

impl Percent {
    pub(super) fn new(plus_is_space: bool) -> Self {
        Self { plus_is_space, state: State::Outside }
    }

    pub(super) fn reset(&mut self) {
        self.state = State::Outside;
    }

    /// Whether `byte` is not itself outside of an escape.
    pub(super) fn differs(self, byte: u8) -> bool {
        byte == b'%' || byte == b'+' && self.plus_is_space
    }

    /// Where the escape begins that is being read.
    pub(super) fn start(self) -> Option<u64> {
        match self.state {
            State::Outside => None,
            State::Begun { start } | State::Half { start, .. } => Some(start),
        }
    }

    /// See [`Escapes::step`](super::escapes::Escapes::step).
    pub(super) fn step(&mut self, byte: u8, at: u64, mut symbols: impl FnMut(&[u8], (u64, u64))) -> bool {
        match (std::mem::replace(&mut self.state, State::Outside), digit(byte)) {
            (State::Outside, _) if byte == b'%' => self.state = State::Begun { start: at },
            (State::Outside, _) if byte == b'+' && self.plus_is_space => symbols(b" ", (at, at + 1)),
            (State::Outside, _) => symbols(&[byte], (at, at + 1)),
            (State::Begun { start }, Some(high)) => self.state = State::Half { start, high },
            (State::Half { start, high }, Some(low)) => symbols(&[high << 4 | low], (start, at + 1)),
            (State::Begun { .. } | State::Half { .. }, None) => return false,
        }
        true
    }
}
