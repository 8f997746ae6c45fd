//! Making, opening, moving refs, recovering.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use orch_adapters::git::{BareRepo, CreateError, OpenError, ReadError, RefName, RepoPath, UpdateRefError};

use crate::lab::{AT, Lab, agent, main, root_commit, write};

#[test]
fn a_repository_is_made_whole_and_for_the_daemon_only() {
    let lab = Lab::new();
    let path = lab.path("a.git");
    let repo = BareRepo::create(&lab.git, &path, &main()).unwrap();
    assert_eq!(repo.default_branch().unwrap(), main());
    assert_eq!(repo.head(&main()).unwrap(), None);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(matches!(BareRepo::create(&lab.git, &path, &main()), Err(CreateError::Exists { .. })));
    assert!(BareRepo::open(&lab.git, &path).is_ok());
    let left: Vec<_> = fs::read_dir(lab.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a.git"]);
}

#[test]
fn unusable_places_are_refused_without_a_trace() {
    let lab = Lab::new();
    let relative = BareRepo::create(&lab.git, "a.git".as_ref(), &main()).unwrap_err();
    assert!(matches!(relative, CreateError::Place { .. }), "{relative}");
    let newline = BareRepo::create(&lab.git, &lab.path("a\nb.git"), &main()).unwrap_err();
    assert!(matches!(newline, CreateError::Place { .. }), "{newline}");
    write(&lab.path("file"), "");
    let below_file = BareRepo::create(&lab.git, &lab.path("file/a.git"), &main()).unwrap_err();
    assert!(matches!(below_file, CreateError::Io { .. }), "{below_file}");
    assert!(matches!(BareRepo::open(&lab.git, &lab.path("a.git")), Err(OpenError::Missing { .. })));
}

#[test]
fn the_same_root_is_the_same_commit() {
    let lab = Lab::new();
    let make = |name: &str| BareRepo::create_with_root(&lab.git, &lab.path(name), &main(), &root_commit()).unwrap();
    let (one, other) = (make("a.git"), make("b.git"));
    let head = one.head(&main()).unwrap().unwrap();
    assert_eq!(Some(&head), other.head(&main()).unwrap().as_ref());
    assert_eq!(one.tree_of(&head).unwrap(), one.empty_tree());
    assert!(one.list_tree(&head, 10).unwrap().is_empty());
}

#[test]
fn a_ref_moves_only_from_where_it_was_seen() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let make = |message: &str| {
        let spec = orch_adapters::git::CommitSpec {
            tree: repo.tree_of(&base).unwrap(),
            parents: vec![base.clone()],
            message: message.to_owned(),
            author: agent(),
            committer: agent(),
            at_unix_s: AT,
        };
        repo.commit_tree(&spec).unwrap()
    };
    let (one, other) = (make("one"), make("other"));
    repo.update_ref(&main(), &one, Some(&base), "first").unwrap();
    repo.update_ref(&main(), &one, Some(&base), "again").unwrap();
    let lost = repo.update_ref(&main(), &other, Some(&base), "second").unwrap_err();
    assert!(matches!(&lost, UpdateRefError::Lost { found: Some(found), .. } if *found == one), "{lost}");
    let lost = repo.update_ref(&main(), &other, None, "new").unwrap_err();
    assert!(matches!(lost, UpdateRefError::Lost { .. }), "{lost}");
    let absent = RefName::branch("absent").unwrap();
    let lost = repo.update_ref(&absent, &other, Some(&base), "x").unwrap_err();
    assert!(matches!(lost, UpdateRefError::Lost { found: None, .. }), "{lost}");
    assert_eq!(repo.head(&main()).unwrap(), Some(one.clone()));

    let pin = RefName::parse("refs/orch/candidates/C-1").unwrap();
    repo.update_ref(&pin, &other, None, "candidate").unwrap();
    assert_eq!(repo.refs("refs/orch/candidates/").unwrap().get(&pin), Some(&other));
    assert!(matches!(repo.delete_ref(&pin, &one), Err(UpdateRefError::Lost { .. })));
    repo.delete_ref(&pin, &other).unwrap();
    repo.delete_ref(&pin, &other).unwrap();
    assert_eq!(repo.head(&pin).unwrap(), None);
}

/// Only one of many that move the same ref from the same value may win.
#[test]
fn concurrent_moves_have_one_winner() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let spec = |n: i64| orch_adapters::git::CommitSpec {
        tree: repo.tree_of(&base).unwrap(),
        parents: vec![base.clone()],
        message: format!("move {n}"),
        author: agent(),
        committer: agent(),
        at_unix_s: AT + n,
    };
    let wins: usize = std::thread::scope(|scope| {
        let moves: Vec<_> = (0..6)
            .map(|n| {
                let (repo, base, spec) = (&repo, &base, spec(n));
                scope.spawn(move || {
                    let commit = repo.commit_tree(&spec).unwrap();
                    match repo.update_ref(&main(), &commit, Some(base), "race") {
                        Ok(()) => 1,
                        Err(UpdateRefError::Lost { .. }) => 0,
                        Err(other) => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        moves.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
}

#[test]
fn locks_and_drafts_of_a_crash_are_cleared() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let path = repo.path();
    for left in
        ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "objects/pack/tmp_pack_x", "orch-incoming/1-1/pack/x"]
    {
        write(&path.join(left), "");
    }
    assert_eq!(repo.recover().unwrap(), 5);
    assert_eq!(repo.recover().unwrap(), 0);
    write(&lab.path(".orch-drafts/1-1/HEAD"), "");
    BareRepo::clear_drafts(&lab.path("")).unwrap();
    BareRepo::clear_drafts(&lab.path("")).unwrap();
    assert!(!lab.path(".orch-drafts").exists());
    let pin = RefName::parse("refs/heads/x").unwrap();
    repo.update_ref(&pin, &base, None, "after").unwrap();
    repo.update_ref(&main(), &base, Some(&base), "after").unwrap();
}

#[test]
fn files_are_read_within_bounds_and_by_kind() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("dir/a.txt", "hello\n"), ("-rf", "x"), (":(glob)*", "y")]);
    let path = |text: &str| RepoPath::parse(text.as_bytes()).unwrap();
    assert_eq!(repo.read_blob(&base, &path("dir/a.txt"), 100).unwrap(), b"hello\n");
    assert_eq!(repo.read_blob(&base, &path("-rf"), 100).unwrap(), b"x");
    assert_eq!(repo.read_blob(&base, &path(":(glob)*"), 100).unwrap(), b"y");
    assert!(matches!(repo.read_blob(&base, &path("dir/a.txt"), 5), Err(ReadError::TooLarge { size: 6, max: 5, .. })));
    assert!(matches!(repo.read_blob(&base, &path("dir"), 100), Err(ReadError::NotAFile(_))));
    assert!(matches!(repo.read_blob(&base, &path("none"), 100), Err(ReadError::NoSuchPath(_))));
    assert!(matches!(repo.list_tree(&base, 2), Err(ReadError::TooMany { max: 2 })));
    assert_eq!(repo.list_tree(&base, 3).unwrap().len(), 3);
}
