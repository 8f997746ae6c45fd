//! Takes secret values out of a stream before anybody sees it, however it is cut into pieces.
//!
//! Found are the value without white space around it, every line of it that has 12 bytes or more, and the value
//!
//! - in base64 of both alphabets, padded or not, at any place in a longer text, with up to 16 bytes of white space between
//!   characters: a character that the value shares with what is around it stays;
//! - in hexadecimal digits of either case, also with up to 16 of `:`, `-`, `,`, `\x` and white space between them;
//! - percent-encoded as a whole or where needed, with `+` for a space or without;
//! - with backslash escapes: JSON, C, Python, Go, Rust, `printf %q`; as a string of JSON in any of the above;
//! - quoted for shells, YAML, SQL, CSV, HTML and XML.
//!
//! **Not** found is what else a program can do to a value: two of the encodings above in a row (but JSON), compression,
//! encryption, another character set or case, dumps with addresses or a column of text, encoded lines with something before
//! each, a value in pieces, and one that two streams or two steps print together. A run that wants to tell a secret can:
//! redaction is for accidents.
//!
//! **Invariant:** what may be the beginning of a value is held back until it is clear that it is none, also when a line
//! stays incomplete; at most the longest form minus one byte waits. **Invariant:** what is not part of a form goes through
//! unchanged. **Invariant:** the time for a byte is bounded on average, whatever the output is.

mod automaton;
mod escapes;
mod forms;
mod percent;
#[cfg(test)]
mod tests;
mod views;

use std::fmt;
use std::sync::Arc;

use crate::secrets::{Secrets, VALUE_BYTES_MIN, wipe};
use views::{Cursor, Region, Views};

/// What stands for a value whose name cannot; shorter than any value, so that it contains none.
const MASK: &str = "***";

/// Most bytes that are worked on before what is clear of them is given out.
const PIECE_BYTES: usize = 64 << 10;

/// What is looked for.
pub struct Patterns {
    views: Views,
    names: Vec<String>,
    masks: Vec<String>,
    /// Whether a pattern can begin with two bytes, one bit for each pair.
    pairs: Box<[u64; 1024]>,
    /// Whether a pattern can begin with a byte.
    begins: [bool; 256],
}

impl fmt::Debug for Patterns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(&self.names).finish()
    }
}

impl Patterns {
    /// All forms of all values; `None` without secrets, when nothing has to be looked for.
    pub fn new(secrets: &Secrets) -> Option<Arc<Self>> {
        Self::of_sets(std::slice::from_ref(secrets))
    }

    /// The same of several sets, in which a name can have several values.
    pub(crate) fn of_sets(sets: &[Secrets]) -> Option<Arc<Self>> {
        sets.iter().any(|secrets| !secrets.is_empty()).then(|| {
            let mut patterns = Self::of(sets, forms::add_all);
            patterns.learn_beginnings();
            Arc::new(patterns)
        })
    }

    /// A whole text without them.
    pub fn taken_out(self: &Arc<Self>, text: &[u8]) -> Vec<u8> {
        let (mut redactor, mut clear) = (Redactor::new(self), Vec::with_capacity(text.len()));
        redactor.feed(text, &mut clear);
        redactor.finish(&mut clear);
        clear
    }

    /// The values themselves, escaped or not, in no other form; only for [`Patterns::first_in`], which looks at each byte.
    pub(crate) fn of_values(sets: &[Secrets]) -> Self {
        Self::of(sets, forms::add_values)
    }

    fn of(sets: &[Secrets], add: fn(&[&[u8]], &mut Views)) -> Self {
        let (names, values): (Vec<&str>, Vec<&[u8]>) = sets.iter().flat_map(Secrets::iter).unzip();
        let mut views = Views::new();
        add(&values, &mut views);
        views.finish();
        let mask = |name: &&str| {
            let mask = format!("[secret {name}]");
            let mut values = values.iter().map(|value| value.trim_ascii());
            let safe = values.all(|value| !mask.as_bytes().windows(value.len()).any(|window| window == value));
            if safe { mask } else { MASK.to_owned() }
        };
        Self {
            views,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            masks: names.iter().map(mask).collect(),
            pairs: Box::new([0; 1024]),
            begins: [false; 256],
        }
    }

