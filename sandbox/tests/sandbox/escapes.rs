//! Attacks from inside of real runs, named after the cases of `orchd/docs/threat-model.md`.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use orch_sandbox::log::Stream;
use orch_sandbox::spec::{Phase, ReadOnlyMount};

use crate::bench::{Bench, PROCESSES, TMP_BYTES, assert_refused, attack, program, refused, sh};
use crate::canaries::{HostKey, HostObjects};

#[test]
fn f1_files_of_the_host_do_not_exist() {
    let Some(bench) = Bench::new() else { return };
    let canary = bench.path("canary");
    std::fs::write(&canary, "secret").unwrap();
    refused(&bench, "f1", &[canary.to_str().unwrap(), "/root", "/etc/shadow", "/etc/machine-id", "/home/run/.ssh"]);
}

#[test]
fn f2_the_system_cannot_be_written() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f2", &[]);
}

/// `/dev` of the host has mounts below it, which a read-only mount must cover, too.
#[test]
fn f3_submounts_of_read_only_mounts_cannot_be_written() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run("f3", vec![attack("f3", &["/hostdev", "/usr"])]);
    run.spec.mounts.push(ReadOnlyMount { source: "/dev".into(), target: "/hostdev".into() });
    assert_refused(&bench, &run);
}

#[test]
fn f4_mounts_cannot_be_changed() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f4", &[]);
}

#[test]
fn f6_dots_and_links_do_not_lead_out() {
    let Some(bench) = Bench::new() else { return };
    let canary = bench.path("canary");
    std::fs::write(&canary, "secret").unwrap();
    refused(&bench, "f6", &[canary.to_str().unwrap()]);
}

#[test]
fn f7_the_old_root_is_gone() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f7", &[]);
}

#[test]
fn f8_handles_cannot_be_guessed() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f8", &[]);
}

#[test]
fn f9_no_setuid_file_can_be_left() {
    let Some(bench) = Bench::new() else { return };
    let run = refused(&bench, "f9", &[]);
    for entry in std::fs::read_dir(&run.workspace).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o6000, 0, "{:?}", entry.file_name());
    }
}

#[test]
fn f10_no_device_can_be_made() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f10", &[]);
}

#[test]
fn f11_no_hard_link_leads_out() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f11", &[]);
}

#[test]
fn f15_temporary_files_are_private_and_bounded() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f15", &[&TMP_BYTES.to_string()]);
}

#[test]
fn f16_nothing_moves_between_trees() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "f16", &[]);
}

/// The caller forgets a descriptor that does not close on exec.
#[test]
fn f18_no_descriptor_is_inherited() {
    let Some(bench) = Bench::new() else { return };
    let canary = bench.path("canary");
    std::fs::write(&canary, "secret").unwrap();
    let run = bench.run("f18", vec![attack("f18", &[])]);
    let spec = bench.path("spec.json");
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let script = "exec 7<>\"$1\" 9<\"$1\"; exec \"$2\" run \"$3\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([canary.as_path(), program(), spec.as_path()])
        .stdin(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn p1_only_own_processes_are_seen() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p1", &[]);
}

#[test]
fn p2_host_processes_cannot_be_signalled() {
    let Some(bench) = Bench::new() else { return };
    let mut canary = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    refused(&bench, "p2", &[&canary.id().to_string(), &std::process::id().to_string()]);
    assert_eq!(canary.try_wait().unwrap(), None);
    drop(canary.stdin.take());
    assert!(canary.wait().unwrap().success());
}

#[test]
fn p3_init_gives_nothing_away() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p3", &[]);
}

#[test]
fn p4_init_cannot_be_traced() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p4", &[]);
}

#[test]
fn p5_programs_cannot_be_overwritten() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p5", &[]);
}

#[test]
fn p8_no_terminal_controls_a_run() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p8", &[]);
}

#[test]
fn p10_nobody_speaks_for_init() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p10", &[]);
}

#[test]
fn p11_address_randomisation_stays_on() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p11", &[]);
}

/// More than there can be at once.
#[test]
fn p12_orphans_are_buried() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "p12", &[&(4 * PROCESSES).to_string()]);
}

/// The user id of the steps is that of init, which must still end them and start what comes after.
#[test]
fn p13_init_cannot_be_weakened() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run("p13", vec![attack("p13", &[]), sh("after", Phase::Always, "echo alive")]);
    run.spec.steps[1].timeout_ms = 10_000;
    assert_refused(&bench, &run);
    assert_eq!(run.output(Stream::Stdout, 1), b"alive\n");
}

