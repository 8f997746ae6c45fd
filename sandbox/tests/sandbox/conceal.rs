//! Values that a living run is given: they are taken out of its log from then on, and nobody else gets anything into its shim.

use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use orch_sandbox::control::{self, ControlError};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::run_dir::CONTROL_FILE;
use orch_sandbox::spec::{SecretDelivery, SecretSpec};
use orch_sandbox::{Secrets, secrets};

use crate::bench::{Bench, Run};
use crate::faults::wait_until;

const FIRST: &str = "swordfish-of-the-start";
const TOKEN: &str = "hunter22-of-the-run";
const OTHER: &str = "hunter33-of-the-run";
const CONCEAL: &str = "{\"command\":\"conceal\"}\n";
const STATUS: &str = "{\"command\":\"status\"}\n";

fn token(value: &str) -> Secrets {
    let mut secrets = Secrets::new();
    secrets.insert("token", value.into()).unwrap();
    secrets
}

/// What was written before stays; what comes after is free of the values, however it is cut and spelled, and of those before.
#[test]
fn s3_values_that_a_run_is_given_later_are_not_in_its_log() {
    let Some(bench) = Bench::new() else { return };
    let script = r#"exec 3>pipe; read v < go; echo "before $v"; echo ready >&3
        read v < go; echo "line $v"; printf 'code '; printf %s "x$v" | base64
        printf %s "$v" | head -c 6; printf %s "$FIRST" | head -c 6 >&2; echo ready >&3
        read w < go; printf %s "$v" | tail -c +7; echo; printf %s "$FIRST" | tail -c +7 >&2; echo "$w, $v, $FIRST""#;
    let mut run = bench.shell("later", script);
    run.spec.secrets = vec![SecretSpec { name: "first".into(), delivery: SecretDelivery::Env("FIRST".into()) }];
    let mut first = Secrets::new();
    first.insert("first", FIRST.into()).unwrap();
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start_with(&run, &first);
    gate.open(TOKEN);
    pipe.line();
    wait_until("what was written is in the log", || match run.stdout() {
        said if said.ends_with('\n') => Ok(()),
        said => Err(said),
    });
    control::conceal(&run.dir, &token(TOKEN)).unwrap();
    // Once more is nothing new.
    control::conceal(&run.dir, &token(TOKEN)).unwrap();
    gate.open(TOKEN);
    pipe.line();
    // While the first part of a value waits for its rest, in two streams.
    control::conceal(&run.dir, &token(OTHER)).unwrap();
    gate.open(OTHER);
    assert_eq!(run.wait().outcome, Outcome::Succeeded, "{}", run.stderr());
    let stdout = run.stdout();
    let [before, line, code, cut, all] = stdout.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(before, format!("before {TOKEN}"));
    assert_eq!(
        [line, cut, all],
        ["line [secret token]", "[secret token]", "[secret token], [secret token], [secret first]"]
    );
    assert!(code.starts_with("code ") && code.contains("[secret token]") && code.len() < 30, "{code}");
    assert_eq!(run.stderr(), "[secret first]");
}

/// It is taken out of what a run without any secret says, too, and while it stands still.
#[test]
fn s3_a_run_that_stands_still_goes_on_without_the_value() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("still", "exec 3>pipe; echo ready >&3; read v < go; echo \"it is $v\"");
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    run.stand_still();
    control::conceal(&run.dir, &token(TOKEN)).unwrap();
    gate.open(TOKEN);
    control::resume(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "it is [secret token]\n");
    assert!(matches!(control::conceal(&run.dir, &token(OTHER)), Err(ControlError::NotRunning { .. })));
}

#[test]
fn more_than_a_shim_can_hold_is_refused_and_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("much", "exec 3>pipe; echo ready >&3; read v < go; echo \"it is $v\"");
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    control::conceal(&run.dir, &token(TOKEN)).unwrap();
    let large = |round: u8| token(&char::from(b'a' + round).to_string().repeat(secrets::VALUES_BYTES_MAX));
    for round in 0..3 {
        control::conceal(&run.dir, &large(round)).unwrap();
    }
    match control::conceal(&run.dir, &large(3)) {
        Err(ControlError::Refused { reason }) => assert!(reason.contains("since its start"), "{reason}"),
        other => panic!("{other:?}"),
    }
    gate.open(TOKEN);
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "it is [secret token]\n");
}

/// Sends a line with descriptors; the answer.
fn asked(run: &Run, line: &str, descriptors: &[BorrowedFd<'_>]) -> String {
    let stream = UnixStream::connect(run.dir.join(CONTROL_FILE)).unwrap();
    let raw: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let line = [IoSlice::new(line.as_bytes())];
    sendmsg::<()>(stream.as_raw_fd(), &line, control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

/// What is no sealed memory file is refused, and no descriptor stays, whatever it came with and however many there were.
#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("descriptors", "exec 3>pipe; echo ready >&3; read line < go");
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    let shim = bench.start(&run);
    pipe.line();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", shim.pid)).map(Iterator::count).ok();
    let before = open();
    let unsealed = memfd_create(c"secrets", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let sealed = token(TOKEN).seal().unwrap();
    for (descriptors, reason) in [
        (vec![], "no values came with the request"),
        (vec![file.as_fd()], "is no sealed memory file"),
        (vec![unsealed.as_fd()], "is no sealed memory file"),
        (vec![sealed.as_fd(), sealed.as_fd()], "no values came with the request"),
        (vec![sealed.as_fd(); 253], "no values came with the request"),
    ] {
        let answer = asked(&run, CONCEAL, &descriptors);
        assert!(answer.contains("refused") && answer.contains(reason), "{answer}");
        assert!(asked(&run, STATUS, &descriptors).contains("\"answer\":\"status\""));
        assert!(asked(&run, "{\"command\":\"hide\"}\n", &descriptors).contains("not understood"));
    }
    // It belongs to the first line that becomes whole, which is not the one that wants it.
    let both = format!("{STATUS}{CONCEAL}");
    assert!(asked(&run, &both, &[sealed.as_fd()]).contains("\"answer\":\"status\""));
    // And a line that never becomes whole takes it along.
    let half = UnixStream::connect(run.dir.join(CONTROL_FILE)).unwrap();
    let rights = [sealed.as_fd().as_raw_fd()];
    let half_line = [IoSlice::new(b"{\"command\":")];
    sendmsg::<()>(half.as_raw_fd(), &half_line, &[ControlMessage::ScmRights(&rights)], MsgFlags::empty(), None)
        .unwrap();
    drop(half);
    match before {
        Some(before) => wait_until("descriptors are closed", || match open() {
            Some(now) if now > before => Err(format!("{before} before, {now} now")),
            _ => Ok(()),
        }),
        None => eprintln!("skipped: only root may look into a shim"),
    }
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// A daemon is newer than the shims that it finds.
#[test]
fn a_shim_that_does_not_know_the_request_is_told_from_one_that_refuses() {
    let place = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(place.path().join(CONTROL_FILE)).unwrap();
    let answers = ["not understood: unknown variant `conceal`", "it does not want to"];
    let shim = std::thread::spawn(move || {
        for reason in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, CONCEAL);
            writeln!(stream, "{{\"answer\":\"refused\",\"reason\":\"{reason}\"}}").unwrap();
        }
    });
    let ask = || control::conceal(place.path(), &token(TOKEN));
    assert!(matches!(ask(), Err(ControlError::Unknown)));
    assert!(matches!(ask(), Err(ControlError::Refused { .. })));
    shim.join().unwrap();
}
