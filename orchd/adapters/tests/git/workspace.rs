//! A workspace's way from a commit to a result, whatever the run did in between.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use orch_adapters::git::{BareRepo, ChangeKind, EntryKind, TakeError, Taken};

use crate::lab::{Lab, listing, main, write};

#[test]
fn an_untouched_workspace_is_no_change() {
    let lab = Lab::new();
    // Each of these would be rewritten by some conversion if attributes were in force.
    let attributes =
        "*.txt text eol=crlf\n*.ident ident\n*.u16 working-tree-encoding=UTF-16\n*.bin filter=lfs\n*.norm text\n";
    let files = [
        (".gitattributes", attributes),
        ("a.txt", "a\nb\n"),
        ("b.norm", "a\r\nb\r\n"),
        ("c.ident", "$Id$\n"),
        ("d.bin", "x"),
    ];
    let (repo, base) = lab.project(&files);
    let space = lab.checkout(&repo, Some(&base), "r");
    for (name, content) in files {
        assert_eq!(fs::read_to_string(space.work.join(name)).unwrap(), content);
    }
    lab.collect(&repo, &space);
    let taken = lab.take(&repo, &space, "R-1").unwrap();
    assert!(matches!(taken, Taken::Unchanged { .. }), "{taken:?}");
    assert!(!space.out.join("result.bundle").exists());
}

#[test]
fn a_run_sees_its_branch_and_the_history() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    lab.checkout(&repo, Some(&base), "r");
    let script = "git symbolic-ref HEAD; git log --format=%s; git status --porcelain; git config user.name; echo x>>a; git commit -qam own";
    let work = lab.stranger("r.work", &format!("({script}) >../seen"));
    let seen = fs::read_to_string(work.join("../seen")).unwrap();
    assert_eq!(seen, "refs/heads/feature/T-1-x\nresult\nchore: start\norch run R-1\n");
}

/// Git does not look behind a link, so what was in the folder has to be told to be gone.
#[test]
fn a_folder_that_became_a_link_arrives() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("d/x", "x"), ("d/deep/y", "y"), ("keep", "k")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    fs::remove_dir_all(space.work.join("d")).unwrap();
    symlink("/tmp", space.work.join("d")).unwrap();
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(listing(&repo, &commit), ["d Link", "keep File"]);
}

#[test]
fn additions_deletions_modes_links_and_type_changes_arrive() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[
        ("keep", "k"),
        ("gone", "g"),
        ("edit", "1\n"),
        ("file-to-dir", "f"),
        ("dir-to-file/x", "d"),
        ("to-link", "l"),
        ("tool.sh", "#!/bin/sh\n"),
        (".gitignore", "*.log\nbuild/\n"),
    ]);
    let space = lab.checkout(&repo, Some(&base), "r");
    let work = &space.work;
    fs::remove_file(work.join("gone")).unwrap();
    write(&work.join("edit"), "2\n");
    fs::remove_file(work.join("file-to-dir")).unwrap();
    write(&work.join("file-to-dir/y"), "y");
    fs::remove_dir_all(work.join("dir-to-file")).unwrap();
    write(&work.join("dir-to-file"), "now a file");
    fs::remove_file(work.join("to-link")).unwrap();
    symlink("/etc/passwd", work.join("to-link")).unwrap();
    fs::set_permissions(work.join("tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    write(&work.join("x.log"), "ignored");
    write(&work.join("build/out"), "ignored");
    let commit = lab.changed(&repo, &space, "R-1");
    let expected = [
        ".gitignore File",
        "dir-to-file File",
        "edit File",
        "file-to-dir/y File",
        "keep File",
        "to-link Link",
        "tool.sh Executable",
    ];
    assert_eq!(listing(&repo, &commit), expected);
    let changes = repo.changed_paths(Some(&base), &commit).unwrap();
    let find = |name: &str| {
        changes.iter().find(|change| change.path.to_string() == name).map(|change| (change.kind, change.now))
    };
    assert_eq!(find("gone"), Some((ChangeKind::Deleted, None)));
    assert_eq!(find("to-link"), Some((ChangeKind::TypeChanged, Some(EntryKind::Link))));
    assert_eq!(find("tool.sh"), Some((ChangeKind::Modified, Some(EntryKind::Executable))));
    assert_eq!(find("keep"), None);
}

#[test]
fn names_of_any_bytes_arrive() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    let names: [&[u8]; 10] = [
        b"new\nline",
        b"-rf",
        b"--option=x",
        b" lead",
        b"tab\tname",
        b"\xff\xfe",
        b"quote\"'`$(x)",
        b"*",
        b":(top)x",
        b"dir/\nx",
    ];
    for name in names {
        write(&space.work.join(OsStr::from_bytes(name)), "x");
        write(&space.work.join(OsStr::from_bytes(name)).with_extension("d").join(OsStr::from_bytes(name)), "y");
    }
    let commit = lab.changed(&repo, &space, "R-1");
    let changes = repo.changed_paths(Some(&base), &commit).unwrap();
    assert_eq!(changes.len(), 2 * names.len());
    for name in names {
        assert!(changes.iter().any(|change| change.path.as_bytes() == name), "{name:?}");
    }
    assert_eq!(repo.diff_stat(Some(&base), &commit).unwrap().len(), 2 * names.len());
}

