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
use nix::sys::signal::{Signal, raise};

use super::Tty;

/// Whether the terminal is ours now. A static, since the panic hook has no other way to know.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

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
    /// # Errors
    /// When the terminal refuses to be taken again.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        give_back();
        raise(Signal::SIGSTOP)?;
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
fn give_back() {
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
