//! A sandbox that is prepared, or being prepared, for a run: on the host's own view, on a template, or ahead of time. What
//! stands in its place without isolation, too.
//!
//! However it comes about, the code that builds it is the same; what differs is where init is born and whether there is a
//! pause before the claim.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use super::inside::Inside;
use super::keeper::{Host, make_group};
use super::plain::Plain;
use super::sandbox::{Ground, Sandbox, canaries};
use super::{Assignment, run};
use crate::cgroup::RunGroup;
use crate::egress::{Egress, Proxy};
use crate::exit_record::Outcome;
use crate::init::{Footing, Reply, SetupFailure};
use crate::level::{Guarantee, GuaranteeKind, LevelReport};
use crate::run_dir;
use crate::secrets::SealedSecrets;
use crate::spec::{CheckedSpec, Isolation, Shape};
use crate::sys::{caps, channel, memory};
use crate::view::{BuildError, Directories, HostLayout, OwnMounts, Trees, plan};

/// A sandbox that one run can claim.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) inside: Inside,
    /// What its first process has found so far; empty while it is being built.
    pub(super) findings: Vec<Guarantee>,
    /// The directories of the run, unless init opens them itself.
    pub(super) trees: Option<Trees>,
    /// The directories whose space is the run's.
    pub(super) roots: Vec<OwnedFd>,
    /// The control group of the run, or why there is none.
    pub(super) group: Result<RunGroup, String>,
    /// The proxy of the run, if it may reach anything.
    pub(super) proxy: Option<Proxy>,
    /// What the run finds listening, in the order of the spec; empty while it is being built.
    pub(super) listeners: Vec<OwnedFd>,
}

impl Prepared {
    /// Begins to build a sandbox for `spec` on this process's own view of the host.
    pub(crate) fn on_host(spec: &CheckedSpec, host: &Host) -> Result<Self, Outcome> {
        if spec.isolation == Isolation::None {
            return Self::plain(spec, host);
        }
        let shape = Shape::of(spec);
        let entries = plan(&shape, &HostLayout::discover());
        let directories = Directories::of(spec);
        // Before init opens them: what it makes or does not find would not be counted.
        let roots = directories.prepare().map_err(not_built)?;
        let footing = Footing::Host { entries, directories };
        let group = make_group(host);
        let (proxy, listeners) = start_proxy(&shape)?;
        let ground =
            Ground { footing, makes_network: true, pauses: false, canaries: canaries(&shape), proxy: listeners };
        let inside = Inside::Sandboxed(Sandbox::prepare(&shape, ground, group.as_ref().ok())?);
        Ok(Self { inside, findings: Vec::new(), trees: None, roots, group, proxy, listeners: Vec::new() })
    }

    /// Without isolation nothing is built, and nothing has to be known of the host.
    fn plain(spec: &CheckedSpec, host: &Host) -> Result<Self, Outcome> {
        let roots = Directories::of(spec).prepare().map_err(not_built)?;
        let group = make_group(host);
        let inside = Inside::Plain(Plain::prepare(group.as_ref().ok()).map_err(setup_failed)?);
        let (trees, findings, listeners) = (None, Vec::new(), Vec::new());
        Ok(Self { inside, findings, trees, roots, group, proxy: None, listeners })
    }

    /// Begins to build a sandbox for `spec` in the mount namespace `template`, in the network namespace `network` if
    /// there is one ready. This process keeps no capability.
    pub(crate) fn on_template(
        spec: &CheckedSpec,
        template: BorrowedFd<'_>,
        network: Option<OwnedFd>,
        host: &Host,
    ) -> Result<Self, Outcome> {
        let shape = Shape::of(spec);
        let mut trees = Directories::of(spec).open().map_err(not_built)?;
        let roots = trees.take_roots();
        let group = make_group(host);
        let (sandbox, proxy) = in_template(&shape, template, network, group.as_ref().ok(), false)?;
        let inside = Inside::Sandboxed(sandbox);
        Ok(Self { inside, findings: Vec::new(), trees: Some(trees), roots, group, proxy, listeners: Vec::new() })
    }
}

fn in_template(
    shape: &Shape,
    template: BorrowedFd<'_>,
    network: Option<OwnedFd>,
    group: Option<&RunGroup>,
    pauses: bool,
) -> Result<(Sandbox, Option<Proxy>), Outcome> {
    let own = OwnMounts::open(shape).map_err(not_built)?;
    let (proxy, listeners) = start_proxy(shape)?;
    let entering = |errno| setup_failed(SetupFailure::call("template", "failed to enter the prepared view", errno));
    let ground = Ground {
        footing: Footing::Template { own },
        makes_network: network.is_none(),
        pauses,
        canaries: canaries(shape),
        proxy: listeners,
    };
    setns(template, CloneFlags::CLONE_NEWNS).map_err(entering)?;
    if let Some(network) = network {
        setns(network, CloneFlags::CLONE_NEWNET).map_err(entering)?;
    }
    let sandbox = Sandbox::prepare(shape, ground, group)?;
    // Init is born; nothing that follows needs a capability, or more to see than the prepared view.
    caps::drop_held()
        .map_err(|errno| setup_failed(SetupFailure::call("capabilities", "failed to drop those of the shim", errno)))?;
    Ok((sandbox, proxy))
}

