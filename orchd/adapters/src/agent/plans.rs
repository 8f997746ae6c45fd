//! An agent that plans: it looks at a checkout that nothing can change, and its last word has the form that is asked for.
//!
//! What it writes elsewhere is thrown away. Its answer is a file that it may have put there itself: a stranger's text, read
//! without following anything, and only as much of it as an answer may have.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use orch_sandbox::level::Level;
use orch_sandbox::spec::{HOME_INSIDE, LeaseSpec, OUT_INSIDE, ReadOnlyMount, RunSpec};

use super::command::{Start, Words, codex_configured, told_by_input};
use super::{AgentJob, AgentKind, Session};
use crate::git::OBJECTS_INSIDE;
use crate::host_tools::{SYSTEM_PATH, ToolSet};
use crate::job::{self, JobLimits, WORKSPACE_INSIDE};

/// The file of its answer, in the directory for results.
const ANSWER_FILE: &str = "answer.json";
/// Where the form of its answer appears inside.
const SCHEMA_INSIDE: &str = "/orch/schema.json";
/// Where it may write what nobody looks at.
const SCRATCH_INSIDE: &str = "/scratch";

/// What such an agent works with.
#[derive(Clone, Copy, Debug)]
pub struct PlanJob<'a> {
    /// For the host name inside.
    pub name: &'a str,
    pub fence: u64,
    pub agent: AgentJob<'a>,
    /// Directories on the host: the files of the base, the objects of the project's repository, a place to write to, and the one
    /// for the answer.
    pub checkout: &'a Path,
    pub objects: &'a Path,
    pub scratch: &'a Path,
    pub out: &'a Path,
    pub tools: &'a ToolSet,
    pub limits: &'a JobLimits,
    pub required_level: Level,
    pub lease: &'a LeaseSpec,
}

