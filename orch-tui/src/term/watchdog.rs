//! Notices that the terminal is gone, also where no SIGHUP comes: nobody is left then who could end the program.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::guard::give_back;

/// How long the program has to end by itself before it is ended. Long enough for a machine with more to do than it can.
const GRACE: Duration = Duration::from_secs(5);

/// What a shell reports for a process that SIGHUP ended.
pub(crate) const EXIT_HANGUP: u8 = 129;

/// Held while the program runs. Its end tells the watchdog that nothing is left to watch.
#[derive(Debug)]
pub(crate) struct Watchdog(#[expect(dead_code, reason = "its drop is what is waited for")] mpsc::Sender<()>);

/// Watches the terminal behind standard input on a thread of its own; `on_gone` is called once when it is gone.
///
/// # Errors
/// When no thread can be made.
pub(crate) fn spawn_watchdog(on_gone: impl FnOnce() + Send + 'static) -> io::Result<Watchdog> {
    let (alive, ended) = mpsc::channel();
    std::thread::Builder::new().name("tty-watchdog".into()).spawn(move || {
        wait_for_hangup();
        on_gone();
        if ended.recv_timeout(GRACE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Standard output may be another terminal, which is there still.
            give_back();
            #[expect(clippy::exit, reason = "the program does not end by itself and nobody is left to see it")]
            std::process::exit(i32::from(EXIT_HANGUP));
        }
    })?;
    Ok(Watchdog(alive))
}

fn wait_for_hangup() {
    let stdin = io::stdin();
    loop {
        // No event is asked for: hangup and error are reported always, input never.
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[0].any() == Some(false) => {}
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
