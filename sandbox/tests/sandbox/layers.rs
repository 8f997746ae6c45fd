//! Workspaces that start as directories of the host: what the run sees, and that nothing it does changes them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use orch_sandbox::artifacts;
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::limit::LimitKind;
use orch_sandbox::spec::Phase;

use crate::bench::{Bench, Run, program, sh};

/// A bench whose directory is deleted like a job's own: the kernel leaves a directory without permissions in the scratch
/// space of an overlay.
struct Cleared(Bench);

impl std::ops::Deref for Cleared {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        if let Err(error) = orch_sandbox::remove_tree(&self.path("")) {
            eprintln!("left: {error}");
        }
    }
}

/// Two layers: the one on top has a file of its own, a changed one, and no `gone`.
fn layers(bench: &Bench) -> Vec<PathBuf> {
    let base = bench.path("base");
    for (name, content) in [("a", "a\n"), ("b", "b\n"), ("dir/deep/c", "c\n"), ("link/x", "x\n")] {
        let path = base.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    symlink("/etc/passwd", base.join("out")).unwrap();
    fs::write(base.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(base.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let top = bench.path("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("b"), "other\n").unwrap();
    vec![top, base]
}

fn on_layers(bench: &Bench, name: &str, script: &str) -> (Run, Vec<PathBuf>) {
    let layers = layers(bench);
    let mut run = bench.shell(name, script);
    run.spec.workspace_base = Some(layers.clone());
    (run, layers)
}

/// Every entry below `path` with all that a change would show in.
fn fingerprint(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.push(format!(
            "{} {} {:o} {}.{} {} {content:?}",
            path.display(),
            meta.ino(),
            meta.mode(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.nlink()
        ));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_sees_the_layers_merged_and_changes_only_its_own() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let script = "set -e; cat a b dir/deep/c; readlink out; test -x tool; ls; \
        echo mine >>a; rm b; rm -r dir; mkdir dir; echo new >dir/n; mv link moved; chmod 600 tool; ln a hard; \
        cat a; test ! -e b; ls dir moved";
    let (run, layers) = on_layers(&bench, "merged", script);
    let before: Vec<_> = layers.iter().map(|layer| fingerprint(layer)).collect();
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    let seen = run.stdout();
    assert_eq!(seen, "a\nother\nc\n/etc/passwd\na\nb\ndir\nlink\nout\ntool\na\nmine\ndir:\nn\n\nmoved:\nx\n");
    assert_eq!(layers.iter().map(|layer| fingerprint(layer)).collect::<Vec<_>>(), before);
    // Only what differs takes space, and a deleted file is a mark.
    let upper = run.workspace.join("upper");
    assert_eq!(fs::read_to_string(upper.join("a")).unwrap(), "a\nmine\n");
    assert!(fs::symlink_metadata(upper.join("b")).unwrap().file_type().is_char_device());
    assert!(!upper.join("out").exists());
    orch_sandbox::remove_tree(&run.workspace).unwrap();
}

/// Tries to leave notes like those of the overlay, to make what a deleted file is, and to write through descriptors.
const WAYS: &str = r"
import os
NOTES = [('redirect', b'/etc'), ('opaque', b'y'), ('metacopy', b''), ('origin', b'x'), ('whiteout', b'y')]
for name, value in NOTES:
    for kind in ['user', 'trusted']:
        for path in ['dir', 'dir/deep', 'a', '.']:
            try:
                os.setxattr(path, kind + '.overlay.' + name, value)
            except OSError:
                pass
try:
    os.mknod('w', 0o020000, 0)
except OSError as error:
    print('mknod', error.errno)
held = os.open('a', os.O_RDONLY)
for flags in [os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND]:
    file = os.open('/proc/self/fd/%d' % held, flags)
    os.write(file, b'over')
    os.close(file)
";

/// F5, F11 and the notes of the overlay itself: none of the ways to a layer leads there.
#[test]
fn no_way_leads_to_a_layer() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let script = format!("python3 -c \"{WAYS}\" || exit 9; cat dir/deep/c; grep overlay /proc/self/mountinfo");
    let (mut run, layers) = on_layers(&bench, "ways", &script);
    run.spec.steps.push(sh("again", Phase::Always, "echo x >dir/deep/c; cat dir/deep/c"));
    let before: Vec<_> = layers.iter().map(|layer| fingerprint(layer)).collect();
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    assert_eq!(layers.iter().map(|layer| fingerprint(layer)).collect::<Vec<_>>(), before);
    let seen = run.stdout();
    assert!(seen.starts_with("mknod 13\nc\n") && seen.lines().count() == 3, "{seen}");
    // Where the layers are on the host is not said either.
    assert!(!seen.contains(bench.home.path().to_str().unwrap()), "{seen}");
}

/// What a run leaves in its own directory is not believed when that is mounted once more.
#[test]
fn an_upper_directory_is_mounted_again_without_its_notes() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let script = format!("python3 -c \"{WAYS}\" || exit 9; echo 1 >one; mkdir -p dir/d; rm a");
    let (mut run, layers) = on_layers(&bench, "twice", &script);
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    run.spec.fence = 2;
    run.spec.steps = vec![sh("main", Phase::Main, "cat one b; ls -d dir/* a; test ! -e a")];
    run.dir = bench.path("twice.second");
    let before: Vec<_> = layers.iter().map(|layer| fingerprint(layer)).collect();
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    assert_eq!(run.stdout(), "1\nother\ndir/d\ndir/deep\n");
    assert_eq!(layers.iter().map(|layer| fingerprint(layer)).collect::<Vec<_>>(), before);
}

/// Space in a merged workspace is the run's, whoever makes the view and whether the kernel or the run takes it.
#[test]
fn what_a_merged_workspace_takes_is_counted() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let layers = layers(&bench);
    let bounded = |name: &str, script: &str| {
        let mut run = bench.shell(name, script);
        run.spec.workspace_base = Some(layers.clone());
        run.spec.limits.disk_bytes = Some(16 << 20);
        run.spec.limits.wall_ms = 30_000;
        run
    };
    let takes = "head -c 40000000 /dev/zero > file; mkfifo never; read line < never";
    // A program for people has no view that is prepared ahead.
    let spec = bench.path("spec.json");
    fs::write(&spec, serde_json::to_string(&bounded("person", takes).spec).unwrap()).unwrap();
    let person = std::process::Command::new(program()).arg("run").arg(&spec).output().unwrap();
    assert_eq!(person.status.code(), Some(137), "{person:?}");
    let is_over = |record: ExitRecord| match record.outcome {
        Outcome::LimitExceeded { excess, .. } => assert_eq!(excess.limit, LimitKind::Disk),
        other => panic!("{other:?}"),
    };
    is_over(bench.finish(&bounded("taken", takes)));
    // The kernel keeps little there, and this is as good.
    let scratch = bounded("scratch", "mkfifo never; read line < never");
    bench.start(&scratch);
    fs::write(scratch.workspace.join("work-0/copy"), vec![1; 40_000_000]).unwrap();
    is_over(scratch.wait());
}

/// What the kernel has left of earlier mounts goes with the next one.
#[test]
fn scratch_space_is_that_of_one_mount() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let (mut run, _layers) = on_layers(&bench, "again", "echo 1 >>a");
    for fence in 1..=3 {
        run.spec.fence = fence;
        run.dir = bench.path(&format!("again.{fence}"));
        assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded, "{}", run.stderr());
        let names =
            fs::read_dir(&run.workspace).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        assert_eq!(names, ["upper", "work-0"]);
        assert!(!run.workspace.join("work-0/left").exists());
        fs::write(run.workspace.join("work-0/left"), "").unwrap();
        // As older versions of this program did.
        fs::create_dir(run.workspace.join("work-1")).unwrap();
    }
    assert_eq!(fs::read_to_string(run.workspace.join("upper/a")).unwrap(), "a\n1\n1\n1\n");
}

