//! What people order of tasks and runs: cancelling all, moving, trying again.

use orch_proto::request::{QueuePlace, Request};

use super::{Call, TTY, call, one_project, plain};
use crate::ctl::fake::{Fake, State};
use crate::fmt::samples;

/// The daemon ends so many with one request; whoever wants all of them ended need not know how many.
#[tokio::test]
async fn all_that_is_open_is_cancelled_in_several_requests() {
    let tasks = (1..=5).map(samples::task).collect();
    let fake = Fake::start(State { tasks, ..one_project() });
    let dry = plain(&fake, "project cancel shop --dry-run -o name").await;
    assert_eq!((dry.code, dry.out.lines().count()), (0, 5), "{dry:?}");
    assert!(dry.err.contains("5 tasks of `shop` are not over; none is cancelled"), "{}", dry.err);
    let no = call(&fake, Call { stdin: "n\n", terminal: TTY, env: &[] }, "task cancel --all").await;
    assert_eq!((no.code, no.err.contains("cancel 5 tasks of `shop`, and kill their runs?")), (1, true), "{no:?}");
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
    let yes = plain(&fake, "project cancel --all --yes --reason x -o name").await;
    assert_eq!((yes.code, yes.out.lines().count()), (0, 5), "{yes:?}");
    let sent: Vec<Request> = fake.see(|state| state.submitted.iter().map(|sent| sent.request.clone()).collect());
    let wanted = Request::ProjectCancel { projects: Vec::new(), reason: Some("x".into()) };
    assert_eq!(sent, vec![wanted; 4], "until nothing is left");
    let again = plain(&fake, "task cancel --all --yes").await;
    assert_eq!((again.code, again.err.contains("no task of `shop` is not over")), (0, true), "{again:?}");
    assert_eq!(plain(&fake, "project cancel").await.code, 2);
    assert_eq!(plain(&fake, "task cancel T-1 --dry-run").await.code, 2);
}

#[tokio::test]
async fn a_task_is_moved_to_one_place() {
    let fake = Fake::start(one_project());
    for (words, to) in [
        ("--first", QueuePlace::First),
        ("--last", QueuePlace::Last),
        ("--before T-1", QueuePlace::Before { task: "shop/T-1".into() }),
        ("--behind till/T-2", QueuePlace::Behind { task: "till/T-2".into() }),
    ] {
        assert_eq!(plain(&fake, &format!("-p shop task move T-3 {words}")).await.code, 0);
        let last = fake.see(|state| state.submitted.last().unwrap().request.clone());
        assert_eq!(last, Request::TaskMove { task: "shop/T-3".into(), to });
    }
    assert_eq!(plain(&fake, "task move T-3").await.code, 2);
    assert_eq!(plain(&fake, "task move T-3 --first --last").await.code, 2);
}

#[tokio::test]
async fn a_run_is_tried_again_later_and_sooner() {
    let fake = Fake::start(one_project());
    assert_eq!(plain(&fake, "-p shop run retry R-2 --running --delay 10m --priority 7").await.code, 0);
    let last = fake.see(|state| state.submitted.last().unwrap().request.clone());
    let Request::RunRetry { run, anew, not_before, priority } = last else { panic!("{last:?}") };
    assert_eq!((run.0.as_str(), anew, not_before.is_some(), priority), ("shop/R-2", true, true, Some(7)));
}
