//! The list of all attacks (`orchd/docs/threat-model.md`) and where each is tried, so that none is forgotten in silence.
//!
//! **Invariant:** every case has a test of this program, a test elsewhere by name, a part that is to bring one, or a reason.
//! **Invariant:** a test that cannot show its case here says so by name, for a reason that the list knows.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use orch_sandbox::{Level, probe_host};

/// One attack.
struct Case {
    id: &'static str,
    what: &'static str,
    needs: &'static [Need],
    tried: Tried,
}

/// What a case needs to be shown here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Namespaces, landlock, system call filter.
    Full,
    /// A limit of processes that holds for this user: Linux 6.14, or a user that is not root.
    ProcessBound,
    /// The allocator's table, which only root may read.
    SlabTable,
    /// A delegated cgroup v2.
    Cgroup,
}

/// Where a case is tried.
enum Tried {
    /// By tests of this program; each name is the beginning of one or more.
    Here(&'static [&'static str]),
    /// By tests elsewhere: file from the root of the repository, function.
    Elsewhere(&'static [(&'static str, &'static str)]),
    /// Not at all, and why.
    Residual(&'static str),
}

use Need::{Cgroup, Full, ProcessBound, SlabTable};
use Tried::{Elsewhere, Here, Residual};

const fn case(id: &'static str, what: &'static str, needs: &'static [Need], tried: Tried) -> Case {
    Case { id, what, needs, tried }
}

const GIT: &str = "orchd/adapters/tests/git/attacks.rs";

#[rustfmt::skip]
const CASES: [Case; 105] = [
    case("F1", "read files of the host", &[Full], Here(&["escapes::f1_"])),
    case("F2", "write the system, create at the root", &[Full], Here(&["escapes::f2_"])),
    case("F3", "write below a read-only mount where another is mounted", &[Full], Here(&["escapes::f3_"])),
    case("F4", "make a mount writable again", &[Full], Here(&["escapes::f4_"])),
    case("F5", "poison a cache that another run sees", &[Full], Here(&["races::f5_"])),
    case("F6", "lead out by dots and symlinks", &[Full], Here(&["escapes::f6_"])),
    case("F7", "reach the old root", &[Full], Here(&["escapes::f7_"])),
    case("F8", "open a guessed handle", &[Full], Here(&["escapes::f8_"])),
    case("F9", "leave a set-user-id file", &[Full], Here(&["escapes::f9_"])),
    case("F10", "make a device", &[Full], Here(&["escapes::f10_"])),
    case("F11", "hard link a file of the host into the workspace", &[Full], Here(&["escapes::f11_"])),
    case("F12", "take the permissions from directories to break removal", &[Full], Here(&["results::f12_"])),
    case("F13", "paths that are too deep, names that are misread", &[],
         Elsewhere(&[("sandbox/src/remove.rs", "removes_a_tree_deeper_than_any_path"), ("sandbox/src/remove.rs", "removes_what_a_job_can_leave")])),
    case("F14", "fill the disk", &[Full], Here(&["floods::f14_"])),
    case("F15", "share temporary files with the host, fill them", &[Full], Here(&["escapes::f15_"])),
    case("F16", "move files from one tree to another", &[Full], Here(&["escapes::f16_"])),
    case("F17", "swap a source while it is mounted", &[Full], Here(&["races::f17_"])),
    case("F18", "inherit a descriptor", &[Full], Here(&["escapes::f18_"])),
    case("P1", "see processes of the host", &[Full], Here(&["escapes::p1_"])),
    case("P2", "signal processes of the host", &[Full], Here(&["escapes::p2_"])),
    case("P3", "look into init", &[Full], Here(&["escapes::p3_"])),
    case("P4", "trace init", &[Full], Here(&["escapes::p4_"])),
    case("P5", "overwrite the program of the sandbox", &[Full], Here(&["escapes::p5_"])),
    case("P6", "outlive the run", &[Full], Here(&["faults::p6_", "steps::leftovers_"])),
    case("P7", "ignore signals, stop oneself, be many", &[Full], Here(&["floods::p7_", "steps::cancelling_"])),
    case("P8", "get the terminal of the host", &[Full], Here(&["escapes::p8_", "faults::p8_"])),
    case("P9", "outlive the shim", &[Full], Here(&["lifecycle::everything_inside_"])),
    case("P10", "speak in the name of init", &[Full], Here(&["escapes::p10_", "floods::p10_"])),
    case("P11", "take away randomness, call as a 32-bit program", &[Full], Here(&["escapes::p11_"])),
    case("P12", "leave zombies", &[Full], Here(&["escapes::p12_"])),
    case("N1", "have an interface", &[Full], Here(&["escapes::n1_"])),
    case("N2", "connect to anybody", &[Full], Here(&["escapes::n2_"])),
    case("N3", "reach metadata services", &[Full], Here(&["egress::n3_n4_n6_"])),
    case("N4", "name an allowed name that leads to a private address", &[Full], Here(&["egress::n3_n4_n6_"])),
    case("N5", "change what a name leads to between check and use", &[Full], Here(&["egress::n5_"])),
    case("N6", "write an address in another way", &[Full], Here(&["egress::n3_n4_n6_"])),
    case("N7", "write a name in another way", &[Full], Here(&["egress::n7_n11_"])),
    case("N8", "use a name that ends like an allowed one", &[Full], Here(&["egress::n7_n11_"])),
    case("N9", "ask for another server inside TLS", &[Full], Here(&["egress::n9_"])),
    case("N10", "ask for another host inside TLS", &[Full], Here(&["egress::n9_"])),
    case("N11", "ask for another host in the second request", &[Full], Here(&["egress::n7_n11_"])),
    case("N12", "be sent on to a denied host", &[Full], Here(&["egress::plain_http_goes_on"])),
    case("N13", "use another port", &[Full], Here(&["egress::n9_"])),
    case("N14", "speak SOCKS by address, backwards or without connection", &[Full], Here(&["egress::n14_"])),
    case("N15", "be without a list, or without a proxy", &[Full], Here(&["egress::n15_", "proxies::n15_"])),
    case("N16", "ask for names that carry secrets", &[Full], Here(&["escapes::n16_"])),
    case("N17", "write packets by hand", &[Full], Here(&["escapes::n17_"])),
    case("N18", "reach the hypervisor", &[Full], Here(&["escapes::n18_"])),
    case("N19", "use socket families and protocols that few have looked at", &[Full], Here(&["escapes::n19_"])),
    case("N20", "reach an abstract socket of the host", &[Full], Here(&["escapes::n20_"])),
    case("N21", "reach a socket of the host by path", &[Full], Here(&["escapes::n21_"])),
    case("N22", "use the way out of another run", &[Full], Here(&["egress::n15_n22_"])),
    case("N23", "flood the proxy", &[Full], Here(&["proxies::n23_"])),
    case("N24", "keep a connection after the run", &[Full], Here(&["proxies::n24_"])),
    case("N25", "connect past the filter by io_uring", &[Full], Here(&["escapes::k2_"])),
    case("N26", "carry secrets out to an allowed host", &[], Residual("who may send to a host may send anything; the report of egress says so")),
    case("I1", "find System V and POSIX objects of the host", &[Full], Here(&["escapes::i1_"])),
    case("I2", "find key rings of the user", &[Full], Here(&["escapes::i2_"])),
    case("I3", "press keys for others, change how a terminal works", &[Full], Here(&["escapes::i3_"])),
    case("I4", "leave descriptors with the shim", &[Full], Here(&["faults::i4_"])),
    case("D1", "find more than harmless devices", &[Full], Here(&["escapes::d1_"])),
    case("D2", "open devices of the host", &[Full], Here(&["escapes::d2_"])),
    case("D3", "give commands to devices", &[Full], Here(&["escapes::d3_"])),
    case("K1", "make namespaces", &[Full], Here(&["escapes::k1_"])),
    case("K2", "use calls that reach into the kernel", &[Full], Here(&["escapes::k2_"])),
    case("K3", "use calls newer than the filter", &[Full], Here(&["escapes::k3_"])),
    case("K4", "have capabilities, gain them by a program", &[Full], Here(&["escapes::k4_"])),
    case("K5", "write identity maps", &[Full], Here(&["escapes::k5_"])),
    case("K6", "have memory dumped to a program of the host", &[Full], Here(&["escapes::k6_"])),
    case("K7", "be more important than others", &[Full], Here(&["escapes::k7_"])),
    case("K8", "change settings of the kernel", &[Full], Here(&["escapes::k8_"])),
    case("K9", "learn about the host", &[Full], Here(&["escapes::k9_"])),
    case("R1", "fork without end", &[Full, ProcessBound], Here(&["floods::r1_"])),
    case("R2", "take all memory", &[Full, Cgroup], Here(&["limits::r2_"])),
    case("R3", "take all processors", &[Full, Cgroup], Here(&["groups::r3_"])),
    case("R4", "write logs without end", &[Full], Here(&["floods::r4_", "results::r4_"])),
    case("R5", "take all descriptors", &[Full], Here(&["floods::r5_", "escapes::r9_"])),
    case("R6", "use up namespaces by many runs", &[Full, SlabTable], Here(&["faults::r6_"])),
    case("R7", "outlast the clock", &[Full], Here(&["floods::r7_", "steps::the_run_has_its_time"])),
    case("R8", "go on while paused", &[Full], Here(&["floods::r8_", "steps::a_paused_run_"])),
    case("G1", "have git execute what a configuration names", &[], Elsewhere(&[(GIT, "host_side_git_executes_nothing_of_a_workspace")])),
    case("G2", "point a worktree to another git directory", &[], Elsewhere(&[(GIT, "a_git_file_that_leads_elsewhere_is_not_followed")])),
    case("G3", "have git execute what a nested repository names", &[], Elsewhere(&[(GIT, "host_side_git_executes_nothing_of_a_workspace"), (GIT, "submodules_cannot_be_added")])),
    case("G4", "look like a bare repository", &[], Elsewhere(&[(GIT, "host_side_git_executes_nothing_of_a_workspace")])),
    case("G5", "name submodules, refs and addresses that are options", &[], Elsewhere(&[(GIT, "dangerous_objects"), (GIT, "shapes_other_than_one_commit_on_the_base")])),
    case("G6", "name objects of others, unpack without end", &[], Elsewhere(&[(GIT, "another_repositorys_alternates_are_not_followed"), (GIT, "unpacked_size_and_time_are_bounded")])),
    case("G7", "have git give a password to somebody", &[], Elsewhere(&[(GIT, "host_side_git_executes_nothing_of_a_workspace")])),
    case("G8", "leave locks, change refs of others", &[], Elsewhere(&[(GIT, "locks_and_refs_of_a_run_stay_its_own")])),
    case("A1", "hand in a link as a result", &[], Here(&["results::a1_"])),
    case("A2", "swap a result while it is copied", &[], Here(&["races::a2_"])),
    case("A3", "hand in what is no file", &[], Here(&["results::a1_a3_"])),
    case("A4", "hand in too much, too large, oddly named", &[], Here(&["races::a4_"])),
    case("A5", "have an archive unpacked outside", &[], Residual("nothing unpacks archives: results are single files, and caches are mounted, not restored")),
    case("L1", "show what a terminal obeys", &[],
         Elsewhere(&[("orch-tui/src/ctl/tests.rs", "hostile_text_never_reaches_a_terminal"), ("orch-tui/src/ctl/tests.rs", "logs_are_whole_filtered_and_escaped")])),
    case("L2", "forge records of the log", &[Full], Here(&["results::l2_"])),
    case("S1", "find a secret in arguments", &[Full], Here(&["secrets::s1_s2_"])),
    case("S2", "find a secret in the environment of the sandbox", &[Full], Here(&["secrets::s1_s2_"])),
    case("S3", "find a secret in logs, results and dumps", &[Full], Here(&["secrets::s3_", "conceal::s3_"])),
    case("S4", "find a secret after the run", &[Full], Here(&["secrets::s3_s4_"])),
    case("S5", "inherit the environment", &[Full], Here(&["escapes::s5_"])),
    case("S6", "find the secret of another run", &[Full], Here(&["secrets::s6_"])),
    case("M1", "be left by somebody who dies while he starts a run", &[Full], Here(&["faults::m1_"])),
    case("M2", "be lost with a daemon that dies", &[],
         Elsewhere(&[("tests/tests/stories/kills.rs", "runs_go_on_when_the_daemon_is_killed"), ("sandbox/tests/sandbox/lifecycle.rs", "the_record_is_written_with_nobody_left")])),
    case("M3", "find what a run before left in a namespace", &[Full], Here(&["faults::m3_"])),
    case("M4", "run with less than was asked for", &[Full], Here(&["steps::without_landlock_", "steps::without_user_namespaces_", "steps::a_level_that_", "refusals::m4_"])),
];

/// Attacks beyond the list, named in the same way.
const FURTHER: [&str; 8] = ["p13", "d4", "k11", "r9", "r10", "r11", "r12", "f5"];

impl Need {
    fn met(self) -> bool {
        match self {
            Self::Full => probe_host().expected_level >= Level::Full,
            Self::ProcessBound => !nix::unistd::geteuid().is_root() || bounded_namespaces(),
            Self::SlabTable => std::fs::File::open("/proc/slabinfo").is_ok(),
            // Its tests come with it, and say themselves what they find.
            Self::Cgroup => true,
        }
    }
}

/// Whether pid namespaces have a bound of their own: since Linux 6.14.
fn bounded_namespaces() -> bool {
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|other: char| !other.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Says that case `id` cannot be shown here. Fails when the list does not know why, or when it is not so.
pub(crate) fn skipped(id: &str, need: Need) {
    let case = CASES.iter().find(|case| case.id == id).unwrap_or_else(|| panic!("no case {id}"));
    assert!(case.needs.contains(&need), "{id} is not said to need {need:?}");
    assert!(!need.met(), "{id} was skipped for {need:?}, which is there");
    say(&format!("skipped: {id} ({}): {need:?} is not here", case.what));
}

/// Past the capturing of tests that pass.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The names of all tests of this program.
fn tests() -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Whether the file has a test of this name.
fn has_test(file: &str, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("fn ").any(|after| after.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
}

#[test]
fn every_attack_is_tried_or_has_a_reason() {
    let tests = tests();
    let known = |name: &str| tests.iter().any(|test| test.starts_with(name));
    let mut wrong = Vec::new();
    let (mut here, mut elsewhere, mut residual, mut skipped) = (0, 0, Vec::new(), Vec::new());
    for case in &CASES {
        let unmet: Vec<_> = case.needs.iter().filter(|need| !need.met()).collect();
        match &case.tried {
            Here(names) => {
                here += 1;
                wrong.extend(
                    names.iter().filter(|name| !known(name)).map(|name| format!("{}: no test {name}", case.id)),
                );
                if !unmet.is_empty() {
                    skipped.push(format!("{} ({unmet:?})", case.id));
                }
            }
            Elsewhere(places) => {
                elsewhere += 1;
                let missing = places.iter().filter(|(file, name)| !has_test(file, name));
                wrong.extend(missing.map(|(file, name)| format!("{}: no test {name} in {file}", case.id)));
            }
            Residual(why) => residual.push(format!("{} ({why})", case.id)),
        }
        if case.what.is_empty() {
            wrong.push(format!("{}: says nothing", case.id));
        }
    }
    assert_eq!(wrong, [""; 0]);
    let user = nix::unistd::geteuid();
    say(&format!(
        "escape suite as user {user}: {} cases: {here} tried here, {elsewhere} by tests elsewhere; {} residual: {}; {} cannot be shown in full here: {}",
        CASES.len(),
        residual.len(),
        residual.join(", "),
        skipped.len(),
        if skipped.is_empty() { "none".to_owned() } else { skipped.join(", ") },
    ));
}

/// The other way round: no test has a number that the list does not know.
#[test]
fn every_numbered_test_is_in_the_list() {
    let ids: BTreeSet<String> =
        CASES.iter().map(|case| case.id.to_lowercase()).chain(FURTHER.map(str::to_owned)).collect();
    assert_eq!(CASES.iter().map(|case| case.id).collect::<BTreeSet<_>>().len(), CASES.len(), "a number is used twice");
    for test in tests() {
        let name = test.rsplit("::").next().unwrap_or_default();
        let number = name.split('_').next().unwrap_or_default();
        let numbered = number.len() > 1 && number[1..].bytes().all(|byte| byte.is_ascii_digit());
        assert!(!numbered || ids.contains(number), "{test}");
    }
}
