//! Sockets that a run finds listening: who can take them, who can reach them, and that nobody is refused meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orch_sandbox::control::{self, ControlError, take_listener};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::run_dir;
use orch_sandbox::spec::{ListenerSpec, Phase, StepSpec};
use orch_sandbox::{Prewarm, SpawnError, Spawner, SpawnerOptions};

use crate::bench::{Bench, PROBE_INSIDE, Run, WAIT, assert_refused, attack, program, sh};
use crate::faults::children_of;

/// A run that finds `model` at a port that anybody may take and `low` at one that needs a right.
fn listening(bench: &Bench, name: &str, steps: Vec<StepSpec>) -> Run {
    let mut run = bench.run(name, steps);
    let listener =
        |name: &str, port, variable: &str| ListenerSpec { name: name.to_owned(), port, variable: variable.to_owned() };
    run.spec.listeners = vec![listener("low", 80, "LOW"), listener("model", 8080, "MODEL")];
    run
}

fn talk(name: &str, phase: Phase, moves: &str) -> StepSpec {
    sh(name, phase, &format!("{PROBE_INSIDE} talk {moves}"))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::try_from(WAIT).unwrap()).unwrap(), 1, "nobody connects");
    let (stream, peer) = listener.accept().unwrap();
    assert!(peer.ip().is_loopback(), "{peer}");
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

/// Takes one connection, reads `asked`, says `said`.
fn serve(listener: &TcpListener, asked: &str, said: &str) {
    let mut stream = accept(listener);
    let mut read = vec![0; asked.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, asked.as_bytes());
    stream.write_all(said.as_bytes()).unwrap();
}

