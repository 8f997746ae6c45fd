//! What a person is told who does not know the way yet.

use super::harness::{Harness, World};

fn online() -> Harness {
    Harness::online((80, 24), World::Normal)
}

/// Goal: a task that the filter finds is never said not to be there because its column is out of sight.
#[test]
fn a_filter_says_where_its_matches_are() {
    let mut harness = online();
    harness.press("l h /");
    harness.type_text("service");
    assert!(harness.screen().contains("1 in Done (l l)"), "{}", harness.screen());
    harness.press("enter l l");
    assert!(harness.screen().contains("T-1 scaffold the service"), "{}", harness.screen());
    harness.press("/");
    harness.type_text(" nowhere");
    assert!(harness.screen().contains("no task matches the filter; esc clears it"), "{}", harness.screen());
}

/// Goal: a queue that stands still because there is no agent does not look like one that moves.
#[test]
fn the_queue_says_how_much_of_it_no_agent_can_take() {
    for (columns, said) in
        [(120, "queue 3 (1 waiting for an agent)  !2"), (80, "queue 3 (1 without agent)  !2"), (40, "q3  !2")]
    {
        let harness = Harness::online((columns, 24), World::Normal);
        assert!(harness.screen().contains(said), "{}", harness.screen());
    }
}
