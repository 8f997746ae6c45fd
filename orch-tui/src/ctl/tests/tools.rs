//! `tool`: what is listed, waited for and refused.

use orch_proto::view::{ToolState, ToolView};

use super::super::fake::{Fake, State};
use super::plain;

fn tool(name: &str, state: ToolState) -> ToolView {
    ToolView {
        name: name.into(),
        version: "1.7.0".into(),
        description: Some("plans \u{1b}[31mthings".into()),
        program: "tofu".into(),
        state,
        detail: None,
        is_under_way: false,
        url: Some("https://example.org/tofu.zip".into()),
        checksum: Some("sha256:00".into()),
        hosts: vec!["example.org".into()],
        recipe: None,
        content: None,
        files: 0,
        size_bytes: 0,
        installed_at: None,
        by: None,
        runs: Vec::new(),
    }
}

fn fake() -> Fake {
    let wrong = ToolView { url: None, detail: Some("another checksum".into()), ..tool("wrong", ToolState::Absent) };
    let tools = vec![tool("opentofu", ToolState::Absent), wrong, tool("ready", ToolState::Ready)];
    Fake::start(State { tools, ..State::default() })
}

#[tokio::test]
async fn tools_are_listed_with_how_far_each_is() {
    let fake = fake();
    let listed = plain(&fake, "tool list").await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(
        listed.out.contains("opentofu") && listed.out.contains("absent") && listed.out.contains("ready"),
        "{listed:?}"
    );
    let json = plain(&fake, "tools ls -o json").await;
    assert!(json.out.contains("\"ToolList\"") && json.out.contains("\"sha256:00\""), "{json:?}");
    let one = plain(&fake, "tool get opentofu").await;
    assert!(one.out.contains("from       https://example.org/tofu.zip\n"), "{one:?}");
    assert!(!one.out.contains('\u{1b}'), "{one:?}");
    assert_eq!(plain(&fake, "tool get none").await.code, 3);
}

#[tokio::test]
async fn who_has_one_installed_waits_for_it_unless_they_do_not() {
    let fake = fake();
    let installed = plain(&fake, "tool install opentofu").await;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert!(installed.err.contains("downloading: 50 % of 10 bytes"), "{installed:?}");
    assert!(installed.out.contains("state      ready"), "{installed:?}");
    let failed = plain(&fake, "tool install wrong").await;
    assert_eq!(failed.code, 78, "{failed:?}");
    assert!(failed.err.contains("the tool wrong is not installed") && failed.err.contains("hint"), "{failed:?}");
    let begun = plain(&fake, "tool install ready --no-wait").await;
    assert_eq!((begun.code, begun.out.as_str()), (0, "tool ready is downloading\n"), "{begun:?}");
    assert_eq!(plain(&fake, "tool install none").await.code, 3);
}

#[tokio::test]
async fn one_is_removed_by_its_name() {
    let fake = fake();
    let removed = plain(&fake, "tool remove ready").await;
    assert_eq!((removed.code, removed.out.as_str()), (0, "tool ready is removed\n"), "{removed:?}");
    assert_eq!(fake.see(|state| state.tools.len()), 2);
}
