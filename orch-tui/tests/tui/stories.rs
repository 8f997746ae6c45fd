//! What a person sees and does.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_proto::request::{Decision, Request};
use orch_proto::view::TaskState;

use crate::fake::Fake;
use crate::samples::{Samples, run_id};
use crate::terminal::{PATIENCE, Terminal};

fn daemon(directory: &tempfile::TempDir) -> Fake {
    Fake::start(&directory.path().join("orchd.sock"), Samples::default())
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_task_moves_and_its_log_is_followed() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("IN PROGRESS 3");
    terminal.wait_for("test_errors_are_json ... ok");
    fake.log(run_id(3), "all 12 tests passed");
    terminal.wait_for("all 12 tests passed");
    fake.change(|world| world.tasks[1].state = TaskState::Done);
    // The board goes on to what runs still; a person goes after the task.
    terminal.wait_for("IN PROGRESS 2");
    terminal.press("llj");
    terminal.wait_for("DONE 3");
    terminal.wait_for(">T-2");
    terminal.press("L");
    terminal.wait_for("[Log]");
    fake.log(run_id(3), "a line while the run is looked at");
    terminal.wait_for("a line while the run is looked at");
    terminal.press("/12 tests\r");
    terminal.wait_for("`12 tests` 1 lines");
    terminal.press("q");
    terminal.wait_for("DONE 3");
    terminal.press("q");
    assert_eq!(terminal.wait_exit().exit_code(), 0);
    terminal.assert_given_back();
}

#[test]
fn an_approval_is_given_from_the_inbox_and_not_by_keys_typed_ahead() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("Inbox(3)");
    terminal.press("a");
    terminal.wait_for("dossier shop/A-3");
    terminal.press("Ayyy");
    // What was typed with the `A` is thrown away or comes too soon: the question stands there, unanswered.
    terminal.wait_for("y approve");
    assert_eq!(fake.world().requests, []);
    terminal.press("y");
    terminal.wait_for("approved shop/A-3");
    terminal.wait_for("Inbox(2)");
    let decided = fake.world().requests.clone();
    let [Request::ApprovalDecide { decision: Decision::Approve, digest: Some(digest), .. }] = &decided[..] else {
        panic!("{decided:?}");
    };
    assert_eq!(*digest, "9c1e".repeat(16));
}

#[test]
fn something_is_said_to_a_task_and_read_in_its_thread() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for(">T-2");
    terminal.press("\r");
    terminal.wait_for("nothing so far");
    terminal.press("M");
    terminal.wait_for("nothing to say yet");
    terminal.press("use the other port\n");
    terminal.press("\x1b[200~and say so\rX\x1b[201~");
    terminal.wait_for("and say so");
    terminal.press("\r");
    terminal.wait_for("said to shop/T-2; the next attempt is told");
    terminal.wait_for("told with each attempt after it");
    let requests = fake.world().requests.clone();
    let [Request::TaskSay { text, .. }] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(text, "use the other port\nand say so\nX");
    terminal.press("\x1b");
    terminal.wait_for("IN PROGRESS 3");
}

#[test]
fn what_is_asked_about_changes_while_the_question_is_open() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("Inbox(3)");
    terminal.press("a");
    terminal.wait_for("dossier shop/A-3");
    terminal.press("A");
    terminal.wait_for("y approve");
    fake.change(|world| world.approvals[0].digest = "beef".repeat(16));
    terminal.wait_for("changed since it was shown");
    assert_eq!(fake.world().requests, []);
}

#[test]
fn the_program_outlives_its_daemon() {
    let directory = directory();
    let mut fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("test_errors_are_json ... ok");
    fake.stop();
    let screen = terminal.wait_for("reconnecting");
    assert!(screen.contains("test_errors_are_json"), "what was known stays: {screen}");
    fake.log(run_id(3), "written while nobody was connected");
    fake.listen();
    terminal.wait_for("orchd ok");
    terminal.wait_for("written while nobody was connected");
    let screen = terminal.wait_for("8 lines");
    assert_eq!(screen.matches("test_errors_are_json").count(), 1, "no line comes twice: {screen}");
    terminal.press("q");
    assert_eq!(terminal.wait_exit().exit_code(), 0);
}

