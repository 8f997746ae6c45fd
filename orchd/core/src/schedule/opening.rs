//! Which projects may begin something: those that are ready, and are neither paused nor in a freeze window.

use orch_proto::Timestamp;
use orch_proto::id::ProjectId;

use super::book::Book;
use super::explain::Wait;
use super::facts::ProjectFacts;

impl Book {
    /// Opens and closes projects by the time.
    pub(super) fn open_projects(&mut self, now: Timestamp) {
        let is_back = self.opened_at.replace(now).is_some_and(|before| now < before);
        let mut due = std::mem::take(&mut self.to_open);
        if is_back {
            // A clock was put back: what was over may not be.
            due.extend(self.projects.keys());
        }
        while let Some((at, project)) = self.openings.first().copied().filter(|(at, _)| *at <= now) {
            self.openings.remove(&(at, project));
            due.insert(project);
        }
        for id in due {
            let Some(project) = self.projects.get(&id) else { continue };
            let is_open = project.is_ready && self.closed(project, now).is_none();
            let (share, next) = (project.share, self.next_change(project, now));
            let before = match next {
                Some(at) => self.opens_at.insert(id, at),
                None => self.opens_at.remove(&id),
            };
            if let Some(at) = before {
                self.openings.remove(&(at, id));
            }
            self.openings.extend(next.map(|at| (at, id)));
            self.turns.open(id, is_open, share);
            self.waiting.project_changed(id);
        }
    }

    /// Why nothing of a project that is ready begins now.
    pub(super) fn closed(&self, project: &ProjectFacts, now: Timestamp) -> Option<Wait> {
        let name = || project.slug.clone();
        if let Some(pause) = project.pause.as_ref().filter(|pause| pause.lasts(now)) {
            return Some(Wait::ProjectPaused { name: name(), reason: pause.reason.clone(), until: pause.until });
        }
        let freezes = self.limits.freezes.iter().filter(|freeze| freeze.is_of(&project.slug));
        let mut lasting = freezes.filter_map(|freeze| Some((freeze, freeze.window.lasts_until(now)?)));
        let (freeze, until) = lasting.next()?;
        Some(Wait::Frozen { name: name(), reason: freeze.reason.clone(), until })
    }

    /// When the last pause or freeze window of a project was over.
    pub(super) fn opened_at(&self, project: &ProjectFacts, now: Timestamp) -> Option<Timestamp> {
        let pause = project.pause.as_ref().and_then(|pause| pause.until).filter(|until| *until <= now);
        let freezes = self.limits.freezes.iter().filter(|freeze| freeze.is_of(&project.slug));
        freezes.filter_map(|freeze| freeze.window.ended_at(now)).chain(pause).chain(project.resumed_at).max()
    }

    /// Whether something of the project may begin, as of the last time that was looked at.
    pub(super) fn is_closed(&self, project: ProjectId) -> bool {
        !self.turns.is_open(project)
    }

    fn next_change(&self, project: &ProjectFacts, now: Timestamp) -> Option<Timestamp> {
        let pause = project.pause.as_ref().and_then(|pause| pause.until).filter(|until| *until > now);
        let freezes = self.limits.freezes.iter().filter(|freeze| freeze.is_of(&project.slug));
        freezes.filter_map(|freeze| freeze.window.next_change(now)).chain(pause).min()
    }
}
