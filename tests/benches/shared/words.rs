//! The command line of a benchmark: which bars, in which form, and numbers that make it smaller.

use anyhow::{Context as _, bail, ensure};

/// What is to be measured, and how it is told.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) json: bool,
    only: Vec<String>,
}

impl Wanted {
    /// Reads `words`; each of the `numbers` is set where its word says so.
    pub(crate) fn read(words: &[String], usage: &str, numbers: &mut [(&str, &mut u32)]) -> anyhow::Result<Self> {
        let mut wanted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value\n{usage}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--json" => wanted.json = true,
                "--only" => wanted.only.push(value()?.clone()),
                other => match numbers.iter_mut().find(|(name, _)| *name == other) {
                    Some((_, number)) => **number = positive(word, value()?)?,
                    None => bail!("there is no argument `{other}`\n{usage}"),
                },
            }
        }
        Ok(wanted)
    }

    /// Whether a bar is to be measured.
    pub(crate) fn wants(&self, bar: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| bar.starts_with(only.as_str()))
    }
}

fn positive(word: &str, text: &str) -> anyhow::Result<u32> {
    let number = text.parse().with_context(|| format!("`{word}` needs a number"))?;
    ensure!(number > 0, "`{word}` needs at least 1");
    Ok(number)
}
