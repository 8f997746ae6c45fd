//! The proxy of one run: a process of its own that serves the listeners of the run and nobody else.
//!
//! Forked by its keeper on the host's side, confined, and alive no longer than its keeper. Threads take turns at accepting:
//! whoever has accepted a connection serves it, so nothing is handed over on the way. **Invariant:** at most
//! [`CONNECTIONS_MAX`] connections are served at a time; the rest waits in the kernel. **Invariant:** every wait for a
//! peer has a deadline.

mod connection;
mod dial;
mod dns;
mod forward;
mod peer;
mod recorder;
mod resolve;
mod tunnel;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use super::listen::Role;
use super::names::Names;
use super::policy::EgressPolicy;
use crate::sys::process;
use recorder::Recorder;
use resolve::Resolver;

/// Most connections that are served at a time.
const CONNECTIONS_MAX: usize = 256;
/// Stack of a thread, in bytes: name resolution takes most of it.
const STACK_BYTES: usize = 512 << 10;
/// Longest wait for a whole request, from its first byte on.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Longest time in which nothing moves on a connection.
const IDLE_WAIT: Duration = Duration::from_secs(600);
/// Longest time in which a peer takes nothing of what is sent to it.
const STALL_WAIT: Duration = Duration::from_secs(120);

/// Time until the next try when the system is short of something, in milliseconds.
const SHORTAGE_WAIT: u16 = 100;

/// Everything that the threads of a proxy share.
#[derive(Debug)]
struct Shared {
    policy: EgressPolicy,
    resolver: Resolver,
    recorder: Recorder,
    names: Mutex<Names>,
}

/// What a proxy is born with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// Its parent, with which it dies.
    pub(super) keeper: Pid,
    /// How many proxies there were before.
    pub(super) generation: u8,
}

/// Runs as a proxy and never returns. Records go to `channel`.
pub(super) fn main(policy: &EgressPolicy, listeners: Vec<(Role, OwnedFd)>, channel: &OwnedFd, birth: Birth) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(policy, listeners, channel, birth)));
    process::exit_now(i32::from(!matches!(outcome, Ok(Some(())))))
}

/// Serves for ever; returns when something is missing without which nothing is served.
fn run(policy: &EgressPolicy, listeners: Vec<(Role, OwnedFd)>, channel: &OwnedFd, birth: Birth) -> Option<()> {
    set_pdeathsig(Signal::SIGKILL).ok()?;
    if getppid() != birth.keeper {
        // It died a moment before.
        return None;
    }
    let shared = Arc::new(Shared {
        policy: policy.clone(),
        resolver: Resolver::default(),
        recorder: Recorder::new(channel.try_clone().ok()?),
        names: Mutex::new(Names::new(policy, birth.generation)),
    });
    let mut streams = Vec::new();
    for (role, listener) in listeners {
        match role {
            Role::DnsPackets => {
                let shared = Arc::clone(&shared);
                let socket = UdpSocket::from(listener);
                spawn(move || dns::serve_packets(&shared, &socket))?;
            }
            Role::Proxy | Role::Caught(_) | Role::DnsStream => streams.push((role, TcpListener::from(listener))),
        }
    }
    let crew =
        Arc::new(Crew { listeners: Mutex::new(streams), waiting: AtomicUsize::new(1), all: AtomicUsize::new(1) });
    Crew::work(&crew, &shared)
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Option<()> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(body).ok().map(drop)
}

/// The threads that accept and serve.
#[derive(Debug)]
struct Crew {
    /// Held by the thread that waits for a connection; the others that are free wait for it.
    listeners: Mutex<Vec<(Role, TcpListener)>>,
    /// How many threads are free.
    waiting: AtomicUsize,
    all: AtomicUsize,
}

impl Crew {
    /// Starts one more thread, if there may be one more and the system gives it.
    fn enlist(crew: &Arc<Self>, shared: &Arc<Shared>) {
        let one_more = |all| (all < CONNECTIONS_MAX).then_some(all + 1);
        if crew.all.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_err() {
            return;
        }
        crew.waiting.fetch_add(1, Ordering::SeqCst);
        let (mine, shared) = (Arc::clone(crew), Arc::clone(shared));
        if spawn(move || match Self::work(&mine, &shared) {}).is_none() {
            // Those that are there go on; the next one who finds that nobody waits tries again.
            crew.waiting.fetch_sub(1, Ordering::SeqCst);
            crew.all.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn work(crew: &Arc<Self>, shared: &Arc<Shared>) -> ! {
        loop {
            let accepted = {
                let listeners = crew.listeners.lock().unwrap_or_else(PoisonError::into_inner);
                accept(&listeners)
            };
            let Ok((role, stream)) = accepted else {
                // Without listeners there is nothing to be done; the keeper starts another one.
                process::exit_now(1)
            };
            if crew.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
                Self::enlist(crew, shared);
            }
            // A panic ends this connection and no other; its sockets are closed on the way.
            drop(catch_unwind(AssertUnwindSafe(|| connection::serve(shared, stream, role))));
            crew.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits for the next connection.
fn accept(listeners: &[(Role, TcpListener)]) -> std::io::Result<(Role, TcpStream)> {
    loop {
        let mut fds: Vec<_> =
            listeners.iter().map(|(_, listener)| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<_> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        for ((role, listener), _) in listeners.iter().zip(ready).filter(|(_, ready)| *ready) {
            match listener.accept() {
                Ok((stream, _)) => return Ok((*role, stream)),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    // It is gone again, or something about it went wrong that says nothing about the next one.
                    Some(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED | Errno::EPROTO | Errno::ENETDOWN) => {}
                    // Others need what there is of these; the connection waits in the kernel until some is free.
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        poll(&mut [], SHORTAGE_WAIT)?;
                    }
                    _ => return Err(error),
                },
            }
        }
    }
}
