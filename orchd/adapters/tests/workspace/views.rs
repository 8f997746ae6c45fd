//! A run on a prepared checkout sees and delivers what one with a checkout of its own does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use orch_adapters::git::{CommitId, Taken};
use orch_sandbox::exit_record::Outcome;

use crate::yard::{Place, ROOMY, Yard, output, stream};

type File = (&'static str, &'static [u8], &'static [u8]);

/// Everything that a checkout could make something else of.
const FILES: [File; 15] = [
    ("100644", b".gitattributes", b"*.txt text eol=crlf\n*.bin filter=lfs\n*.ident ident\n"),
    ("100644", b"a.txt", b"a\nb\n"),
    ("100644", b"b.ident", b"$Id$\n"),
    ("100644", b"c.bin", b"\0\xff"),
    ("100644", b"empty", b""),
    ("100755", b"tool.sh", b"#!/bin/sh\necho tool\n"),
    ("120000", b"link", b"/etc/passwd"),
    ("120000", b"dangling", b"../../nowhere"),
    ("100644", b"deep/er/and/deeper/file", b"deep\n"),
    ("100644", b"\xff\xfe\nnew line", b"odd\n"),
    ("100644", b"-rf", b"option\n"),
    ("100644", b".wh.a.txt", b"a mark elsewhere\n"),
    ("100644", b".wh..wh..opq", b"a mark elsewhere\n"),
    ("100644", b"upper/work-0/x", b"like ours\n"),
    ("100644", b"gone/x", b"soon\n"),
];

/// What another commit makes of them: each kind of change once.
const CHANGED: [File; 13] = [
    ("100644", b".gitattributes", b"*.txt text eol=crlf\n*.bin filter=lfs\n*.ident ident\n"),
    ("100644", b"a.txt/now/a/folder", b"x\n"),
    ("100755", b"b.ident", b"$Id$\n"),
    ("120000", b"c.bin", b"a.txt"),
    ("100644", b"empty", b"not any more\n"),
    ("100644", b"tool.sh", b"#!/bin/sh\necho tool\n"),
    ("100644", b"link", b"a file\n"),
    ("120000", b"dangling", b"elsewhere"),
    ("100644", b"deep", b"was a folder\n"),
    ("100644", b"\xff\xfe\nnew line", b"odd\n"),
    ("100644", b"-rf", b"option\n"),
    ("100644", b"A.txt", b"other case\n"),
    ("100644", b"gone/y", b"other\n"),
];

/// So many files that the next tree is a layer.
const MANY: usize = 1_100;

/// Lists everything with kind, mode, target and content, but for what is in `.git`.
const LIST: &str = "find . -path ./.git -prune -o ! -type d -printf '%P %y %m %l\\n' -o -type d -printf '%P %y\\n' | sort; \
    find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum";

fn with_many(files: &[File]) -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let mut all: Vec<_> = files.iter().map(|(mode, name, content)| (*mode, name.to_vec(), *content)).collect();
    all.extend((0..MANY).map(|file| ("100644", format!("many/{}/f{file}", file % 7).into_bytes(), &b"many\n"[..])));
    all
}

