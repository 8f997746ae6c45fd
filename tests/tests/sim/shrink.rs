//! Makes a list that fails shorter, as long as it fails.

/// Leaves out parts of `from`, large ones first, while `fails` says that what is left still fails; asks it at most
/// `tries` times.
pub(crate) fn shrink<T: Clone>(from: Vec<T>, mut tries: u32, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut kept = from;
    let mut part = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let before = kept.len();
        while at < kept.len() && tries > 0 {
            let until = (at + part).min(kept.len());
            let without: Vec<T> = kept[..at].iter().chain(&kept[until..]).cloned().collect();
            tries -= 1;
            if fails(&without) {
                kept = without;
            } else {
                at = until;
            }
        }
        if tries == 0 || (part == 1 && kept.len() == before) {
            return kept;
        }
        part = part.div_ceil(2).max(1);
    }
}

#[test]
fn what_is_not_needed_is_left_out() {
    let needed = |list: &[u32]| list.contains(&7) && list.contains(&70);
    assert_eq!(shrink((0..100).collect(), 1_000, needed), [7, 70]);
    assert_eq!(shrink(vec![1], 1_000, |_| true), [0; 0]);
    assert!(shrink((0..100).collect(), 3, needed).len() >= 2);
}
