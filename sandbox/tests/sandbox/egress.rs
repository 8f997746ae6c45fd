//! What runs reach through their proxy, and what not: conversations of a real run in a world where every address
//! answers, so that an address that must not be reached would be seen.

use std::net::IpAddr;

use orch_sandbox::egress::{AddressKind, DenyReason, Egress, EgressRecord, Failure, Verdict, Way};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::log::{ControlEvent, Record};
use orch_sandbox::spec::Phase;
use orch_sandbox::{Spawner, SpawnerOptions};
use serde_json::json;

use crate::bench::{Bench, PROBE_INSIDE, Run, program, sh, step, write_program};

pub(crate) const PROXY: &str = "127.0.0.1:3128";

/// Names of the world; those from `loop.test` on lead where no run is led.
const HOSTS: &str = "127.0.0.1 localhost
1.2.3.4 good.test a.wild.test
2001:4860::1 six.test
10.1.2.3 mirror.test inhouse.test
127.0.0.1 loop.test
::1 loop6.test
192.168.1.1 private.test
169.254.169.254 meta.test
fd00:ec2::254 meta6.test
100.100.100.200 cloud.test
168.63.129.16 azure.test
64:ff9b::102:304 nat64.test
2002:102:304::1 relay.test
";

/// A bench in a world of its own.
pub(crate) struct World {
    pub(crate) bench: Bench,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        let mut bench = Bench::new()?;
        let directory = bench.path("world");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("hosts"), HOSTS).unwrap();
        std::fs::write(directory.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
        std::fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n").unwrap();
        let script = bench.path("serve-in-world");
        let words =
            [env!("CARGO_BIN_EXE_sbx-probe"), "world", directory.to_str().unwrap(), program().to_str().unwrap()];
        write_program(&script, &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")));
        bench.spawner = Spawner::start(&script, SpawnerOptions::default()).unwrap();
        Some(Self { bench })
    }

    /// A run that may reach what these tests reach, and that holds `conversations`.
    pub(crate) fn run(&self, name: &str, conversations: &[&[&str]]) -> Run {
        let words = conversations.join(&"--");
        let mut run =
            self.bench.run(name, vec![step("talk", Phase::Main, &[&[PROBE_INSIDE, "talk"], &words[..]].concat())]);
        run.spec.egress = policy(Transparent::No);
        run
    }

    /// Runs `run` to its good end and returns what it asked for.
    pub(crate) fn finish(&self, run: &Run) -> Vec<EgressRecord> {
        let record = self.bench.finish(run);
        let said = if record.log_bytes > 0 { run.stderr() } else { String::new() };
        assert_eq!(record.outcome, Outcome::Succeeded, "{said}\n{:?}", egress(run));
        egress(run)
    }

    /// Every address that somebody reached, and every name that the host's resolver was asked for.
    fn seen(&self) -> Vec<String> {
        let seen = std::fs::read_to_string(self.bench.path("world").join("seen")).unwrap_or_default();
        let mut lines: Vec<_> = seen.lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

/// The records in the log of a run.
pub(crate) fn egress(run: &Run) -> Vec<EgressRecord> {
    let events = run.records();
    let records = events.iter().filter_map(Record::control).filter_map(|event| match event {
        ControlEvent::Egress { record, .. } => Some(record),
        _ => None,
    });
    records.collect()
}

pub(crate) enum Transparent {
    Yes,
    No,
}

pub(crate) fn policy(transparent: Transparent) -> Egress {
    let mut entries = vec![
        json!({"host": "good.test", "ports": [80, 443, 2222, 8080, 8443]}),
        json!({"host": "*.wild.test", "ports": [8080]}),
        json!({"host": "mirror.test", "ports": [8080], "networks": ["10.1.0.0/16"]}),
    ];
    for name in ["six", "inhouse", "loop", "loop6", "private", "meta", "meta6", "cloud", "azure", "nat64", "relay"] {
        entries.push(json!({"host": format!("{name}.test"), "ports": [8080]}));
    }
    entries.extend(["turns.test", "gone.test"].map(|host| json!({"host": host, "ports": [8080]})));
    let transparent = matches!(transparent, Transparent::Yes);
    serde_json::from_value(json!({"allow": {"transparent": transparent, "entries": entries}})).unwrap()
}

fn denied(reason: DenyReason) -> Verdict {
    Verdict::Denied { reason }
}

/// Whether there is a record of `way` for `host` with this verdict.
fn has(records: &[EgressRecord], way: Way, host: &str, verdict: &Verdict) -> bool {
    let is_host = |record: &EgressRecord| record.host.as_ref().is_some_and(|asked| asked.as_str() == host);
    records.iter().any(|record| record.way == way && is_host(record) && record.verdict == *verdict)
}

fn assert_has(records: &[EgressRecord], way: Way, host: &str, verdict: &Verdict) {
    assert!(has(records, way, host, verdict), "{way:?} {host} {verdict:?} is not in {records:#?}");
}

/// A TLS client hello, escaped; `name` is its server name.
fn hello(name: Option<&str>, hidden: bool) -> String {
    let sized = |bytes: usize, body: &[u8]| [&body.len().to_be_bytes()[8 - bytes..], body].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let list = sized(2, &[&[0][..], &sized(2, name.as_bytes())].concat());
        extensions.extend([&[0, 0][..], &sized(2, &list)].concat());
    }
    if hidden {
        extensions.extend([&[0xfe, 0x0d][..], &sized(2, &[0])].concat());
    }
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &sized(2, &extensions)].concat();
    let message = [&[1][..], &sized(3, &body)].concat();
    let record = [&[22, 3, 1][..], &sized(2, &message)].concat();
    record.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// N11, N12 and the way that works: every request of a connection is judged and written anew.
#[test]
fn plain_http_goes_on_request_by_request() {
    let Some(world) = World::new() else { return };
    let run = world.run(
        "http",
        &[
            &[
                PROXY,
                r">GET http://good.test:8080/one HTTP/1.1\r\nHost: good.test:8080\r\nProxy-Authorization: x\r\n\r\n",
                r"<200 OK\r\n",
                r"<\r\n\r\nGET /one HTTP/1.1\r\nHost: good.test:8080\r\n\r\n",
                r">POST http://good.test:8080/chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: x\r\n\r\n",
                r"<Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                r"<\r\n0\r\n\r\n",
                r">PUT http://mirror.test:8080/ HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
                r"<100 Continue",
                ">abc",
                r"<Host: mirror.test:8080\r\nContent-Length: 3\r\n\r\nabc",
                r">GET http://good.test/moved HTTP/1.1\r\n\r\n",
                r"<302 Found\r\nLocation: http://evil.test/",
                r"<Host: good.test\r\n\r\n",
                r">GET http://evil.test/ HTTP/1.1\r\n\r\n",
                "<403 Forbidden",
                "<may not reach evil.test:80: name-not-allowed",
                "=end",
            ],
            &[PROXY, r">GET http://good.test:8080/close HTTP/1.1\r\n\r\n", "<Connection: close", "<GET /close", "=end"],
            &[PROXY, r">GET http://good.test:8080/chunked HTTP/1.0\r\n\r\n", r"<close\r\n\r\nGET /chunked", "=end"],
            &[PROXY, r">GET http://good.test:8080/junk HTTP/1.1\r\n\r\n", "<502", "=end"],
            &[
                PROXY,
                r">POST http://good.test:8080/early HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
                "<Connection: close",
                "<POST /early",
                ">more than was said",
                "=shut",
                "=end",
            ],
            &[
                PROXY,
                r">POST http://good.test:8080/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                "=reset",
            ],
            &[
                PROXY,
                r">GET http://good.test:8080/ HTTP/1.1\r\n\r\nGET http://good.test:8080/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
                "<200 OK",
                "<403 Forbidden",
                "<host-mismatch",
            ],
        ],
    );
    let records = world.finish(&run);
    let address: IpAddr = "1.2.3.4".parse().unwrap();
    assert_has(&records, Way::Http, "good.test", &Verdict::Allowed { address });
    assert_has(&records, Way::Http, "evil.test", &denied(DenyReason::NameNotAllowed));
    assert_has(&records, Way::Http, "good.test", &denied(DenyReason::HostMismatch));
    assert_has(&records, Way::Http, "good.test", &denied(DenyReason::AmbiguousBody));
    assert_has(&records, Way::Http, "good.test", &Verdict::Failed { failure: Failure::BadResponse });
    assert!(
        records.iter().any(|record| matches!(record.verdict, Verdict::Closed { sent_bytes: 1.., received_bytes: 1.. }))
    );
    assert_eq!(world.seen(), ["tcp 1.2.3.4 80", "tcp 1.2.3.4 8080", "tcp 10.1.2.3 8080"]);
}

/// N7, N11: what could be read in two ways, or is no request, reaches nobody.
#[test]
fn n7_n11_awkward_requests_are_refused() {
    let Some(world) = World::new() else { return };
    let refused = |request: &'static str, status: &'static str, reason: &'static str| {
        vec![PROXY.to_owned(), format!(">{request}"), format!("<{status} "), format!("<{reason}"), "=end".to_owned()]
    };
    let conversations = [
        refused(
            r"GET http://good.test:8080/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
            "ambiguous-body",
        ),
        refused(
            r"GET http://good.test:8080/ HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            "400",
            "ambiguous-body",
        ),
        refused(r"GET http://good.test:8080/ HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n", "400", "bad-request"),
        refused(r"GET http://good.test:8080/ HTTP/1.1\nHost: good.test:8080\n\n", "400", "bad-request"),
        refused(r"GET http://good.test:8080/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", "403", "host-mismatch"),
        refused(r"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n", "400", "bad-request"),
        refused(r"CONNECT good.test:8080\x00.evil.test:80 HTTP/1.1\r\n\r\n", "400", "bad-request"),
        refused(r"CONNECT good.test.:8080 HTTP/1.1\r\n\r\n", "400", "bad-name"),
        refused(r"CONNECT evil@good.test:8080 HTTP/1.1\r\n\r\n", "400", "bad-name"),
        refused(r"CONNECT good.test%25zone:8080 HTTP/1.1\r\n\r\n", "400", "bad-name"),
        refused(r"CONNECT g\xd0\xbe\xd0\xbed.test:8080 HTTP/1.1\r\n\r\n", "400", "bad-request"),
        refused(r"CONNECT notgood.test:8080 HTTP/1.1\r\n\r\n", "403", "name-not-allowed"),
        refused(r"CONNECT good.test.evil.test:8080 HTTP/1.1\r\n\r\n", "403", "name-not-allowed"),
        refused(r"CONNECT wild.test:8080 HTTP/1.1\r\n\r\n", "403", "name-not-allowed"),
        refused(r"CONNECT good.test:25 HTTP/1.1\r\n\r\n", "403", "port-not-allowed"),
        refused(r"CONNECT a.wild.test:443 HTTP/1.1\r\n\r\n", "403", "port-not-allowed"),
        refused(r"GET http://good.test:443/ HTTP/1.1\r\n\r\n", "403", "not-tls"),
        refused(r"\x16\x03\x01\x00\x01\x00", "400", "bad-request"),
    ];
    let words: Vec<Vec<&str>> = conversations.iter().map(|moves| moves.iter().map(String::as_str).collect()).collect();
    let run = world.run("awkward", &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    world.finish(&run);
    assert_eq!(world.seen(), [""; 0]);
}

/// N3, N4, N6: addresses in every spelling, and names that lead to addresses of the house, of this machine, of clouds.
#[test]
fn n3_n4_n6_addresses_of_the_house_are_refused() {
    let Some(world) = World::new() else { return };
    let literals = [
        "169.254.169.254",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "10.1.2.3",
        "1.2.3.4",
    ];
    let connects = literals.map(|literal| format!(r">CONNECT {literal}:8080 HTTP/1.1\r\n\r\n"));
    let mut conversations: Vec<Vec<&str>> =
        connects.iter().map(|connect| vec![PROXY, connect.as_str(), "<403", "<address-literal", "=end"]).collect();
    let names = [
        ("loop.test", AddressKind::Loopback),
        ("loop6.test", AddressKind::Loopback),
        ("private.test", AddressKind::Private),
        ("inhouse.test", AddressKind::Private),
        ("meta.test", AddressKind::Metadata),
        ("meta6.test", AddressKind::Metadata),
        ("cloud.test", AddressKind::Metadata),
        ("azure.test", AddressKind::Metadata),
        ("nat64.test", AddressKind::Embedded),
        ("relay.test", AddressKind::Embedded),
    ];
    let requests = names.map(|(name, _)| format!(r">GET http://{name}:8080/ HTTP/1.1\r\n\r\n"));
    conversations.extend(
        requests.iter().map(|request| vec![PROXY, request.as_str(), "<403", "<resolved-to-refused-address", "=end"]),
    );
    conversations.push(vec![PROXY, r">GET http://six.test:8080/ HTTP/1.1\r\n\r\n", "<200"]);
    conversations.push(vec![
        PROXY,
        r">GET http://gone.test:8080/ HTTP/1.1\r\n\r\n",
        "<502",
        "<gone.test has no address",
    ]);
    let run = world.run("addresses", &conversations.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let records = world.finish(&run);
    for (name, kind) in names {
        assert_has(&records, Way::Http, name, &denied(DenyReason::ResolvedTo(kind)));
    }
    assert_has(&records, Way::Http, "gone.test", &Verdict::Failed { failure: Failure::Resolve });
    let reached: Vec<_> = world.seen().into_iter().filter(|line| line.starts_with("tcp")).collect();
    assert_eq!(reached, ["tcp 2001:4860::1 8080"]);
}

/// N5: what was judged is what is reached, though the next answer would be another one.
#[test]
fn n5_a_name_is_looked_up_once() {
    let Some(world) = World::new() else { return };
    let run = world.run("turns", &[&[PROXY, r">GET http://turns.test:8080/ HTTP/1.1\r\n\r\n", "<200 OK"]]);
    let records = world.finish(&run);
    let address: IpAddr = "9.9.9.9".parse().unwrap();
    assert_has(&records, Way::Http, "turns.test", &Verdict::Allowed { address });
    // One question for each kind of address; all others of these tests are answered by a file.
    assert_eq!(world.seen(), [r"dns \x05turns\x04test 1", r"dns \x05turns\x04test 28", "tcp 9.9.9.9 8080"]);
}

/// N9, N10 as far as it is covered: TLS must name the host that was asked for, and at 443 there is nothing else.
#[test]
fn n9_tunnels_are_for_the_host_that_was_asked_for() {
    let Some(world) = World::new() else { return };
    let (good, other) = (hello(Some("GOOD.test"), false), hello(Some("evil.test"), false));
    let (nameless, hidden) = (hello(None, false), hello(Some("good.test"), true));
    let say = |text: &str| format!(">{text}");
    let hear = |text: &str| format!("<{text}");
    let (connect, open) = (
        r">CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n",
        r"<HTTP/1.1 200 Connection established\r\n\r\n",
    );
    let elsewhere = r">CONNECT good.test:8443 HTTP/1.1\r\n\r\n";
    let mut conversations = vec![vec![
        PROXY.to_owned(),
        connect.into(),
        open.into(),
        say(&good),
        hear(&good),
        ">more".into(),
        "<more".into(),
        "=shut".into(),
        "=end".into(),
    ]];
    for bad in [&other, &nameless, &hidden, r"GET / HTTP/1.1\r\n\r\n", r"\x00"] {
        conversations.push(vec![PROXY.into(), connect.into(), open.into(), say(bad), "=reset".into()]);
    }
    for bad in [&other, &nameless, &hidden] {
        conversations.push(vec![PROXY.into(), elsewhere.into(), open.into(), say(bad), "=reset".into()]);
    }
    conversations.push(vec![PROXY.into(), elsewhere.into(), open.into(), ">SSH-2.0".into(), "<SSH-2.0".into()]);
    // Whoever speaks first elsewhere is heard before the client has said anything.
    let banner = r">CONNECT good.test:2222 HTTP/1.1\r\n\r\n";
    conversations.push(vec![
        PROXY.into(),
        banner.into(),
        open.into(),
        r"<welcome\n".into(),
        ">hello".into(),
        "<hello".into(),
    ]);
    // At port 80 a tunnel has requests for that host in it.
    let web = r">CONNECT good.test:80 HTTP/1.1\r\n\r\n";
    let (own, foreign) =
        (r">GET /x HTTP/1.1\r\nHost: good.test\r\n\r\n", r">GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    conversations.push(vec![
        PROXY.into(),
        web.into(),
        open.into(),
        own.into(),
        r"<GET /x HTTP/1.1\r\nHost: good.test\r\n\r\n".into(),
        foreign.into(),
        "<403".into(),
        "<host-mismatch".into(),
    ]);
    let words: Vec<Vec<&str>> = conversations.iter().map(|moves| moves.iter().map(String::as_str).collect()).collect();
    let run = world.run("tunnels", &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let records = world.finish(&run);
    for reason in [
        DenyReason::NameMismatch,
        DenyReason::NameMissing,
        DenyReason::NameHidden,
        DenyReason::NotTls,
        DenyReason::HostMismatch,
    ] {
        assert_has(&records, Way::Connect, "good.test", &denied(reason));
    }
}

/// N14: SOCKS with names, and nothing else of it.
#[test]
fn n14_socks_takes_names_only() {
    let Some(world) = World::new() else { return };
    let greeting = [PROXY, r">\x05\x01\x00", r"<\x05\x00"];
    let refused = |request, answer| [&greeting[..], &[request, answer, "=end"]].concat();
    let conversations = [
        [
            &greeting[..],
            &[
                r">\x05\x01\x00\x03\x09good.test\x1f\x90",
                r"<\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
                r">GET / HTTP/1.1\r\n\r\n",
                "<200 OK",
            ],
        ]
        .concat(),
        refused(r">\x05\x01\x00\x01\x01\x02\x03\x04\x1f\x90", r"<\x05\x08"),
        refused(
            r">\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1f\x90",
            r"<\x05\x08",
        ),
        refused(r">\x05\x02\x00\x03\x09good.test\x1f\x90", r"<\x05\x07"),
        refused(r">\x05\x03\x00\x03\x09good.test\x1f\x90", r"<\x05\x07"),
        refused(r">\x05\x01\x00\x03\x09evil.test\x1f\x90", r"<\x05\x02"),
        refused(r">\x05\x01\x00\x03\x09good.test\x00\x16", r"<\x05\x02"),
        refused(r">\x05\x01\x00\x03\x14evil.test\x00.good.test\x1f\x90", r"<\x05\x02"),
        refused(r">\x05\x01\x00\x03\x09loop.test\x1f\x90", r"<\x05\x02"),
        vec![PROXY, r">\x05\x01\x02", r"<\x05\xff", "=end"],
        vec![PROXY, r">\x04\x01\x1f\x90\x00\x00\x00\x01\x00good.test\x00", r"<\x00\x5b", "=end"],
    ];
    let run = world.run("socks", &conversations.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let records = world.finish(&run);
    assert_has(&records, Way::Socks, "good.test", &denied(DenyReason::PortNotAllowed));
    assert_has(&records, Way::Socks, r"evil.test\x00.good.test", &denied(DenyReason::BadName));
    assert_eq!(world.seen(), ["tcp 1.2.3.4 8080"]);
}

/// A DNS query, escaped.
fn query(name: &str, kind: u8) -> String {
    let labels: String = name.split('.').map(|label| format!("\\x{:02x}{label}", label.len())).collect();
    format!(r"~\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00{labels}\x00\x00\x{kind:02x}\x00\x01")
}

/// N3, N9, N16: without a proxy variable, by names of its own and addresses that stand for them.
#[test]
fn n16_connections_are_caught() {
    let Some(world) = World::new() else { return };
    let (a, aaaa) = (query("good.test", 1), query("good.test", 28));
    let (foreign, leak) = (query("evil.test", 1), query("c2VjcmV0.evil.test", 16));
    let (good, other) =
        (format!(">{}", hello(Some("good.test"), false)), format!(">{}", hello(Some("evil.test"), false)));
    let hear = good.replacen('>', "<", 1);
    let own = r">GET /x HTTP/1.1\r\nHost: good.test\r\n\r\n";
    let by_name = "[fd5c:7ae1:93b4::1]:8080";
    let mut run = world.run(
        "caught",
        &[
            &["127.0.0.1:53", &a, r"^\x12\x34\x81\x80\x00\x01\x00\x01"],
            &["127.0.0.1:53", &a, r"^\x00\x04\xc6\x12\x00\x01"],
            &["127.0.0.1:53", &aaaa, r"^\x00\x10\xfd\x5c\x7a\xe1\x93\xb4"],
            &["127.0.0.1:53", &foreign, r"^\x12\x34\x81\x83"],
            &["127.0.0.1:53", &leak, r"^\x12\x34\x81\x83"],
            &["127.0.0.1:53", &format!(r">\x00\x1b{}", &a[1..]), r"<\x12\x34\x81\x80", r"<\xc6\x12\x00\x01"],
            &["198.18.0.1:80", own, r"<GET /x HTTP/1.1\r\nHost: good.test\r\n\r\n"],
            &[by_name, r">GET /y HTTP/1.1\r\n\r\n", "<GET /y"],
            &["198.18.0.1:80", r">GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "<403", "<host-mismatch"],
            &["198.18.0.1:443", &good, &hear],
            &["198.18.0.1:443", &other, "=reset"],
            &["198.18.0.3:443", &good, "=reset"],
            &["198.18.0.6:8080", own, "=closed"],
            &["1.2.3.4:443", "=reset"],
            &["169.254.169.254:80", "=reset"],
            &["[2606:4700::1111]:443", "=reset"],
            &["127.0.0.1:80", "=reset"],
            &["1.1.1.1:53", "!"],
            &["1.1.1.1:25", "!"],
            &[PROXY, r">CONNECT good.test:2222 HTTP/1.1\r\n\r\n", "<welcome"],
        ],
    );
    run.spec.egress = policy(Transparent::Yes);
    let records = world.finish(&run);
    assert_has(&records, Way::Dns, "evil.test", &denied(DenyReason::NameNotAllowed));
    assert_has(&records, Way::Dns, "c2VjcmV0.evil.test", &denied(DenyReason::NameNotAllowed));
    for address in ["1.2.3.4", "169.254.169.254", "2606:4700::1111", "127.0.0.1"] {
        assert_has(&records, Way::Caught, address, &denied(DenyReason::UnknownAddress));
    }
    assert_has(&records, Way::Caught, "good.test", &denied(DenyReason::NameMismatch));
    assert_has(&records, Way::Caught, "mirror.test", &denied(DenyReason::PortNotAllowed));
    assert_has(&records, Way::Caught, "loop.test", &denied(DenyReason::ResolvedTo(AddressKind::Loopback)));
    let reached = world.seen();
    assert_eq!(reached, ["tcp 1.2.3.4 2222", "tcp 1.2.3.4 443", "tcp 1.2.3.4 80", "tcp 1.2.3.4 8080"]);
}

/// Names work for programs that know no proxy: the resolver of the run asks inside.
#[test]
fn caught_names_resolve_inside() {
    let Some(world) = World::new() else { return };
    let script =
        "cat /etc/resolv.conf; getent hosts good.test || getent ahosts good.test; getent hosts evil.test || echo none";
    let mut run = world.bench.run("names", vec![sh("names", Phase::Main, script)]);
    run.spec.egress = policy(Transparent::Yes);
    assert_eq!(world.bench.finish(&run).outcome, Outcome::Succeeded);
    let said = run.stdout();
    assert!(said.starts_with("nameserver 127.0.0.1\n"), "{said}");
    assert!(said.contains("good.test") && said.ends_with("none\n"), "{said}");
    assert_eq!(world.seen(), [""; 0]);
}

/// N15, N22: a run without a policy has no proxy, and no run has that of another one.
#[test]
fn n15_n22_every_run_has_its_own_proxy_or_none() {
    let Some(world) = World::new() else { return };
    let mut first = world.bench.run(
        "first",
        vec![sh("hold", Phase::Main, "exec 3>pipe; echo ready >&3; read line < go; env | grep -i proxy | sort")],
    );
    first.spec.egress = policy(Transparent::No);
    let (mut gate, mut pipe) = (first.gate(), first.pipe());
    world.bench.start(&first);
    pipe.line();
    let mut second = world.run("second", &[&[PROXY, "!"]]);
    second.spec.egress = Egress::None;
    assert_eq!(world.finish(&second), []);
    gate.open("");
    assert_eq!(first.wait().outcome, Outcome::Succeeded);
    let said = first.stdout();
    for variable in ["http_proxy=http://127.0.0.1:3128", "HTTPS_PROXY=http://127.0.0.1:3128", "no_proxy=localhost,"] {
        assert!(said.contains(variable), "{said}");
    }
}