fn commit(yard: &Yard, parent: Option<&CommitId>, files: &[(&'static str, Vec<u8>, &[u8])]) -> CommitId {
    let files: Vec<_> = files.iter().map(|(mode, name, content)| (*mode, name.as_slice(), *content)).collect();
    yard.import(&stream(parent, &files))
}

/// A yard with a whole checkout and a layer on it, and their commits.
fn two() -> Option<(Yard, CommitId, CommitId)> {
    let yard = Yard::new(ROOMY)?;
    let one = commit(&yard, None, &with_many(&FILES));
    let two = commit(&yard, Some(&one), &with_many(&CHANGED));
    assert!(!yard.prepare(&one), "the first is whole");
    assert!(yard.prepare(&two), "the second is a layer");
    Some((yard, one, two))
}

fn ran(yard: &Yard, place: &Place, script: &str) -> String {
    let record = yard.run(place, script);
    let output = output(&place.directory);
    assert_eq!(record.outcome, Outcome::Succeeded, "{script}: {output}");
    output
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("collect: "))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn files_kinds_modes_and_names_are_those_of_a_checkout() {
    let Some((yard, one, two)) = two() else { return };
    for (name, commit) in [("one", one), ("two", two)] {
        let plain = ran(&yard, &yard.empty(&format!("{name}-plain"), &commit), LIST);
        let place = yard.claim(&format!("{name}-prepared"), &commit).unwrap();
        let prepared = ran(&yard, &place, LIST);
        assert!(plain.lines().count() > MANY, "{plain}");
        let differ: Vec<_> = plain.lines().zip(prepared.lines()).filter(|(one, other)| one != other).collect();
        assert!(plain == prepared, "{name}: {differ:#?}");
    }
}

#[test]
fn the_runs_git_knows_branch_history_and_author_and_that_nothing_has_changed() {
    let Some((yard, one, two)) = two() else { return };
    // The second list is of files that git would have to read to know.
    let script = "set -e; git symbolic-ref HEAD; git log --format=%s%H; git config user.name; git status --porcelain; \
        git diff-files --name-only; git fsck --no-dangling 2>&1; cat .git/objects/info/alternates; \
        echo own >own; git add own; git commit -qm own; git log -1 --format='%an <%ae>'; git status --porcelain; \
        git branch -m other; git stash list; git checkout -q -b more HEAD~1; git status --porcelain";
    for (name, commit, history) in [("one", &one, format!("x{one}\n")), ("two", &two, format!("x{two}\nx{one}\n"))] {
        let seen = ran(&yard, &yard.claim(name, commit).unwrap(), script);
        let expected = format!(
            "refs/heads/feature/T-1-x\n{history}orch run R-1\n/orch/objects\norch run R-1 <run@orch.invalid>\n"
        );
        assert_eq!(seen, expected, "{name}");
    }
}

#[test]
fn the_result_is_that_of_a_run_with_its_own_checkout() {
    let Some((yard, _, two)) = two() else { return };
    let script = "set -e; echo new >new; rm -r gone; mkdir gone; echo z >gone/z; rm -r a.txt; echo file >a.txt; \
        chmod +x tool.sh; mv many/3 moved; ln -sf /etc b.ident; touch many/0/f0; chmod 400 many/0/f7; \
        mkdir locked; echo l >locked/l; chmod 000 locked; echo more >>link";
    let mut trees = Vec::new();
    for (name, place) in [("plain", yard.empty("plain", &two)), ("prepared", yard.claim("prepared", &two).unwrap())] {
        let record = yard.run(&place, script);
        assert_eq!(record.outcome, Outcome::Succeeded, "{}", output(&place.directory));
        let Taken::Changed { commit, tree, .. } = yard.take(&place, name) else { panic!("{name}: no change") };
        let changed = yard.repository.changed_paths(Some(&two), &commit).unwrap();
        assert!(changed.len() > MANY / 7, "{}", changed.len());
        trees.push(tree);
    }
    assert_eq!(trees[0], trees[1]);
    let place = yard.claim("untouched", &two).unwrap();
    yard.run(&place, "touch many/0/*; git status --porcelain");
    assert!(matches!(yard.take(&place, "untouched"), Taken::Unchanged { .. }));
}

/// A change that keeps size and time of a file is a change: its time of change cannot be set back.
#[test]
fn a_change_that_hides_is_found() {
    let Some((yard, one, _)) = two() else { return };
    let script = "for f in many/0/f0 many/1/f1; do touch -r $f ../tmp/t; printf 'MANY\\n' >$f; touch -r ../tmp/t $f; done; \
        git update-index --assume-unchanged many/1/f1; git status --porcelain";
    let place = yard.claim("hides", &one).unwrap();
    assert_eq!(ran(&yard, &place, script), " M many/0/f0\n");
    let Taken::Changed { commit, .. } = yard.take(&place, "hides") else { panic!("no change") };
    assert_eq!(yard.repository.changed_paths(Some(&one), &commit).unwrap().len(), 2);
}

/// Whatever a run does, nobody after it finds a trace of it.
#[test]
fn a_run_changes_nothing_for_those_after_it() {
    let Some((yard, one, two)) = two() else { return };
    let script = "chmod -R u+w .; find . -type f ! -path './.git/*' -exec sh -c 'for f; do echo x >>\"$f\"; done' sh {} +; \
        rm -rf .git/index deep many/2; mkdir -p many/2; ln many/0/f0 hard; \
        python3 -c \"import os; [os.setxattr(p, 'user.overlay.' + n, v) for p in ('many', 'many/0/f0', '.') \
        for n, v in (('opaque', b'y'), ('redirect', b'/'), ('metacopy', b''))]\"; true";
    let before: Vec<_> = [&one, &two].map(|commit| fingerprint(&yard, commit)).into();
    for (name, commit) in [("bad-one", &one), ("bad-two", &two)] {
        let place = yard.claim(name, commit).unwrap();
        yard.run(&place, script);
        assert!(matches!(yard.take(&place, name), Taken::Changed { .. }));
        yard.cache.discard(&place.workspace).unwrap();
    }
    assert!([&one, &two].map(|commit| fingerprint(&yard, commit)).as_slice() == before, "an entry has changed");
    yard.cache.empty_trash().unwrap();
    assert_eq!(ran(&yard, &yard.claim("after", &two).unwrap(), "git status --porcelain"), "");
}

/// Names that mean something to git are in no workspace, and nothing is left of the try.
#[test]
fn a_hostile_tree_is_not_prepared() {
    let Some(yard) = Yard::new(ROOMY) else { return };
    let tree = "b=$(echo '[core]' | git hash-object -w --stdin); printf '100644 blob %s\\tconfig\\n' $b | git mktree";
    let inner = shell(&yard, tree);
    for name in [".git", ".GIT", "git~1", ".."] {
        let bytes: String = (0..40).step_by(2).map(|at| format!("\\\\x{}", &inner[at..at + 2])).collect();
        let script = format!(
            "python3 -c \"import sys; sys.stdout.buffer.write(b'40000 {name}\\\\0{bytes}')\" | git hash-object -w -t tree --literally --stdin"
        );
        let outer = shell(&yard, &script);
        let commit = CommitId::parse(&shell(&yard, &format!(
            "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a git commit-tree -m x {outer}"
        ))).unwrap();
        let tree = yard.cache.tree_of(&yard.repository, &commit).unwrap();
        let draft = yard.cache.begin("shop", &yard.repository, (&commit, &tree)).unwrap();
        let directory = yard.path(&format!("hostile-{commit}"));
        let record = yard.execute(&directory, &draft.spec(orch_sandbox::Level::Full).unwrap());
        assert!(matches!(record.outcome, Outcome::StepFailed { .. }), "{name}: {:?}", record.outcome);
        yard.cache.discard(draft.directory()).unwrap();
        assert!(yard.claim(&format!("on-{outer}"), &commit).is_none(), "{name}");
    }
    assert!(!yard.path("workspaces/config").exists());
}

fn shell(yard: &Yard, script: &str) -> String {
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(script).env_clear().env("PATH", "/usr/bin:/bin").env("GIT_DIR", yard.repository.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Every entry of the layers of a commit, with all that a change would show in.
fn fingerprint(yard: &Yard, commit: &CommitId) -> Vec<String> {
    let place = yard.claim("look", commit).unwrap();
    let mut found = Vec::new();
    let mut todo = place.layers.clone().unwrap();
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let times = (meta.mtime(), meta.ctime(), meta.ctime_nsec());
        found.push(format!("{path:?} {} {:o} {} {times:?} {content:?}", meta.ino(), meta.mode(), meta.nlink()));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    yard.cache.discard(Path::new(&place.workspace)).unwrap();
    found
}