#[test]
fn the_first_frame_does_not_wait_for_a_daemon() {
    let directory = directory();
    let socket = directory.path().join("orchd.sock");
    let mut terminal = Terminal::start(&socket);
    terminal.wait_for("no daemon answers");
    let fake = Fake::start(&socket, Samples::default());
    terminal.press("r");
    terminal.wait_for("IN PROGRESS 3");
    drop(fake);
}

#[test]
fn a_daemon_of_another_version_is_named() {
    let directory = directory();
    let socket = directory.path().join("orchd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // As often as the program asks, so that nothing else is shown before the test has looked.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let answered = stream.read_exact(&mut [0; 4]).and_then(|()| stream.write_all(b"orch 99 9.9.9 ok\n"));
            if answered.is_err() {
                return;
            }
        }
    });
    let terminal = Terminal::start(&socket);
    terminal.wait_for("version mismatch");
    terminal.wait_for("9.9.9 (protocol 99)");
}

/// Goal: a daemon that can be connected to and does not answer yet, as one that starts on a busy machine, is waited for, and
/// that is said. Method: nobody takes the connection.
#[test]
fn a_daemon_that_says_nothing_yet_is_waited_for() {
    let directory = directory();
    let socket = directory.path().join("orchd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let terminal = Terminal::start(&socket);
    terminal.wait_for("waiting for orchd");
    // Longer than it takes a daemon that is not there to be given up.
    let late = |screen: &str| (6..30).any(|seconds| screen.contains(&format!("orchd has said nothing for {seconds}s")));
    terminal.wait_until("more than 5 s", late);
    drop(listener);
    let fake = Fake::start(&socket, Samples::default());
    terminal.wait_for("IN PROGRESS 3");
    drop(fake);
}

#[test]
fn signals_give_the_terminal_back() {
    let directory = directory();
    let fake = daemon(&directory);
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let mut terminal = Terminal::start(&fake.socket);
        terminal.wait_for("IN PROGRESS 3");
        kill(Pid::from_raw(terminal.pid()), signal).unwrap();
        assert_eq!(terminal.wait_exit().exit_code(), code, "{signal}");
        terminal.assert_given_back();
    }
}

#[test]
fn a_stopped_program_comes_back_with_its_screen() {
    let directory = directory();
    let fake = daemon(&directory);
    let terminal = Terminal::start_shell("set -m; \"$TUI\" || echo suspended; fg; echo over", &fake.socket);
    assert_comes_back(terminal);
}

/// Goal: the shell gets the terminal also when it waits for what has started the program, such as a script.
#[test]
fn a_stopped_program_stops_what_has_started_it() {
    let directory = directory();
    let fake = daemon(&directory);
    let line = "set -m; sh -c '\"$TUI\"; exit $?' || echo suspended; fg; echo over";
    assert_comes_back(Terminal::start_shell(line, &fake.socket));
}

/// Goal: a program that nobody would have continue is not stopped, as one that a terminal or `ssh` has started itself.
#[test]
fn a_program_without_a_shell_is_not_suspended() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("IN PROGRESS 3");
    terminal.press("\x1a");
    terminal.wait_for("no shell is there");
    kill(Pid::from_raw(terminal.pid()), Signal::SIGTSTP).unwrap();
    terminal.press("5");
    terminal.wait_for("critical path");
    terminal.press("qq");
    assert_eq!(terminal.wait_exit().exit_code(), 0);
}

fn assert_comes_back(mut terminal: Terminal) {
    let enters = "\x1b[?1049h";
    terminal.wait_for("IN PROGRESS 3");
    terminal.press("\x1a");
    // The shell sees the stop, says so on its own screen, and continues the program at once.
    terminal.wait_for_bytes(enters, 2);
    terminal.press("5");
    terminal.wait_for("critical path");
    terminal.press("qq");
    terminal.wait_exit();
    let output = String::from_utf8_lossy(&terminal.all_output()).into_owned();
    assert!(output.contains("suspended") && output.contains("over"), "{output}");
    assert_eq!((output.matches(enters).count(), output.matches("\x1b[?1049l").count()), (2, 2), "one time each");
}

