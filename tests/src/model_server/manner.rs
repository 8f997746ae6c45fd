//! How something is answered: well, slowly, broken or not at all.
//!
//! Knows nothing of what is answered.

use std::time::Duration;

/// An error in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) retry_after_secs: Option<u64>,
    /// What the vendor calls it, where that is not what the status says.
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl Failure {
    pub(super) fn new(status: u16) -> Self {
        Self { status, retry_after_secs: None, code: None, message: None }
    }

    pub(super) fn because(status: u16, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(status) }
    }
}

/// What is done to the content of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    #[default]
    Whole,
    /// 200, and then no sense.
    Garbage,
    /// The first half, then the vendor's error event.
    ErrorInStream,
    /// The first half, then an end as if that were all.
    Half,
}

/// How something is answered. The default is well.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    pub(super) failure: Option<Failure>,
    pub(super) content: Content,
    pub(super) hangs_up: bool,
    pub(super) delay: Option<Duration>,
    pub(super) tokens_per_second: Option<f64>,
    pub(super) cut_after: Option<u64>,
    pub(super) hold_after: Option<u64>,
    pub(super) holds: bool,
    pub(super) huge_bytes: u64,
    pub(super) times: Option<u32>,
    pub(super) stamps: bool,
}

impl Manner {
    /// Whether an answer is other than it should be.
    pub(super) fn is_bad(&self) -> bool {
        let Self { failure, content, hangs_up, delay, tokens_per_second, .. } = self;
        let Self { cut_after, hold_after, holds, huge_bytes, .. } = self;
        failure.is_some()
            || *content != Content::Whole
            || *hangs_up
            || delay.is_some()
            || tokens_per_second.is_some()
            || cut_after.is_some()
            || hold_after.is_some()
            || *holds
            || *huge_bytes > 0
    }

    /// Whether it is still to be followed after it was `followed` so often.
    pub(super) fn is_due(&self, followed: u32) -> bool {
        self.is_bad() && self.times.is_none_or(|times| followed < times)
    }

    fn failure_mut(&mut self) -> &mut Failure {
        self.failure.get_or_insert_with(|| Failure::new(500))
    }
}

impl Misbehave for Manner {
    fn manner_mut(&mut self) -> &mut Manner {
        self
    }
}

/// What has a manner, and so can be told to misbehave. Several kinds of it go together.
pub trait Misbehave: Sized {
    /// The manner to change.
    fn manner_mut(&mut self) -> &mut Manner;

    /// Waits before anything is sent, the status included.
    #[must_use]
    fn delay_first_byte(mut self, delay: Duration) -> Self {
        self.manner_mut().delay = Some(delay);
        self
    }

    /// A stream takes as long as its output tokens take at this rate, in even steps. No effect on what is not streamed.
    #[must_use]
    fn pace(mut self, tokens_per_second: f64) -> Self {
        self.manner_mut().tokens_per_second = Some(tokens_per_second);
        self
    }

    /// Each step of a paced stream of events says when it is written, in a comment: `: at MICROSECONDS`, by a clock of its own.
    /// By it a reader tells what comes late from what is written late.
    #[must_use]
    fn stamped(mut self) -> Self {
        self.manner_mut().stamps = true;
        self
    }

    /// Drops the connection when so many bytes of the body are sent, if it has as many.
    #[must_use]
    fn cut_after(mut self, bytes: u64) -> Self {
        self.manner_mut().cut_after = Some(bytes);
        self
    }

    /// Sends so many bytes of the body and then nothing until the server is told to release.
    #[must_use]
    fn hold_after(mut self, bytes: u64) -> Self {
        self.manner_mut().hold_after = Some(bytes);
        self
    }

    /// Sends nothing, not even a status, until the server is told to release.
    #[must_use]
    fn hold(mut self) -> Self {
        self.manner_mut().holds = true;
        self
    }

    /// Drops the connection in place of an answer.
    #[must_use]
    fn hang_up(mut self) -> Self {
        self.manner_mut().hangs_up = true;
        self
    }

    /// Answers with a status and the vendor's error body for it.
    #[must_use]
    fn status(mut self, status: u16) -> Self {
        self.manner_mut().failure_mut().status = status;
        self
    }

    /// Adds a `Retry-After` to the error.
    #[must_use]
    fn retry_after(mut self, secs: u64) -> Self {
        self.manner_mut().failure_mut().retry_after_secs = Some(secs);
        self
    }

    /// What the vendor calls the error (OpenAI's `code`, Anthropic's `type`), and what it says.
    #[must_use]
    fn error(mut self, code: impl Into<String>, message: impl Into<String>) -> Self {
        let failure = self.manner_mut().failure_mut();
        failure.code = Some(code.into());
        failure.message = Some(message.into());
        self
    }

    /// 200 with what is no JSON, or a broken stream where one was asked for.
    #[must_use]
    fn garbage(mut self) -> Self {
        self.manner_mut().content = Content::Garbage;
        self
    }

    /// 200, the first half of the stream, and then the vendor's event for an error. 500 where no stream was asked for.
    #[must_use]
    fn error_in_stream(mut self) -> Self {
        self.manner_mut().content = Content::ErrorInStream;
        self
    }

    /// 200, the first half, and then an end as if that were all.
    #[must_use]
    fn end_early(mut self) -> Self {
        self.manner_mut().content = Content::Half;
        self
    }

    /// Makes the text so many bytes longer, on one line. It is not kept in memory.
    #[must_use]
    fn huge(mut self, bytes: u64) -> Self {
        self.manner_mut().huge_bytes = bytes;
        self
    }

    /// Misbehaves only so often (in each conversation, for a turn), and then no more.
    #[must_use]
    fn times(mut self, times: u32) -> Self {
        self.manner_mut().times = Some(times);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manner_without_a_fault_is_never_due() {
        assert!(!Manner::default().times(3).is_due(0));
        assert!(Manner::default().status(429).is_due(1_000));
        assert!(Manner::default().hang_up().times(2).is_due(1));
        assert!(!Manner::default().hang_up().times(2).is_due(2));
    }

    #[test]
    fn what_is_said_of_an_error_goes_together() {
        let manner = Manner::default().status(429).retry_after(7).error("insufficient_quota", "no money");
        let failure = manner.failure.unwrap();
        assert_eq!((failure.status, failure.retry_after_secs), (429, Some(7)));
        assert_eq!(failure.code.as_deref(), Some("insufficient_quota"));
    }
}
