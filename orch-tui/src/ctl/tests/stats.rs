//! Statistics and estimates: what is said when there is much, little or nothing to say.

use orch_proto::view::{EtaBasis, EtaView, PlanEtaView};

use super::*;

#[tokio::test]
async fn statistics_are_tables_for_people_and_numbers_for_programs() {
    let fake = Fake::start(State { stats: Some(samples::stats()), ..one_project() });
    let shown = plain(&fake, "stats").await;
    assert_eq!((shown.code, shown.err.as_str()), (0, ""), "{shown:?}");
    insta::assert_snapshot!("stats", shown.out);
    let all = plain(&fake, "metrics --all -p shop").await;
    assert!(all.out.starts_with("project shop, history of 2h\n"), "{}", all.out);
    assert!(all.out.contains("part-11") && !all.out.contains("more:"), "{}", all.out);
    let json = plain(&fake, "stats -o json").await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["kind"], "Stats");
    assert_eq!(json["reading"]["read"], 4_000);
    assert_eq!(json["states"][1]["time"]["p90_ms"], 7_500);
    assert_eq!(json["failures"][1]["given_up"], 1);
}

#[tokio::test]
async fn where_nothing_has_happened_it_says_what_will_be_there() {
    let fake = Fake::start(one_project());
    let shown = plain(&fake, "stats").await;
    insta::assert_snapshot!(shown.out, @r"
    all projects
    no history yet: it begins with the first task, `orchctl task create` or an approved plan
    ");
}

#[tokio::test]
async fn a_task_and_a_plan_say_when_they_will_be_done() {
    let eta = EtaView {
        p50_ms: 61_000,
        p90_ms: 185_000,
        basis: EtaBasis::LikeInProject,
        samples: 12,
        elapsed_ms: None,
        overdue: false,
        reading: false,
    };
    let mut state = one_project();
    state.tasks = vec![samples::task(1), samples::task(2)];
    state.tasks[1].eta = Some(eta);
    let plan_eta = PlanEtaView {
        p50_ms: 245_000,
        p90_ms: 490_000,
        path: vec!["storage".into(), "wiring".into()],
        path_ms: 122_000,
        tasks: 4,
        places: 2,
        rounds: 200,
        stuck: vec![],
        stuck_count: 0,
        unknown: 0,
        reading: false,
    };
    state.plans = vec![orch_proto::view::PlanView { eta: Some(plan_eta), ..samples::plan() }];
    let fake = Fake::start(state);
    let mut said = String::new();
    for line in ["task eta T-1", "task eta T-2", "task list --columns name,eta", "plan list --columns version,eta"] {
        said += &format!("$ {line}\n{}", plain(&fake, line).await.out);
    }
    insta::assert_snapshot!(said, @r"
    $ task eta T-1
    shop/T-1  nothing is known: no task was done yet, and its plan says nothing
    $ task eta T-2
    shop/T-2  1m01s-3m05s once it starts (p50-p90 of 12 like tasks of the project)
      how long it waits before that is not known: orchctl task why shop/T-2
    $ task list --columns name,eta
    NAME      ETA
    shop/T-1  -
    shop/T-2  1m01s-3m05s
    $ plan list --columns version,eta
    VERSION  ETA
    v1       4m05s-8m10s
    ");
    let shown = plain(&fake, "plan show").await.out;
    assert!(shown.contains("eta: 4 open tasks done in 4m05s-8m10s"), "{shown}");
    let path = plain(&fake, "plan critical-path").await.out;
    assert!(path.contains("eta: longest chain of them, about 2m02s: storage -> wiring"), "{path}");
}
