//! A sandbox that belongs to its run: the claim has gone to init, and the first step starts by itself.
//!
//! Made as early as can be: what the shim keeps of a run in its directory is made while the first step is on its way. Without
//! isolation that step begins when it is told to, after all this.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::hidden::{Hidden, Spelled};
use super::inside::{FirstStreams, Inside, RunSecrets};
use super::keeper::Keeper;
use super::machine::Input;
use super::prepared::Prepared;
use crate::clock::monotonic_ns;
use crate::egress::Proxy;
use crate::exit_record::Outcome;
use crate::level::Guarantee;
use crate::secrets::{SealedSecrets, Secrets};
use crate::spec::CheckedSpec;

/// A living sandbox with its run.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) inside: Inside,
    pub(super) proxy: Option<Proxy>,
    /// What the run finds listening, if that is made already.
    pub(super) listeners: Vec<OwnedFd>,
    /// What is taken out of everything that the run says.
    pub(super) hidden: Hidden,
    /// What the first process has found so far.
    pub(super) findings: Vec<Guarantee>,
    /// When it was claimed, on the monotonic clock, in nanoseconds.
    pub(super) at_ns: u64,
    /// Where the first step writes its output and its errors; absent when init has given up already, and why is still to
    /// be read.
    pub(super) first: Option<(OwnedFd, OwnedFd)>,
}

impl Claimed {
    /// Gives a sandbox that is prepared, or being prepared, to the run of `spec`, with the secrets that it names. Fails with
    /// what the machine has to know.
    pub(super) fn claim(
        spec: &CheckedSpec,
        prepared: Result<Prepared, Outcome>,
        secrets: Option<SealedSecrets>,
        keeper: &Keeper<'_>,
    ) -> Result<Self, Input> {
        let Prepared { mut inside, findings, trees, proxy, listeners, .. } = prepared.map_err(Input::NotBuilt)?;
        let lost = |error: &dyn std::error::Error| Input::Lost { message: crate::chain(error) };
        // Only now that init is forked.
        let values = secrets.as_ref().map_or_else(|| Ok(Secrets::new()), SealedSecrets::open);
        let values = values.map_err(|error| lost(&error))?;
        let spelled = Spelled::of(std::slice::from_ref(&values), proxy.is_some()).map_err(|error| lost(&error))?;
        let given = RunSecrets { values: &values, sealed: secrets.as_ref() };
        // Nothing that follows may fail: the first step starts by itself.
        let at_ns = monotonic_ns();
        let first = match inside.claim(spec, &given, trees.as_ref(), keeper) {
            Ok(FirstStreams { stdout, stderr }) => Some((stdout, stderr)),
            Err(Errno::EPIPE | Errno::ECONNRESET) => None,
            Err(errno) => {
                return Err(Input::Lost { message: format!("failed to reach the sandbox: {}", errno.desc()) });
            }
        };
        drop(secrets);
        let hidden = Hidden::new(values, spelled);
        Ok(Self { inside, proxy, listeners, hidden, findings, at_ns, first })
    }

    /// Whether the first step begins though nobody follows it.
    pub(super) fn may_have_begun(&self) -> bool {
        matches!(self.inside, Inside::Sandboxed(_))
    }

    /// Ends everything inside, which nobody has followed.
    pub(super) fn give_up(self) -> Result<(), Errno> {
        self.inside.end()
    }
}
