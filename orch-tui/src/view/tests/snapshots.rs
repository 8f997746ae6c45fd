//! What each screen looks like at three sizes, empty, and with hostile texts.

use std::fmt::Write as _;

use super::harness::{Harness, World};

/// Takes one snapshot of what some keys lead to.
fn check(name: &str, keys: &str) {
    let mut shown = String::new();
    for (title, size, world) in [
        ("80x24", (80, 24), World::Normal),
        ("120x40", (120, 40), World::Normal),
        ("40x12", (40, 12), World::Normal),
        ("empty", (80, 24), World::Empty),
        ("hostile", (80, 24), World::Hostile),
    ] {
        let mut harness = Harness::online(size, world);
        if !keys.is_empty() {
            harness.press(keys);
        }
        harness.wait_ms(600);
        writeln!(shown, "=== {title}\n{}", harness.screen()).unwrap();
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

#[test]
fn board() {
    check("board", "");
}

#[test]
fn board_with_a_waiting_task() {
    check("board_waiting", "h j j");
}

#[test]
fn board_as_a_list() {
    check("board_list", "v j");
}

#[test]
fn runs() {
    check("runs", "2");
}

#[test]
fn run_log() {
    check("run_log", "2 j enter");
}

#[test]
fn run_steps() {
    check("run_steps", "2 j enter tab");
}

#[test]
fn run_sandbox() {
    check("run_sandbox", "2 j enter tab tab");
}

#[test]
fn run_artifacts() {
    check("run_artifacts", "2 j enter s-tab");
}

#[test]
fn inbox() {
    check("inbox", "3");
}

#[test]
fn inbox_question() {
    check("inbox_question", "3 j A");
}

#[test]
fn inbox_info_request() {
    check("inbox_info_request", "3 G");
}

#[test]
fn inbox_answer() {
    check("inbox_answer", "3 G Q u enter h u n t e r 2");
}

#[test]
fn inbox_denial() {
    check("inbox_denial", "3 j D n o t space y e t");
}

#[test]
fn inbox_diff() {
    check("inbox_diff", "3 j d");
}

#[test]
fn plan() {
    check("plan", "5");
}

#[test]
fn plan_requirements() {
    check("plan_requirements", "5 tab");
}

#[test]
fn plan_versions() {
    check("plan_versions", "5 s-tab");
}

#[test]
fn audit() {
    check("audit", "8 V");
}

#[test]
fn system() {
    check("system", "9");
}

#[test]
fn help() {
    check("help", "?");
}

#[test]
fn task() {
    check("task", "enter");
}

#[test]
fn say() {
    check("say", "enter M u s e space t h e ctrl-j p o r t");
}

#[test]
fn which_key() {
    check("which_key", "g");
}

/// Before the daemon has answered, when it is away, and when it is of another version.
#[test]
fn connection() {
    let mut shown = String::new();
    let mut harness = Harness::offline((80, 24), World::Normal);
    writeln!(shown, "=== first frame\n{}", harness.screen()).unwrap();
    harness.disconnect();
    writeln!(shown, "=== never there\n{}", harness.screen()).unwrap();
    harness.message(crate::view::Msg::Link(crate::view::LinkEvent::Waiting));
    harness.wait_ms(7_000);
    writeln!(shown, "=== says nothing yet\n{}", harness.screen()).unwrap();
    harness.connect();
    harness.wait_ms(13_000);
    writeln!(shown, "=== silent\n{}", harness.screen()).unwrap();
    harness.disconnect();
    writeln!(shown, "=== lost\n{}", harness.screen()).unwrap();
    let error = orch_proto::RpcError::new(orch_proto::ErrorCode::Protocol, "client 0.1.0 and daemon 9.0.0 do not fit")
        .hint("install the same version of both");
    harness.message(crate::view::Msg::Link(crate::view::LinkEvent::Down { tries: 1, pause_ms: 200, error }));
    writeln!(shown, "=== mismatch\n{}", harness.screen()).unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("connection", shown);
    });
}
