//! Blueprint `web-api`, built for real: every task is run with plain `sh` on a git repository, merged, and gated.
//!
//! Goal: whatever order a scheduler chooses, changes merge without conflict, the gates are green after every merge, and
//! the finished service does what `verify` says. Method: two builds, one in waves of parallel branches, one strictly
//! sequential in the latest possible order, plus one with the longest names that the parameters allow. No sandbox: what
//! the steps do in one is tested elsewhere.

#![expect(clippy::panic, reason = "what the tests share fails like a test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use orch_core::blueprint::{Blueprint, Call, ParameterEnv, Task, Verify, parse};
use orch_core::recipe::{Key, Step};
use orch_core::toolchain::{RepoFile, detect};
use tempfile::TempDir;

/// Where a step of a sandbox would find its programs too.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Status by which a step says that it failed on purpose.
const ON_PURPOSE: i32 = 75;

fn blueprint_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/blueprints/web-api").canonicalize().expect("shipped")
}

fn blueprint() -> Blueprint {
    let text = fs::read_to_string(blueprint_dir().join("blueprint.yaml")).expect("shipped");
    parse(&text, "blueprint.yaml").unwrap_or_else(|error| panic!("{error} {:?}", error.hint()))
}

/// One repository being built.
struct Build {
    dir: TempDir,
    blueprint: Blueprint,
    parameters: ParameterEnv,
    /// Files that each merged task changed.
    changed: BTreeMap<Key, BTreeSet<String>>,
}

impl Build {
    fn new(given: &[(&str, &str)]) -> Self {
        let blueprint = blueprint();
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let parameters = blueprint.resolve(&given, "Shop stock service").expect("values fit");
        let build =
            Self { dir: TempDir::new().expect("temporary directory"), blueprint, parameters, changed: BTreeMap::new() };
        fs::create_dir(build.main()).expect("new directory");
        build.git(&build.main(), &["init", "-q", "-b", "main"]);
        build.git(&build.main(), &["commit", "-q", "--allow-empty", "-m", "chore: empty"]);
        build
    }

    fn main(&self) -> PathBuf {
        self.dir.path().join("main")
    }

    fn command(&self, program: &str, cwd: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(cwd).env_clear().env("PATH", PATH).env("HOME", self.dir.path()).stdin(Stdio::null());
        command.env("TMPDIR", self.dir.path());
        command.env("PYTHONPYCACHEPREFIX", self.dir.path().join("pycache"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "test").env(format!("GIT_{role}_EMAIL"), "test@example.org");
        }
        command
    }

