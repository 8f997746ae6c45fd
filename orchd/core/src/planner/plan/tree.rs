//! A plan while it grows: tasks are put under epics and stories by title.
//!
//! Knows no rule of planning. Invariants: keys are unique; epics and stories keep the order in which they appeared.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Epic, PlannedTask, ProposedPlan, Story};
use super::slug::{self, Keys};

/// Titles of the epic and story that a task belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::planner) struct Place {
    pub(in crate::planner) epic: String,
    pub(in crate::planner) story: String,
}

impl Place {
    pub(in crate::planner) fn new(epic: &str, story: &str) -> Self {
        Self { epic: epic.to_owned(), story: story.to_owned() }
    }

    /// The place of a requirement's group: the first heading is the epic, the others are the story.
    pub(in crate::planner) fn of_group(group: Option<&str>) -> Self {
        let group = group.unwrap_or("Requirements");
        let (epic, story) = group.split_once(" > ").unwrap_or((group, group));
        Self { epic: slug::without_number(epic).to_owned(), story: slug::without_number(story).to_owned() }
    }
}

/// The growing plan.
#[derive(Debug, Default)]
pub(in crate::planner) struct Tree {
    epics: Vec<Epic>,
    epic_index: BTreeMap<String, usize>,
    story_index: BTreeMap<Place, usize>,
    epic_keys: Keys,
    story_keys: Keys,
    task_keys: Keys,
    pub(in crate::planner) warnings: Vec<String>,
}

impl Tree {
    /// A task key that is not in use.
    pub(in crate::planner) fn claim(&mut self, key: String) -> String {
        self.task_keys.claim(key)
    }

    /// Puts the task, whose key comes from `claim`, at its place.
    pub(in crate::planner) fn push(&mut self, place: Place, task: PlannedTask) {
        let epic_at = match self.epic_index.get(&place.epic) {
            Some(&at) => at,
            None => {
                let key = self.epic_keys.claim(slug::slug(&place.epic, "epic"));
                self.epics.push(Epic { key, title: place.epic.clone(), stories: Vec::new() });
                self.epic_index.insert(place.epic.clone(), self.epics.len() - 1);
                self.epics.len() - 1
            }
        };
        let epic = self.epics.get_mut(epic_at).expect("the index holds positions of epics");
        let story_at = match self.story_index.get(&place) {
            Some(&at) => at,
            None => {
                let key = self.story_keys.claim(slug::slug(&place.story, "story"));
                epic.stories.push(Story {
                    key,
                    title: place.story.clone(),
                    requirements: Vec::new(),
                    tasks: Vec::new(),
                });
                self.story_index.insert(place, epic.stories.len() - 1);
                epic.stories.len() - 1
            }
        };
        epic.stories.get_mut(story_at).expect("the index holds positions of stories").tasks.push(task);
    }

    /// The plan with the epic of this title at the end, where it is easier to read.
    pub(in crate::planner) fn move_last(&mut self, title: &str) {
        if let Some(at) = self.epic_index.get(title).copied() {
            self.epics.get_mut(at..).expect("the index holds positions of epics").rotate_left(1);
            let moved = self.epics.iter().enumerate().map(|(at, epic)| (epic.title.clone(), at));
            self.epic_index = moved.collect();
        }
    }

    /// The plan, with the requirements of each story.
    pub(in crate::planner) fn finish(self) -> ProposedPlan {
        let mut epics = self.epics;
        for story in epics.iter_mut().flat_map(|epic| &mut epic.stories) {
            let mut seen = BTreeSet::new();
            let all = story.tasks.iter().flat_map(|task| &task.requirements);
            story.requirements = all.filter(|key| seen.insert((*key).clone())).cloned().collect();
        }
        ProposedPlan { epics, warnings: self.warnings }
    }
}