/// All of them are made before anybody takes the listener.
#[test]
fn connections_wait_until_somebody_serves_them() {
    let Some(bench) = Bench::new() else { return };
    let flood = sh("flood", Phase::Main, &format!("exec 3>pipe; exec {PROBE_INSIDE} flood \"$MODEL\" 20 >&3"));
    let run = listening(&bench, "waiting", vec![flood]);
    let mut pipe = run.pipe();
    bench.start(&run);
    assert_eq!(pipe.line(), "Ok(20) connections\n");
    let listener = take_listener(&run.dir, "model").unwrap();
    assert_eq!(listener.local_addr().unwrap().to_string(), "127.0.0.1:8080");
    for _ in 0..20 {
        serve(&listener, "GET http://", "");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// Whoever serves it goes, as a daemon does that is started anew, and somebody else comes; in every step. Each is taken
/// while the sandbox is still being built.
#[test]
fn a_listener_is_taken_again_and_again() {
    let Some(bench) = Bench::new() else { return };
    let both = "\"$MODEL\" '>first' '<one' =end -- \"$MODEL\" '>second' '<two' =end";
    let steps = vec![
        talk("first", Phase::Main, both),
        talk("last", Phase::Always, "\"$LOW\" '>third' '<three' -- 127.0.0.1:8081 '!'"),
    ];
    let run = listening(&bench, "again", steps);
    bench.start(&run);
    let low = take_listener(&run.dir, "low").unwrap();
    let first = take_listener(&run.dir, "model").unwrap();
    serve(&first, "first", "one");
    drop(first);
    serve(&take_listener(&run.dir, "model").unwrap(), "second", "two");
    serve(&low, "third", "three");
    assert_eq!(run.wait().outcome, Outcome::Succeeded, "{}", run.stderr());
    assert_eq!(low.accept().unwrap_err().kind(), ErrorKind::InvalidInput, "it has ended for everybody");
    assert!(matches!(take_listener(&run.dir, "low"), Err(ControlError::NotRunning { .. })));
}

/// In a network that was made ahead, and in one of its own.
#[test]
fn listeners_are_made_in_any_network() {
    let Some(mut bench) = Bench::new() else { return };
    for networks in [0, 2] {
        let options = SpawnerOptions { prewarm: Prewarm { slots: 0, networks }, ..SpawnerOptions::default() };
        bench.spawner = Spawner::start(program(), options).unwrap();
        for (round, low) in [false, true, false, true].into_iter().enumerate() {
            let name = format!("network-{networks}-{round}");
            let mut run = listening(&bench, &name, vec![talk("ask", Phase::Main, "\"$MODEL\" '>ask' '<said' =end")]);
            // One that needs a right over its network makes it itself.
            run.spec.listeners.retain(|listener| low || listener.name == "model");
            bench.start(&run);
            let taken = take_listener(&run.dir, "model");
            assert!(taken.is_ok(), "{taken:?}: {:?}", run.wait().outcome);
            serve(&taken.unwrap(), "ask", "said");
            assert_eq!(run.wait().outcome, Outcome::Succeeded, "{}", run.stderr());
        }
    }
}

/// The same again until a run is given to a shim that waited for it.
#[test]
fn prepared_sandboxes_have_their_listeners() {
    let Some(mut bench) = Bench::new() else { return };
    let options = SpawnerOptions { prewarm: Prewarm { slots: 2, networks: 0 }, ..SpawnerOptions::default() };
    bench.spawner = Spawner::start(program(), options).unwrap();
    let spawner = i32::try_from(bench.spawner.pid().unwrap()).unwrap();
    let deadline = Instant::now() + WAIT;
    for round in 0.. {
        let steps = vec![talk("ask", Phase::Main, "\"$MODEL\" '>ask' '<said' =end -- \"$LOW\" '<low' =end")];
        let run = listening(&bench, &format!("prepared-{round}"), steps);
        let waiting = children_of(spawner);
        let shim = bench.start(&run).pid;
        serve(&take_listener(&run.dir, "model").unwrap(), "ask", "said");
        serve(&take_listener(&run.dir, "low").unwrap(), "", "low");
        assert_eq!(run.wait().outcome, Outcome::Succeeded, "{}", run.stderr());
        if waiting.contains(&shim) {
            return;
        }
        assert!(Instant::now() < deadline, "no sandbox was prepared in {round} rounds");
    }
}

#[test]
fn other_runs_do_not_reach_a_listener() {
    let Some(bench) = Bench::new() else { return };
    let wait = sh("wait", Phase::Main, "exec 3>pipe; echo \"$LOW $MODEL\" >&3; read line < go");
    let run = listening(&bench, "mine", vec![wait]);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    assert_eq!(pipe.line(), "127.0.0.1:80 127.0.0.1:8080\n");
    let other = bench.run("other", vec![talk("try", Phase::Main, "127.0.0.1:80 '!' -- 127.0.0.1:8080 '!'")]);
    assert_eq!(bench.finish(&other).outcome, Outcome::Succeeded, "{}", other.stderr());
    let listener = take_listener(&run.dir, "model").unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

#[test]
fn a_listener_that_is_not_there_is_named() {
    let Some(bench) = Bench::new() else { return };
    let run = listening(&bench, "names", vec![sh("wait", Phase::Main, "read line < go")]);
    let mut gate = run.gate();
    bench.start(&run);
    for name in ["Model", "", "mod\n\"el"] {
        match take_listener(&run.dir, name) {
            Err(ControlError::Refused { reason }) => assert_eq!(reason, format!("the run has no listener `{name}`")),
            other => panic!("{other:?}"),
        }
    }
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    let Err(ControlError::NotRunning { .. }) = take_listener(Path::new("/nonexistent"), "model") else { panic!() };
}

/// Whoever waits for a listener of a run that cannot be built learns that there is no run.
#[test]
fn a_listener_of_a_run_that_fails_is_not_waited_for() {
    let Some(bench) = Bench::new() else { return };
    let run = listening(&bench, "unbuilt", vec![sh("never", Phase::Main, "true")]);
    std::fs::remove_dir(&run.workspace).unwrap();
    bench.start(&run);
    let taken = take_listener(&run.dir, "model");
    assert!(matches!(taken, Err(ControlError::NotRunning { .. } | ControlError::Refused { .. })), "{taken:?}");
    assert!(matches!(run.wait().outcome, Outcome::SetupFailed { .. }));
}

#[test]
fn steps_have_no_descriptor_of_a_listener() {
    let Some(bench) = Bench::new() else { return };
    let mut later = attack("f18", &[]);
    later.name = "later".to_owned();
    assert_refused(&bench, &listening(&bench, "descriptors", vec![attack("f18", &[]), later]));
}

#[test]
fn wrong_listeners_start_nothing() {
    let Some(bench) = Bench::new() else { return };
    let mut run = listening(&bench, "wrong", vec![sh("never", Phase::Main, "true")]);
    let spec = bench.path("spec.json");
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let person = Command::new(program()).arg("run").arg(&spec).output().unwrap();
    let said = String::from_utf8(person.stderr).unwrap();
    assert_eq!(person.status.code(), Some(125), "{said}");
    assert!(said.contains("nobody could serve the `listeners`"), "{said}");
    run.spec.listeners[1].port = 80;
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    match bench.spawner.spawn(&run.dir) {
        Err(SpawnError::Failed { reason }) => assert!(reason.contains("port in `listeners`"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
