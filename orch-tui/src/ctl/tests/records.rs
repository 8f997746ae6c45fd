//! The record: what is listed of it.

use super::*;

#[tokio::test]
async fn a_list_of_the_record_says_what_it_leaves_out() {
    let fake = Fake::start(one_project());
    for _ in 0..284 {
        fake.edit(|_| {});
    }
    let numbers = |outcome: &Outcome| {
        let lines: Vec<u64> = outcome.out.lines().map(|line| line.parse().unwrap()).collect();
        (lines.len(), lines[0], lines[lines.len() - 1])
    };
    let newest = plain(&fake, "audit list -o name").await;
    assert_eq!(numbers(&newest), (100, 185, 284));
    assert!(newest.err.contains("the newest 100, 184 before them; `--after 0` begins at the first"), "{}", newest.err);
    let of_project = plain(&fake, "audit list -o name -p shop").await;
    assert_eq!((numbers(&of_project), of_project.err), ((100, 185, 284), newest.err));
    let first = plain(&fake, "audit list -o name --after 4").await;
    assert_eq!(numbers(&first), (100, 5, 104));
    assert!(first.err.contains("100 up to number 104 of 284; go on with `--after 104`"), "{}", first.err);
    let rest = plain(&fake, "audit list -o name --after 280").await;
    assert_eq!((numbers(&rest), rest.err.as_str()), ((4, 281, 284), ""));
}
