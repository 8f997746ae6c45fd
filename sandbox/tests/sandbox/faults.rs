//! What is left when somebody dies at the worst moment, and what stays the same however often a run is made.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Pid;
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::log::Stream;
use orch_sandbox::run_dir::{CONTROL_FILE, Liveness, inspect};
use orch_sandbox::spec::Phase;
use orch_sandbox::{Prewarm, SpawnError, Spawner, SpawnerOptions, control, run_dir};

use crate::bench::{Bench, PROBE_INSIDE, WAIT, attack, program, sh, step};
use crate::cases::{Need, skipped};

/// Waits until `holds` says so; looks again and again, because nothing tells.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + WAIT;
    while let Err(seen) = holds() {
        assert!(Instant::now() < deadline, "{what}: {seen}");
        std::thread::yield_now();
    }
}

/// Every process whose parent is `parent`, by the kernel's own list.
pub(crate) fn children_of(parent: i32) -> BTreeSet<i32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A process and all below it, as far as can be seen now.
pub(crate) fn family_of(pid: i32) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([pid]);
    let mut new = vec![pid];
    while let Some(pid) = new.pop() {
        new.extend(children_of(pid).into_iter().filter(|child| family.insert(*child)));
    }
    family
}

/// Sandboxes that wait are processes, too, which would be taken for those of runs here.
pub(crate) fn without_slots() -> SpawnerOptions {
    SpawnerOptions { prewarm: Prewarm { slots: 0, networks: 0 }, ..SpawnerOptions::default() }
}

pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z") && !rest.starts_with(" X"))
}

/// A spawner that does not answer keeps one start waiting for a bounded time, and is replaced.
#[test]
fn a_spawner_that_hangs_is_replaced() {
    let Some(bench) = Bench::new() else { return };
    let spawner = Spawner::start(program(), without_slots()).unwrap();
    let stopped = spawner.pid().unwrap();
    kill(Pid::from_raw(i32::try_from(stopped).unwrap()), Signal::SIGSTOP).unwrap();
    let run = bench.shell("hangs", "true");
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    assert!(matches!(spawner.spawn(&run.dir), Err(SpawnError::Exchange(_))));
    assert_eq!(inspect(&run.dir, 1).unwrap(), Liveness::NotStarted);
    drop(spawner.spawn(&run.dir).unwrap());
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_ne!(spawner.pid().unwrap(), stopped);
}

/// A spawner of its own is killed with its shim, one of them or both, at all moments of a start: nothing of the run stays,
/// and what became of it can be told.
#[test]
fn m1_whoever_is_killed_at_whatever_moment_nothing_is_left() {
    let Some(bench) = Bench::new() else { return };
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    let mut told = [0; 4];
    for round in 0..200_u64 {
        let run = bench.shell(&format!("m1-{round}"), "exec 3>pipe; echo ready >&3; read line < go");
        let _pipe = run.pipe();
        let _gate = run.gate();
        run_dir::prepare(&run.dir, &run.spec).unwrap();
        let spawner = Spawner::start(program(), without_slots()).unwrap();
        let pid = i32::try_from(spawner.pid().unwrap()).unwrap();
        let seen = std::thread::scope(|scope| {
            let starter = scope.spawn(|| drop(spawner.spawn(&run.dir)));
            // Moments spread over what a start takes, in an order of their own; the wait is for that moment only.
            let moment = Instant::now() + Duration::from_micros(round * 7919 % 20_000);
            let mut seen = BTreeSet::new();
            while Instant::now() < moment {
                seen.extend(family_of(pid));
            }
            seen.extend(family_of(pid));
            let shims: Vec<i32> = children_of(pid).into_iter().collect();
            let victims = match round % 3 {
                0 => vec![pid],
                1 => shims,
                _ => [vec![pid], shims].concat(),
            };
            for victim in victims {
                seen.extend(family_of(victim));
                // It may have ended by itself.
                let _gone_already = kill(Pid::from_raw(victim), Signal::SIGKILL);
            }
            starter.join().unwrap();
            seen
        });
        // A shim that lives on is what a killed spawner leaves; it ends when it is asked to.
        drop(control::cancel(&run.dir));
        drop(control::cancel(&run.dir));
        drop(spawner);
        wait_until("nobody holds the lock", || {
            let what = match inspect(&run.dir, 1) {
                Ok(Liveness::Running { .. }) => {
                    drop(control::cancel(&run.dir));
                    return Err("a shim is alive".to_owned());
                }
                // It may be about to start, which whoever gives it up prevents.
                Ok(Liveness::NotStarted) => match run_dir::forestall(&run.dir, 1) {
                    Ok(true) => 0,
                    other => return Err(format!("{other:?}")),
                },
                Ok(Liveness::Lost) => 1,
                Ok(Liveness::Exited(record)) if record.outcome == Outcome::Cancelled => 2,
                Ok(Liveness::Exited(_)) => 3,
                // Its lock is gone and its process is not, for a moment.
                Ok(Liveness::Unseen { .. }) => return Err("a shim is ending".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            told[what] += 1;
            Ok(())
        });
        let own = i32::try_from(std::process::id()).unwrap();
        wait_until("everybody is dead", || {
            let left: Vec<_> = seen.iter().filter(|pid| **pid != own && lives(**pid)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("round {round}: {left:?}")) }
        });
        orch_sandbox::remove_tree(&run.workspace).unwrap();
    }
    assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), mounts, "{told:?}");
    assert!(told[1] > 0 && told[2] > 0, "every moment was the same: {told:?}");
}

