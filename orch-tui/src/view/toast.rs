//! Short messages that come and go, and the log of errors that stays.

use std::collections::VecDeque;

use orch_proto::{ErrorCode, RpcError};

use super::canvas::{Line, text};
use super::theme::Role;
use super::when::Now;
use crate::text::SafeText;

/// How long a message stays, in milliseconds.
const GOOD_MS: u64 = 4_000;
const FAULT_MS: u64 = 10_000;

/// Most errors that are kept.
const FAULTS_MAX: usize = 100;

/// An error as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ErrorCode,
    pub(crate) message: SafeText,
    pub(crate) hint: Option<SafeText>,
}

impl From<&RpcError> for Fault {
    fn from(error: &RpcError) -> Self {
        Self {
            code: error.code,
            message: SafeText::line(&error.message),
            hint: error.hint.as_deref().map(SafeText::line),
        }
    }
}

impl Fault {
    /// Code, message and hint as one text.
    pub(crate) fn line_text(&self) -> SafeText {
        match &self.hint {
            Some(hint) => text(format_args!("{} {}; hint: {hint}", self.code, self.message)),
            None => text(format_args!("{} {}", self.code, self.message)),
        }
    }

    /// Code and message.
    pub(crate) fn line(&self) -> Line {
        Line::of(self.code.as_str(), Role::Bad).lit(" ", Role::Text).safe(self.message.clone(), Role::Text)
    }

    /// The hint; empty when there is none.
    pub(crate) fn hint_line(&self) -> Line {
        match &self.hint {
            Some(hint) => Line::of("hint: ", Role::Key).safe(hint.clone(), Role::Text),
            None => Line::new(),
        }
    }
}

/// The message that is shown now and the errors that were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Toasts {
    /// Lines and when they go.
    current: Option<(Vec<Line>, u64)>,
    faults: VecDeque<(Now, Fault)>,
}

impl Toasts {
    /// The message to show.
    pub(crate) fn current(&self) -> Option<&[Line]> {
        self.current.as_ref().map(|(lines, _)| lines.as_slice())
    }

    /// When the message goes, in the time of [`Now::mono_ms`].
    pub(crate) fn until_ms(&self) -> Option<u64> {
        self.current.as_ref().map(|(_, until)| *until)
    }

    /// Errors, the newest first.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &(Now, Fault)> {
        self.faults.iter().rev()
    }

    /// Says that something was done.
    pub(crate) fn good(&mut self, now: Now, said: SafeText) {
        self.current = Some((vec![Line::of("+ ", Role::Good).safe(said, Role::Text)], now.mono_ms + GOOD_MS));
    }

    /// Says that something is not possible.
    pub(crate) fn refuse(&mut self, now: Now, why: &'static str) {
        self.refuse_text(now, SafeText::literal(why));
    }

    /// Says that something is not possible, in words made for it.
    pub(crate) fn refuse_text(&mut self, now: Now, why: SafeText) {
        self.current = Some((vec![Line::of("- ", Role::Warn).safe(why, Role::Text)], now.mono_ms + GOOD_MS));
    }

    /// Says that something failed, and keeps it.
    pub(crate) fn fault(&mut self, now: Now, what: &'static str, fault: Fault) {
        let line = Line::of("x ", Role::Bad).lit(what, Role::Text).lit(": ", Role::Text).line(fault.line());
        let mut lines = vec![line, fault.hint_line()];
        lines.retain(|line| !line.is_empty());
        self.current = Some((lines, now.mono_ms + FAULT_MS));
        if self.faults.len() == FAULTS_MAX {
            self.faults.pop_front();
        }
        self.faults.push_back((now, fault));
    }

    /// Takes the message away when its time is over. True: it went.
    pub(crate) fn expire(&mut self, now: Now) -> bool {
        self.current.take_if(|(_, until)| *until <= now.mono_ms).is_some()
    }

    pub(crate) fn dismiss(&mut self) {
        self.current = None;
    }
}

/// `3 tasks`, `1 task`.
pub(crate) fn count(number: usize, one: &'static str) -> SafeText {
    text(format_args!("{number} {one}{}", if number == 1 { "" } else { "s" }))
}
