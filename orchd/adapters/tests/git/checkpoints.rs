//! A workspace is kept between two steps and laid out again for another attempt, whatever the steps did in between.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use orch_adapters::git::{BareRepo, CommitId, KeepSpec, RefName, TakeError, said};

use crate::lab::{AT, Lab, Space, agent, command, write};

/// Keeps the workspace by the real script; what that wrote.
fn keep(repo: &BareRepo, space: &Space, step: u32) -> String {
    let spec = KeepSpec {
        workspace_at: space.work.clone(),
        objects_at: repo.objects_dir(),
        out_at: space.out.clone(),
        base: space.base.clone(),
        step,
        author: agent(),
        at_unix_s: AT,
        format: repo.format(),
    };
    let output = command(&spec.argv()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Another attempt, which begins with what was kept.
fn resume(lab: &Lab, repo: &BareRepo, base: Option<&CommitId>, kept: &CommitId, name: &str) -> Space {
    lab.checkout_with(repo, (base, Some(kept)), name)
}

/// All that is below a folder, but for its `.git`: path, and content, target or nothing.
fn files(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = path.symlink_metadata().unwrap();
            if name == ".git" {
                continue;
            } else if meta.is_symlink() {
                found.push((name, format!("-> {}", fs::read_link(&path).unwrap().display())));
            } else if meta.is_dir() {
                found.push((name, "folder".into()));
                folders.push(path);
            } else {
                let mode = meta.permissions().mode() & 0o111;
                found.push((name, format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))));
            }
        }
    }
    found.sort();
    found
}

fn take(repo: &BareRepo, space: &Space, step: u32, kept: &CommitId) -> Result<(), TakeError> {
    repo.take_checkpoint((&space.out, step), space.base.as_ref(), "R-1", kept)
}

