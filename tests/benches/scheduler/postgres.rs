//! The peer of the store: PostgreSQL on the same disk, by hand, with its own defaults.
//!
//! Started in a directory of its own with a Unix socket and no other, by an ordinary user because it wants that, and ended
//! with the value. What it is asked for is what a daemon of our kind would ask it for at the least: in a transaction two
//! rows are changed, found by their keys, and one event is added to a log with two indices. It has no chain to compute, no
//! record of the request and decides nothing.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};
use tempfile::TempDir;

use crate::transitions::BLOCK;
use crate::{bwrap, turns};

/// What to do when it is not there.
pub(crate) const MISSING: &str = "PostgreSQL is not installed; install it with: apt-get install postgresql-15; \
                                  nothing of its service is used, so it can be stopped and disabled";

/// Where distributions have its programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "psql", "pgbench"];
/// Rows of each table that is changed.
const ROWS: u32 = 100_000;
/// Longest time until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two tables of entities and a log. The texts have the length that those of ours have.
const SCHEMA: &str = "
create table tasks (id text primary key, project text not null, number int not null, state text not null, seq bigint not null,
    data text not null, unique (project, number));
create table runs (like tasks including all);
create table events (seq bigserial primary key, at bigint not null, actor text not null, command text not null,
    subject text not null, project text not null, kind text not null, data text not null, hash bytea not null);
create index on events (subject, seq);
create index on events (project, seq);
insert into tasks select 'task-' || n, 'project-' || n % 100, n, 'approved', 0, repeat('t', 800) from generate_series(1, :rows) n;
insert into runs select 'run-' || n, 'project-' || n % 100, n, 'running', 0, repeat('r', 800) from generate_series(1, :rows) n;
vacuum analyze;
";

const TRANSACTION: &str = r"
\set n random(1, :rows)
begin;
update runs set state = 'succeeded', seq = seq + 1, data = repeat('s', 800) where id = 'run-' || :n;
update tasks set state = 'done', seq = seq + 1, data = repeat('d', 800) where id = 'task-' || :n;
insert into events (at, actor, command, subject, project, kind, data, hash) values (:n, 'daemon', 'command-' || :n,
    'task-' || :n, 'project-' || :n % 100, 'task.completed', repeat('e', 300), decode(repeat('00', 32), 'hex'));
commit;
";

/// The directory with all the programs: of the newest version, or in the `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    let has_all = |programs: &PathBuf| PROGRAMS.iter().all(|name| programs.join(name).is_file());
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let newest = versions.filter(has_all).max();
    newest.or_else(|| bwrap::in_path("pgbench")?.parent().map(Path::to_owned).filter(has_all))
}

/// A server of its own.
pub(crate) struct Postgres {
    server: Child,
    programs: PathBuf,
    user: Option<User>,
    place: TempDir,
}

impl Postgres {
    pub(crate) fn start(programs: &Path) -> anyhow::Result<Self> {
        let place = tempfile::Builder::new().prefix("bench-").tempdir()?;
        // It refuses to be root.
        let user = if geteuid().is_root() { User::from_name("nobody")? } else { None };
        if let Some(user) = &user {
            chown(place.path(), Some(user.uid), Some(user.gid))?;
        }
        let data = place.path().join("data");
        let mut initdb = command(programs, user.as_ref(), place.path(), "initdb");
        run(initdb.args(["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--pgdata"]).arg(&data))?;
        // A hundred clients are more than its default leaves when something of its own is connected.
        let server = command(programs, user.as_ref(), place.path(), "postgres")
            .args(["-c", "listen_addresses=", "-c", "max_connections=120", "-k"])
            .arg(place.path())
            .arg("-D")
            .arg(&data)
            .stderr(std::fs::File::create(place.path().join("log"))?)
            .spawn()
            .context("failed to start PostgreSQL")?;
        let mut started = Self { server, programs: programs.to_owned(), user, place };
        started.ready()?;
        started.prepare()?;
        Ok(started)
    }

    /// Transactions a second of so many connections.
    pub(crate) fn rate(&self, connections: usize) -> anyhow::Result<f64> {
        let mut bench = self.command("pgbench");
        bench.args(["--no-vacuum", "--protocol", "prepared", "--jobs", "2"]);
        bench.args(["--client", &connections.to_string(), "--time", &BLOCK.as_secs().to_string()]);
        bench.args(["--define", &format!("rows={ROWS}"), "--file"]).arg(self.place.path().join("transaction"));
        let told = run(bench.arg("postgres"))?;
        let rate = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        rate.with_context(|| format!("pgbench names no rate: {told}"))
    }

    fn ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Err(error) = run(self.command("psql").args(["--command", "select 1", "postgres"])) {
            if let Some(ended) = self.server.try_wait()? {
                bail!("PostgreSQL ended with {ended}: {}", self.said());
            }
            if begun.elapsed() > PATIENCE {
                return Err(error.context("PostgreSQL does not answer"));
            }
            turns::pass(50)?;
        }
        Ok(())
    }

    fn prepare(&self) -> anyhow::Result<()> {
        for (name, text) in [("schema", SCHEMA), ("transaction", TRANSACTION)] {
            std::fs::write(self.place.path().join(name), text)?;
        }
        let mut psql = self.command("psql");
        psql.args(["--set", "ON_ERROR_STOP=1", "--set", &format!("rows={ROWS}"), "--file"]);
        run(psql.arg(self.place.path().join("schema")).arg("postgres")).map(drop)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        command(&self.programs, self.user.as_ref(), self.place.path(), program)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends its clients and then itself. The directory goes after it.
        let pid = Pid::from_raw(i32::try_from(self.server.id()).unwrap_or(i32::MAX));
        let asked = kill(pid, Signal::SIGINT).map_err(std::io::Error::from);
        if let Err(error) = asked.and_then(|()| self.server.wait()) {
            eprintln!("bench: failed to end PostgreSQL: {error}");
        }
    }
}

fn command(programs: &Path, user: Option<&User>, directory: &Path, program: &str) -> Command {
    let mut command = Command::new(programs.join(program));
    command.env_clear().env("HOME", directory).env("PGHOST", directory).env("LC_ALL", "C");
    command.env("PATH", "/usr/bin:/bin").current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Runs a program to its end; what it wrote.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("failed to start {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
