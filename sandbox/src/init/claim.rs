//! The claim: a prepared sandbox becomes that of one run.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::sethostname;

use super::{Current, Init, Reply, SetupFailure, confine, messages, secrets};
use crate::level::Guarantee;
use crate::view::{self, RunFiles, Trees};
use crate::watch::TMPFS_INSIDE;

impl Init<'_> {
    /// Makes the sandbox that of one run and lets the first process go.
    pub(super) fn claim(
        &mut self,
        name: &str,
        secret_files: &[String],
        mut descriptors: Vec<OwnedFd>,
        limits: &[Guarantee],
    ) -> Result<(), SetupFailure> {
        let call = |what: &'static str| move |errno| SetupFailure::call("claim", what, errno);
        // A sandbox is claimed once.
        let rules = self.rules.take().ok_or_else(|| call("failed to claim it again")(Errno::EBUSY))?;
        if !secret_files.is_empty() {
            secrets::write_files(secret_files, &mut descriptors)?;
        }
        let trees = match self.trees.take() {
            Some(trees) => trees,
            None => Trees::from_descriptors(descriptors, self.shape).map_err(call("failed to take the run over"))?,
        };
        let root = view::open_root()?;
        trees.attach(&root, self.shape)?;
        view::write_run_files(&root, RunFiles { name, name_server: self.shape.name_server() })?;
        sethostname(name).map_err(|errno| SetupFailure::call("hostname", "failed to set the host name", errno))?;
        let rules = confine::allow_claimed(rules, self.shape)?;
        confine::give_up_capabilities()?;
        self.rules = Some(rules);
        self.let_first_go(limits).map_err(call("failed to let the first process go"))?;
        // Beside the first process, which has its own by now: it cannot reach init, and further steps come later.
        confine::install_filter(self.shape.syscalls)
    }

    /// Sends a descriptor of each temporary file system, by which its use can be asked for and nothing else be done.
    pub(super) fn lend_tmpfs(&self) -> Result<(), Errno> {
        let open = |path: &str| open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok();
        let tmpfs: Vec<OwnedFd> = TMPFS_INSIDE.into_iter().filter_map(open).collect();
        let lent: Vec<_> = tmpfs.iter().map(OwnedFd::as_fd).collect();
        messages::send_with(self.channel.as_fd(), &Reply::Lent, &lent)
    }

    fn let_first_go(&mut self, limits: &[Guarantee]) -> Result<(), Errno> {
        let first = self.first.as_ref().ok_or(Errno::ESRCH)?;
        self.current = Some(Current { index: 0, pid: first.pid });
        first.let_go(limits, self.rules.as_ref())
    }
}
