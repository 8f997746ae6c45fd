//! Tells whoever waits for it that something changed in a directory.
//!
//! There is one instance of inotify for all: closing one makes its thread wait until the kernel has come round on every
//! processor, which is tens of milliseconds in which a thread of the runtime does nothing else.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

/// The directories that somebody watches.
#[derive(Debug)]
pub(crate) struct Watches {
    inotify: Inotify,
    bells: Mutex<HashMap<WatchDescriptor, watch::Sender<()>>>,
}

/// A directory that is watched while this lives.
#[derive(Debug)]
pub(crate) struct Watched {
    watches: Arc<Watches>,
    descriptor: WatchDescriptor,
    /// There until it is dropped.
    rung: Option<watch::Receiver<()>>,
}

impl Watches {
    /// Without any yet.
    ///
    /// # Errors
    /// When the user has as many instances of inotify as the system allows.
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify, bells: Mutex::default() })
    }

    /// Watches for files that are made, written or moved into `directory`.
    ///
    /// # Errors
    /// When it is not there, or the user watches as many as the system allows.
    pub(crate) fn watch(self: &Arc<Self>, directory: &Path) -> io::Result<Watched> {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        // Held over both, so that nothing is read of it before it is known whom to tell.
        let mut bells = self.bells();
        // One directory has one descriptor, however many watch it.
        let descriptor = self.inotify.add_watch(directory, flags)?;
        let bell = bells.entry(descriptor).or_insert_with(|| watch::Sender::new(()));
        Ok(Watched { watches: Arc::clone(self), descriptor, rung: Some(bell.subscribe()) })
    }

    /// Tells them, for ever. It ends when the kernel says nothing any more, with the reason.
    pub(crate) async fn follow(&self) -> io::Error {
        // An inotify descriptor is waited for like a pipe.
        let waiting = self.inotify.as_fd().try_clone_to_owned().and_then(Receiver::from_owned_fd_unchecked);
        let waiting = match waiting {
            Ok(waiting) => waiting,
            Err(error) => return error,
        };
        loop {
            if let Err(error) = waiting.readable().await {
                return error;
            }
            match waiting.try_io(|| Ok(self.inotify.read_events()?)) {
                Ok(events) => self.ring(events.iter().map(|event| (event.wd, event.mask))),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return error,
            }
        }
    }

    fn ring(&self, events: impl Iterator<Item = (WatchDescriptor, AddWatchFlags)>) {
        let bells = self.bells();
        for (descriptor, mask) in events {
            if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                // Of whom the others were is not known.
                bells.values().for_each(|bell| bell.send_replace(()));
            } else if let Some(bell) = bells.get(&descriptor) {
                bell.send_replace(());
            }
        }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, watch::Sender<()>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Waits until something changed that was not forgotten.
    pub(crate) async fn changed(&mut self) {
        // Where nobody tells any more, that is no change.
        let is_told = match &mut self.rung {
            Some(rung) => rung.changed().await.is_ok(),
            None => false,
        };
        if !is_told {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets what changed so far.
    pub(crate) fn forget(&mut self) {
        self.rung.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut bells = self.watches.bells();
        // While nobody else looks how many there are.
        drop(self.rung.take());
        if bells.get(&self.descriptor).is_none_or(|bell| bell.receiver_count() > 0) {
            return;
        }
        bells.remove(&self.descriptor);
        match self.watches.inotify.rm_watch(self.descriptor) {
            // The directory is gone, and the watch with it.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => tracing::debug!(%errno, "a directory is still watched"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Time in which something that is sure to happen happens.
    const SOON: Duration = Duration::from_secs(10);

    async fn is_told(watched: &mut Watched) {
        tokio::time::timeout(SOON, watched.changed()).await.unwrap();
        watched.forget();
    }

    #[tokio::test]
    async fn whoever_watches_is_told_of_that_directory_alone_until_it_goes() {
        let root = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| root.path().join(name));
        [&a, &b].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let watches = Arc::new(Watches::new().unwrap());
        let following = {
            let watches = Arc::clone(&watches);
            tokio::spawn(async move { watches.follow().await })
        };
        let (mut first, mut second, mut of_b) =
            (watches.watch(&a).unwrap(), watches.watch(&a).unwrap(), watches.watch(&b).unwrap());
        std::fs::write(a.join("file"), "x").unwrap();
        is_told(&mut first).await;
        is_told(&mut second).await;
        drop(first);
        std::fs::write(b.join("file"), "x").unwrap();
        is_told(&mut of_b).await;
        assert!(!second.rung.as_ref().unwrap().has_changed().unwrap(), "it was the other one");
        std::fs::write(a.join("file"), "y").unwrap();
        is_told(&mut second).await;
        std::fs::remove_dir_all(&b).unwrap();
        drop((second, of_b));
        assert!(watches.bells().is_empty());
        assert!(watches.watch(&b).is_err());
        following.abort();
    }
}
