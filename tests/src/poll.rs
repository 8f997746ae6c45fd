//! Waiting for a state that nobody announces, such as a process that is gone.
//!
//! Knows nothing of what is waited for. **Invariant:** what is true already is seen at once, and every wait has a bound.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Longest wait for anything. Generous: tests share a loaded machine, and a wait that succeeds costs nothing of it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something.
///
/// # Errors
/// That of a look, or that it took longer than [`PATIENCE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
    }
}
