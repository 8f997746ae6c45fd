//! Files that a run left and nobody kept, and why: what is missing is on record like what is there.

use serde::{Deserialize, Serialize};

/// Most of them that are named; of the others only the number is known. They are part of every view of the run.
pub const LEFT_OUT_NAMED_MAX: usize = 20;

/// A file that was not kept, or a pattern of files that were not all looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutFile {
    /// Its path, or the pattern.
    pub path: String,
    pub reason: String,
}

/// What was not kept of the files of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The first of them.
    pub named: Vec<LeftOutFile>,
    /// How many there are beyond those.
    #[serde(default)]
    pub more: u32,
}

impl LeftOut {
    /// Whether everything was kept.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.named.is_empty() && self.more == 0
    }

    /// Takes note of one.
    pub fn add(&mut self, path: String, reason: String) {
        if self.named.len() < LEFT_OUT_NAMED_MAX {
            self.named.push(LeftOutFile { path, reason });
        } else {
            self.add_unnamed(1);
        }
    }

    /// Takes note of some that are not named.
    pub const fn add_unnamed(&mut self, count: u32) {
        self.more = self.more.saturating_add(count);
    }

    /// A line for each that is named, and one for the others.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.named.iter().map(|file| format!("{}: {}", file.path, file.reason)).chain(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_bounded_and_the_rest_is_counted() {
        let mut left_out = LeftOut::default();
        assert!(left_out.is_nothing());
        for index in 0..LEFT_OUT_NAMED_MAX + 2 {
            left_out.add(format!("out/{index}"), "too large".into());
        }
        left_out.add_unnamed(3);
        let lines: Vec<String> = left_out.lines().collect();
        assert_eq!((lines.len(), lines[0].as_str()), (LEFT_OUT_NAMED_MAX + 1, "out/0: too large"));
        assert_eq!(lines.last().unwrap(), "and 5 more");
    }
}
