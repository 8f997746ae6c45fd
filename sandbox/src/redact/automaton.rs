//! Finds any of many patterns in one pass over symbols, however they are cut into pieces (Aho and Corasick, 1975).
//!
//! Written here and not taken from a crate, because a redactor must know, after every symbol, how much of a pattern may
//! have begun: that much is held back. Patterns are few and long, so a node keeps a list of its children, not a table.

/// A set of patterns, as a tree in which every node knows the longest other node that its path ends with.
pub(super) struct Automaton {
    nodes: Vec<Node>,
    /// Children of the root by symbol; 0 is none.
    first: [u32; 256],
}

#[derive(Clone, Copy, Default)]
struct Node {
    child: u32,
    sibling: u32,
    fallback: u32,
    depth: u32,
    /// Length of the longest pattern that ends here; 0 is none.
    hit: u32,
    /// Length of the pattern that made this node.
    goal: u32,
    /// Whose pattern ends here.
    hit_owner: u16,
    /// Whose pattern made this node.
    owner: u16,
    symbol: u8,
}

/// A pattern that ends where the automaton is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// In symbols.
    pub(super) len: usize,
    /// Whose pattern it is.
    pub(super) owner: u16,
}

/// The state in which nothing has begun.
pub(super) const ROOT: u32 = 0;

impl Automaton {
    /// An automaton without patterns; it is ready after [`Automaton::finish`].
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], first: [0; 256] }
    }

    /// Adds a pattern of `owner`.
    pub(super) fn add(&mut self, pattern: &[u8], owner: u16) {
        let len = u32::try_from(pattern.len()).expect("patterns are bounded by a constant");
        let mut at = ROOT;
        for &symbol in pattern {
            at = match self.child(at, symbol) {
                ROOT => self.grow(at, Node { symbol, owner, goal: len, ..Node::default() }),
                child => child,
            };
        }
        let node = self.node_mut(at);
        if node.hit == 0 && len > 0 {
            (node.hit, node.hit_owner) = (len, owner);
        }
    }

    /// Links the nodes, shortest paths first.
    pub(super) fn finish(&mut self) {
        let mut queue: Vec<u32> = self.first.iter().copied().filter(|child| *child != ROOT).collect();
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let mut child = self.node(at).child;
            while child != ROOT {
                let node = *self.node(child);
                let fallback = self.next(self.node(at).fallback, node.symbol);
                let ends = *self.node(fallback);
                let linked = self.node_mut(child);
                linked.fallback = fallback;
                if linked.hit == 0 {
                    (linked.hit, linked.hit_owner) = (ends.hit, ends.hit_owner);
                }
                queue.push(child);
                child = node.sibling;
            }
        }
    }

    /// The state after one more symbol.
    pub(super) fn next(&self, mut state: u32, symbol: u8) -> u32 {
        while state != ROOT {
            let node = self.node(state);
            let mut child = node.child;
            while child != ROOT {
                let next = self.node(child);
                if next.symbol == symbol {
                    return child;
                }
                child = next.sibling;
            }
            state = node.fallback;
        }
        self.first[usize::from(symbol)]
    }

    /// How many symbols of a pattern have been seen.
    pub(super) fn depth(&self, state: u32) -> usize {
        self.node(state).depth as usize
    }

    /// The longest pattern that ends here.
    pub(super) fn hit(&self, state: u32) -> Option<Hit> {
        let node = self.node(state);
        (node.hit > 0).then_some(Hit { len: node.hit as usize, owner: node.hit_owner })
    }

    /// Whose pattern has been seen for at least half.
    pub(super) fn half(&self, state: u32) -> Option<u16> {
        let node = self.node(state);
        (state != ROOT && 2 * node.depth >= node.goal).then_some(node.owner)
    }

    fn child(&self, state: u32, symbol: u8) -> u32 {
        if state == ROOT {
            return self.first[usize::from(symbol)];
        }
        let mut child = self.node(state).child;
        while child != ROOT {
            let node = self.node(child);
            if node.symbol == symbol {
                return child;
            }
            child = node.sibling;
        }
        ROOT
    }

    fn grow(&mut self, parent: u32, mut node: Node) -> u32 {
        let index = u32::try_from(self.nodes.len()).expect("patterns are bounded by a constant");
        node.depth = self.node(parent).depth + 1;
        if parent == ROOT {
            self.first[usize::from(node.symbol)] = index;
        } else {
            let parent = self.node_mut(parent);
            node.sibling = std::mem::replace(&mut parent.child, index);
        }
        if self.nodes.len() == self.nodes.capacity() {
            self.enlarge();
        }
        self.nodes.push(node);
        index
    }

    /// Makes room for more nodes. A vector that does that by itself gives its memory back as it was.
    fn enlarge(&mut self) {
        let mut larger = Vec::with_capacity(2 * self.nodes.capacity());
        larger.extend_from_slice(&self.nodes);
        self.wipe();
        self.nodes = larger;
    }

    /// Overwrites the tree, which spells the values.
    fn wipe(&mut self) {
        self.nodes.fill(Node::default());
        std::hint::black_box(&self.nodes);
    }

    fn node(&self, state: u32) -> &Node {
        &self.nodes[state as usize]
    }

    fn node_mut(&mut self, state: u32) -> &mut Node {
        &mut self.nodes[state as usize]
    }
}

impl Drop for Automaton {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(patterns: &[&str], text: &str) -> Vec<(usize, usize)> {
        let mut automaton = Automaton::new();
        for (owner, pattern) in (0..).zip(patterns) {
            automaton.add(pattern.as_bytes(), owner);
        }
        automaton.finish();
        let mut state = ROOT;
        let mut found = Vec::new();
        for (index, byte) in text.bytes().enumerate() {
            state = automaton.next(state, byte);
            let held = automaton.depth(state);
            let begun = &text.as_bytes()[index + 1 - held..=index];
            assert!(held == 0 || patterns.iter().any(|pattern| pattern.as_bytes().starts_with(begun)));
            found.extend(automaton.hit(state).map(|hit| (index + 1 - hit.len, index + 1)));
        }
        found
    }

    #[test]
    fn every_place_is_found_with_the_longest_pattern() {
        assert_eq!(hits(&["abab"], "xabababx"), [(1, 5), (3, 7)]);
        assert_eq!(hits(&["he", "she", "hers"], "ushers"), [(1, 4), (2, 6)]);
        assert_eq!(hits(&["aaa", "aa"], "aaaa"), [(0, 2), (0, 3), (1, 4)]);
        assert_eq!(hits(&["abc", "b"], "abd"), [(1, 2)]);
        assert_eq!(hits(&[], "abd"), []);
    }
}
