//! Attacks on those who look at the same moment: sources swapped while they are mounted, files swapped while they are
//! copied, and directories that several runs see.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use orch_sandbox::artifacts::{Artifact, Bounds, SkipReason, collect, find};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::remove_tree;
use orch_sandbox::spec::ReadOnlyMount;
use tempfile::TempDir;

use crate::bench::{Bench, attack};

/// Runs `work` while another thread exchanges two names as fast as it can, and at least 100 times.
fn while_exchanging(one: &Path, two: &Path, mut work: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut count = 0_u32;
            while !over.load(Ordering::Relaxed) || count < 100 {
                // One of them may be deleted by what is tried.
                if renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE).is_err() {
                    break;
                }
                count += 1;
            }
        });
        // Also when `work` panics, because the scope waits for the other thread.
        let stop = StopWhenDropped(&over);
        work();
        drop(stop);
        swapper.join().unwrap();
    });
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two runs see one cache; one wants to change what the other gets.
#[test]
fn f5_shared_caches_cannot_be_poisoned() {
    let Some(bench) = Bench::new() else { return };
    let cache = bench.path("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("tool"), "good").unwrap();
    let before = fs::metadata(cache.join("tool")).unwrap();
    let mount = || ReadOnlyMount { source: cache.clone(), target: "/cache".into() };
    let mut bad = bench.run("f5", vec![attack("f5", &["/cache"])]);
    bad.spec.mounts.push(mount());
    let mut good = bench.shell("f5-other", "cat /cache/tool; ls /cache");
    good.spec.mounts.push(mount());
    bench.start(&bad);
    bench.start(&good);
    let seen = (bad.wait().outcome, bad.stderr());
    assert_eq!(seen.0, Outcome::Succeeded, "{}", seen.1);
    assert_eq!(good.wait().outcome, Outcome::Succeeded);
    assert_eq!(good.stdout(), "goodtool\n");
    assert_eq!(fs::read(cache.join("tool")).unwrap(), b"good");
    let after = fs::metadata(cache.join("tool")).unwrap();
    assert_eq!((before.mode(), before.nlink(), before.ctime_nsec()), (after.mode(), after.nlink(), after.ctime_nsec()));
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

/// The workspace is exchanged with a link to a directory of secrets while runs are started on it.
#[test]
fn f17_swapped_sources_lead_nowhere_else() {
    let Some(bench) = Bench::new() else { return };
    let (secrets, link) = (bench.path("secrets"), bench.path("link"));
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("canary"), "secret").unwrap();
    symlink(&secrets, &link).unwrap();
    let run = bench.shell("f17", "true");
    let place = run.workspace.clone();
    fs::write(place.join("mine"), "mine").unwrap();
    let mut outcomes = [0, 0];
    while_exchanging(&place, &link, || {
        for index in 0..40 {
            let mut run = bench.shell(&format!("f17-{index}"), "cat mine && ! cat canary; ls -a >&2");
            fs::remove_dir(&run.workspace).unwrap();
            run.spec.workspace = place.clone();
            match bench.finish(&run).outcome {
                Outcome::Succeeded => {
                    assert_eq!(run.stdout(), "mine");
                    outcomes[0] += 1;
                }
                Outcome::SetupFailed { step, message, .. } => {
                    assert_eq!(step, "mount-workspace", "{message}");
                    outcomes[1] += 1;
                }
                other => panic!("{other:?}: {}", run.stderr()),
            }
        }
    });
    assert_eq!(fs::read_dir(&secrets).unwrap().count(), 1);
    assert!(outcomes.iter().all(|count| *count > 0), "nothing was swapped in time: {outcomes:?}");
}

/// The same for what is mounted read-only; prepared views are made from it, too.
#[test]
fn f17_swapped_mounts_lead_nowhere_else() {
    let Some(bench) = Bench::new() else { return };
    let (secrets, place, link) = (bench.path("secrets"), bench.path("place"), bench.path("link"));
    for (directory, file) in [(&secrets, "canary"), (&place, "mine")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join(file), file).unwrap();
    }
    symlink(&secrets, &link).unwrap();
    let mut outcomes = [0, 0];
    while_exchanging(&place, &link, || {
        for index in 0..40 {
            let mut run = bench.shell(&format!("f17-mount-{index}"), "cat /m/mine && ! cat /m/canary; ls -a /m >&2");
            run.spec.mounts.push(ReadOnlyMount { source: place.clone(), target: "/m".into() });
            match bench.finish(&run).outcome {
                Outcome::Succeeded => {
                    assert_eq!(run.stdout(), "mine");
                    outcomes[0] += 1;
                }
                Outcome::SetupFailed { step, message, .. } => {
                    assert_eq!(step, "mount `/m`", "{message}");
                    outcomes[1] += 1;
                }
                other => panic!("{other:?}: {}", run.stderr()),
            }
        }
    });
    assert_eq!(fs::read_dir(&secrets).unwrap().count(), 1);
    assert!(outcomes.iter().all(|count| *count > 0), "nothing was swapped in time: {outcomes:?}");
}

