//! What steps write and leave: every byte of it is kept, and nothing that is not theirs.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{LogStream, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::story;

/// Bytes of the long line.
const LONG: usize = 10 << 20;

/// Output of every unpleasant kind, one per step.
const UNPLEASANT: &str = r"
steps:
  - name: binary
    run: printf 'a\000b\377\376\n\n\033[2Jcleared\r\nlast\n'
  - name: long
    run: head -c 10485760 /dev/zero | tr '\000' 'x'; echo; echo short
  - name: unfinished
    run: printf 'no newline at the end'; printf 'told apart' >&2
  - name: nothing
    run: 'true'
";

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
        let run = story.task_in(&task, TaskState::Done).await?.run_name.context("a run")?;
        let binary = story.stdout(&run, 1).await?;
        ensure!(binary == b"a\0b\xff\xfe\n\n\x1b[2Jcleared\r\nlast\n", "{:?}", String::from_utf8_lossy(&binary));
        let long = story.stdout(&run, 2).await?;
        ensure!(long.len() == LONG + "\nshort\n".len(), "{} bytes of the long line", long.len());
        ensure!(long[..LONG].iter().all(|byte| *byte == b'x') && long.ends_with(b"\nshort\n"), "the long line changed");
        let unfinished = story.stdout(&run, 3).await?;
        ensure!(unfinished == b"no newline at the end", "{:?}", String::from_utf8_lossy(&unfinished));
        ensure!(story.stdout(&run, 4).await?.is_empty(), "a step that is silent");
        let told_apart = story.log(&run).await?.into_iter().filter(|chunk| chunk.stream == LogStream::Stderr);
        let stderr: Vec<u8> = told_apart.flat_map(|chunk| chunk.bytes.0).collect();
        ensure!(stderr == b"told apart", "{:?}", String::from_utf8_lossy(&stderr));
        let found = story.runs("shop").await?;
        ensure!(found[0].log_dropped_bytes == 0 && found[0].log_bytes > LONG as u64, "{:#?}", found[0]);
        // To people, only what a terminal can bear.
        let shown = orchctl(story.env(), &["run", "logs", &run, "--step", "binary"]).await?.ok()?;
        ensure!(!shown.contains('\x1b') && shown.contains("last"), "{shown:?}");
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
        Ok(())
    })
}

async fn artifact(story: &Story, run: &str, path: &str) -> Result<Vec<u8>, orch_proto::RpcError> {
    let (run, path) = (Ref::from(run), path.to_owned());
    Ok(story.wire().call(async |orch, context| orch.artifact(context, run, path, 0).await).await?.0)
}
