//! What steps find in their run: access to a cloud that people were asked for, and what their result will be checked with.

use anyhow::ensure;
use orch_proto::request::RepoSource;
use orch_proto::view::{FieldKind, RunState, StepState, TaskState};
use orch_tests::command_line::{answer, orchctl};
use orch_tests::{Setup, poll};

use crate::channel::{nowhere, question};
use crate::story;

/// What only the run may read.
const SECRET: &str = "hunter2-of-the-account";
const CONFIG: &str = "apiVersion: v1\nkind: Config\nusers: [hunter2-of-the-cluster]\n";

const DEPLOYS: &str = r#"
checkout: false
providers: [aws, kubernetes]
steps:
  - name: first
    run: |
      echo "region $AWS_DEFAULT_REGION <$AWS_SECRET_ACCESS_KEY>"
      stat -c %a "$AWS_SHARED_CREDENTIALS_FILE"
      rev "$AWS_SHARED_CREDENTIALS_FILE"
  - name: second
    run: rev "$KUBECONFIG"
    env: { STAGE: "it's" }
  - name: third
    run: echo "$STAGE" && false || echo done
    env: { STAGE: "it's" }
"#;

#[test]
fn steps_begin_when_people_have_given_what_providers_need() -> anyhow::Result<()> {
    story("a recipe that names providers", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let unknown = "checkout: false\nproviders: [mars]\nsteps: ['true']\n";
        std::fs::write(story.env().path("mars.yaml"), unknown)?;
        let refused =
            orchctl(story.env(), &["--project", "shop", "task", "create", "Mars", "--recipe", "mars.yaml"]).await?;
        let refused = refused.failed(2)?;
        ensure!(refused.contains("no provider `mars`; there are: aws, azure, gcp, kubernetes"), "{refused}");

        let task = story.task_create("shop", "Deploys", DEPLOYS).await?;
        let asked = question(story, "The steps work on Amazon Web Services and need access to an account.").await?;
        let kinds: Vec<_> = asked.fields.iter().map(|field| field.kind.clone()).collect();
        ensure!(kinds == [FieldKind::Text, FieldKind::Secret, FieldKind::Text], "{asked:#?}");
        let run = story.run_of(&task).await?;
        let steps: Vec<_> = run.steps.iter().map(|step| (step.name.as_str(), step.state)).collect();
        ensure!(
            run.state == RunState::AwaitingInput && run.given == ["channel", "provider: aws", "provider: kubernetes"],
            "{run:#?}"
        );
        ensure!(steps[0].0 == "providers" && steps[1] == ("first", StepState::Pending), "{steps:?}");
        let values =
            [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_DEFAULT_REGION", "eu-central-1")];
        answer(story.env(), &asked.name, &values).await?.ok()?;
        let asked = question(story, "The steps work on a Kubernetes cluster and need its kubeconfig.").await?;
        std::fs::write(story.env().path("config"), CONFIG)?;
        let of_lines = ["question", "answer", &asked.name, "--value-file", "KUBECONFIG_CONTENT=config"];
        orchctl(story.env(), &of_lines).await?.ok()?;
        std::fs::remove_file(story.env().path("config"))?;

        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let reversed =
            |text: &str| text.lines().map(|line| line.chars().rev().collect::<String>() + "\n").collect::<String>();
        let credentials = format!("[default]\naws_access_key_id = AKIA\naws_secret_access_key = {SECRET}\n");
        let first = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        ensure!(first == format!("region eu-central-1 <>\n600\n{}", reversed(&credentials)), "{first}");
        let second = String::from_utf8(story.stdout(&run.name, 2).await?)?;
        ensure!(second.trim_end() == reversed(CONFIG).trim_end(), "{second}");
        ensure!(story.stdout(&run.name, 3).await? == b"it's\ndone\n", "a step has its own variables");
        nowhere(&story.env().state(), &[SECRET, "hunter2-of-the-cluster"])?;
        let answers = story.env().state().join("secrets/.answers");
        poll::until("the end of what was given", async || {
            Ok(std::fs::read_dir(&answers)?.next().is_none().then_some(()))
        })
        .await
    })
}

/// Breaks a part, sees it, and mends it.
const CHECKS: &str = r#"
channel: true
steps:
  - run: |
      orchctl agent run-tests && echo "fine"
      cp tests/test_parts.py /tmp/kept
      echo 'raise Exception("broken")' > tests/test_parts.py
      orchctl agent run-tests || echo "broken: $?"
      cp /tmp/kept tests/test_parts.py
      orchctl agent run-tests --only none || echo "none: $?"
"#;

/// A run can do what its result will be checked with, and believes no more of it than it sees.
#[test]
fn a_run_checks_its_own_result_as_it_will_be_checked() -> anyhow::Result<()> {
    story("a run runs its tests", Setup::Runs, async |story| {
        let project = crate::merge_queue::parts_project(story).await?;
        let task = story.task_create(&project.name, "Checks", CHECKS).await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        for says in ["fine", "broken: 1", "none: 3", "nothing named `none` is run on the result"] {
            ensure!(log.contains(says), "{says}: {log}");
        }
        Ok(())
    })
}
