//! The strict profile of system calls: ordinary programs work with it, and attacks are refused as with any other.

use orch_sandbox::exit_record::Outcome;
use orch_sandbox::spec::{Phase, SyscallProfile};

use crate::bench::{Bench, assert_refused, attack, sh};

/// What deployments are made of. A program that the host does not have is skipped by name.
const PROGRAMS: [(&str, &str); 9] = [
    ("sh", "for i in 1 2 3; do (echo $i) & done | sort | xargs -n1 expr 1 +; wait; trap 'exit 0' TERM; kill $$; exit 1"),
    (
        "git",
        "git init -q a && cd a && git config user.email a@b && git config user.name a && echo 1 > f && git add f && \
         git commit -qm one && git gc -q && cd .. && git clone -q a b && cd b && git checkout -qb c && git log --stat",
    ),
    (
        "python3",
        "exec python3 -c '
import concurrent.futures, http.server, os, shutil, sqlite3, subprocess, tempfile, threading, urllib.request
subprocess.run([\"true\"], check=True)
with concurrent.futures.ThreadPoolExecutor() as pool: print(sum(pool.map(len, [\"a\"] * 100)))
with tempfile.TemporaryDirectory() as there: shutil.copytree(\"/etc/alternatives\", there + \"/x\", symlinks=True)
sqlite3.connect(\"db\").execute(\"create table t (a)\").connection.commit()
server = http.server.ThreadingHTTPServer((\"127.0.0.1\", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(len(urllib.request.urlopen(\"http://127.0.0.1:%d/\" % server.server_port).read()))
if os.path.exists(\"/usr/bin/curl\"): subprocess.run([\"curl\", \"-sf\", \"http://127.0.0.1:%d/\" % server.server_port], check=True)
'",
    ),
    ("curl", "echo 1 > f; curl -sf file://$PWD/f && curl --version && ! curl -s http://192.0.2.1/"),
    ("tar", "mkdir d && echo 1 > d/f && ln -s f d/l && tar czf d.tgz d && rm -r d && tar xzpf d.tgz && cat d/l && cp -a d e"),
    ("ssh", "ssh -V && ssh-keygen -qt ed25519 -N '' -f key && ! ssh -oBatchMode=yes -oConnectTimeout=1 127.0.0.1"),
    ("make", "printf 'all: a b\\na b:\\n\\tdate > $@\\n' > Makefile && make -j2 && make -q"),
    ("openssl", "openssl genrsa -out k 2048 && openssl rsa -in k -pubout && openssl rand -hex 4"),
    ("cc", "echo 'int main() { return 0; }' > m.c && cc m.c -o m && ./m"),
];

#[test]
fn ordinary_programs_work_with_the_strict_profile() {
    let Some(bench) = Bench::new() else { return };
    for (name, script) in PROGRAMS {
        let found =
            format!("command -v {name} > /dev/null || {{ echo skipped: no {name} >&2; exit 0; }}\nset -e\n{script}");
        let mut run = bench.run(name, vec![sh(name, Phase::Main, &found)]);
        run.spec.syscalls = SyscallProfile::Strict;
        let record = bench.finish(&run);
        assert_eq!(record.outcome, Outcome::Succeeded, "{name}: {}{}", run.stdout(), run.stderr());
        eprint!("{name}: {}", if run.stderr().starts_with("skipped") { run.stderr() } else { "works\n".to_owned() });
    }
}

#[test]
fn attacks_are_refused_with_the_strict_profile() {
    let Some(bench) = Bench::new() else { return };
    for case in ["f4", "f9", "f10", "i2", "k1", "k3", "k4", "n18", "p4", "p13"] {
        let mut run = bench.run(case, vec![attack(case, &[])]);
        run.spec.syscalls = SyscallProfile::Strict;
        assert_refused(&bench, &run);
    }
}

/// Calls that a build may make and a deployment does not need.
#[test]
fn the_strict_profile_refuses_more() {
    let Some(bench) = Bench::new() else { return };
    let script = "python3 -c 'import os; os.memfd_create(\"x\")' 2>&1 | grep -o 'Errno [0-9]*'";
    for (profile, wanted) in [(SyscallProfile::Standard, ""), (SyscallProfile::Strict, "Errno 1\n")] {
        let mut run = bench.shell(&format!("{profile:?}").to_lowercase(), script);
        run.spec.syscalls = profile;
        bench.finish(&run);
        assert_eq!(run.stdout(), wanted);
    }
}
