//! What the attacks look for outside: files, processes, sockets and objects of a host, made for them and gone afterwards.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// Everything that is there to be found.
#[derive(Debug)]
pub(super) struct Outside {
    dir: PathBuf,
    original: PathBuf,
    tcp: TcpListener,
    udp: UdpSocket,
    /// Kept open, so that somebody could connect.
    _sockets: [UnixListener; 2],
    abstract_name: String,
    /// Holds the System V and POSIX objects until its standard input closes.
    process: Child,
    /// To be signalled.
    victim: Child,
    key: String,
    queue: String,
}

impl Outside {
    /// Makes it all, and a copy of the probe, which some attacks would delete.
    pub(super) fn make(probe: &Path) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("xtask-escape-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).context("failed to make a directory")?;
        let dir = dir.canonicalize().context("failed to find that directory")?;
        std::fs::write(dir.join("canary"), "secret").context("failed to write a file")?;
        let copy = dir.join("sbx-probe");
        std::fs::copy(probe, &copy).with_context(|| format!("failed to copy `{}`", probe.display()))?;
        let abstract_name = format!("xtask-escape-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).context("failed to name a socket")?;
        let sockets = [
            UnixListener::bind_addr(&address).context("failed to listen")?,
            UnixListener::bind(dir.join("canary.sock")).context("failed to listen")?,
        ];
        let mut process = Command::new(&copy)
            .arg("host-objects")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start `sbx-probe`")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("`sbx-probe` has no output")?;
        BufReader::new(stdout).read_line(&mut line).context("failed to read what `sbx-probe` has made")?;
        let victim = Command::new("cat").stdin(Stdio::piped()).spawn().context("failed to start `cat`")?;
        let (key, queue) = line.trim().split_once(' ').context("`sbx-probe` has made nothing")?;
        Ok(Self {
            tcp: TcpListener::bind("127.0.0.1:0").context("failed to listen")?,
            udp: UdpSocket::bind("127.0.0.1:0").context("failed to listen")?,
            _sockets: sockets,
            abstract_name,
            key: key.to_owned(),
            queue: queue.to_owned(),
            process,
            victim,
            original: probe.to_owned(),
            dir,
        })
    }

    /// A path in the directory of all this.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The copy of the probe.
    pub(super) fn probe(&self) -> PathBuf {
        self.path("sbx-probe")
    }

    /// An empty directory to change, and the probe again if an attack has removed it.
    pub(super) fn fresh_workspace(&self) -> anyhow::Result<PathBuf> {
        if !self.probe().exists() {
            std::fs::copy(&self.original, self.probe()).context("failed to copy `sbx-probe`")?;
        }
        let workspace = self.path("workspace");
        if workspace.exists() {
            std::fs::remove_dir_all(&workspace).context("failed to remove a workspace")?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&workspace).context("failed to make a workspace")?;
        Ok(workspace)
    }

    /// What stands for `word` in the list of cases.
    pub(super) fn value(&self, word: &str) -> String {
        let address = |address: std::io::Result<std::net::SocketAddr>| {
            address.map_or_else(|_| String::new(), |at| at.to_string())
        };
        match word {
            "FILE" => self.path("canary").display().to_string(),
            "PID" => self.victim.id().to_string(),
            "TCP" => address(self.tcp.local_addr()),
            "UDP" => address(self.udp.local_addr()),
            "ABSTRACT" => self.abstract_name.clone(),
            "SOCKET" => self.path("canary.sock").display().to_string(),
            "KEY" => self.key.clone(),
            "QUEUE" => self.queue.clone(),
            other => other.to_owned(),
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.victim] {
            drop(process.stdin.take());
            // It ends when its input closes, unless an attack has ended it before.
            drop(process.wait());
        }
        // What cannot be removed lies in the directory for temporary files, where the system removes it.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