#[test]
fn a_workspace_is_laid_out_as_it_was_kept() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[
        ("edit", "1\n"),
        ("gone", "g"),
        ("dir/keep", "k"),
        (".gitignore", "*.log\nbuild/\n"),
        ("to-dir", "x"),
    ]);
    for base in [Some(base), None] {
        let name = if base.is_some() { "on" } else { "off" };
        let space = lab.checkout(&repo, base.as_ref(), name);
        let at = |path: &str| space.work.join(path);
        fs::remove_file(at("gone")).ok();
        fs::remove_file(at("to-dir")).ok();
        write(&at("edit"), "2\r\n");
        write(&at("to-dir/new"), "new");
        write(&at("out.log"), "ignored");
        write(&at("build/deep/object"), "ignored, too");
        write(&at("tool.sh"), "#!/bin/sh\n");
        fs::set_permissions(at("tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(at("empty/below")).unwrap();
        write(&at("a b\n'c'"), "odd name");
        symlink("/etc/passwd", at("absolute")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        write(&at(".gitattributes"), "* text eol=crlf ident\n");
        let before = files(&space.work);
        let kept = said(&keep(&repo, &space, 2)).expect("it is kept");
        assert_eq!(files(&space.work), before, "nothing is changed by that");
        take(&repo, &space, 2, &kept).unwrap();
        let again = resume(&lab, &repo, base.as_ref(), &kept, &format!("{name}-again"));
        assert_eq!(files(&again.work), before);
        // What comes of it is what would have come of the first.
        let result = |space: &Space| {
            lab.collect(&repo, space);
            fs::read(space.out.join("result.bundle")).unwrap().len()
        };
        assert_eq!(result(&again), result(&space));
        repo.forget_checkpoints(|_| true).unwrap();
        assert!(repo.has_checkpoints());
        repo.forget_checkpoints(|run| run != "R-1").unwrap();
        assert_eq!(repo.refs(RefName::CHECKPOINTS).unwrap().len(), 0);
    }
}

#[test]
fn what_a_tree_cannot_hold_is_not_kept_and_fails_nobody() {
    let cases: [(&str, &str); 4] = [
        ("fifo", "mkfifo pipe"),
        ("nested", "git init -q sub"),
        ("git link", "mkdir d; ln -s /etc d/.git"),
        ("in the way", "mkdir -p ../in-the-way.out/keep-2/x; chmod 0 ../in-the-way.out/keep-2; mkfifo p"),
    ];
    for (name, script) in cases {
        let lab = Lab::new();
        let (repo, base) = lab.project(&[("a", "1\n")]);
        let folder = name.replace(' ', "-");
        let space = lab.checkout(&repo, Some(&base), &folder);
        lab.stranger(&format!("{folder}.work"), script);
        let wrote = keep(&repo, &space, 2);
        assert!(wrote.starts_with("checkpoint: not kept: ") && said(&wrote).is_none(), "{name}: {wrote}");
        assert!(!space.out.join("checkpoint-2.bundle").exists(), "{name}");
    }
}

/// Holes cost nobody a disk, and who reads them a lot of time.
#[test]
fn what_is_too_large_is_not_even_read() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let cases = [
        ("one", "truncate -s 5G big"),
        ("all", "mkdir d; truncate -s 3G d/one 'd/a\n9 total'"),
        ("names", "truncate -s 3G one; ln one two"),
    ];
    for (name, script) in cases {
        let space = lab.checkout(&repo, Some(&base), name);
        lab.stranger(&format!("{name}.work"), script);
        let wrote = keep(&repo, &space, 2);
        assert!(wrote.starts_with("checkpoint: not kept: too much"), "{name}: {wrote}");
        assert!(!space.out.join("checkpoint-2.bundle").exists(), "{name}");
    }
    // What the run made of its own repository is not read, and links are as short as their targets are.
    let space = lab.checkout(&repo, Some(&base), "small");
    lab.stranger("small.work", "truncate -s 5G .git/big; ln -s .git/big link; truncate -s 1M hole");
    assert!(said(&keep(&repo, &space, 2)).is_some());
}

/// A later step can write where the bundle is, and not into the log.
#[test]
fn what_a_later_step_puts_in_its_place_is_not_taken() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.work.join("b"), "honest");
    let kept = said(&keep(&repo, &space, 2)).unwrap();
    write(&space.work.join("b"), "forged");
    let forged = said(&keep(&repo, &space, 2)).unwrap();
    assert_ne!(kept, forged);
    let refused = take(&repo, &space, 2, &kept).unwrap_err();
    assert!(matches!(refused, TakeError::Shape { what: "another commit than the step kept" }), "{refused:?}");
    assert_eq!(repo.refs(RefName::CHECKPOINTS).unwrap().len(), 0);
    for spoil in [
        "rm ../r.out/checkpoint-2.bundle",
        "ln -s /etc/passwd ../r.out/checkpoint-2.bundle",
        "rm ../r.out/checkpoint-2.bundle; mkfifo ../r.out/checkpoint-2.bundle",
    ] {
        lab.stranger("r.work", spoil);
        assert!(take(&repo, &space, 2, &forged).is_err(), "{spoil}");
    }
}

/// Whatever a step set in its own repository, its configuration and its hooks do not run on the way in and out.
#[test]
fn a_tampered_repository_gains_nothing() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n"), ("d/x", "x")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    let evil = lab.evil();
    let evil = evil.display();
    lab.stranger(
        "r.work",
        &format!(
            "git config core.fsmonitor '{evil}'; git config filter.f.clean '{evil}'; git config filter.f.smudge '{evil}'; \
             printf '* filter=f\\n' >.gitattributes; printf '* filter=f\\n' >.git/info/attributes; git config core.hooksPath .; \
             cp '{evil}' post-index-change; cp '{evil}' post-checkout; rm -rf d; ln -s /tmp d; \
             git config core.worktree /tmp; echo 2 >a; rm -f .git/index"
        ),
    );
    lab.forget_sandboxed();
    let kept = said(&keep(&repo, &space, 2)).unwrap();
    take(&repo, &space, 2, &kept).unwrap();
    let again = resume(&lab, &repo, Some(&base), &kept, "again");
    lab.assert_nothing_ran();
    assert_eq!(fs::read_to_string(again.work.join("a")).unwrap(), "2\n");
    assert_eq!(fs::read_link(again.work.join("d")).unwrap(), Path::new("/tmp"));
}
