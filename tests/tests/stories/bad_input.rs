//! Documents, plans and recipes that cannot be used: each gets its own code, a message with the place, and a next step;
//! nothing changes, and the daemon goes on.

use anyhow::{Context as _, ensure};
use orch_proto::request::{Bytes, Dependency, PlanEdit, RepoSource, Request};
use orch_proto::view::Condition;
use orch_proto::{ErrorCode, Ref, VISION_BYTES_MAX};
use orch_tests::client::task_request;
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::story;

const DEMO: &str = include_str!("../../../recipes/planner/demo-vision.md");

#[test]
fn visions_that_are_no_text_are_refused() -> anyhow::Result<()> {
    story("bad Visions", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let before = story.status().await?.seq;
        let huge = vec![b'x'; 50 << 20];
        let cases: [(&str, &[u8], ErrorCode, &str); 6] = [
            ("empty.md", b"", ErrorCode::EmptyVision, ""),
            ("blank.md", b" \n\t\n", ErrorCode::EmptyVision, ""),
            ("binary.md", b"# Shop\n\0\x01\x02\n", ErrorCode::NotText, ""),
            ("latin1.md", b"# Caf\xe9\n\n- a requirement\n", ErrorCode::NotText, "5"),
            ("huge.md", &huge, ErrorCode::TooLarge, "1048576"),
            ("large.md", &huge[..VISION_BYTES_MAX + 1], ErrorCode::TooLarge, "1048576"),
        ];
        for (name, text, code, place) in cases {
            let request = Request::VisionSubmit {
                project: Ref::from("shop"),
                file_name: name.to_owned(),
                text: Bytes(text.to_vec()),
            };
            let refusal = story.refused(code, request).await.with_context(|| name.to_owned())?;
            // What is too large for the wire is refused before it is sent, by the size of the request.
            let on_the_wire = text.len() > 8 << 20;
            ensure!(refusal.message.contains(place) || on_the_wire, "{name}: {refusal}");
            ensure!(refusal.hint.is_some(), "{name}: {refusal:?} has no next step");
            std::fs::write(story.env().path(name), text)?;
            let said = orchctl(story.env(), &["vision", "submit", name]).await?.failed(i32::from(code.exit_code()))?;
            ensure!(said.contains(code.as_str()) && said.contains(place) && said.contains("hint"), "{name}: {said}");
        }
        well_and_unchanged(story, before).await
    })
}

#[test]
fn a_cycle_is_refused_by_its_name() -> anyhow::Result<()> {
    story("cycles", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let (_, plan) = story.plan_from("shop", DEMO.as_bytes()).await?;
        let before = story.status().await?.seq;
        let last = plan.nodes.iter().rev().find(|node| !node.needs.is_empty()).context("a node that needs another")?;
        let edit = Request::PlanChange {
            project: Ref::from("shop"),
            base_version: plan.version,
            edits: vec![PlanEdit::Link { task: last.needs[0].clone(), needs: last.key.clone() }],
            reason: "to see what happens".to_owned(),
        };
        let refusal = story.refused(ErrorCode::Cycle, edit).await?;
        ensure!(refusal.message.contains(&last.key) && refusal.message.contains(&last.needs[0]), "{refusal}");
        well_and_unchanged(story, before).await?;
        let mut names = Vec::new();
        for title in ["One", "Two"] {
            let mut request = task_request("shop", title, "steps: ['true']");
            if let Request::TaskCreate { queue, depends_on, .. } = &mut request {
                *queue = false;
                let needed = names.last().cloned().map(Ref);
                depends_on.extend(needed.map(|task| Dependency { task, condition: Condition::Done }));
            }
            let accepted = story.submit(request).await?;
            names.push(accepted.touched.first().context("a name")?.name.clone());
        }
        let before = story.status().await?.seq;
        for needed in [&names[1], &names[0]] {
            let (task, depends_on) = (Ref(names[0].clone()), Ref(needed.clone()));
            let link = Request::TaskLink { task, depends_on, condition: Condition::Done };
            let refusal = story.refused(ErrorCode::Cycle, link).await?;
            ensure!(refusal.message.contains("T-1"), "{refusal}");
        }
        well_and_unchanged(story, before).await
    })
}

#[test]
fn recipes_with_mistakes_are_refused_with_line_and_column() -> anyhow::Result<()> {
    story("bad recipes", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let before = story.status().await?.seq;
        let cases = [
            ("steps:\n  - run: make\n    timeot: 5\n", "story.yaml:3:5: ", "timeout"),
            ("steps:\n  - run: make\n    timeout: -5\n", "story.yaml:3:14: ", ""),
            ("tools:\n  - name: python3\n    checksum: sha256:12\nsteps: [make]\n", "story.yaml:3:15: ", ""),
            ("steps:\n  - run: make\n    cwd: ../..\n", "story.yaml:3:10: ", ""),
            ("steps: [make\n", "story.yaml:", ""),
            ("steps: []\n", "story.yaml:", ""),
            ("steps: &a [*a]\n", "story.yaml:", ""),
        ];
        for (recipe, place, hint) in cases {
            let refusal = story.refused(ErrorCode::Recipe, task_request("shop", "Bad", recipe)).await?;
            ensure!(refusal.message.starts_with(place), "{recipe}{refusal}");
            ensure!(refusal.hint.unwrap_or_default().contains(hint), "{recipe}");
            std::fs::write(story.env().path("story.yaml"), recipe)?;
            let said = orchctl(story.env(), &["task", "create", "Bad", "--recipe", "story.yaml"]).await?.failed(2)?;
            ensure!(said.contains("E_RECIPE") && said.contains(place), "{said}");
        }
        let large = format!("steps: ['true'] # {}", "x".repeat(300 << 10));
        story.refused(ErrorCode::TooLarge, task_request("shop", "Bad", &large)).await?;
        well_and_unchanged(story, before).await
    })
}

/// Nothing was changed by what was refused, and the daemon is as well as before.
async fn well_and_unchanged(story: &Story, seq: u64) -> anyhow::Result<()> {
    let now = story.status().await?.seq;
    ensure!(now == seq, "{} events were made", now - seq);
    story.end_checks().await
}
