//! The three streams, the environment and what is known of the terminal. All input and output of `orchctl` passes here.
//!
//! A value, not the process's globals, so that tests run whole commands and read what they wrote.

use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

/// In the place of a key of a terminal: there is none (`_POSIX_VDISABLE`).
const NO_KEY: u8 = 0;
/// How long it takes until what is pasted is there, in tenths of a second.
const MOMENT: u8 = 1;

/// Reads a variable.
type Environment = Box<dyn Fn(&str) -> Option<String>>;

/// Where a command reads and writes.
pub struct Console {
    stdin: RefCell<Box<dyn BufRead>>,
    stdout: RefCell<Box<dyn Write>>,
    stderr: RefCell<Box<dyn Write>>,
    env: Environment,
    /// Where standard input comes from, if that can be waited for.
    input: Option<OwnedFd>,
    /// What is a terminal.
    pub terminal: Terminal,
}

/// Which streams are terminals, and how wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Columns, if known.
    pub width: Option<usize>,
}

/// What came of asking for what is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// One line, as it was typed.
    Line(String),
    /// More than a line: nothing of it is left, here or in the terminal.
    Lines,
    /// Nobody was asked: what is typed would be shown.
    Shown,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Console {
    /// The console of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let terminal = Terminal {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            width: width(),
        };
        Self::new(Box::new(io::stdin().lock()), Box::new(io::stdout()), Box::new(io::stderr()), terminal)
            .with_env(crate::connect::process_env)
            .with_input(io::stdin().as_fd().try_clone_to_owned().ok())
    }

    /// A console of any streams, with an empty environment.
    #[must_use]
    pub fn new(stdin: Box<dyn BufRead>, stdout: Box<dyn Write>, stderr: Box<dyn Write>, terminal: Terminal) -> Self {
        Self {
            stdin: RefCell::new(stdin),
            stdout: RefCell::new(stdout),
            stderr: RefCell::new(stderr),
            env: Box::new(|_| None),
            input: None,
            terminal,
        }
    }

    /// The same with an environment.
    #[must_use]
    pub fn with_env(mut self, env: impl Fn(&str) -> Option<String> + 'static) -> Self {
        self.env = Box::new(env);
        self
    }

    /// The same with a descriptor that is readable when standard input is.
    #[must_use]
    pub fn with_input(mut self, input: Option<OwnedFd>) -> Self {
        self.input = input;
        self
    }

    /// Reads a variable; an empty one counts as absent.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// Whether a question can be asked and seen.
    #[must_use]
    pub const fn can_ask(&self) -> bool {
        self.terminal.stdin && self.terminal.stderr
    }

    /// Writes data.
    ///
    /// # Errors
    /// Those of the stream; a reader that went away is `BrokenPipe`.
    pub fn data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = self.stdout.borrow_mut();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Writes a message, as it is, with a newline. A terminal that went away is no reason to stop the work.
    pub fn say(&self, message: &str) {
        let mut stderr = self.stderr.borrow_mut();
        let written = stderr.write_all(format!("{message}\n").as_bytes()).and_then(|()| stderr.flush());
        drop(written);
    }

    /// Asks and reads one line of answer, without its newline. Other things can happen while the person thinks.
    ///
    /// # Errors
    /// Those of the streams.
    pub async fn ask(&self, question: &str) -> io::Result<String> {
        Ok(self.ask_line(question).await?.trim().to_owned())
    }

    /// Asks and reads one line of answer as it is typed, which the terminal does not show meanwhile. Dropped before the answer, it
    /// leaves the terminal as it was. What is pasted behind the line reaches nobody: no next question, and no shell.
    ///
    /// # Errors
    /// Those of the streams.
    pub async fn ask_hidden(&self, question: &str) -> io::Result<Unseen> {
        let hidden = self.input.as_ref().and_then(|input| Hidden::on(input).ok());
        let Some(mut hidden) = hidden else { return Ok(Unseen::Shown) };
        let line = self.ask_line(question).await?;
        hidden.give_at_once()?;
        if self.drop_what_waits()? {
            return Ok(Unseen::Lines);
        }
        drop(hidden);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Unseen::Line(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    /// Drops what was read beyond a line, and what the terminal has and still gets; whether there was something.
    fn drop_what_waits(&self) -> io::Result<bool> {
        let mut stdin = self.stdin.borrow_mut();
        let mut has_more = false;
        // A long text comes in pieces: it is over when nothing comes for a moment.
        loop {
            let waiting = match stdin.fill_buf() {
                Ok(waiting) => waiting.len(),
                // Another program left the terminal so that reading does not wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match &self.input {
                    Some(input) if comes(input)? => continue,
                    _ => 0,
                },
                Err(error) => return Err(error),
            };
            if waiting == 0 {
                return Ok(has_more);
            }
            stdin.consume(waiting);
            has_more = true;
        }
    }

    async fn ask_line(&self, question: &str) -> io::Result<String> {
        {
            let mut stderr = self.stderr.borrow_mut();
            stderr.write_all(question.as_bytes())?;
            stderr.flush()?;
        }
        // A terminal gives whole lines, so reading one does not block when there is something.
        if let Some(input) = &self.input {
            readable(input.try_clone()?).await;
        }
        let mut line = String::new();
        self.stdin.borrow_mut().read_line(&mut line)?;
        Ok(line)
    }

    /// Reads at most `bytes_max` bytes of standard input.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn read_stdin(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stdin.borrow_mut().as_mut().take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Until this is dropped, a terminal shows nothing of what is typed but that the line ends. What was not read then is dropped.
struct Hidden {
    terminal: OwnedFd,
    before: Termios,
    modes: Termios,
}

impl Hidden {
    fn on(terminal: &OwnedFd) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ICANON | LocalFlags::ECHONL);
        // Stopped and in the foreground again, it would have the modes of the shell, which show what is typed.
        hidden.control_chars[SpecialCharacterIndices::VSUSP as usize] = NO_KEY;
        tcsetattr(&terminal, SetArg::TCSADRAIN, &hidden)?;
        Ok(Self { terminal, before, modes: hidden })
    }

    /// Has the terminal give what it has, also of a line without an end, and nothing when nothing comes for [`MOMENT`].
    fn give_at_once(&mut self) -> io::Result<()> {
        self.modes.local_flags.remove(LocalFlags::ICANON);
        self.modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        self.modes.control_chars[SpecialCharacterIndices::VTIME as usize] = MOMENT;
        Ok(tcsetattr(&self.terminal, SetArg::TCSANOW, &self.modes)?)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that went away shows nothing any more.
        let _is_gone = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before).is_err();
    }
}

