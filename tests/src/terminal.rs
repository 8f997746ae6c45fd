//! A terminal with a program in it: what is typed goes in, what comes out is kept as a screen.
//!
//! Knows nothing of the program. **Invariant:** the program ends with the value.

use std::io::{Read as _, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use portable_pty::{Child, CommandBuilder, MasterPty, NativePtySystem, PtySize, PtySystem as _};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::env::Env;
use crate::poll::{self, PATIENCE};

/// A terminal of 80 columns and 24 rows.
pub struct Terminal {
    /// Kept open: closing it takes the terminal away from the program.
    _master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Changes with the screen; closed at the end of the output.
    changed: watch::Receiver<()>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Terminal(\n{}\n)", self.shown())
    }
}

impl Terminal {
    /// Starts a program of the story, with the environment of the story.
    ///
    /// # Errors
    /// When there is no terminal or no program.
    pub fn start(env: &Env, program: &str) -> anyhow::Result<Self> {
        let (rows, cols) = (24, 80);
        let pair = NativePtySystem::default().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 })?;
        let mut command = CommandBuilder::new(program);
        command.env_clear();
        for (name, value) in env.command(program).as_std().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.env("TERM", "xterm-256color");
        command.cwd(env.root());
        let child = pair.slave.spawn_command(command)?;
        drop(pair.slave);
        let size = |count: u16| NonZero::new(count).context("a size is not zero");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows)?, size(cols)?, 0)));
        let (announce, changed) = watch::channel(());
        let mut reader = pair.master.try_clone_reader()?;
        let kept = Arc::clone(&screen);
        // Ends with the output of the program, whose end is made sure of by the value.
        std::thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..length]);
                announce.send_replace(());
            }
        });
        let writer = pair.master.take_writer()?;
        Ok(Self { _master: pair.master, writer, child, screen, changed })
    }

    /// What the screen shows now.
    #[must_use]
    pub fn shown(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Types something.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        self.writer.write_all(keys.as_bytes())?;
        self.writer.flush().context("failed to type")
    }

    /// Waits until the screen shows a text.
    ///
    /// # Errors
    /// When the program ends before, or it takes too long.
    pub async fn wait_for(&mut self, text: &str) -> anyhow::Result<()> {
        let mut changed = self.changed.clone();
        let seen = timeout(PATIENCE, async {
            loop {
                // What changes from here on wakes the wait below.
                changed.mark_unchanged();
                if self.shown().contains(text) {
                    return true;
                }
                if changed.changed().await.is_err() {
                    return self.shown().contains(text);
                }
            }
        });
        match seen.await {
            Ok(true) => Ok(()),
            Ok(false) => bail!("the program ended without showing {text:?}:\n{}", self.shown()),
            Err(_) => bail!("waited {} s to see {text:?}:\n{}", PATIENCE.as_secs(), self.shown()),
        }
    }

    /// Waits for the end of the program and gives its exit code.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended(&mut self) -> anyhow::Result<u32> {
        let child = &mut self.child;
        let ended = poll::until("its end", async || Ok(child.try_wait()?.map(|status| status.exit_code()))).await;
        ended.with_context(|| format!("the program shows:\n{}", self.shown()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, most of the time.
        let _killed = self.child.kill().is_ok();
        let _reaped = self.child.wait().is_ok();
    }
}
