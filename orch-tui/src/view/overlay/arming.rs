//! When a question takes an answer: after it was on the screen for a moment, and from what is typed after that.
//!
//! Neither the time at which it was opened counts, since a busy machine draws later, nor the time at which a key is handled,
//! since it may have been typed long before.

/// How long a question is on the screen before it can be answered, in milliseconds.
const ARM_MS: u64 = 500;

/// How far a question is from taking an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Arming {
    /// It, or what it says now, was on no screen yet.
    #[default]
    Unseen,
    /// On the screen since then, in the time of [`crate::view::Now::mono_ms`].
    Seen { since_ms: u64 },
    /// What is typed from now on counts.
    Armed,
}

impl Arming {
    /// It is on the screen.
    pub(super) fn see(&mut self, now_ms: u64) {
        if *self == Self::Unseen {
            *self = Self::Seen { since_ms: now_ms };
        }
    }

    /// Has it take answers when its time has come. True: it does from now on.
    pub(super) fn arm(&mut self, now_ms: u64) -> bool {
        let is_due = self.due_ms().is_some_and(|due| now_ms >= due);
        if is_due {
            *self = Self::Armed;
        }
        is_due
    }

    /// When it is to be armed.
    pub(super) const fn due_ms(self) -> Option<u64> {
        match self {
            Self::Seen { since_ms } => Some(since_ms + ARM_MS),
            Self::Unseen | Self::Armed => None,
        }
    }
}