/// Resolves when there is something to read, or nothing will ever be.
///
/// On a thread of its own, not of the runtime: that would wait for it at its end, and it ends only with an answer.
async fn readable(input: OwnedFd) {
    let (over, waiting) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Whatever else is wrong with the descriptor, reading from it tells.
        while poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR) {}
        drop(over);
    });
    drop(waiting.await);
}

/// Whether something comes within a moment.
fn comes(input: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut polled, PollTimeout::from(u16::from(MOMENT) * 100)) {
            Err(Errno::EINTR) => {}
            came => return Ok(came? > 0),
        }
    }
}

fn width() -> Option<usize> {
    crossterm::terminal::window_size().ok().map(|size| usize::from(size.columns)).filter(|&columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufReader, Write as _};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// Ctrl-C must be heard while a question stands.
    #[tokio::test]
    async fn a_question_lets_other_things_happen() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let input = ours.try_clone().unwrap().into();
        let stdin = Box::new(BufReader::new(ours));
        let console = Console::new(stdin, Box::new(io::sink()), Box::new(io::sink()), Terminal::default());
        let console = console.with_input(Some(input));
        let asked = console.ask("well? ");
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => panic!("answered before there was an answer: {answer:?}"),
            () = tokio::task::yield_now() => theirs.write_all(b"yes\n").unwrap(),
        }
        assert_eq!(asked.await.unwrap(), "yes");
    }

    /// A console with a terminal, whose other end is where somebody types. What is read comes from there, or is `given`.
    fn on_terminal(given: Option<&'static [u8]>) -> (Console, File, File) {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (slave, master) = (File::from(pty.slave), File::from(pty.master));
        let stdin: Box<dyn BufRead> = match given {
            Some(given) => Box::new(given),
            None => Box::new(BufReader::new(slave.try_clone().unwrap())),
        };
        let console = Console::new(stdin, Box::new(io::sink()), Box::new(io::sink()), Terminal::default());
        (console.with_input(Some(slave.try_clone().unwrap().into())), slave, master)
    }

    /// What is typed for a secret is not on the screen, also when nobody waits for it any more, and not after it was stopped.
    #[tokio::test]
    async fn a_terminal_does_not_show_what_is_hidden_and_is_as_before() {
        let (console, slave, mut master) = on_terminal(None);
        let shown = |slave: &File| tcgetattr(slave).unwrap().local_flags.contains(LocalFlags::ECHO);
        let stops = |slave: &File| tcgetattr(slave).unwrap().control_chars[SpecialCharacterIndices::VSUSP as usize];
        let before = stops(&slave);
        assert_ne!(before, NO_KEY);
        {
            let asked = console.ask_hidden("token: ");
            tokio::pin!(asked);
            tokio::select! {
                biased;
                answer = &mut asked => panic!("answered before there was an answer: {answer:?}"),
                () = tokio::task::yield_now() => {}
            }
            assert!(!shown(&slave));
            assert_eq!(stops(&slave), NO_KEY);
        }
        assert!(shown(&slave), "given up");
        assert_eq!(stops(&slave), before);
        let asked = console.ask_hidden("token: ");
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => panic!("answered before there was an answer: {answer:?}"),
            () = tokio::task::yield_now() => master.write_all(b" hunter2 \n").unwrap(),
        }
        assert_eq!(asked.await.unwrap(), Unseen::Line(" hunter2 ".to_owned()));
        assert!(shown(&slave));
        let mut screen = [0; 64];
        let read = master.read(&mut screen).unwrap();
        assert_eq!(&screen[..read], b"\r\n", "the end of the line is all that is shown");
    }

    /// The next question may be for what is no secret, and behind the last one is a shell.
    #[tokio::test]
    async fn a_secret_of_several_lines_is_none_and_nothing_of_it_is_left() {
        let (console, slave, mut master) = on_terminal(None);
        for pasted in ["-----BEGIN\nhunter2\n-----END\n", "-----BEGIN\nhunter2", "\n\n"] {
            master.write_all(pasted.as_bytes()).unwrap();
            assert_eq!(console.ask_hidden("key: ").await.unwrap(), Unseen::Lines, "{pasted:?}");
            assert!(tcgetattr(&slave).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON));
            master.write_all(b"eu\n").unwrap();
            assert_eq!(console.ask("region: ").await.unwrap(), "eu", "{pasted:?}");
        }
        // What was read beyond the line is more of it, too.
        let (console, _slave, mut master) = on_terminal(Some(b"-----BEGIN\nhunter2"));
        master.write_all(b"\n").unwrap();
        assert_eq!(console.ask_hidden("key: ").await.unwrap(), Unseen::Lines);
    }

    /// Other programs at the same terminal may have left it so.
    #[tokio::test]
    async fn a_terminal_of_which_reading_does_not_wait_hides_as_well() {
        let (console, slave, mut master) = on_terminal(None);
        fcntl(&slave, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).unwrap();
        master.write_all(b"hunter2\n").unwrap();
        assert_eq!(console.ask_hidden("key: ").await.unwrap(), Unseen::Line("hunter2".to_owned()));
        master.write_all(b"hunter2\nmore\n").unwrap();
        assert_eq!(console.ask_hidden("key: ").await.unwrap(), Unseen::Lines);
        master.write_all(b"eu\n").unwrap();
        assert_eq!(console.ask("region: ").await.unwrap(), "eu");
    }

    #[tokio::test]
    async fn what_is_no_terminal_hides_nothing() {
        let console =
            Console::new(Box::new(io::empty()), Box::new(io::sink()), Box::new(io::sink()), Terminal::default());
        assert_eq!(console.ask_hidden("token: ").await.unwrap(), Unseen::Shown);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let console = console.with_input(Some(ours.into()));
        assert_eq!(console.ask_hidden("token: ").await.unwrap(), Unseen::Shown);
    }
}
