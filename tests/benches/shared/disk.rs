//! What the disk alone takes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Times in which a page is appended to a file and is durable.
pub(crate) fn appends(directory: &Path, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut file = File::create(directory.join("appended"))?;
    let append = |file: &mut File| {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        anyhow::Ok(begun.elapsed())
    };
    (0..count).map(|_| append(&mut file)).collect()
}
