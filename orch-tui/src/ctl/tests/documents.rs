//! Requirements and plans: proposing, deciding, editing.

use super::*;

/// A project whose newest requirements and plan are version 6.
fn sixth() -> State {
    let mut state = one_project();
    let reqs = orch_proto::view::RequirementsView { version: 6, ..samples::requirements() };
    let plan =
        orch_proto::view::PlanView { version: 6, warnings: vec!["nothing builds `http`".into()], ..samples::plan() };
    (state.requirements, state.plans) = (vec![reqs], vec![plan]);
    (state.projects[0].requirements_version, state.projects[0].plan_version) = (Some(6), Some(6));
    state
}

#[tokio::test]
async fn a_proposal_names_the_version_that_it_made_and_its_warnings() {
    let fake = Fake::start(one_project());
    let reqs = plain(&fake, "req propose").await;
    assert_eq!((reqs.code, reqs.out.as_str()), (0, "derived 3 requirements: requirements shop/Q-1\n"), "{reqs:?}");
    assert!(reqs.err.contains("warning: line 31 is not understood\n"), "{}", reqs.err);
    let plan = plain(&fake, "plan propose").await;
    assert_eq!((plan.code, plan.out.as_str()), (0, "planned 6 tasks: plan shop/P-1\n"), "{plan:?}");
}

/// Without a bound this would wait for ever for a seventh version.
#[tokio::test]
async fn a_proposal_that_changes_nothing_says_so_and_ends() {
    let fake = Fake::start(State { notes: vec!["version 6 says the same already".into()], ..sixth() });
    let reqs = plain(&fake, "req propose --timeout 5s").await;
    assert_eq!((reqs.code, reqs.out.as_str()), (0, "unchanged, 3 requirements: requirements shop/Q-6\n"), "{reqs:?}");
    assert!(reqs.err.contains("version 6 says the same already\n"), "{}", reqs.err);
    let plan = plain(&fake, "plan propose --timeout 5s").await;
    assert_eq!((plan.code, plan.out.as_str()), (0, "unchanged, 6 tasks: plan shop/P-6\n"), "{plan:?}");
    assert!(plan.err.contains("warning: nothing builds `http`\n"), "{}", plan.err);
}

#[tokio::test]
async fn warnings_stand_before_the_question() {
    let fake = Fake::start(sixth());
    for (line, warning) in [("req approve", "warning: line 31"), ("plan approve", "warning: nothing builds")] {
        let no = call(&fake, Call { stdin: "n\n", terminal: TTY, env: &[] }, line).await;
        let (warned, asked) = (no.err.find(warning), no.err.find("[y/N]"));
        assert!(warned.is_some() && warned < asked, "{no:?}");
    }
}

/// What a model proposes is there when it is done, and why the rules took its place is said.
#[tokio::test]
async fn a_model_that_is_asked_is_waited_for_on_request() {
    let fake = Fake::start(sixth());
    let asked = plain(&fake, "req propose --model big").await;
    assert_eq!((asked.code, asked.out.as_str()), (0, "a model is asked for a proposal of project shop\n"), "{asked:?}");
    let waited = plain(&fake, "req propose --model big --wait --timeout 5s").await;
    assert_eq!(waited.code, 0, "{waited:?}");
    assert!(waited.err.contains("warning: the rules took its place: it was prose three times\n"), "{}", waited.err);
    assert!(waited.err.contains("requirements v6 with 3 requirements"), "{}", waited.err);
    let shown = plain(&fake, "project get shop").await;
    assert!(shown.out.contains("planner       big of local was asked; the rules took its place"), "{}", shown.out);
    assert!(shown.out.contains("  requests    3; 1500 tokens in, 300 out"), "{}", shown.out);
    assert_eq!(plain(&fake, "req propose --model big --rules").await.code, 2);
}

#[tokio::test]
async fn an_agent_that_is_asked_is_named() {
    let fake = Fake::start(sixth());
    let asked = plain(&fake, "req propose --agent coder").await;
    assert_eq!(
        (asked.code, asked.out.as_str()),
        (0, "an agent is asked for a proposal of project shop\n"),
        "{asked:?}"
    );
    let shown = plain(&fake, "project get shop").await;
    assert!(shown.out.contains("planner       the agent coder of local was asked; the rules took"), "{}", shown.out);
    assert!(shown.out.contains("  agent       started 3 times\n"), "{}", shown.out);
    for other in ["--model big", "--rules"] {
        assert_eq!(plain(&fake, &format!("plan propose --agent coder {other}")).await.code, 2, "{other}");
    }
}

/// The drafts that are left, with their text.
fn drafts(fake: &Fake) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(fake.directory()).unwrap().map(|entry| entry.unwrap().path());
    let drafts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    drafts.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

