//! Waiting for something to become true, by following the event log.
//!
//! Level-triggered: the cursor is taken first, then the state is read, so nothing that happens in between is missed.
//! A daemon that restarts is waited for; the cursor stays good across that.

use std::time::Duration;

use orch_proto::view::EventView;
use orch_proto::{ErrorCode, WAIT_MS_MAX};
use tokio::time::Instant;

use super::failure::Failure;
use super::session::Session;
use crate::connect::Backoff;

/// Events that one call brings.
const EVENTS_PER_CALL: u32 = 500;

/// Least time between two looks at the state, so that a busy daemon is not asked for each event.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A place in the event log from which to go on.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    session: &'a Session,
    cursor: u64,
    deadline: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Follow<'a> {
    /// Starts at the newest event.
    pub(crate) async fn from_now(session: &'a Session) -> Result<Self, Failure> {
        let cursor = session.read(async |orch, context| orch.status(context).await).await?.seq;
        Ok(Self::after(session, cursor))
    }

    /// Starts after the event with this number.
    pub(crate) fn after(session: &'a Session, cursor: u64) -> Self {
        let deadline = session.options.timeout.map(|timeout| Instant::now() + timeout);
        Self { session, cursor, deadline, backoff: Backoff::new() }
    }

    /// Number of the last event that was seen.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next events; waits until there is one. None after a daemon came back, when the state should be read anew.
    pub(crate) async fn next(&mut self) -> Result<Vec<EventView>, Failure> {
        loop {
            let wait_ms = self.wait_ms()?;
            let cursor = self.cursor;
            let page = self
                .session
                .read(async |orch, context| orch.events_since(context, cursor, EVENTS_PER_CALL, wait_ms, false).await)
                .await;
            match page {
                Ok(page) if page.head < cursor => {
                    // The state directory was replaced or restored: its numbers began anew.
                    self.session.note("the event log is shorter than before; following it from its end");
                    self.cursor = page.head;
                    return Ok(vec![]);
                }
                Ok(page) => {
                    self.backoff.reset();
                    self.cursor = page.next;
                    if !page.events.is_empty() {
                        return Ok(page.events);
                    }
                }
                Err(failure) if failure.is_passing() => {
                    self.away(&failure).await?;
                    return Ok(vec![]);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Waits a little for a daemon that is away.
    pub(crate) async fn away(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.session.disconnect();
        if self.backoff.tries() == 0 {
            self.session.note(&format!("{failure}; waiting for the daemon to come back"));
        }
        let mut pause = self.backoff.next_pause();
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(timed_out());
            }
            pause = pause.min(left);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long the daemon may hold the next call.
    fn wait_ms(&self) -> Result<u32, Failure> {
        let Some(deadline) = self.deadline else { return Ok(WAIT_MS_MAX) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(timed_out());
        }
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).clamp(1, WAIT_MS_MAX))
    }
}

/// Looks again after each event until `look` gives an answer.
///
/// `what` is what is waited for, for messages; it goes on when the user or the time ends the wait.
pub(crate) async fn until<T>(
    session: &Session,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let waiting = async {
        let mut follow = Follow::from_now(session).await?;
        loop {
            match look().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {
                    let looked = Instant::now();
                    follow.next().await?;
                    tokio::time::sleep_until(looked + LOOK_PAUSE).await;
                }
                Err(failure) if failure.is_passing() => follow.away(&failure).await?,
                Err(failure) => return Err(failure),
            }
        }
    };
    match detachable(session, what, waiting).await {
        Err(Failure::Refused(error)) if error.code == ErrorCode::Timeout => Err(Failure::new(
            ErrorCode::Timeout,
            format!("{what} is not there yet, the time given is over"),
            "it goes on; wait again with a longer `--timeout`",
        )),
        outcome => outcome,
    }
}

/// Lets the user leave with Ctrl-C, and says that what was watched goes on.
pub(crate) async fn detachable<T>(
    session: &Session,
    what: &str,
    watching: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = watching => outcome,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            session.note("");
            session.note(&format!("stopped watching; {what} goes on"));
            Err(Failure::Detached)
        }
    }
}

fn timed_out() -> Failure {
    Failure::new(ErrorCode::Timeout, "the time given is over", "what was watched goes on")
}