#[test]
fn n1_there_is_only_an_own_loopback() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "n1", &[]);
}

#[test]
fn n2_nobody_can_be_reached() {
    let Some(bench) = Bench::new() else { return };
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    refused(&bench, "n2", &[&canary.local_addr().unwrap().to_string()]);
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// The resolver of the host is not asked either.
#[test]
fn n16_names_are_asked_of_nobody() {
    let Some(bench) = Bench::new() else { return };
    let canary = UdpSocket::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    refused(&bench, "n16", &[&canary.local_addr().unwrap().to_string()]);
    assert_eq!(canary.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn n17_no_packet_can_be_written_by_hand() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "n17", &[]);
}

#[test]
fn n18_the_hypervisor_is_not_reached() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "n18", &[]);
}

#[test]
fn n19_families_and_protocols_are_few() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "n19", &[]);
}

#[test]
fn n20_abstract_sockets_of_the_host_are_not_reached() {
    let Some(bench) = Bench::new() else { return };
    let name = format!("sbx-test-{}", std::process::id());
    let canary = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    canary.set_nonblocking(true).unwrap();
    refused(&bench, "n20", &[&name]);
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn n21_sockets_of_the_host_do_not_exist() {
    let Some(bench) = Bench::new() else { return };
    let canary = bench.path("canary.sock");
    let _listener = UnixListener::bind(&canary).unwrap();
    refused(&bench, "n21", &[canary.to_str().unwrap()]);
}

/// What the host made under a key and under a name.
#[test]
fn i1_objects_of_the_host_do_not_exist() {
    let Some(bench) = Bench::new() else { return };
    let objects = HostObjects::make();
    refused(&bench, "i1", &[&objects.key.to_string(), objects.queue.to_str().unwrap()]);
}

#[test]
fn i2_key_rings_are_refused() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "i2", &[]);
}

#[test]
fn i3_terminals_take_no_keys_from_others() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "i3", &[]);
}

#[test]
fn k1_no_namespace_can_be_made() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k1", &[]);
}

#[test]
fn k2_calls_into_the_kernel_are_refused() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k2", &[]);
}

#[test]
fn k3_unknown_calls_do_not_exist() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k3", &[]);
}

#[test]
fn k4_no_privilege_is_left() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k4", &[]);
}

#[test]
fn k5_identities_are_settled() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k5", &[]);
}

#[test]
fn k6_nothing_is_dumped() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k6", &[]);
}

#[test]
fn k7_no_better_priority() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k7", &[]);
}

#[test]
fn k8_kernel_settings_cannot_be_written() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k8", &[]);
}

#[test]
fn k9_the_host_name_is_that_of_the_run() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "k9", &["k9"]);
}

/// Tables that the kernel shows to administrators only, and the key rings of the user.
#[test]
fn k11_files_for_administrators_are_not_shown() {
    let Some(bench) = Bench::new() else { return };
    let _key = HostKey::make();
    refused(&bench, "k11", &[]);
}

#[test]
fn d1_devices_are_few() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "d1", &[]);
}

#[test]
fn d2_devices_of_the_host_do_not_exist() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "d2", &[]);
}

#[test]
fn d3_devices_take_no_commands() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "d3", &[]);
}

/// A run of root could otherwise take `/dev/null` from the whole host.
#[test]
fn d4_devices_of_the_host_keep_mode_and_owner() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "d4", &[]);
}

#[test]
fn r9_what_is_counted_for_the_host_cannot_be_used_up() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "r9", &[]);
}

/// The environment of the test, of the spawner and of the shim stays outside.
#[test]
fn s5_the_environment_is_that_of_the_spec() {
    let Some(bench) = Bench::new() else { return };
    let expected = [
        "B=2",
        "A=step",
        "HOME=/home/run",
        "LANG=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR=/tmp",
    ];
    let mut sorted = expected;
    sorted.sort_unstable();
    let mut run = bench.run("s5", vec![attack("s5", &sorted)]);
    run.spec.env = [("A".to_owned(), "run".to_owned()), ("B".to_owned(), "2".to_owned())].into();
    run.spec.steps[0].env = [("A".to_owned(), "step".to_owned())].into();
    assert_refused(&bench, &run);
}
