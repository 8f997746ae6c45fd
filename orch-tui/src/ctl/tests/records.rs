//! The record: what is listed of it, and what passed between runs and models.

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

#[tokio::test]
async fn what_passed_to_models_is_listed_and_read() {
    let fake = Fake::start(hostile());
    let listed = plain(&fake, "run exchanges R-1 --columns number,end,in,cost,asked,answered").await.out;
    for part in ["complete 200", "1,100", "$0.02", "4.0 kB", "512 B"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let one = plain(&fake, "run exchanges R-1 1").await.out;
    for part in ["shop/R-1  exchange 1", "complete 200, sent 2 times", "1,100 in (1,000 cached), 20 out; $0.02"] {
        assert!(one.contains(part), "{part}: {one}");
    }
    assert!(one.contains("--- asked: 4.0 kB, abab") && one.contains("evil^[[2J"), "{one}");
    assert!(one.contains("--- answered: 512 B, abab") && one.contains("answered^[]0;title^G"), "{one}");
    assert_eq!(plain(&fake, "run exchanges R-1 1 --answer").await.out, "answered^[]0;title^G\n");
    assert_eq!(plain(&fake, "run exchanges R-1 1 --answer --raw").await.out, "answered\x1b]0;title\x07");
    let none = plain(&fake, "run exchanges R-1 2").await;
    assert_eq!(none.code, 3, "{none:?}");
    assert!(
        none.err.contains("has no exchange 2") && none.err.contains("hint: `orchctl run exchanges"),
        "{}",
        none.err
    );
    for wrong in ["run exchanges R-1 --answer", "run exchanges R-1 0", "run exchanges R-1 1 --request --answer"] {
        assert_eq!(plain(&fake, wrong).await.code, 2, "{wrong}");
    }
}

#[tokio::test]
async fn what_an_agent_was_told_is_read_and_steps_are_told_nothing() {
    let fake = Fake::start(hostile());
    let refused = plain(&fake, "run prompt R-1").await;
    assert_eq!((refused.code, refused.err.contains("known steps")), (3, true), "{refused:?}");
    fake.edit(|state| state.runs[0].agent = Some(samples::agent_use()));
    assert_eq!(plain(&fake, "run prompt R-1").await.out, "Do it.\n");
    assert!(plain(&fake, "run get R-1").await.out.contains("told        7 B, 0123"), "it has its digest");
}
