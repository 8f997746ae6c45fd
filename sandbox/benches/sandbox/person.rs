//! Becomes an ordinary user: what root may do is not what is measured.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{Uid, User, chown, geteuid};

use crate::options::Options;

/// Started by root, runs this program again as an ordinary user and returns how it ended.
pub(crate) fn become_ordinary(options: &Options, words: &[String]) -> anyhow::Result<Option<ExitCode>> {
    if !geteuid().is_root() {
        if let Some(name) = &options.user {
            let user = User::from_name(name)?.with_context(|| format!("there is no user `{name}`"))?;
            ensure!(user.uid == geteuid(), "only root can become `{name}`; start this as that user");
        }
        return Ok(None);
    }
    let user = find(options)?;
    eprintln!("bench: measuring as the ordinary user `{}`", user.name);
    // Programs that were built by root often lie where nobody else can execute them.
    let home = tempfile::Builder::new().prefix("sandbox-bench-").tempdir().context("failed to make a directory")?;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755))?;
    chown(home.path(), Some(user.uid), Some(user.gid))?;
    let copy = |from: &Path| -> anyhow::Result<PathBuf> {
        let to = home.path().join(from.file_name().context("a program has a name")?);
        std::fs::copy(from, &to).with_context(|| format!("failed to copy `{}`", from.display()))?;
        Ok(to)
    };
    let own = copy(&std::env::current_exe()?)?;
    copy(Path::new(env!("CARGO_BIN_EXE_sbx-probe")))?;
    let program = options.program.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_orch-sandbox")));
    let program = copy(program)?;
    let mut added = vec![OsString::from("--program"), program.into_os_string()];
    if let Some(suite) = &options.suite {
        added.extend([OsString::from("--suite"), copy(suite)?.into_os_string()]);
    }
    // Readable for root only, and for whoever gets it open: it counts what the kernel holds, seen by nobody or not.
    let slabs = File::open("/proc/slabinfo").ok();
    if slabs.is_some() {
        added.push("--slabs-on-stdin".into());
    }
    let status = Command::new(own)
        .args(words)
        .args(added)
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", std::env::temp_dir())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .stdin(slabs.map_or(Stdio::null(), Stdio::from))
        .status()
        .context("failed to start as an ordinary user")?;
    Ok(Some(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))))
}

/// The user that was asked for, the one behind `sudo`, or the first ordinary one.
fn find(options: &Options) -> anyhow::Result<User> {
    let user = match &options.user {
        Some(name) => User::from_name(name)?.with_context(|| format!("there is no user `{name}`"))?,
        None => match behind_sudo()?.map_or_else(first_ordinary, |user| Ok(Some(user)))? {
            Some(user) => user,
            None => bail!(
                "every bar is that of an ordinary user, and there is none: make one with \
                 `useradd --system --no-create-home bench` and pass `--user bench`"
            ),
        },
    };
    ensure!(!user.uid.is_root(), "every bar is that of an ordinary user, and `{}` is root", user.name);
    Ok(user)
}

fn behind_sudo() -> anyhow::Result<Option<User>> {
    let uid = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    let user = uid.map(|uid| User::from_uid(Uid::from_raw(uid))).transpose()?.flatten();
    Ok(user.filter(|user| !user.uid.is_root()))
}

fn first_ordinary() -> anyhow::Result<Option<User>> {
    let users = std::fs::read_to_string("/etc/passwd").context("failed to read /etc/passwd")?;
    let uids = users.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok());
    let first = uids.filter(|uid| (1000..60_000).contains(uid)).min();
    Ok(first.map(|uid| User::from_uid(Uid::from_raw(uid))).transpose()?.flatten())
}
