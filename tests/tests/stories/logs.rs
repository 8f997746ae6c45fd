//! What steps write and leave: every byte of it is kept, and nothing that is not theirs.

use std::fs::File;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{LogStream, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::client::written;
use orch_tests::command_line::orchctl;
use orch_tests::poll::{self, PATIENCE};
use orch_tests::{Setup, Story};
use tokio::time::timeout;

use crate::kills::{counting, release};
use crate::story;

/// Bytes of the long line.
const LONG: usize = 10 << 20;

/// Output of every unpleasant kind, one per step.
const UNPLEASANT: &str = r"
steps:
  - name: binary
    run: printf 'a\000b\377\376\n\n\033[2Jcleared\r\nlast\n'
  - name: unfinished
    run: printf 'no newline at the end'; printf 'told apart' >&2
  - name: nothing
    run: 'true'
";

/// A line that fits nowhere, and one after it.
const LONG_LINE: &str = r"
steps:
  - name: long
    run: head -c 10485760 /dev/zero | tr '\000' 'x'; echo; echo short
";

/// Lines that [`FOLLOWED`] writes to its standard output; every tenth goes to the other stream as well.
const LINES: usize = 100_000;

/// Writes many lines to two streams in turn, once it is let.
const FOLLOWED: &str = r#"
steps:
  - name: many
    run: |
      python3 - <<'END'
      import pathlib, sys, time
      print("ready", flush=True)
      while not pathlib.Path("go-T-1").exists():
          time.sleep(0.02)
      for number in range(1, 100001):
          sys.stdout.write(f"{number} out\n")
          if number % 10 == 0:
              sys.stdout.flush()
              sys.stderr.write(f"{number} err\n")
              sys.stderr.flush()
      END
"#;

/// A file to keep, and links to what must not be kept.
const LINKS: &str = "
steps:
  - name: make
    run: |
      mkdir -p out
      printf 'kept\\n' > out/report.txt
      ln -s /etc/passwd out/passwd
      ln -s /etc out/etc
      ln -s ../../../../../../etc/passwd out/up
    artifacts: ['out/**', 'out/etc/passwd', 'absent/*.txt']
";

#[test]
fn logs_keep_every_byte() -> anyhow::Result<()> {
    story("unpleasant logs", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Unpleasant output", UNPLEASANT).await?;
        let long = story.task_create("shop", "A long line", LONG_LINE).await?;
        let run = story.task_in(&task, TaskState::Done).await?.run_name.context("a run")?;
        let log = story.log(&run).await?;
        let stdout = |step| written(&log, step, LogStream::Stdout);
        let (binary, unfinished) = (stdout(1), stdout(2));
        ensure!(binary == b"a\0b\xff\xfe\n\n\x1b[2Jcleared\r\nlast\n", "{:?}", String::from_utf8_lossy(&binary));
        ensure!(unfinished == b"no newline at the end", "{:?}", String::from_utf8_lossy(&unfinished));
        let told_apart = written(&log, 2, LogStream::Stderr);
        ensure!(told_apart == b"told apart", "{:?}", String::from_utf8_lossy(&told_apart));
        ensure!(stdout(3).is_empty(), "a step that is silent");
        // To people, only what a terminal can bear.
        let shown = orchctl(story.env(), &["run", "logs", &run, "--step", "binary"]).await?.ok()?;
        ensure!(!shown.contains('\x1b') && shown.contains("last"), "{shown:?}");
        let run = story.task_in(&long, TaskState::Done).await?.run_name.context("a run")?;
        let long = story.stdout(&run, 1).await?;
        ensure!(long.len() == LONG + "\nshort\n".len(), "{} bytes of the long line", long.len());
        ensure!(long[..LONG].iter().all(|byte| *byte == b'x') && long.ends_with(b"\nshort\n"), "the long line changed");
        let found = story.runs("shop").await?;
        ensure!(found.iter().all(|run| run.log_dropped_bytes == 0), "{found:#?}");
        ensure!(found.iter().any(|run| run.log_bytes > LONG as u64), "{found:#?}");
        Ok(())
    })
}

#[test]
fn a_log_is_followed_by_two_at_once_without_a_gap() -> anyhow::Result<()> {
    story("a log followed twice", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Many lines", FOLLOWED).await?;
        let run = counting(story, &task).await?;
        let mut followers = Vec::new();
        for name in ["one.log", "other.log"] {
            let path = story.env().path(name);
            let mut command = story.env().command(story.env().programs().orchctl);
            command.args(["run", "logs", &run.name, "--follow", "--raw", "--step", "many"]);
            let follower = command.stdout(File::create(&path)?).spawn()?;
            poll::until("a follower", async || Ok((path.metadata()?.len() > 0).then_some(()))).await?;
            followers.push((follower, path));
        }
        release(&run, story).await?;
        let numbers = || (1..=LINES).map(|number| number.to_string());
        let out: String = ["ready\n".to_owned()].into_iter().chain(numbers().map(|n| format!("{n} out\n"))).collect();
        let err: String = numbers().filter(|number| number.ends_with('0')).map(|n| format!("{n} err\n")).collect();
        for (mut follower, path) in followers {
            let ended = timeout(PATIENCE, follower.wait()).await.context("a follower does not end")??;
            ensure!(ended.success(), "{ended}");
            let text = std::fs::read_to_string(&path)?;
            let (of_err, of_out): (Vec<_>, Vec<_>) =
                text.split_inclusive('\n').partition(|line| line.ends_with("err\n"));
            ensure!(of_out.concat() == out, "{} is not what was written", path.display());
            ensure!(of_err.concat() == err, "{} is not what was written to the other stream", path.display());
        }
        story.task_in(&task, TaskState::Done).await?;
        let log = story.log(&run.name).await?;
        ensure!(written(&log, 1, LogStream::Stdout) == out.as_bytes(), "the log is not what was written");
        ensure!(written(&log, 1, LogStream::Stderr) == err.as_bytes(), "of the other stream too");
        Ok(())
    })
}

#[test]
fn artifacts_are_collected_and_links_are_not_followed() -> anyhow::Result<()> {
    story("artifacts", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Artifacts", LINKS).await?;
        let run = story.task_in(&task, TaskState::Done).await?.run_name.context("a run")?;
        let runs = story.runs("shop").await?;
        let kept: Vec<&str> = runs[0].artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        ensure!(kept == ["out/report.txt"], "{kept:?}");
        ensure!(artifact(story, &run, "out/report.txt").await? == b"kept\n", "its bytes");
        for path in ["out/passwd", "out/etc/passwd", "out/up", "../../etc/passwd", "/etc/passwd"] {
            let error = artifact(story, &run, path).await.err().with_context(|| format!("{path} was given out"))?;
            ensure!(error.code == ErrorCode::NotFound, "{path}: {error}");
        }
        // What was not kept is on record, with the reason.
        let left_out = &runs[0].artifacts_left_out;
        for path in ["out/passwd", "out/etc", "out/up"] {
            let is_named = |line: &String| line.starts_with(&format!("{path}: ")) && line.contains("link");
            ensure!(left_out.iter().any(is_named), "{path}: {left_out:#?}");
        }
        let said = orchctl(story.env(), &["run", "get", &runs[0].name]).await?.ok()?;
        ensure!(said.contains("not kept") && said.contains("out/passwd: "), "{said}");
        Ok(())
    })
}

async fn artifact(story: &Story, run: &str, path: &str) -> Result<Vec<u8>, orch_proto::RpcError> {
    let (run, path) = (Ref::from(run), path.to_owned());
    Ok(story.wire().call(async |orch, context| orch.artifact(context, run, path, 0).await).await?.0)
}