/// A file is exchanged with a link to a secret, its directory with a link to another one, while it is copied.
#[test]
fn a2_swapped_files_are_never_followed() {
    let home = TempDir::new().unwrap();
    let (root, secrets) = (home.path().join("ws"), home.path().join("secrets"));
    for directory in [&root.join("sub"), &secrets] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(secrets.join("file"), "secret").unwrap();
    fs::write(root.join("sub/file"), "mine").unwrap();
    fs::write(root.join("file"), "mine").unwrap();
    symlink(secrets.join("file"), root.join("link")).unwrap();
    symlink(&secrets, root.join("sublink")).unwrap();
    let mut counts = [0, 0];
    let mut take = |name: &str| {
        for index in 0..300 {
            let dest = home.path().join(format!("copy-{index}"));
            match collect(&root, Path::new(name), &dest, 1000).unwrap() {
                Artifact::Collected { .. } => {
                    assert_eq!(fs::read(&dest).unwrap(), b"mine");
                    fs::remove_file(&dest).unwrap();
                    counts[0] += 1;
                }
                Artifact::Skipped { reason: SkipReason::Link | SkipReason::Missing } => {
                    assert!(!dest.exists());
                    counts[1] += 1;
                }
                other @ Artifact::Skipped { .. } => panic!("{name}: {other:?}"),
            }
        }
    };
    while_exchanging(&root.join("file"), &root.join("link"), || take("file"));
    while_exchanging(&root.join("sub"), &root.join("sublink"), || take("sub/file"));
    while_exchanging(&root.join("sub"), &root.join("sublink"), || {
        for _ in 0..300 {
            let found = find(&root, &"**/file".parse().unwrap(), Bounds::default()).unwrap();
            assert!(
                found
                    .paths
                    .iter()
                    .all(|path| path.starts_with("sub") || path.starts_with("sublink") || path == Path::new("file"))
            );
        }
    });
    assert!(counts[0] > 0 && counts[1] > 0, "nothing was swapped in time: {counts:?}");
    // The same for who deletes: what a link leads to stays.
    while_exchanging(&root.join("sub"), &root.join("sublink"), || {
        let _refused = remove_tree(&root.join("sub"));
    });
    assert_eq!(fs::read(secrets.join("file")).unwrap(), b"secret");
}

/// Names, numbers and sizes that a collector could stumble over.
#[test]
fn a4_bounds_hold_whatever_a_job_leaves() {
    let home = TempDir::new().unwrap();
    let root = home.path().join("ws");
    fs::create_dir(&root).unwrap();
    let dest = home.path().join("copy");
    let take = |name: &Path, max| collect(&root, name, &dest, max).unwrap();
    // A terabyte of nothing.
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_at(b"x", 0).unwrap();
    let too_large = Artifact::Skipped { reason: SkipReason::TooLarge { max_bytes: 1 << 20 } };
    assert_eq!(take(Path::new("sparse"), 1 << 20), too_large);
    assert!(!dest.exists());
    // A file that is two, and one that is nobody's.
    fs::write(root.join("one"), "once").unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    for name in ["one", "two"] {
        assert!(matches!(take(Path::new(name), 100), Artifact::Collected { size_bytes: 4, .. }));
        fs::remove_file(&dest).unwrap();
    }
    // Names that a shell, a terminal or a header would misread.
    let names: [&[u8]; 7] =
        [b"line\nbreak", b"\xff\xfe", b"-rf", b"\x1b[2J", b" ", b"..\xc0\xaf", "\u{202e}txt".as_bytes()];
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::write(root.join(name), "x").unwrap();
        assert!(matches!(take(Path::new(name), 100), Artifact::Collected { .. }), "{name:?}");
        fs::remove_file(&dest).unwrap();
    }
    for name in ["../x", "a/../../x", "/x", "."] {
        assert!(matches!(take(Path::new(name), 100), Artifact::Skipped { .. }), "{name}");
    }
    // More files than anybody looks at.
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for index in 0..20_000 {
        fs::File::create(many.join(index.to_string())).unwrap();
    }
    let pattern = "many/*".parse().unwrap();
    let few = find(&root, &pattern, Bounds { files_max: 1000, ..Bounds::default() }).unwrap();
    assert_eq!((few.paths.len(), few.incomplete), (1000, true));
    let looked = find(&root, &pattern, Bounds { entries_max: 500, ..Bounds::default() }).unwrap();
    assert!(looked.incomplete && looked.paths.len() <= 500, "{}", looked.paths.len());
    let all = find(&root, &pattern, Bounds::default()).unwrap();
    assert_eq!((all.paths.len(), all.incomplete), (10_000, true));
    // Deeper than a path can be long.
    let mut at = nix::fcntl::open(&root, nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).unwrap();
    for _ in 0..100 {
        let name = "d".repeat(200);
        nix::sys::stat::mkdirat(&at, name.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        at = nix::fcntl::openat(&at, name.as_str(), nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty())
            .unwrap();
    }
    assert!(find(&root, &"**/x".parse().unwrap(), Bounds::default()).unwrap().incomplete);
    remove_tree(&root).unwrap();
}
