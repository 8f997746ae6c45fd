//! The terminal is always given back as it was: on return, on an error, on a panic, before a suspension.
//!
//! **Invariant:** between [`TerminalGuard::enter`] and the drop the terminal is in raw mode on the alternate screen; after
//! it, or after a panic anywhere, it is not.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::queue;
use crossterm::style::ResetColor;
use crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, getsid};

use super::Tty;

/// Whether the terminal is ours now. A static, since the panic hook has no other way to know.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Whether a shell is there that continues what was suspended: it gives each of its jobs a group of their own, other than that
/// which leads the session.
pub(crate) fn can_suspend() -> bool {
    getsid(None).is_ok_and(|session| session != getpgrp())
}

/// Holds the terminal.
#[derive(Debug)]
pub(crate) struct TerminalGuard(());

impl TerminalGuard {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When the terminal refuses. It is as before then.
    pub(crate) fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        take()?;
        Ok(Self(()))
    }

    /// Gives the terminal back, stops the process until someone continues it, and takes the terminal again.
    ///
    /// The whole process group is stopped: the shell waits for a script or a program that has started this one.
    ///
    /// # Errors
    /// When the terminal refuses to be taken again.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        give_back();
        kill(Pid::from_raw(0), Signal::SIGSTOP)?;
        take()
    }

    /// Takes the terminal again after the process was stopped by others, who may have changed it.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn renew(&self) -> io::Result<()> {
        give_back();
        take()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::SeqCst);
    let mut bytes = Vec::new();
    // Long lines must not wrap: what is drawn into the last column has to stay there.
    queue!(bytes, EnterAlternateScreen, DisableLineWrap, Hide, EnableBracketedPaste)?;
    let written = Tty::open().and_then(|mut tty| tty.write(&bytes));
    if written.is_err() {
        give_back();
    }
    written
}

/// Does nothing when the terminal is not ours. What fails here fails because the terminal is gone.
pub(super) fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut bytes = Vec::new();
    let made = queue!(bytes, ResetColor, DisableBracketedPaste, EnableLineWrap, LeaveAlternateScreen, Show);
    if made.is_ok()
        && let Ok(mut tty) = Tty::open()
    {
        drop(tty.write(&bytes));
    }
    drop(disable_raw_mode());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use portable_pty::{CommandBuilder, NativePtySystem, PtySize, PtySystem as _};

    use super::*;

    /// Set in the process that shall panic.
    const PANICS: &str = "ORCH_TUI_TEST_PANICS";

    /// The part of the next test that runs in a terminal of its own.
    #[test]
    fn panics_while_it_holds_the_terminal() {
        if std::env::var_os(PANICS).is_some() {
            let _guard = TerminalGuard::enter().unwrap();
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let pair = NativePtySystem::default().openpty(PtySize::default()).unwrap();
        let before = format!("{:?}", pair.master.get_termios());
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", "term::guard::tests::panics_while_it_holds_the_terminal", "--nocapture"]);
        command.env(PANICS, "1");
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut output = Vec::new();
        // The end of a terminal is an error to its reader.
        drop(pair.master.try_clone_reader().unwrap().read_to_end(&mut output));
        assert!(!child.wait().unwrap().success());
        let output = String::from_utf8_lossy(&output);
        let [taken, back, told] =
            ["\x1b[?1049h", "\x1b[?1049l", "on purpose"].map(|text| output.find(text).unwrap_or(usize::MAX));
        assert!(taken < back && back < told && told < usize::MAX, "{output}");
        assert_eq!(format!("{:?}", pair.master.get_termios()), before);
    }
}