#[test]
fn a_project_without_commits_works() {
    let lab = Lab::new();
    let repo = BareRepo::create(&lab.git, &lab.path("empty.git"), &main()).unwrap();
    let untouched = lab.checkout(&repo, None, "u");
    lab.collect(&repo, &untouched);
    assert!(matches!(lab.take(&repo, &untouched, "R-0").unwrap(), Taken::Unchanged { .. }));
    let space = lab.checkout(&repo, None, "r");
    write(&space.work.join("a"), "1\n");
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(listing(&repo, &commit), ["a File"]);
    assert_eq!(repo.changed_paths(None, &commit).unwrap().len(), 1);
    repo.update_ref(&main(), &commit, None, "first").unwrap();
}

/// Whatever a run does to its own `.git`, the result is its files.
#[test]
fn the_result_does_not_depend_on_the_runs_own_git_directory() {
    let lab = Lab::new();
    let evil = lab.evil().display().to_string();
    let hostile_config = format!(
        "for key in core.fsmonitor core.pager diff.external core.sshCommand core.alternateRefsCommand gpg.program; do git config $key {evil}; done; \
         git config filter.x.clean {evil}; git config log.showSignature true; printf '* filter=x diff=x merge=x\\n' >.git/info/attributes; \
         for hook in pre-commit post-commit reference-transaction post-index-change pre-auto-gc; do cp {evil} .git/hooks/$hook; done"
    );
    let cases = [
        "git add b; git commit -qm own; git branch -m other",
        "rm -rf .git",
        "rm -rf .git; echo 'gitdir: /nonexistent' >.git",
        "rm -rf .git; ln -s / .git",
        "rm -rf .git; mkfifo .git",
        "rm -rf .git; git init -q .; echo b >.git/info/exclude; printf 'b\\n' >>.git/info/exclude",
        "git update-index --assume-unchanged a; git update-index --skip-worktree a; git update-index --force-remove a",
        "git checkout -q --orphan x; git config core.worktree /; git config core.excludesFile /dev/stdin; chmod 000 .git",
        &format!("mkdir .git/hooks; {hostile_config}"),
    ];
    let (repo, base) = lab.project(&[("a", "1\n")]);
    for (number, case) in cases.iter().enumerate() {
        let name = format!("r{number}");
        let space = lab.checkout(&repo, Some(&base), &name);
        write(&space.work.join("a"), "2\n");
        write(&space.work.join("b"), "new\n");
        lab.stranger(&format!("{name}.work"), case);
        lab.collect(&repo, &space);
        lab.forget_sandboxed();
        // An ordinary user could not remove the folder otherwise.
        lab.stranger(&format!("{name}.work"), "if [ -d .git ] && [ ! -L .git ]; then chmod 700 .git; fi");
        let taken = lab.take(&repo, &space, &name).unwrap();
        let Taken::Changed { commit, report, .. } = taken else { panic!("{case}: no change") };
        assert_eq!(listing(&repo, &commit), ["a File", "b File"], "{case}");
        assert_eq!(repo.diff_stat(Some(&base), &commit).unwrap().len(), 2, "{case}");
        if number == 0 {
            assert_eq!(report.subjects, ["own"]);
        }
        lab.assert_nothing_ran();
    }
}

