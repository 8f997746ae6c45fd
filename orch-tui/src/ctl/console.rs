//! The three streams, the environment and what is known of the terminal. All input and output of `orchctl` passes here.
//!
//! A value, not the process's globals, so that tests run whole commands and read what they wrote.

use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

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

    /// Asks and reads one line of answer as it is typed, which the terminal does not show meanwhile; none where that cannot be had.
    /// Dropped before the answer, it leaves the terminal as it was.
    ///
    /// # Errors
    /// Those of the streams.
    pub async fn ask_hidden(&self, question: &str) -> io::Result<Option<String>> {
        let Some(hidden) = self.input.as_ref().and_then(|input| Hidden::on(input).ok()) else { return Ok(None) };
        let line = self.ask_line(question).await?;
        drop(hidden);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
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

/// Until this is dropped, a terminal shows nothing of what is typed but that the line ends.
struct Hidden {
    terminal: OwnedFd,
    before: Termios,
}

impl Hidden {
    fn on(terminal: &OwnedFd) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ICANON | LocalFlags::ECHONL);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that went away shows nothing any more.
        let _is_gone = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before).is_err();
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

fn width() -> Option<usize> {
    crossterm::terminal::window_size().ok().map(|size| usize::from(size.columns)).filter(|&columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufReader, Write as _};
    use std::os::unix::net::UnixStream;

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

    /// What is typed for a secret is not on the screen, also when nobody waits for it any more.
    #[tokio::test]
    async fn a_terminal_does_not_show_what_is_hidden_and_is_as_before() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (slave, mut master) = (File::from(pty.slave), File::from(pty.master));
        let shown = |slave: &File| tcgetattr(slave).unwrap().local_flags.contains(LocalFlags::ECHO);
        let input = slave.try_clone().unwrap().into();
        let stdin = Box::new(BufReader::new(slave.try_clone().unwrap()));
        let console = Console::new(stdin, Box::new(io::sink()), Box::new(io::sink()), Terminal::default());
        let console = console.with_input(Some(input));
        {
            let asked = console.ask_hidden("token: ");
            tokio::pin!(asked);
            tokio::select! {
                biased;
                answer = &mut asked => panic!("answered before there was an answer: {answer:?}"),
                () = tokio::task::yield_now() => {}
            }
            assert!(!shown(&slave));
        }
        assert!(shown(&slave), "given up");
        let asked = console.ask_hidden("token: ");
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => panic!("answered before there was an answer: {answer:?}"),
            () = tokio::task::yield_now() => master.write_all(b" hunter2 \n").unwrap(),
        }
        assert_eq!(asked.await.unwrap().as_deref(), Some(" hunter2 "));
        assert!(shown(&slave));
        let mut screen = [0; 64];
        let read = master.read(&mut screen).unwrap();
        assert_eq!(&screen[..read], b"\r\n", "the end of the line is all that is shown");
    }

    #[tokio::test]
    async fn what_is_no_terminal_hides_nothing() {
        let console =
            Console::new(Box::new(io::empty()), Box::new(io::sink()), Box::new(io::sink()), Terminal::default());
        assert_eq!(console.ask_hidden("token: ").await.unwrap(), None);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let console = console.with_input(Some(ours.into()));
        assert_eq!(console.ask_hidden("token: ").await.unwrap(), None);
    }
}
