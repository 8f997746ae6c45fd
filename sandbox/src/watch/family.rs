//! The processes of a run, found by who started whom, and what they do.

use nix::unistd::Pid;

/// Most processes that are looked through at once; a family that is larger takes further rounds.
const FAMILY_MAX: usize = 1 << 18;

/// Every process below `root`, breadth first, without `root` itself.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len().min(FAMILY_MAX) {
        found.extend(children_of(found[next]));
        next += 1;
    }
    found.remove(0);
    found
}

/// Whether this kernel lists children at all (`CONFIG_PROC_CHILDREN`).
pub(crate) fn can_list_children() -> bool {
    std::fs::metadata("/proc/thread-self/children").is_ok()
}

/// Whether a thread of this process runs or could be woken to. What waits for a disk or for its own child stops before it
/// comes back.
pub(crate) fn runs(pid: Pid) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let states = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    // The name in parentheses can hold anything; the state follows it.
    states
        .filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()))
        .any(|state| matches!(state, 'R' | 'S'))
}

/// Every process that `pid` is the parent of.
pub(crate) fn children_of(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect()
}
