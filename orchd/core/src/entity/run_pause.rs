//! Pauses of runs: whose processes stand still, for what and until when.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

/// Why the processes of a run are to stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPause {
    pub reason: String,
    /// Its project was paused with all that runs in it, and goes on with it.
    pub with_project: bool,
    /// It is over by itself then, like the pause of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// It has spent what it may, and stands still until it may spend more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_for_spending: bool,
    /// It lasts until the run has the answer that it waits for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_answer: bool,
    /// The run has had its answer since then, and stands still until there is a place for it among those under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_place: Option<Timestamp>,
    /// What the run waited for by itself when a person paused it. Once it goes on it waits for that again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<OwnWait>,
}

/// What a run stands still for without being paused by a person, its place being for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum OwnWait {
    /// The answer of a person.
    Answer,
    /// A place among those under way, since it had its answer.
    Place { since: Timestamp },
}

impl RunPause {
    /// One that a person asked for.
    #[must_use]
    pub fn asked(reason: &str, with_project: bool, until: Option<Timestamp>) -> Self {
        Self {
            reason: reason.to_owned(),
            with_project,
            until,
            is_for_spending: false,
            for_answer: false,
            for_place: None,
            beneath: None,
        }
    }

    /// The same on top of the pause that there is: what the run waits for by itself is not forgotten.
    #[must_use]
    pub fn over(self, before: Option<&Self>) -> Self {
        Self { beneath: before.and_then(Self::own_wait), ..self }
    }

    /// What the run waits for by itself, whether a person wants it to stand still or not.
    #[must_use]
    pub const fn own_wait(&self) -> Option<OwnWait> {
        match self.for_place {
            Some(since) => Some(OwnWait::Place { since }),
            None if self.for_answer => Some(OwnWait::Answer),
            None => self.beneath,
        }
    }

    /// The pause that is left when this one is over.
    #[must_use]
    pub fn beneath_it(&self) -> Option<Self> {
        Some(match self.beneath? {
            OwnWait::Answer => Self::for_answer(),
            OwnWait::Place { since } => Self::for_place(since),
        })
    }

    /// Whether a person wants it to stand still.
    #[must_use]
    pub fn is_wanted(&self, now: Timestamp) -> bool {
        !self.is_the_runs_own() && self.until.is_none_or(|until| now < until)
    }

    /// Since when the run waits for a place, and from when on it may be given one; none while a person wants it to stand still
    /// for ever.
    #[must_use]
    pub const fn wants_place(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        match (self.for_place, self.beneath, self.until) {
            (Some(since), _, _) => Some((since, None)),
            (None, Some(OwnWait::Place { since }), Some(until)) => Some((since, Some(until))),
            (None, Some(OwnWait::Place { .. } | OwnWait::Answer) | None, _) => None,
        }
    }

    /// Why the run stands still, for people; none when it goes on.
    #[must_use]
    pub fn why(&self, now: Timestamp) -> Option<String> {
        if !self.lasts(now) {
            return None;
        }
        let is_over = !self.is_the_runs_own() && !self.is_wanted(now);
        Some(self.beneath_it().filter(|_| is_over).map_or_else(|| self.reason.clone(), |own| own.reason))
    }

    /// Whether it lasts until the run has what it waits for, and not until a person wants it to go on. What a person wants goes
    /// before it: once the run goes on, it waits again.
    #[must_use]
    pub const fn is_the_runs_own(&self) -> bool {
        self.is_for_spending || self.for_answer || self.for_place.is_some()
    }

    /// That of a run which has spent what it may.
    #[must_use]
    pub fn for_spending(reason: String) -> Self {
        Self { reason, is_for_spending: true, ..Self::asked("", false, None) }
    }

    /// That of a run which waits for an answer.
    #[must_use]
    pub fn for_answer() -> Self {
        Self { for_answer: true, ..Self::asked("waits for an answer", false, None) }
    }

    /// That of a run which has its answer and no place.
    #[must_use]
    pub fn for_place(since: Timestamp) -> Self {
        Self { for_place: Some(since), ..Self::asked("has its answer and waits for a place", false, None) }
    }

    /// Whether it lasts. One that a person wanted until then, of a run that waits by itself, does for as long as that takes.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.beneath.is_some() || self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_waits_for_itself_outlasts_the_pause_of_a_person() {
        let at = |us| Timestamp::from_unix_us(us);
        let own = RunPause::for_place(at(5));
        let asked = RunPause::asked("release", true, Some(at(50))).over(Some(&own));
        assert!(asked.is_wanted(at(49)) && !asked.is_wanted(at(50)));
        assert!(asked.lasts(at(1_000)), "nobody has given it a place");
        assert_eq!((asked.wants_place(), own.wants_place()), (Some((at(5), Some(at(50)))), Some((at(5), None))));
        assert_eq!(asked.why(at(49)).as_deref(), Some("release"));
        assert_eq!(asked.why(at(50)).unwrap(), own.reason);
        assert_eq!(asked.beneath_it().as_ref(), Some(&own));
        let again = RunPause::asked("again", false, None).over(Some(&asked));
        assert_eq!((again.beneath_it(), again.wants_place()), (Some(own), None));
        let plain = RunPause::asked("look", false, Some(at(50)));
        assert_eq!((plain.clone().over(None), plain.beneath_it(), plain.lasts(at(50))), (plain, None, false));
    }

    /// Pauses of older versions have no word of what is beneath them.
    #[test]
    fn pauses_of_older_versions_are_read() {
        let old = r#"{"reason":"release","with_project":true}"#;
        assert_eq!(serde_json::from_str::<RunPause>(old).unwrap(), RunPause::asked("release", true, None));
    }
}