#[tokio::test]
async fn a_draft_stays_until_the_daemon_has_taken_it() {
    let fake = Fake::start(State { refused: vec!["shop/Q-7".into()], ..sixth() });
    let directory = fake.directory().display().to_string();
    let edit = async |editor: &str| {
        let env = [("TMPDIR", directory.as_str()), ("EDITOR", editor)];
        call(&fake, Call { stdin: "", terminal: TTY, env: &env }, "req edit").await
    };
    for (editor, kept) in [("sed -i s/Answer/Report/", "Report errors"), ("false", "Answer errors")] {
        let outcome = edit(editor).await;
        assert_ne!(outcome.code, 0, "{outcome:?}");
        let [(path, text)] = &drafts(&fake)[..] else { panic!("{editor}: {outcome:?}") };
        assert!(text.contains(kept), "{text}");
        assert!(outcome.err.contains(&format!("orchctl req edit --file {path} -p shop")), "{}", outcome.err);
        std::fs::remove_file(path).unwrap();
    }
    fake.edit(|state| state.refused.clear());
    for editor in ["true", "sed -i s/Answer/Report/"] {
        let outcome = edit(editor).await;
        assert_eq!((outcome.code, drafts(&fake)), (0, vec![]), "{outcome:?}");
    }
}

#[tokio::test]
async fn all_requirements_are_removed_only_when_that_is_said() {
    let fake = Fake::start(sixth());
    let none = Call { stdin: "requirements: []\n", ..Call::default() };
    let refused = call(&fake, none, "req edit -f -").await;
    assert_eq!((refused.code, refused.err.contains("removes all of shop (3 requirements)")), (2, true), "{refused:?}");
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
    assert_eq!(call(&fake, none, "req edit -f - --yes").await.code, 0);
}

/// A pipe is no person: nothing is decided in it unless that is said.
#[tokio::test]
async fn without_a_person_an_approval_needs_a_word() {
    let fake = Fake::start(State { approvals: vec![samples::approval(1), samples::approval(2)], ..sixth() });
    let decisions = [
        ("req approve", "77aa77aa"),
        ("req reject", "77aa77aa"),
        ("plan approve", "9c1e9c1e"),
        ("plan reject", "9c1e9c1e"),
        ("approval approve A-1", "ab12ab12"),
        ("approval deny A-1 --reason no", "ab12ab12"),
    ];
    let several = ("approval approve A-1 A-2", "");
    for (line, _) in decisions.into_iter().chain([several]) {
        let outcome = plain(&fake, line).await;
        assert_eq!(outcome.code, 2, "{line}: {outcome:?}");
        assert!(outcome.err.contains("error[E_USAGE]: not confirmed: "), "{line}: {outcome:?}");
        assert!(outcome.err.contains("`--digest DIGEST`, or say `--yes`"), "{line}: {outcome:?}");
    }
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
    for (line, digest) in decisions {
        for word in ["--yes", &format!("--digest {digest}"), &format!("--no-input --digest {digest}")] {
            let outcome = plain(&fake, &format!("{line} {word}")).await;
            assert_eq!(outcome.code, 0, "{line} {word}: {outcome:?}");
        }
    }
    assert_eq!(fake.see(|state| state.submitted.len()), 18);
}

#[tokio::test]
async fn a_version_is_named_as_it_is_shown_anywhere() {
    let fake = Fake::start(sixth());
    for version in ["6", "v6", "Q-6", "shop/Q-6", "--version 6", "--version shop/Q-6"] {
        for verb in ["req show", "req approve --yes"] {
            let outcome = plain(&fake, &format!("{verb} {version}")).await;
            assert_eq!(outcome.code, 0, "{verb} {version}: {outcome:?}");
        }
    }
    for line in
        ["plan show P-6", "plan critical-path v6", "plan diff P-6 6", "req diff Q-1 v6", "plan reject P-6 --yes"]
    {
        assert_eq!(plain(&fake, line).await.code, 0, "{line}");
    }
    for (line, code) in [("req show 5", 3), ("req show P-6", 2), ("req show six", 2), ("req show 6 --version 6", 2)] {
        assert_eq!(plain(&fake, line).await.code, code, "{line}");
    }
    // The name of a version has the project in it.
    fake.edit(|state| state.projects.push(orch_proto::view::ProjectView { name: "till".into(), ..samples::project() }));
    assert_eq!((plain(&fake, "req show Q-6").await.code, plain(&fake, "req show shop/Q-6").await.code), (2, 0));
    assert_eq!(plain(&fake, "req show shop/Q-6 -p till").await.code, 2);
}

#[tokio::test]
async fn a_difference_is_in_the_order_that_people_count() {
    let fake = Fake::start(sixth());
    let outcome = plain(&fake, "req diff 5 6").await;
    let keys: Vec<_> = outcome.out.lines().skip(1).filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(keys, ["REQ-1", "REQ-2", "REQ-10"], "{outcome:?}");
}
