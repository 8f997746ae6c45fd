//! The texts of exchanges: kept beside the log of their run for people to look at, as far as there is room.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::books::Books;
use crate::app::blocking;

/// How much of what passed between a run and its model is kept, in bytes. Beyond it the record has the digest alone.
const KEPT_BYTES_MAX: u64 = 1 << 30;

impl Books {
    /// Keeps what was asked or answered beside the run's log. The record has its digest; without room for it the digest is
    /// what is left.
    pub(super) async fn keep(&self, number: u32, part: &str, body: Bytes) {
        if body.is_empty() {
            return;
        }
        let directory = self.app.dirs.run(self.run);
        let counted = directory.clone();
        let count = async || AtomicU64::new(blocking(move || kept_bytes(&counted)).await);
        let (kept, bytes) = (self.book.kept.get_or_init(count).await, body.len() as u64);
        if kept.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > KEPT_BYTES_MAX {
            kept.fetch_sub(bytes, Ordering::Relaxed);
            tracing::warn!(run = %self.run, number, "what passes between an agent and its model is not kept any more: it is too much");
            return;
        }
        let path = directory.join(format!("model-{number}.{part}"));
        if let Err(error) = blocking(move || write(&path, &body)).await {
            tracing::warn!(run = %self.run, number, %error, "what passed between an agent and its model is not kept");
        }
    }
}

/// Bytes of exchanges in the directory of a run.
fn kept_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_kept = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with("model-"));
    let sizes = entries.filter(|entry| is_kept(&entry.file_name())).filter_map(|entry| entry.metadata().ok());
    sizes.map(|meta| meta.len()).sum()
}

fn write(path: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_daemons_before_kept_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [("model-1.request", 7), ("model-1.answer", 5), ("log", 100), ("prompt.md", 9)] {
            std::fs::write(directory.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        assert_eq!(kept_bytes(directory.path()), 12);
        assert_eq!(kept_bytes(&directory.path().join("none")), 0);
    }
}
