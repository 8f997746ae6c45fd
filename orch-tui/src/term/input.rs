//! Reading the terminal on a thread of its own, into the view's own terms.

use std::io;
use std::os::fd::AsFd as _;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use nix::sys::termios::{FlushArg, tcflush};
use tokio::sync::mpsc;

use crate::view::{Code, Input, Key};

/// Input that may wait to be handled. A person types slower; a paste is one.
const INPUTS_MAX: usize = 256;

/// Starts reading. The thread ends with the process, or when nobody listens any more.
///
/// # Errors
/// When no thread can be made.
pub(crate) fn spawn_reader() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(INPUTS_MAX);
    std::thread::Builder::new().name("tty-reader".into()).spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(input) = translate(event)
                && sender.blocking_send(input).is_err()
            {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Throws away what was typed and not handled yet.
pub(crate) fn drop_pending(inputs: &mut mpsc::Receiver<Input>) {
    // The terminal may be gone, which others notice.
    let _flushed = tcflush(io::stdin().as_fd(), FlushArg::TCIFLUSH);
    while inputs.try_recv().is_ok() {}
}

fn translate(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => translate_key(key).map(Input::Key),
        Event::Paste(text) => Some(Input::Paste(text)),
        // A new size comes by a signal of our own, which can not be missed.
        Event::Resize(..) | Event::Key(_) | Event::Mouse(_) | Event::FocusGained | Event::FocusLost => None,
    }
}

fn translate_key(key: KeyEvent) -> Option<Key> {
    let code = match key.code {
        KeyCode::Char(char) => Code::Char(char),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => Code::BackTab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Delete => Code::Delete,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        _ => return None,
    };
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(Key { code, ctrl, alt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_pastes_pass_and_releases_do_not() {
        let press = |code, modifiers| translate(Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(press(KeyCode::Char('A'), KeyModifiers::SHIFT), Some(Input::Key(Key::plain(Code::Char('A')))));
        assert_eq!(press(KeyCode::Char('d'), KeyModifiers::CONTROL), Key::parse("ctrl-d").map(Input::Key));
        assert_eq!(press(KeyCode::F(5), KeyModifiers::NONE), None);
        let mut release = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(translate(Event::Key(release)), None);
        assert_eq!(translate(Event::Paste("y".into())), Some(Input::Paste("y".into())));
    }
}
