//! Reading the terminal on a thread of its own, into the view's own terms.
//!
//! **Invariant:** after [`Inputs::drop_pending`] nothing comes that was typed before it, however late the thread gets to it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use tokio::sync::mpsc;

use super::keys::Keys;
use crate::view::Input;

/// Input that may wait to be handled. A person types slower; a paste is one.
const INPUTS_MAX: usize = 256;

/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;

/// How long the rest of a key's sequence may be in coming, in milliseconds. An escape is a key of its own after it.
const SEQUENCE_MS: u16 = 30;

/// How long the rest of a paste may be in coming whose end may have been thrown away, in milliseconds.
const PASTE_MS: u16 = 2_000;

/// Counts how often what was typed was thrown away. Held for each read, so that every byte is on one side of it.
type Fence = Arc<Mutex<u64>>;

/// What is typed, in its order.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// Each with the count of the fence when it was read.
    typed: mpsc::Receiver<(u64, Input)>,
    terminal: OwnedFd,
    fence: Fence,
    /// What was read at another count is not wanted any more.
    count: u64,
}

/// Starts to read the terminal behind standard input. The thread ends with the process, with the terminal, or when nobody
/// listens any more.
///
/// # Errors
/// When standard input can not be duplicated or no thread can be made.
pub(crate) fn spawn_reader() -> io::Result<Inputs> {
    Inputs::read(io::stdin().as_fd().try_clone_to_owned()?, INPUTS_MAX)
}

impl Inputs {
    /// Starts to read a terminal; so many inputs may wait.
    fn read(terminal: OwnedFd, inputs_max: usize) -> io::Result<Self> {
        let (sender, typed) = mpsc::channel(inputs_max);
        let fence = Fence::default();
        let reader = Reader {
            terminal: terminal.try_clone()?,
            keys: Keys::default(),
            sender,
            fence: Arc::clone(&fence),
            count: 0,
        };
        std::thread::Builder::new().name("tty-reader".into()).spawn(move || reader.run())?;
        Ok(Self { typed, terminal, fence, count: 0 })
    }

    /// The next input; none when there will be none.
    pub(crate) async fn recv(&mut self) -> Option<Input> {
        loop {
            let (count, input) = self.typed.recv().await?;
            if count == self.count {
                return Some(input);
            }
        }
    }

    /// The next input, if there is one already.
    pub(crate) fn try_recv(&mut self) -> Option<Input> {
        loop {
            let (count, input) = self.typed.try_recv().ok()?;
            if count == self.count {
                return Some(input);
            }
        }
    }

    /// Throws away what was typed and not handled yet.
    pub(crate) fn drop_pending(&mut self) {
        let mut count = lock(&self.fence);
        // The terminal may be gone, which others notice.
        let _flushed = tcflush(&self.terminal, FlushArg::TCIFLUSH);
        *count += 1;
        self.count = *count;
    }
}

/// The thread's side.
#[derive(Debug)]
struct Reader {
    terminal: OwnedFd,
    keys: Keys,
    sender: mpsc::Sender<(u64, Input)>,
    fence: Fence,
    /// The count of the fence when what is held was read.
    count: u64,
}

/// What came of waiting for the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Bytes,
    Silence,
    Gone,
}

impl Reader {
    fn run(mut self) {
        loop {
            let inputs = match self.wait(self.patience()) {
                Ready::Bytes => self.read(),
                Ready::Silence => Some(self.keys.end().into_iter().collect()),
                Ready::Gone => None,
            };
            let Some(inputs) = inputs else { return };
            for input in inputs {
                if self.sender.blocking_send((self.count, input)).is_err() {
                    return;
                }
            }
        }
    }

    /// How long to wait for more bytes before what is held is taken for whole.
    fn patience(&self) -> PollTimeout {
        if !self.keys.is_pasting() {
            return if self.keys.has_begun() { SEQUENCE_MS.into() } else { PollTimeout::NONE };
        }
        // As long as its end is to come a paste is waited for: the rest of one must not be taken for keys.
        if self.count == *lock(&self.fence) { PollTimeout::NONE } else { PASTE_MS.into() }
    }

