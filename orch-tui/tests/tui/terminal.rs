//! A terminal with the program in it: what is typed goes in, what comes out is kept as a screen.

use std::io::{Read as _, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, NativePtySystem, PtySize, PtySystem as _};

/// How long anything may take. Far above what it does take, so that a busy machine changes nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What came out of the terminal.
struct Output {
    screen: vt100::Parser,
    bytes: Vec<u8>,
    ended: bool,
    /// Nobody reads any more once the screen shows this.
    last: Option<&'static str>,
    has_left: bool,
}

impl Output {
    /// Whether nobody is to read any more.
    fn is_last(&self) -> bool {
        self.ended || self.last.is_some_and(|last| self.screen.screen().contents().contains(last))
    }
}

/// The terminal and the program.
pub(crate) struct Terminal {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    output: Arc<(Mutex<Output>, Condvar)>,
    reading: Option<JoinHandle<()>>,
    /// Modes of the terminal before the program ran.
    modes: String,
}

fn parser(rows: u16, columns: u16) -> vt100::Parser {
    vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0)
}

const fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    /// Starts the program in a terminal of 80x24.
    pub(crate) fn start(socket: &Path) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_orch-tui"));
        command.args(["--socket".as_ref(), socket.as_os_str()]);
        Self::spawn(command, (80, 24))
    }

    /// Starts a shell line in which `$TUI` is the program.
    pub(crate) fn start_shell(line: &str, socket: &Path) -> Self {
        let mut command = CommandBuilder::new("/bin/sh");
        command.args(["-c", line]);
        command.env("TUI", env!("CARGO_BIN_EXE_orch-tui"));
        command.env("ORCH_SOCKET", socket);
        Self::spawn(command, (80, 24))
    }

    /// Starts the program in a terminal of another size.
    pub(crate) fn start_sized(socket: &Path, size: (u16, u16)) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_orch-tui"));
        command.args(["--socket".as_ref(), socket.as_os_str()]);
        Self::spawn(command, size)
    }

    fn spawn(mut command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        for name in ["NO_COLOR", "LC_ALL", "LC_CTYPE", "ORCH_PROJECT"] {
            command.env_remove(name);
        }
        let pair = NativePtySystem::default().openpty(size(columns, rows)).unwrap();
        let modes = modes(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = parser(rows, columns);
        let output = Output { screen, bytes: Vec::new(), ended: false, last: None, has_left: false };
        let output = Arc::new((Mutex::new(output), Condvar::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let kept = Arc::clone(&output);
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                let read = reader.read(&mut buffer).unwrap_or(0);
                // A poisoned lock means that the test has failed and said why.
                let Ok(mut output) = kept.0.lock() else { return };
                output.screen.process(&buffer[..read]);
                output.bytes.extend_from_slice(&buffer[..read]);
                output.ended = read == 0;
                output.has_left = output.is_last();
                kept.1.notify_all();
                if output.has_left {
                    return;
                }
            }
        });
        let writer = Some(pair.master.take_writer().unwrap());
        Self { master: Some(pair.master), writer, child, output, reading: Some(reading), modes }
    }

    /// Types something.
    pub(crate) fn press(&mut self, keys: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Waits until the screen shows a text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn wait_until(&self, what: &str, is_reached: impl Fn(&str) -> bool) -> String {
        self.wait(what, |output| is_reached(&output.screen.screen().contents()))
    }

    /// Waits until as often as this what came out has something in it.
    pub(crate) fn wait_for_bytes(&self, bytes: &str, times: usize) {
        self.wait(bytes, |output| String::from_utf8_lossy(&output.bytes).matches(bytes).count() >= times);
    }

    fn wait(&self, what: &str, is_reached: impl Fn(&Output) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut output = self.output.0.lock().unwrap();
        loop {
            let screen = output.screen.screen().contents();
            if is_reached(&output) {
                return screen;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !output.ended, "waited for {what:?} in vain:\n{screen}");
            output = self.output.1.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Changes the size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (rows_max, columns_max) = (NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
        self.output.0.lock().unwrap().screen.screen_mut().set_size(rows_max, columns_max);
        self.master.as_ref().unwrap().resize(size(columns, rows)).unwrap();
    }

    /// Process id of what was started.
    pub(crate) fn pid(&self) -> i32 {
        self.child.process_id().unwrap().cast_signed()
    }

    /// Takes the terminal away, as a broken connection does.
    pub(crate) fn hang_up(&mut self) {
        // The reader holds the terminal, too, and waits in a read; the output that follows makes it leave.
        self.output.0.lock().unwrap().last = Some("Help: what can be done here");
        self.press("?");
        self.wait("the help", |output| output.has_left);
        self.reading.take().unwrap().join().unwrap();
        self.writer = None;
        self.master = None;
    }

    /// Waits for the end of the program.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let mut killer = self.child.clone_killer();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        // Whoever does not end is ended, so that the test fails instead of hanging.
        let watch = std::thread::spawn(move || {
            let is_late = receiver.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if is_late {
                drop(killer.kill());
            }
            is_late
        });
        let status = self.child.wait().unwrap();
        drop(sender);
        assert!(!watch.join().unwrap(), "the program did not end by itself");
        status
    }

    /// Everything that came out, once the program has ended.
    pub(crate) fn all_output(&self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        let mut output = self.output.0.lock().unwrap();
        while !output.ended && Instant::now() < end {
            output = self.output.1.wait_timeout(output, PATIENCE).unwrap().0;
        }
        output.bytes.clone()
    }

    /// The terminal is as it was before the program ran.
    pub(crate) fn assert_given_back(&self) {
        assert_eq!(modes(&**self.master.as_ref().unwrap()), self.modes, "the modes of the terminal");
        let bytes = self.all_output();
        let output = self.output.0.lock().unwrap();
        let screen = output.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert!(String::from_utf8_lossy(&bytes).contains("\x1b[?7h"), "line wrap is on again");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}