    fn git(&self, cwd: &Path, args: &[&str]) -> String {
        let output = self.command("git", cwd).args(args).output().expect("git is installed");
        assert!(output.status.success(), "git {args:?}: {}", text_of(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn step(&self, workspace: &Path, step: &Step, attempt: u32) -> Command {
        let mut command = self.command("sh", &workspace.join(step.cwd.as_str()));
        command.args(["-c", &step.run]).env("ORCH_BLUEPRINT", blueprint_dir());
        command.env("ORCH_ATTEMPT", attempt.to_string());
        command.envs(self.parameters.iter().map(|(name, value)| (name.as_str(), value)));
        command.envs(step.env.iter().map(|(name, value)| (name.as_str(), value)));
        command
    }

    /// Runs the steps of a task on a clone of `main` as it is now, again if the first attempt fails on purpose, and
    /// commits what they leave.
    fn work(&self, task: &Task) -> PathBuf {
        for attempt in 1..=2 {
            let workspace = self.dir.path().join(format!("{}-{attempt}", task.key));
            let target = workspace.to_str().expect("temporary paths are text");
            self.git(self.dir.path(), &["clone", "-q", "main", target]);
            let failed = task.steps.iter().find_map(|step| {
                let output = self.step(&workspace, step, attempt).output().expect("sh is there");
                (!output.status.success()).then_some((step, output))
            });
            match failed {
                None => {
                    self.git(&workspace, &["add", "-A"]);
                    self.git(&workspace, &["commit", "-q", "-m", &format!("feat: {}", task.title)]);
                    return workspace;
                }
                Some((_, output)) if attempt == 1 && output.status.code() == Some(ON_PURPOSE) => {
                    assert!(text_of(&output).contains("on purpose"), "{}", text_of(&output));
                }
                Some((step, output)) => panic!("{} / {}: {}", task.key, step.name, text_of(&output)),
            }
        }
        panic!("{} failed on purpose twice", task.key)
    }

    /// Merges a finished task into `main` as one commit and runs the gates there.
    fn merge(&mut self, task: &Task, workspace: &Path) {
        let main = self.main();
        let source = workspace.to_str().expect("temporary paths are text");
        self.git(&main, &["fetch", "-q", source, "HEAD"]);
        self.git(&main, &["merge", "-q", "--squash", "FETCH_HEAD"]);
        self.git(&main, &["commit", "-q", "-m", &format!("feat: {}", task.title)]);
        let files = self.git(&main, &["show", "--format=", "--name-only", "HEAD"]);
        self.changed.insert(task.key.clone(), files.lines().map(str::to_owned).collect());
        self.gates(&task.key);
    }

    fn gates(&self, after: &Key) {
        for gate in &self.blueprint.gates {
            let output = self.step(&self.main(), gate, 1).output().expect("sh is there");
            assert!(output.status.success(), "gate {} after {after}: {}", gate.name, text_of(&output));
        }
        assert_eq!(self.git(&self.main(), &["status", "--porcelain"]), "", "gates leave files after {after}");
    }

    /// Builds in waves: all tasks that could start are worked on from the same `main`, then merged one by one.
    fn in_waves(&mut self) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            let ready: Vec<Task> = self.blueprint.tasks.iter().filter(|task| self.is_ready(task)).cloned().collect();
            if ready.is_empty() {
                return sizes;
            }
            sizes.push(ready.len());
            let done: Vec<(Task, PathBuf)> = ready.into_iter().map(|task| (task.clone(), self.work(&task))).collect();
            for (task, workspace) in done {
                self.merge(&task, &workspace);
            }
        }
    }

    /// Builds one task after the other, of those that could start always the one written last.
    fn one_by_one_backwards(&mut self) {
        while let Some(task) = self.blueprint.tasks.iter().rev().find(|task| self.is_ready(task)).cloned() {
            let workspace = self.work(&task);
            self.merge(&task, &workspace);
        }
    }

    fn is_ready(&self, task: &Task) -> bool {
        !self.changed.contains_key(&task.key) && task.needs.iter().all(|need| self.changed.contains_key(need))
    }

    /// Whether `task` comes after `other` in every order.
    fn depends(&self, task: &Key, other: &Key) -> bool {
        let needs = &self.blueprint.task(task).expect("a task of the blueprint").needs;
        needs.iter().any(|need| need == other || self.depends(need, other))
    }
}

fn text_of(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

#[test]
fn parallel_branches_merge_and_the_service_works() {
    let mut build = Build::new(&[("service", "shop"), ("port", "8080"), ("demo_fail_once", "yes")]);
    let waves = build.in_waves();
    assert_eq!(build.changed.len(), build.blueprint.tasks.len());
    assert!(waves.iter().any(|size| *size >= 3), "three can run side by side: {waves:?}");

    // Side by side means never the same file, and one change alone touches a protected path.
    for (task, files) in &build.changed {
        for (other, others) in &build.changed {
            if task != other && !build.depends(task, other) && !build.depends(other, task) {
                assert!(files.is_disjoint(others), "{task} and {other} write the same file");
            }
        }
    }
    let is_protected = |file: &String| build.blueprint.protected_paths.iter().any(|glob| glob.matches(file));
    let protected = build.changed.iter().filter(|(_, files)| files.iter().any(is_protected));
    assert_eq!(protected.map(|(task, _)| task.as_str()).collect::<Vec<_>>(), ["ci-workflow"]);

    let verify = build.blueprint.verify.clone().expect("the blueprint says how to verify");
    let service = Service::start(&build, &verify);
    for call in &verify.calls {
        service.check(&build, call);
    }
    service.stop();
}

#[test]
fn another_valid_order_is_green_too() {
    let mut build = Build::new(&[]);
    build.one_by_one_backwards();
    assert_eq!(build.changed.len(), build.blueprint.tasks.len());
}

/// The longest names, with a dash and a vowel, must not break the source rules.
#[test]
fn longest_names_pass_the_gates() {
    let mut build = Build::new(&[("service", "an-exceedingly-long-name"), ("resource", "abcdefghijklmnop")]);
    for task in build.blueprint.order() {
        let output = build.step(&build.main(), &task.steps[0], 1).output().expect("sh is there");
        assert!(output.status.success(), "{}: {}", task.key, text_of(&output));
    }
    build.git(&build.main(), &["add", "-A"]);
    build.git(&build.main(), &["commit", "-q", "-m", "feat: all"]);
    // The tests run below, as the detected toolchain has them.
    build.blueprint.gates.retain(|gate| gate.name != "test");
    build.gates(&build.blueprint.name);

    // What is detected from the files of the result runs on them as well.
    let main = build.main();
    let listed = build.git(&main, &["ls-files"]);
    let size_of = |path: &str| fs::metadata(main.join(path)).expect("listed").len();
    let files: Vec<RepoFile> =
        listed.lines().map(|path| RepoFile { path: path.to_owned(), size: size_of(path) }).collect();
    let found = detect(&files, &|path| fs::read(main.join(path)).ok());
    let names: Vec<&str> = found.iter().map(|toolchain| toolchain.name.as_str()).collect();
    assert_eq!((names, found[0].vendored), (vec!["python", "make"], true));
    for step in [&found[0].build, &found[0].test] {
        let output = build.step(&main, step.as_ref().expect("known"), 1).output().expect("sh is there");
        assert!(output.status.success(), "{}", text_of(&output));
    }
}

/// What the loader lets through, `render.py` checks again: it may be run by hand.
#[test]
fn renderer_refuses_what_does_not_fit() {
    let build = Build::new(&[]);
    let render = |task: &str, variable: &str, value: &str| {
        let mut command = build.command("python3", &build.main());
        command.arg(blueprint_dir().join("render.py")).arg(task).env(variable, value);
        let output = command.output().expect("python3 is installed");
        (output.status.code(), text_of(&output))
    };
    for (variable, value) in [
        ("ORCH_PARAM_SERVICE", "a;b"),
        ("ORCH_PARAM_SERVICE", "tests"),
        ("ORCH_PARAM_SERVICE", "x\n"),
        ("ORCH_PARAM_RESOURCE", "order"),
        ("ORCH_PARAM_RESOURCE", "Item"),
        ("ORCH_PARAM_PORT", "80"),
    ] {
        let (code, text) = render("scaffold", variable, value);
        assert!(code == Some(1) && text.contains("render: "), "{variable}={value}: {text}");
    }
    assert_eq!(render("../../x", "X", "").0, Some(1));
    assert_eq!(build.git(&build.main(), &["status", "--porcelain"]), "");
    assert_eq!(render("scaffold", "X", "").0, Some(0));
    fs::write(build.main().join("pyproject.toml"), "mine").expect("writable");
    let (code, text) = render("scaffold", "X", "");
    assert!(code == Some(1) && text.contains("exists already"), "{text}");
}

/// The finished service as `verify` starts it.
struct Service {
    child: Child,
    port: u16,
    /// Lines of its log. Held to the end: a service whose log nobody reads any more cannot end well.
    log: mpsc::Receiver<String>,
}

impl Service {
    fn start(build: &Build, verify: &Verify) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let mut command = build.step(&build.main(), &verify.start, 1);
        let mut child =
            command.env("PORT", port.to_string()).stderr(Stdio::piped()).spawn().expect("the service starts");
        let pipe = BufReader::new(child.stderr.take().expect("piped"));
        let (lines, log) = mpsc::channel();
        // Reading ends when the service ends and its pipe closes.
        std::thread::spawn(move || pipe.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let service = Self { child, port, log };
        let mut seen = String::new();
        // Each line of the log is a reason to ask whether it is ready.
        while service.call("GET", &verify.ready_path, &[], "").is_none_or(|(status, _)| status != 200) {
            let wait = Duration::from_millis(verify.ready_timeout_ms);
            let line = service.log.recv_timeout(wait).unwrap_or_else(|_| panic!("the service is not ready: {seen}"));
            seen.push_str(&line);
        }
        service
    }

    /// One request over a connection of its own; `None` when nobody listens.
    fn call(&self, method: &str, path: &str, headers: &[(String, String)], body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout above zero");
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n", body.len());
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    fn check(&self, build: &Build, call: &Call) {
        let path = call.path_with(&build.blueprint.parameters, &build.parameters);
        let body = call.body.as_deref().unwrap_or_default();
        let (status, answer) = self.call(&call.method, &path, &call.headers, body).expect("the service answers");
        assert_eq!(status, call.expect_status, "{} {path}: {answer}", call.method);
        let wanted = call.expect_contains.as_deref().unwrap_or_default();
        assert!(answer.contains(wanted), "{} {path}: no `{wanted}` in {answer}", call.method);
    }

    /// Asks it to end, as the verify stage does, and expects that it ends well.
    fn stop(mut self) {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(kill.expect("sh is there").success());
        assert!(self.child.wait().expect("a child of ours").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
