//! Cases about what a run leaves behind, and about a run that asks for more than there is.

use std::os::unix::fs::symlink;
use std::path::Path;

use orch_adapters::git::{CollectReport, CollectSpec, Identity, OBJECTS_INSIDE, ObjectFormat};
use orch_proto::view::CaseResult;
use orch_sandbox::Secrets;
use orch_sandbox::artifacts::{Artifact, SkipReason, collect};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::level::{Level, LevelReport};
use orch_sandbox::spec::{OUT_INSIDE, ReadOnlyMount, RunSpec};

use super::{Bench, Found, untried};
use crate::error_chain::chain;
use crate::jail::{self, Jail, JailError};

/// What is taken of a result at most.
const RESULT_BYTES_MAX: u64 = 64 << 10;

/// A1: a link to a file of the host in the place of a result.
pub(super) fn link(bench: Bench<'_>) -> Found {
    let directory = bench.directory.join("results");
    let laid_out = || -> std::io::Result<()> {
        std::fs::create_dir_all(&directory)?;
        std::fs::write(bench.directory.join("secret"), "of the host")?;
        symlink(bench.directory.join("secret"), directory.join("result"))
    };
    if let Err(error) = laid_out() {
        return (CaseResult::Skipped, format!("could not be tried: {error}"));
    }
    match collect(&directory, Path::new("result"), &bench.directory.join("taken"), RESULT_BYTES_MAX) {
        Ok(Artifact::Skipped { reason: reason @ SkipReason::Link }) => (CaseResult::Held, reason.to_string()),
        Ok(Artifact::Skipped { reason }) => (CaseResult::Skipped, format!("could not be tried: {reason}")),
        Ok(Artifact::Collected { .. }) => (CaseResult::Open, "the file that a link leads to was taken".to_owned()),
        Err(error) => (CaseResult::Skipped, format!("could not be tried: {}", chain(&error))),
    }
}

/// G1, G2, G3: repositories whose settings name a command, in a workspace that is collected as after every run.
pub(super) async fn hostile_git(bench: Bench<'_>) -> Vec<(&'static str, Found)> {
    let ids = ["G1", "G2", "G3"];
    let (place, spec) = match hostile_spec(bench) {
        Ok(prepared) => prepared,
        Err(why) => return untried(ids, &why),
    };
    let done = jail::execute(bench.executor, &place, (&spec, &Secrets::new()), std::future::pending()).await;
    if let Err(error) = done {
        return untried(ids, &chain(&error));
    }
    let report = std::fs::read_to_string(place.join("out/result.txt")).unwrap_or_default();
    match CollectReport::parse(&report) {
        Ok(report) if report.changed && report.nested_repositories > 0 => {}
        _ => return untried(ids, "the hostile workspace was not collected"),
    }
    let marked = |id: &'static str| {
        let ran = bench.directory.join(format!("ran-{id}")).exists();
        let held = (CaseResult::Held, "collected; nothing that it names was executed on the host".to_owned());
        (id, if ran { (CaseResult::Open, "what it names was executed on the host".to_owned()) } else { held })
    };
    ids.map(marked).to_vec()
}

/// A workspace as a hostile run could leave it, and the step that collects it.
fn hostile_spec(bench: Bench<'_>) -> Result<(std::path::PathBuf, RunSpec), String> {
    let failed = |error: std::io::Error| error.to_string();
    let objects = bench.directory.join("objects");
    std::fs::create_dir_all(&objects).map_err(failed)?;
    let collect = CollectSpec {
        workspace_at: "/work".into(),
        objects_at: OBJECTS_INSIDE.into(),
        out_at: OUT_INSIDE.into(),
        base: None,
        index_at: None,
        author: Identity::new("orch self test", "run@orch.invalid").map_err(|error| chain(&error))?,
        message: "what a hostile run left".to_owned(),
        at_unix_s: 0,
        format: ObjectFormat::Sha1,
    };
    let work = Jail {
        directory: bench.directory.join("git"),
        name: "hostile-git",
        argv: collect.argv(),
        mounts: vec![ReadOnlyMount { source: objects.canonicalize().map_err(failed)?, target: OBJECTS_INSIDE.into() }],
        with_out: true,
        required_level: Level::None,
    };
    let (place, spec) = jail::spec(work).map_err(|error| chain(&error))?;
    let root = bench.directory.canonicalize().map_err(failed)?;
    let workspace = &spec.workspace;
    std::fs::write(workspace.join("file"), "changed\n").map_err(failed)?;
    std::fs::write(workspace.join(".gitattributes"), "* filter=evil diff=evil\n").map_err(failed)?;
    hostile_repository(&workspace.join(".git"), &root.join("ran-G1")).map_err(failed)?;
    hostile_repository(&workspace.join("elsewhere"), &root.join("ran-G2")).map_err(failed)?;
    std::fs::create_dir_all(workspace.join("linked")).map_err(failed)?;
    std::fs::write(workspace.join("linked/.git"), "gitdir: ../elsewhere\n").map_err(failed)?;
    hostile_repository(&workspace.join("nested/.git"), &root.join("ran-G3")).map_err(failed)?;
    std::fs::write(workspace.join("nested/file"), "nested\n").map_err(failed)?;
    Ok((place, spec))
}

/// The least that git takes for a repository, with every setting that names a command making `mark`.
fn hostile_repository(at: &Path, mark: &Path) -> std::io::Result<()> {
    for directory in ["objects", "refs/heads", "hooks"] {
        std::fs::create_dir_all(at.join(directory))?;
    }
    std::fs::write(at.join("HEAD"), "ref: refs/heads/main\n")?;
    let command = format!("touch {}", mark.display());
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {command}\n\tpager = {command}\n\
         [filter \"evil\"]\n\tclean = {command}\n\trequired = true\n[diff]\n\texternal = {command}\n\
         [diff \"evil\"]\n\ttextconv = {command}\n"
    );
    std::fs::write(at.join("config"), config)
}

/// M4: a run that needs the next level must not start with this one.
pub(super) async fn with_less(bench: Bench<'_>, report: &LevelReport) -> Found {
    let Some(next) = report.level.next() else {
        return (CaseResult::Skipped, "there is nothing that this host does not give".to_owned());
    };
    let work = Jail {
        directory: bench.directory.join("less"),
        name: "less",
        argv: vec!["/bin/true".into()],
        mounts: Vec::new(),
        with_out: false,
        required_level: next,
    };
    match jail::jail(bench.executor, work, std::future::pending()).await {
        Err(JailError::Ended { outcome, .. }) if matches!(*outcome, Outcome::LevelRefused { .. }) => {
            (CaseResult::Held, format!("a run that needs level {next} was refused"))
        }
        Err(error) => (CaseResult::Skipped, format!("could not be tried: {}", chain(&error))),
        Ok(_) => (CaseResult::Open, format!("a run that needs level {next} ran with level {}", report.level)),
    }
}