/// Describes it to the sandbox.
#[must_use]
pub fn plan_spec(plan: &PlanJob<'_>) -> RunSpec {
    let session = Session::new(&plan.agent, plan.limits.wall_ms);
    let path: Vec<&str> = plan.tools.path.iter().map(String::as_str).chain([SYSTEM_PATH]).collect();
    let env = [
        ("PATH", path.join(":").as_str()),
        ("HOME", HOME_INSIDE),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("CI", "true"),
        ("CARGO_NET_OFFLINE", "true"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        // The index of the checkout cannot be written.
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("ORCH_PURPOSE", "plan"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut mounts = vec![
        ReadOnlyMount { source: plan.checkout.to_owned(), target: WORKSPACE_INSIDE.into() },
        ReadOnlyMount { source: plan.objects.to_owned(), target: OBJECTS_INSIDE.into() },
    ];
    mounts.extend(plan.tools.mounts.iter().cloned());
    mounts.extend(session.mounts);
    RunSpec {
        fence: plan.fence,
        workspace_at: SCRATCH_INSIDE.into(),
        mounts,
        out: Some(plan.out.to_owned()),
        env: BTreeMap::from(env),
        required_level: plan.required_level,
        listeners: session.listener.into_iter().collect(),
        // Nobody waits for it when there is no daemon: its time ends it.
        lease: Some(LeaseSpec { owner: None, ..plan.lease.clone() }),
        ..RunSpec::narrow(plan.name, plan.scratch.to_owned(), vec![session.step], job::limits(plan.limits))
    }
}

/// The answer in the directory for results, as far as `bytes_max` and one byte more; none when there is none.
///
/// # Errors
/// When it is no plain file, or cannot be read.
pub fn plan_answer(out: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    let file = match options.open(answer_in(out)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn answer_in(out: &Path) -> PathBuf {
    out.join(ANSWER_FILE)
}

/// `codex exec` with the form of its last word.
pub(super) fn codex(job: &AgentJob<'_>, schema: &Path) -> Start {
    let answer = answer_in(Path::new(OUT_INSIDE)).display().to_string();
    let mut words: Vec<String> =
        ["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
            .into_iter()
            .chain(["-C", WORKSPACE_INSIDE, "--output-schema", SCHEMA_INSIDE, "-o", &answer])
            .map(ToOwned::to_owned)
            .collect();
    let (configured, env): Words = codex_configured(job.has_channel);
    words.extend(configured);
    words.extend(job.model.into_iter().flat_map(|model| ["-m".to_owned(), model.to_owned()]));
    // The prompt is its standard input.
    words.push("-".into());
    let mut start = told_by_input(job, AgentKind::Codex, (words, env));
    start.mounts.push(ReadOnlyMount { source: schema.to_owned(), target: SCHEMA_INSIDE.into() });
    start
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use orch_sandbox::spec::Egress;

    use super::super::{GATEWAY_PORT, Manner, PROMPT_INSIDE, Program};
    use super::*;

    fn limits() -> JobLimits {
        JobLimits {
            wall_ms: 7_000,
            processes: 64,
            open_files: 256,
            memory_bytes: None,
            total_memory_bytes: Some(1 << 30),
            cpu_millis: None,
            disk_bytes: Some(1 << 30),
            idle_ms: None,
            file_size_bytes: 1 << 20,
            log_bytes_max: 1 << 20,
            tmp_bytes: 1 << 20,
        }
    }

    #[test]
    fn it_sees_the_checkout_changes_nothing_and_reaches_its_model_alone() {
        let program = Program { inside: "/orch/agent/x".into(), mount: None, needs_node: false, real: "/bin/x".into() };
        let agent = AgentJob {
            manner: Manner::Plans { schema: Path::new("/s/schema.json") },
            program: &program,
            model: Some("some-model"),
            prompt: Path::new("/s/prompt.md"),
            has_channel: false,
            resume: None,
        };
        let plan = PlanJob {
            name: "shop-plans",
            fence: 3,
            agent,
            checkout: Path::new("/s/tree"),
            objects: Path::new("/s/repo.git/objects"),
            scratch: Path::new("/s/work"),
            out: Path::new("/s/out"),
            tools: &ToolSet::default(),
            limits: &limits(),
            required_level: Level::Full,
            lease: &LeaseSpec { ttl_ms: 60_000, owner: None },
        };
        let spec = plan_spec(&plan);
        let mounted = |target: &str| spec.mounts.iter().find(|mount| mount.target == Path::new(target));
        let source = |target: &str| mounted(target).unwrap().source.display().to_string();
        assert_eq!([source("/work"), source("/orch/objects")], ["/s/tree", "/s/repo.git/objects"]);
        assert_eq!([source(SCHEMA_INSIDE), source(PROMPT_INSIDE)], ["/s/schema.json", "/s/prompt.md"]);
        assert_eq!((spec.workspace_at.as_path(), spec.out.as_deref()), (Path::new("/scratch"), Some(plan.out)));
        assert!(spec.egress == Egress::None && spec.secrets.is_empty(), "{spec:?}");
        assert_eq!(spec.listeners.iter().map(|listener| listener.port).collect::<Vec<_>>(), [GATEWAY_PORT]);
        let words = &spec.steps[0].argv[3..];
        assert_eq!((words[0].as_str(), words[1].as_str(), words.last().unwrap().as_str()), (PROGRAM, "exec", "-"));
        let said = words.join(" ");
        for part in [
            "-C /work --output-schema /orch/schema.json -o /out/answer.json",
            "--dangerously-bypass-approvals-and-sandbox",
            "-m some-model",
            "http://127.0.0.1:4141/v1",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("mcp_servers"), "it has no channel: {said}");
        spec.check().unwrap();
    }

    const PROGRAM: &str = "/orch/agent/x";

    #[test]
    fn nothing_but_a_plain_file_is_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let (out, answer) = (directory.path(), directory.path().join("answer.json"));
        assert_eq!(plan_answer(out, 9).unwrap(), None);
        symlink("/etc/passwd", &answer).unwrap();
        assert!(plan_answer(out, 9).is_err());
        std::fs::remove_file(&answer).unwrap();
        nix::unistd::mkfifo(&answer, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(plan_answer(out, 9).is_err(), "and nobody waits for who writes to it");
        std::fs::remove_file(&answer).unwrap();
        std::fs::create_dir(&answer).unwrap();
        assert!(plan_answer(out, 9).is_err());
        std::fs::remove_dir(&answer).unwrap();
        std::fs::write(&answer, "0123456789012").unwrap();
        assert_eq!(plan_answer(out, 9).unwrap().unwrap(), b"0123456789");
    }
}
