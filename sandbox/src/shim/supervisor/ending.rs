//! The end of a run: of everything inside, its proxy, its last output, its log and its control group, in this order.

use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{DRAIN_WAIT, Ended, Lease, Supervisor};
use crate::clock::unix_us;
use crate::exit_record::Outcome;
use crate::listeners;
use crate::log::{ControlEvent, WriteLogError};

impl Supervisor<'_> {
    /// Ends everything inside, takes in the last output and closes the log.
    pub(super) fn end(mut self) -> Ended {
        self.keeper.kill();
        let ended = self.inside.take().map(|inside| match self.keeper.group() {
            // It runs nothing but its own end, which takes longest. Only the directory of a group must wait for it, and
            // whoever takes the layer over that its mount writes to.
            None if self.alone && self.spec.workspace_base.is_none() => inside.leave(),
            None | Some(_) => inside.end(),
        });
        listeners::end(&self.listeners);
        if let Some(proxy) = self.proxy.take() {
            let events = proxy.end(Instant::now());
            self.log_network(events);
        }
        let mut deadline = Instant::now().checked_add(DRAIN_WAIT);
        self.drain_streams(Instant::now());
        while !self.streams.is_empty() && deadline.is_some_and(|deadline| Instant::now() < deadline) {
            if self.wait_for_output(deadline).is_err() {
                deadline = None;
            }
            self.drain_streams(Instant::now());
        }
        for stream in self.streams.drain(..) {
            stream.finish(&mut self.log, self.echo);
        }
        let logged = self.close_log();
        let cleared = self.keeper.end();
        let has_lease = self.lease_lost.is_none() && !self.lease.as_ref().is_some_and(Lease::is_over);
        let (mut outcome, steps, level) = self.machine.into_parts();
        if let Err(errno) = cleared {
            outcome = Outcome::ShimError { message: format!("failed to clear the control group: {}", errno.desc()) };
        }
        if let Some(Err(errno)) = ended {
            outcome = Outcome::ShimError { message: format!("failed to end the sandbox: {}", errno.desc()) };
        }
        if let Err(error) = logged {
            outcome = Outcome::ShimError { message: crate::chain(&error) };
        }
        let (log_bytes, dropped_bytes) = (self.log.len(), self.log.dropped_bytes());
        let claim_to_exec_ns = self.claim_to_exec_ns;
        Ended { outcome, steps, level, log_bytes, dropped_bytes, claim_to_exec_ns, server: self.server, has_lease }
    }

    /// Says that the run is over, where that is for this shim to say. What its lease was lost of is said if the log is still
    /// nobody else's, so that people can read it.
    fn close_log(&mut self) -> Result<(), WriteLogError> {
        let last = match (&self.lease, &self.lease_lost) {
            (Some(lease), Some(why)) if lease.is_own() => ControlEvent::LeaseLost { reason: why.clone() },
            (_, Some(_)) => return Ok(()),
            (_, None) => ControlEvent::Finished { dropped_bytes: self.log.dropped_bytes() },
        };
        self.log.control(unix_us(), &last);
        self.log.finish()
    }

    fn wait_for_output(&self, deadline: Option<Instant>) -> Result<(), Errno> {
        let mut fds: Vec<_> = self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)).collect();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())).unwrap_or_default();
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