#[test]
fn repositories_inside_the_workspace_are_left_out_and_counted() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n"), ("tracked/b", "b\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    let evil = lab.evil().display().to_string();
    let script = format!(
        "mkdir with without; git init -q with; (cd with; echo x>x; git add x; git commit -qm x; git config core.fsmonitor {evil}); \
         git init -q without; echo y>without/y; git init -q tracked; echo c>tracked/c; echo 2>>a"
    );
    lab.stranger("r.work", &script);
    lab.collect(&repo, &space);
    lab.forget_sandboxed();
    let Taken::Changed { commit, report, .. } = lab.take(&repo, &space, "R-1").unwrap() else { panic!("no change") };
    assert_eq!(report.nested_repositories, 2);
    assert_eq!(listing(&repo, &commit), ["a File", "tracked/b File", "tracked/c File"]);
    lab.assert_nothing_ran();
}

#[test]
fn unreadable_files_and_folders_do_not_look_deleted() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("dir/sub/a", "1\n"), ("b", "b\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.work.join("c"), "new\n");
    for name in ["dir/sub/a", "dir/sub", "dir", "b", "c"] {
        fs::set_permissions(space.work.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(listing(&repo, &commit), ["b File", "c File", "dir/sub/a File"]);
}

#[test]
fn what_the_run_left_in_the_result_folder_does_not_count() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.work.join("a"), "2\n");
    let victim = lab.path("victim");
    write(&victim, "untouched");
    fs::create_dir_all(space.out.join("collect/git/hooks")).unwrap();
    fs::set_permissions(space.out.join("collect"), fs::Permissions::from_mode(0o000)).unwrap();
    symlink(&victim, space.out.join("result.bundle")).unwrap();
    write(&space.out.join("result.txt/x"), "changed no\nnested 0\n");
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(repo.diff_stat(Some(&base), &commit).unwrap().len(), 1);
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
}

#[test]
fn a_pipe_in_place_of_a_tracked_file_fails_clearly() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    lab.stranger("r.work", "rm a; mkfifo a; mkfifo other");
    let output = Lab::try_collect(&repo, &space);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains('a'));
    assert!(matches!(lab.take(&repo, &space, "R-1"), Err(TakeError::Ingest(_))));
}

/// Taking the same result twice, as after a crash, changes nothing; another result under the name is refused.
#[test]
fn a_result_is_taken_once() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.work.join("a"), "2\n");
    let first = lab.changed(&repo, &space, "R-1");
    let Taken::Changed { commit, kept_by, .. } = lab.take(&repo, &space, "R-1").unwrap() else { panic!("no change") };
    assert_eq!((&commit, repo.head(&kept_by).unwrap()), (&first, Some(first.clone())));
    write(&space.work.join("a"), "3\n");
    lab.collect(&repo, &space);
    assert!(matches!(lab.take(&repo, &space, "R-1"), Err(TakeError::UpdateRef(_))));
    assert_eq!(repo.head(&kept_by).unwrap(), Some(first));
}

/// A submodule of the base stays as it is, whether it is checked out or not.
#[test]
fn submodules_of_the_base_stay() {
    let lab = Lab::new();
    let source = lab.stranger("source", "git init -q -b main .; echo a>a; git add a; mkdir sub; git init -q sub; (cd sub; git commit -q --allow-empty -m s); git add sub 2>/dev/null; git commit -qm x");
    let repo = crate::import::import(&lab, &source, "imported.git").unwrap().repo;
    let base = repo.head(&main()).unwrap().unwrap();
    assert_eq!(listing(&repo, &base), ["a File", "sub Submodule"]);
    let space = lab.checkout(&repo, Some(&base), "r");
    lab.stranger("r.work", "echo b>b; cd sub; git init -q .; git commit -q --allow-empty -m other");
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(listing(&repo, &commit), ["a File", "b File", "sub Submodule"]);
    assert_eq!(repo.diff_stat(Some(&base), &commit).unwrap().len(), 1);
}
