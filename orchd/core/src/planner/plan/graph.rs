//! Whether tasks need each other in a circle.
//!
//! Knows keys and edges. Walks without recursion, so a long chain is no danger.

use std::collections::BTreeMap;

use super::model::PlanError;

/// A task on the walk: its position, and how many of its needs were looked at.
type Frame = (usize, usize);

/// Fails with the first cycle; needs that name no task are no edges.
pub(in crate::planner) fn check_acyclic<'a>(
    tasks: impl Iterator<Item = (&'a str, &'a [String])>,
) -> Result<(), PlanError> {
    let nodes: Vec<(&str, &[String])> = tasks.collect();
    let index: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, (key, _))| (*key, at)).collect();
    let mut done = vec![false; nodes.len()];
    let mut on_path = vec![false; nodes.len()];
    for start in 0..nodes.len() {
        let mut path: Vec<Frame> = if done[start] { Vec::new() } else { vec![(start, 0)] };
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            on_path[at] = true;
            let Some(need) = nodes[at].1.get(*next) else {
                on_path[at] = false;
                done[at] = true;
                path.pop();
                continue;
            };
            *next += 1;
            match index.get(need.as_str()).copied() {
                Some(need) if on_path[need] => return Err(cycle(&nodes, &path, need)),
                Some(need) if !done[need] => path.push((need, 0)),
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

fn cycle(nodes: &[(&str, &[String])], path: &[Frame], first: usize) -> PlanError {
    let mut keys: Vec<String> =
        path.iter().map(|&(at, _)| at).skip_while(|&at| at != first).map(|at| nodes[at].0.to_owned()).collect();
    keys.push(nodes[first].0.to_owned());
    PlanError::Cycle { keys }
}