/// Slots and namespaces are used once: no two runs share one.
#[test]
fn m3_no_two_runs_share_a_namespace() {
    let Some(bench) = Bench::new() else { return };
    let mut seen = BTreeSet::new();
    for link in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        seen.insert(fs::read_link(format!("/proc/self/ns/{link}")).unwrap().display().to_string());
    }
    let script = format!("exec 3>pipe; {PROBE_INSIDE} namespaces; echo ready >&3; read line < go");
    let runs: Vec<_> = (0..4)
        .map(|index| {
            let run = bench.shell(&format!("m3-{index}"), &script);
            let (mut pipe, gate) = (run.pipe(), run.gate());
            bench.start(&run);
            // They live side by side: numbers of what is gone may come again.
            pipe.line();
            (run, pipe, gate)
        })
        .collect();
    for (run, _pipe, mut gate) in runs {
        gate.open("");
        assert_eq!(run.wait().outcome, Outcome::Succeeded);
        let names: Vec<_> = run.stdout().lines().map(str::to_owned).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        for name in names {
            assert!(seen.insert(name.clone()), "{name} is shared");
        }
    }
}

/// Namespaces of the network in the kernel, as far as its allocator says.
fn network_namespaces() -> Option<u64> {
    let table = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = table.lines().find(|line| line.starts_with("net_namespace "))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn r6_nothing_grows_with_the_number_of_runs() {
    let Some(mut bench) = Bench::new() else { return };
    bench.spawner = Spawner::start(program(), without_slots()).unwrap();
    let spawner = i32::try_from(bench.spawner.pid().unwrap()).unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{spawner}/fd")).map(Iterator::count).ok();
    let round = |name: String| {
        let run = bench.run(&name, vec![step("main", Phase::Main, &["true"])]);
        assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    };
    round("r6-first".to_owned());
    let (open, namespaces) = (descriptors(), network_namespaces());
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    for index in 0..60 {
        round(format!("r6-{index}"));
    }
    // It looks at itself when it is quiet, with a descriptor of the moment.
    wait_until("descriptors are closed", || match descriptors() {
        now if now > open => Err(format!("{open:?} before, {now:?} now")),
        _ => Ok(()),
    });
    assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), mounts);
    wait_until("no shim is left", || {
        let left = children_of(spawner);
        if left.iter().all(|pid| !lives(*pid)) { Ok(()) } else { Err(format!("{left:?}")) }
    });
    match namespaces {
        // Other tests have a few at the same time, and the kernel frees them when it finds the time.
        Some(before) => wait_until("network namespaces are freed", || match network_namespaces() {
            Some(now) if now > before + 30 => Err(format!("{before} before, {now} now")),
            _ => Ok(()),
        }),
        None => skipped("R6", Need::SlabTable),
    }
}

/// Descriptors that somebody sends to a shim are closed, whether the message is a good one or not.
#[test]
fn i4_descriptors_sent_to_a_shim_are_closed() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("i4", "exec 3>pipe; echo ready >&3; read line < go");
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    let directory = fs::File::open(&run.dir).unwrap();
    let path = format!("/proc/self/fd/{}/{CONTROL_FILE}", directory.as_raw_fd());
    for message in [b"{\"command\":\"status\"}\n".as_slice(), b"rubbish\n", b"half of a"] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut stream = UnixStream::connect(Path::new(&path)).unwrap();
        let fds = [writer.as_raw_fd(); 64];
        let slices = [std::io::IoSlice::new(message)];
        sendmsg::<()>(stream.as_raw_fd(), &slices, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)
            .unwrap();
        drop(writer);
        // The shim has read the message when it answers the next one; then nobody holds the pipe any more.
        stream.write_all(b"\n{\"command\":\"status\"}\n").unwrap();
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::try_from(WAIT).unwrap()).unwrap(), 1);
        assert!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP), "{message:?} is kept");
    }
    assert!(control::status(&run.dir).is_ok());
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// A person at a terminal: the run is not in its session.
#[test]
fn p8_the_terminal_of_a_person_is_not_the_runs() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("p8-person", vec![attack("p8", &[])]);
    let spec = bench.path("spec.json");
    fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let slave = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = Command::new(program());
    command.arg("run").arg(&spec).stdin(slave()).stdout(slave()).stderr(Stdio::piped());
    let own_session = || {
        nix::unistd::setsid()?;
        // SAFETY: a plain number; standard input becomes the controlling terminal.
        nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
        Ok(())
    };
    // SAFETY: between fork and execution only two system calls are made.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, own_session) };
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Nothing of the shim's own is left when it ends, and nothing is left of what the run made by name.
#[test]
fn p6_orphans_in_sessions_of_their_own_die_with_the_run() {
    let Some(bench) = Bench::new() else { return };
    let script =
        "exec 3>pipe; for i in 1 2 3; do (setsid sh -c 'setsid sleep 1000 & sleep 1000' &); done; echo ready >&3";
    let run = bench.run("p6", vec![sh("leave", Phase::Main, script)]);
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.output(Stream::Stdout, 0), b"");
}