/// Starts the proxy of a run of `shape`, if it has one, in this process's view and network; also where its listeners go.
fn start_proxy(shape: &Shape) -> Result<(Option<Proxy>, Option<OwnedFd>), Outcome> {
    let Egress::Allow(policy) = &shape.egress else { return Ok((None, None)) };
    let (proxy, listeners) = Proxy::start(policy)
        .map_err(|errno| setup_failed(SetupFailure::call("proxy", "failed to start the proxy", errno)))?;
    Ok((Some(proxy), Some(listeners)))
}

fn not_built(error: BuildError) -> Outcome {
    setup_failed(SetupFailure::from(error))
}

fn setup_failed(failure: SetupFailure) -> Outcome {
    let SetupFailure { step, message, hint } = failure;
    Outcome::SetupFailed { message, hint, step }
}

/// A sandbox that is built ahead of time and waits for the one run that claims it.
#[derive(Debug)]
pub(crate) struct Slot {
    shape: Shape,
    sandbox: Sandbox,
    findings: Vec<Guarantee>,
    group: Result<RunGroup, String>,
    proxy: Option<Proxy>,
    listeners: Vec<OwnedFd>,
}

/// Why a slot was never claimed.
#[derive(Debug)]
pub(crate) enum Unclaimed {
    /// It could not be built, or holds less than its runs would require. A run of its shape says why when it is started.
    Unusable,
    /// Its spawner has gone or does not want it any more.
    Dropped,
}

impl Slot {
    /// The message that says a slot can be claimed.
    pub(crate) const READY: &[u8] = b"ready";

    /// Builds a sandbox for runs of `shape` and waits until it is proven.
    pub(crate) fn prepare(shape: Shape, template: BorrowedFd<'_>, host: &Host) -> Result<Self, Unclaimed> {
        let group = make_group(host);
        let built = in_template(&shape, template, None, group.as_ref().ok(), true);
        let (sandbox, proxy) = built.map_err(|_| Unclaimed::Unusable)?;
        let mut listeners = Vec::new();
        let findings = loop {
            match sandbox.receive() {
                Ok(Some((Reply::Listening, made))) if made.len() == shape.listeners.len() => listeners = made,
                Ok(Some((Reply::Probed { guarantees }, _))) => break guarantees,
                Ok(_) | Err(_) => return Err(Unclaimed::Unusable),
            }
        };
        let missing = LevelReport::new(findings.clone()).missing_for(shape.required_level);
        // What landlock does, and what limits are worth, is seen when the run is known.
        if missing.iter().any(|kind| *kind != GuaranteeKind::Landlock && !kind.is_limit()) {
            return Err(Unclaimed::Unusable);
        }
        memory::fault_in();
        Ok(Self { shape, sandbox, findings, group, proxy, listeners })
    }

    /// Says that it is ready, waits for the claim, and runs the run.
    pub(crate) fn serve(self, spawner: OwnedFd, host: &Host) -> Result<(), Unclaimed> {
        channel::send(spawner.as_fd(), Self::READY, &[]).map_err(|_| Unclaimed::Dropped)?;
        // The group first, so that it goes last: when init has been told to end.
        let Self { group, shape, sandbox, findings, proxy, listeners } = self;
        let (claim_until_ns, mut descriptors) = wait_for_claim(&spawner, &sandbox)?;
        if descriptors.len() < 2 {
            return Err(Unclaimed::Dropped);
        }
        drop(spawner);
        let (asker, dir) = (descriptors.remove(0), File::from(descriptors.remove(0)));
        let spec = run_dir::read_spec_in(&dir).ok().flatten().and_then(|spec| spec.check().ok());
        let Some(spec) = spec else { return Err(Unclaimed::Dropped) };
        let with_secrets = !spec.secrets.is_empty() && !descriptors.is_empty();
        let secrets = with_secrets.then(|| SealedSecrets::from(descriptors.remove(0)));
        let Ok(mut trees) = Trees::from_descriptors(descriptors, &shape) else { return Err(Unclaimed::Dropped) };
        if Shape::of(&spec) != shape {
            return Err(Unclaimed::Dropped);
        }
        let roots = trees.take_roots();
        let inside = Inside::Sandboxed(sandbox);
        let prepared = Prepared { inside, findings, trees: Some(trees), roots, group, proxy, listeners };
        // A refused claim of the run was answered; there is nobody else to tell. Whoever asked and hears nothing asks again.
        drop(run(Assignment { dir, spec, secrets, claim_until_ns }, asker, host, |_| Ok(prepared)));
        Ok(())
    }
}

/// Waits for the claim, or for the end of the spawner or of the sandbox. Until when the run may be taken, and what came
/// with that.
fn wait_for_claim(spawner: &OwnedFd, sandbox: &Sandbox) -> Result<(u64, Vec<OwnedFd>), Unclaimed> {
    loop {
        let mut fds =
            [PollFd::new(spawner.as_fd(), PollFlags::POLLIN), PollFd::new(sandbox.channel(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Err(Unclaimed::Dropped),
        }
        let [claimed, spoke] = fds.map(|fd| fd.any().unwrap_or(true));
        if spoke {
            // Init says nothing before it is claimed, so this is its end.
            return Err(Unclaimed::Unusable);
        }
        if claimed {
            let mut until = [0; size_of::<u64>()];
            return match channel::receive(spawner.as_fd(), &mut until) {
                Ok((len, descriptors)) if len == until.len() => Ok((u64::from_le_bytes(until), descriptors)),
                Ok(_) | Err(_) => Err(Unclaimed::Dropped),
            };
        }
    }
}