    /// Finds out with which bytes a pattern can begin, so that the rest of a stream is only looked at, not worked on.
    fn learn_beginnings(&mut self) {
        let mut cursor = Cursor::default();
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                cursor.reset();
                cursor.step(&self.views, first, 0, &mut |_| ());
                if cursor.idle() {
                    break;
                }
                self.begins[usize::from(first)] = true;
                cursor.step(&self.views, second, 1, &mut |_| ());
                // What began with the second byte is found there.
                if cursor.held_from(&self.views, 2) == 0 {
                    let pair = usize::from(u16::from_le_bytes([first, second]));
                    self.pairs[pair / 64] |= 1 << (pair % 64);
                }
            }
        }
    }

    /// How many bytes at the start of `bytes` belong to no pattern, for sure.
    fn quiet(&self, bytes: &[u8]) -> usize {
        let begins = |pair: &[u8]| {
            let pair = usize::from(u16::from_le_bytes([pair[0], pair[1]]));
            self.pairs[pair / 64] >> (pair % 64) & 1 != 0
        };
        match (bytes.windows(2).position(begins), bytes.last()) {
            (Some(place), _) => place,
            (None, Some(last)) if self.begins[usize::from(*last)] => bytes.len() - 1,
            (None, _) => bytes.len(),
        }
    }

    /// `text` without values, for what is no stream.
    pub fn text(self: &Arc<Self>, text: &str) -> String {
        let (mut redactor, mut out) = (Redactor::new(self), Vec::new());
        redactor.feed(text.as_bytes(), &mut out);
        redactor.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The name of a secret whose value is in `bytes`.
    pub(crate) fn first_in(&self, bytes: &[u8]) -> Option<&str> {
        let (mut cursor, mut found) = (Cursor::default(), None);
        for (at, byte) in (0..).zip(bytes) {
            cursor.step(&self.views, *byte, at, &mut |region| found = Some(region.owner));
            if let Some(owner) = found {
                return self.names.get(usize::from(owner)).map(String::as_str);
            }
        }
        None
    }
}

/// One stream on its way to whoever reads it.
#[derive(Debug)]
pub struct Redactor {
    patterns: Arc<Patterns>,
    cursor: Cursor,
    /// The bytes from `settled` on.
    held: Vec<u8>,
    /// Up to here everything has been given out or taken out.
    settled: u64,
    /// Places of values that are not settled: in order, apart.
    found: Vec<Region>,
}

impl Redactor {
    /// A new stream.
    pub fn new(patterns: &Arc<Patterns>) -> Self {
        let patterns = Arc::clone(patterns);
        Self { patterns, cursor: Cursor::default(), held: Vec::new(), settled: 0, found: Vec::new() }
    }

    /// Takes the next bytes and appends to `out` what can be seen by now.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(PIECE_BYTES) {
            let new = self.held.len();
            self.held.extend_from_slice(piece);
            self.follow(new);
            self.release(out);
        }
    }

    /// Goes on with other patterns, the first of which are those of before. What is held back is looked at anew; what was given
    /// out stays as it is.
    pub(crate) fn change(&mut self, patterns: &Arc<Patterns>) {
        self.patterns = Arc::clone(patterns);
        self.cursor.reset();
        let mut regions = std::mem::take(&mut self.found);
        self.follow(0);
        regions.append(&mut self.found);
        regions.sort_unstable_by_key(|region| region.end);
        regions.into_iter().for_each(|region| note(&mut self.found, region));
    }

    /// Ends the stream. What may have been the beginning of a value was none, but half a value is not shown.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let end = self.end();
        let halves: Vec<Region> = self.cursor.halves(&self.patterns.views, end).collect();
        for half in halves.into_iter().filter(|half| half.end - half.start >= VALUE_BYTES_MIN as u64) {
            note(&mut self.found, half);
        }
        self.cursor.reset();
        self.release(out);
    }

    /// Looks at what is held from `next` on.
    fn follow(&mut self, mut next: usize) {
        let Self { patterns, cursor, held, settled, found } = self;
        while next < held.len() {
            if cursor.idle() {
                next += patterns.quiet(&held[next..]);
            }
            let busy = next;
            for (at, byte) in (*settled + busy as u64..).zip(&held[busy..]) {
                cursor.step(&patterns.views, *byte, at, &mut |region| note(found, region));
                next += 1;
                if cursor.idle() {
                    break;
                }
            }
        }
    }

    /// Gives out what belongs to no value that has begun.
    fn release(&mut self, out: &mut Vec<u8>) {
        let safe = self.cursor.held_from(&self.patterns.views, self.end());
        let ready = self.found.iter().take_while(|region| region.start < safe).count();
        let mut done = self.settled;
        for region in self.found.drain(..ready) {
            // A value that overlaps one that has been taken out needs no second mask.
            if region.start >= done {
                out.extend_from_slice(between(&self.held, self.settled, (done, region.start)));
                out.extend_from_slice(self.patterns.masks[usize::from(region.owner)].as_bytes());
            }
            done = done.max(region.end);
        }
        if done < safe {
            out.extend_from_slice(between(&self.held, self.settled, (done, safe)));
            done = safe;
        }
        let settled = usize::try_from(done - self.settled).unwrap_or(usize::MAX);
        self.held.drain(..settled);
        self.settled = done;
    }

    fn end(&self) -> u64 {
        self.settled + self.held.len() as u64
    }
}

impl Drop for Redactor {
    fn drop(&mut self) {
        wipe(&mut self.held);
    }
}

/// The bytes at `start..end` of the stream, of which `held` begins at `base`.
fn between(held: &[u8], base: u64, (start, end): (u64, u64)) -> &[u8] {
    let index = |at: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
    &held[index(start)..index(end)]
}

/// Adds a place, which ends at or after all others, so that they stay in order and apart.
fn note(found: &mut Vec<Region>, mut region: Region) {
    while let Some(last) = found.last_mut() {
        if last.start >= region.start {
            region.end = region.end.max(last.end);
            found.pop();
        } else if last.end > region.start {
            last.end = last.end.max(region.end);
            return;
        } else {
            break;
        }
    }
    found.push(region);
}