/// Goal: no process is left spinning on a terminal that is gone, whether SIGHUP reaches it or not.
#[test]
fn a_lost_terminal_ends_the_program() {
    let directory = directory();
    let fake = daemon(&directory);
    for line in ["exec \"$TUI\"", "trap '' HUP; exec \"$TUI\""] {
        let mut terminal = Terminal::start_shell(line, &fake.socket);
        terminal.wait_for("IN PROGRESS 3");
        terminal.hang_up();
        assert_eq!(terminal.wait_exit().exit_code(), 129, "{line}");
    }
}

#[test]
fn every_size_works_and_a_new_one_is_drawn_whole() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start_sized(&fake.socket, (12, 4));
    terminal.wait_for("too small");
    terminal.resize(1, 1);
    terminal.resize(120, 40);
    let screen = terminal.wait_for("In Progress 3");
    assert!(screen.contains("Proposed 1") && screen.contains("Done 2"), "{screen}");
    terminal.resize(80, 24);
    terminal.wait_for("IN PROGRESS 3");
    terminal.press("q");
    assert_eq!(terminal.wait_exit().exit_code(), 0);
    terminal.assert_given_back();
}

#[test]
fn hostile_text_sends_no_escape_to_the_terminal() {
    let directory = directory();
    let fake = Fake::start(&directory.path().join("orchd.sock"), Samples { hostile: true });
    let mut terminal = Terminal::start(&fake.socket);
    terminal.wait_for("IN PROGRESS 3");
    terminal.press("3");
    terminal.wait_for("dossier");
    terminal.press("q");
    terminal.wait_for("IN PROGRESS 3");
    terminal.press("q");
    terminal.wait_exit();
    let output = String::from_utf8_lossy(&terminal.all_output()).into_owned();
    assert!(output.contains("^[]52;c;") && output.contains("<U+202E>"), "they are shown");
    assert!(!output.contains("\x1b]52") && !output.contains('\u{202e}') && !output.contains('\x07'), "and not sent");
}

#[test]
fn without_a_terminal_it_says_what_works_instead() {
    let output = Command::new(env!("CARGO_BIN_EXE_orch-tui")).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("error[E_USAGE]") && said.contains("hint: `orchctl"), "{said}");
}

#[test]
fn on_a_terminal_without_a_cursor_it_says_what_works_instead() {
    let directory = directory();
    let fake = daemon(&directory);
    let mut terminal = Terminal::start_shell("TERM=dumb exec \"$TUI\"", &fake.socket);
    assert_eq!(terminal.wait_exit().exit_code(), 2);
    let output = String::from_utf8_lossy(&terminal.all_output()).into_owned();
    assert!(output.contains("error[E_USAGE]") && output.contains("hint: `orchctl"), "{output}");
    assert!(!output.contains('\x1b'), "{output:?}");
}

/// Goal: the end of the terminal is noticed without any signal, as when the program is in no session of the terminal.
#[test]
fn a_terminal_that_is_lost_without_a_signal_ends_the_program() {
    let directory = directory();
    let fake = daemon(&directory);
    let pty = nix::pty::openpty(None, None).unwrap();
    // The copy is closed on exec; a master that the program inherited would keep its own terminal alive.
    let master = pty.master.try_clone().unwrap();
    drop(pty.master);
    let mut child = Command::new(env!("CARGO_BIN_EXE_orch-tui"))
        .arg("--socket")
        .arg(&fake.socket)
        .env("TERM", "xterm")
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(pty.slave)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut screen = vt100::Parser::default();
    while !screen.screen().contents().contains("IN PROGRESS 3") {
        let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap() == 0 {
            drop(child.kill());
            panic!("nothing was drawn: {}", screen.screen().contents());
        }
        let mut buffer = [0; 4096];
        let read = nix::unistd::read(&master, &mut buffer).unwrap();
        screen.process(&buffer[..read]);
    }
    drop(master);
    assert_eq!(wait_bounded(child).code(), Some(129));
}

/// Waits for a process, which is ended when it takes too long.
fn wait_bounded(mut child: Child) -> ExitStatus {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (ended, receiver) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ended_meanwhile = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait().unwrap();
    drop(ended);
    watch.join().unwrap();
    status
}
