//! What the demo tells: stages with their times, and lines with the time since the start.
//!
//! Goes to standard output, or to standard error when that is for a machine.

use tokio::time::Instant;

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::short;
use crate::text::SafeText;

/// Number of stages.
const STAGES: usize = 8;

/// Tells, and keeps the times.
#[derive(Debug)]
pub(super) struct Narrator<'a> {
    session: &'a Session,
    began: Instant,
    stages: Vec<(String, Instant)>,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, began: Instant::now(), stages: Vec::new() }
    }

    /// Begins a stage.
    pub(super) fn stage(&mut self, title: &str) {
        self.stages.push((title.to_owned(), Instant::now()));
        let head = format!("[{}/{STAGES}] {title}", self.stages.len());
        self.raw("");
        self.raw(&self.paint().apply(Role::Strong, &SafeText::line(&head)));
    }

    /// A line of the stage. Anything in it is made harmless.
    pub(super) fn line(&self, text: &str) {
        self.raw(&format!("      {}", SafeText::line(text)));
    }

    /// Lines that were made harmless already, moved in.
    pub(super) fn block(&self, text: &str) {
        for line in text.lines() {
            self.raw(&format!("      {line}"));
        }
    }

    /// A line with the time since the start, for what happens now.
    pub(super) fn moment(&self, role: Role, text: &str) {
        let text = SafeText::line(text).clip(self.width().saturating_sub(9).max(60));
        self.raw(&format!("{:>7}  {}", self.elapsed(), self.paint().apply(role, &text)));
    }

    /// A line below a moment.
    pub(super) fn detail(&self, role: Role, text: &str) {
        let text = SafeText::line(text).clip(self.width().saturating_sub(9).max(60));
        self.raw(&format!("         {}", self.paint().apply(role, &text)));
    }

    /// Answers a question: by the person, or by itself when told so or when nobody is there, and says which.
    pub(super) async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.session.options.yes {
            self.line(&format!("{question} yes (--yes)"));
            return Ok(());
        }
        if !self.session.console.can_ask() {
            self.line(&format!("{question} yes (no terminal to ask on)"));
            return Ok(());
        }
        self.session.confirm(&format!("      {question}")).await
    }

    /// Each stage with the time that it took.
    pub(super) fn times(&self) -> Vec<(String, u64)> {
        let ends = self.stages.iter().skip(1).map(|(_, began)| *began).chain([Instant::now()]);
        self.stages.iter().zip(ends).map(|((title, began), end)| (title.clone(), ms(end - *began))).collect()
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> String {
        short(ms(self.began.elapsed()))
    }

    /// Time since the start, in milliseconds.
    pub(super) fn elapsed_ms(&self) -> u64 {
        ms(self.began.elapsed())
    }

    pub(super) fn paint(&self) -> Paint {
        if self.for_machine() { self.session.paint_messages() } else { self.session.paint() }
    }

    /// Width for tables and graphs within a stage.
    pub(super) fn width(&self) -> usize {
        self.session.width().unwrap_or(140).clamp(60, 140)
    }

    fn for_machine(&self) -> bool {
        self.session.options.output.is_json()
    }

    fn raw(&self, line: &str) {
        if self.for_machine() {
            self.session.console.say(line);
        } else {
            // A reader that went away is no reason to leave a daemon behind: the stages end and clean up.
            drop(self.session.line_raw(line));
        }
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