/// A link is followed nowhere: not as a layer, not on the way to one, not in place of the run's own directories.
#[test]
fn links_are_refused() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let base = layers(&bench).pop().unwrap();
    let link = bench.path("to-base");
    symlink(&base, &link).unwrap();
    let refused = |name: &str, layers: Vec<PathBuf>, spoil: &dyn Fn(&Path)| {
        let mut run = bench.shell(name, "true");
        spoil(&run.workspace);
        run.spec.workspace_base = Some(layers);
        match bench.finish(&run).outcome {
            Outcome::SetupFailed { step, .. } => step,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(refused("link", vec![link.clone()], &|_| ()), "mount-workspace");
    assert_eq!(refused("on-the-way", vec![link.join("dir")], &|_| ()), "mount-workspace");
    assert_eq!(refused("file", vec![base.join("a")], &|_| ()), "mount-workspace");
    assert_eq!(refused("missing", vec![base.join("none")], &|_| ()), "mount-workspace");
    let upper = |workspace: &Path| symlink("/etc", workspace.join("upper")).unwrap();
    assert_eq!(refused("upper", vec![base.clone()], &upper), "mount-workspace");
    assert_eq!(
        bench
            .finish(&{
                let mut run = bench.shell("comma,colon:", "cat a");
                run.spec.name = "odd".into();
                let odd = bench.path("odd,name:with\\all");
                fs::rename(&base, &odd).unwrap();
                run.spec.workspace_base = Some(vec![odd]);
                run
            })
            .outcome,
        Outcome::Succeeded
    );
}

/// What can be taken out of such a workspace afterwards is what the run saw in the end.
#[test]
fn artifacts_are_found_as_the_run_saw_them() {
    let Some(bench) = Bench::new().map(Cleared) else { return };
    let script = "echo mine >>a; rm b; rm -r dir; mkdir -p dir/deep; echo n >dir/deep/n; mkdir link/more; echo m >link/more/m; \
        rm tool; mkdir tool; echo t >tool/t; mkdir fresh; echo f >fresh/f";
    let (run, layers) = on_layers(&bench, "artifacts", script);
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded, "{}", run.stderr());
    let upper = run.workspace.join("upper");
    let roots: Vec<&Path> = std::iter::once(upper.as_path()).chain(layers.iter().map(PathBuf::as_path)).collect();
    let found = artifacts::find_in_layers(&roots, &"**".parse().unwrap(), artifacts::Bounds::default()).unwrap();
    let found: Vec<String> = found.paths.iter().map(|(path, layer)| format!("{} {layer}", path.display())).collect();
    assert_eq!(found, ["a 0", "dir/deep/n 0", "fresh/f 0", "link/more/m 0", "link/x 2", "out 2", "tool/t 0"]);
}
