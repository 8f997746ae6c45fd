//! Order of tasks: no circle, needs before needers.

use std::collections::BTreeSet;

use super::checked::{Blueprint, Task};
use crate::recipe::Key;

impl Blueprint {
    /// The task of this key.
    pub fn task(&self, key: &Key) -> Option<&Task> {
        self.tasks.iter().find(|task| task.key == *key)
    }

    /// All tasks, each after those it needs; among equals in the order written.
    pub fn order(&self) -> Vec<&Task> {
        let mut waiting: Vec<&Task> = self.tasks.iter().collect();
        let mut order = Vec::with_capacity(waiting.len());
        let mut done = BTreeSet::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|task| task.needs.iter().all(|need| done.contains(need)));
            // `parse` lets no circle pass, so there always is one; position 0 only keeps this total.
            let task = waiting.remove(ready.unwrap_or(0));
            done.insert(&task.key);
            order.push(task);
        }
        order
    }
}

/// A circle in `needs`, as the keys around it with the first repeated at the end; `None` when there is none.
/// `needs[i]` are the indexes that node `i` needs.
pub(super) fn cycle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Closed,
    }
    let mut marks = vec![Mark::New; needs.len()];
    for start in 0..needs.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // Depth first with an explicit path: (node, next need to look at).
        let mut path = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((node, next)) = path.last_mut() {
            let Some(&need) = needs[*node].get(*next) else {
                marks[*node] = Mark::Closed;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[need] {
                Mark::Closed => {}
                Mark::New => {
                    marks[need] = Mark::Open;
                    path.push((need, 0));
                }
                Mark::Open => {
                    let from = path.iter().position(|(node, _)| *node == need)?;
                    let around = path[from..].iter().map(|(node, _)| *node);
                    return Some(around.chain([need]).collect());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::cycle;

    #[test]
    fn finds_circles_and_only_circles() {
        assert_eq!(cycle(&[vec![], vec![0], vec![0, 1]]), None);
        assert_eq!(cycle(&[vec![0]]), Some(vec![0, 0]));
        assert_eq!(cycle(&[vec![], vec![3, 0], vec![1], vec![2]]), Some(vec![1, 3, 2, 1]));
    }
}