    fn wait(&self, patience: PollTimeout) -> Ready {
        loop {
            let mut fds = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
            let events = match poll(&mut fds, patience) {
                Ok(0) => return Ready::Silence,
                Ok(_) => fds[0].revents().unwrap_or(PollFlags::POLLERR),
                Err(Errno::EINTR) => continue,
                Err(_) => return Ready::Gone,
            };
            let is_gone = events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL);
            return if is_gone { Ready::Gone } else { Ready::Bytes };
        }
    }

    /// Reads what there is; none when the terminal is gone.
    fn read(&mut self) -> Option<Vec<Input>> {
        let mut bytes = [0; READ_BYTES];
        let fence = Arc::clone(&self.fence);
        let count = lock(&fence);
        // Since it was waited for, what there was may have been thrown away, and a read would wait with the fence held.
        let length = match self.wait(PollTimeout::ZERO) {
            Ready::Silence => return Some(Vec::new()),
            Ready::Gone => return None,
            Ready::Bytes => match nix::unistd::read(&self.terminal, &mut bytes) {
                Ok(0) => return None,
                Ok(length) => length,
                Err(Errno::EINTR | Errno::EAGAIN) => return Some(Vec::new()),
                Err(_) => return None,
            },
        };
        if *count != self.count && !self.keys.is_pasting() {
            // The first half of a key from before must not take one from after it along.
            self.keys.forget();
            self.count = *count;
        }
        drop(count);
        Some(self.keys.take(&bytes[..length]))
    }
}

fn lock(fence: &Fence) -> MutexGuard<'_, u64> {
    fence.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

    use super::*;
    use crate::view::{Code, Key};

    /// A terminal as the program has it, with a queue of one, and the end at which is typed.
    fn terminal() -> (Inputs, OwnedFd) {
        let pty = openpty(None, None).unwrap();
        let mut modes = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut modes);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).unwrap();
        (Inputs::read(pty.slave, 1).unwrap(), pty.master)
    }

    fn press(master: &OwnedFd, keys: &str) {
        assert_eq!(nix::unistd::write(master, keys.as_bytes()), Ok(keys.len()));
    }

    fn typed(char: char) -> Input {
        Input::Key(Key::plain(Code::Char(char)))
    }

    #[tokio::test]
    async fn keys_pastes_and_a_lone_escape_come_in_their_order() {
        let (mut inputs, master) = terminal();
        press(&master, "j\x1b[A\x1b[200~two\rlines\x1b[201~\x1b");
        assert_eq!(inputs.recv().await, Some(typed('j')));
        assert_eq!(inputs.recv().await, Some(Input::Key(Key::plain(Code::Up))));
        assert_eq!(inputs.recv().await, Some(Input::Paste("two\rlines".into())));
        assert_eq!(inputs.recv().await, Some(Input::Key(Key::plain(Code::Esc))));
    }

    /// Goal: a key that was typed ahead never answers, also when the thread has it in its hands, or half of it, when what was
    /// typed is thrown away. Method: more is typed than the queue takes.
    #[tokio::test]
    async fn what_was_typed_before_is_thrown_away_however_late_it_comes() {
        let (mut inputs, master) = terminal();
        for _ in 0..20 {
            press(&master, "yyyyy");
            assert_eq!(inputs.recv().await, Some(typed('y')));
            inputs.drop_pending();
            press(&master, "n");
            assert_eq!(inputs.recv().await, Some(typed('n')));
        }
        press(&master, "j\x1b[");
        assert_eq!(inputs.recv().await, Some(typed('j')));
        inputs.drop_pending();
        press(&master, "n");
        assert_eq!(inputs.recv().await, Some(typed('n')));
        assert_eq!(inputs.try_recv(), None);
    }

    #[tokio::test]
    async fn a_terminal_that_is_gone_ends_the_reader() {
        let (mut inputs, master) = terminal();
        drop(master);
        assert_eq!(inputs.recv().await, None);
    }
}
