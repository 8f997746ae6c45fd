//! The texts of exchanges: blobs, as far as there is room. The record has their digests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::books::Books;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::exchanges;

/// How much of what passed between a run, or a planning, and its models is kept, in bytes. Beyond it the record has the digest alone.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// Whether there is room for so much more beside what is kept, which it then counts in.
pub(super) fn has_room(kept: &AtomicU64, bytes: u64) -> bool {
    let has_room = kept.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= KEPT_BYTES_MAX;
    if !has_room {
        kept.fetch_sub(bytes, Ordering::Relaxed);
    }
    has_room
}

/// Keeps a text, of which the record has the digest. Without room for it the digest is what is left.
pub(crate) async fn keep(app: &Arc<App>, body: Bytes) {
    if body.is_empty() {
        return;
    }
    let app = Arc::clone(app);
    blocking(move || {
        if let Err(error) = app.blobs.put(&body) {
            tracing::warn!(error = chain(&error), "what passes between an agent and its model is not kept");
        }
    })
    .await;
}

impl Books {
    /// The same for a run, as long as it is not too much.
    pub(super) async fn keep(&self, number: u32, body: Bytes) {
        if body.is_empty() {
            return;
        }
        if !has_room(self.kept().await, body.len() as u64) {
            tracing::warn!(run = %self.run, number, "what passes between an agent and its model is not kept any more: it is too much");
            return;
        }
        keep(&self.app, body).await;
    }

    /// How much of it is kept by now; of what was before this daemon, as much as there was.
    async fn kept(&self) -> &AtomicU64 {
        let (app, run) = (Arc::clone(&self.app), self.run);
        let count = || async move {
            match app.read(move |view| exchanges::texts(view, run)).await {
                Ok(texts) => AtomicU64::new(texts.iter().map(|(_, bytes)| bytes).sum()),
                Err(error) => {
                    tracing::warn!(%run, error = chain(&error), "it is not known how much is kept of what passed before");
                    AtomicU64::new(0)
                }
            }
        };
        self.book.kept.get_or_init(count).await
    }
}
