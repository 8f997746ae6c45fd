//! Copies of repositories, and finding what is damaged in one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use orch_adapters::git::{BareRepo, CommitId, Depth, RefName};

use crate::lab::{Lab, main};

fn copy(repo: &BareRepo, target: &Path, refs: &BTreeMap<RefName, CommitId>) {
    BareRepo::make_folders(target).unwrap();
    for file in repo.files_to_copy().unwrap() {
        fs::create_dir_all(target.join(&file).parent().unwrap()).unwrap();
        fs::copy(repo.path().join(&file), target.join(&file)).unwrap();
    }
    fs::write(target.join("packed-refs"), BareRepo::packed_refs(refs)).unwrap();
}

#[test]
fn a_copy_has_the_refs_that_were_asked_for_and_all_objects() {
    let lab = Lab::new();
    let (repo, first) = lab.project(&[("a", "1\n")]);
    let refs = repo.all_refs().unwrap();
    assert_eq!(refs.get(&main()), Some(&first));
    // The branch moves on while the copy is made: the copy knows the commit and stays where it was told to be.
    let root = repo.head(&main()).unwrap();
    let space = lab.checkout(&repo, root.as_ref(), "next");
    fs::write(space.work.join("b"), "2\n").unwrap();
    let second = lab.changed(&repo, &space, "R-1");
    repo.update_ref(&main(), &second, Some(&first), "next").unwrap();
    fs::write(repo.path().join("objects/pack/tmp_pack_x"), "half").unwrap();
    let target = lab.path("copy.git");
    copy(&repo, &target, &refs);
    let copied = BareRepo::open(&lab.git, &target).unwrap();
    assert_eq!(copied.head(&main()).unwrap(), Some(first));
    assert_eq!(copied.default_branch().unwrap(), main());
    assert_eq!(copied.all_refs().unwrap(), refs);
    assert!(!target.join("objects/pack/tmp_pack_x").exists());
    let unknown = CommitId::parse(&"12".repeat(20)).unwrap();
    let asked = BTreeSet::from([second, unknown.clone()]);
    assert_eq!(copied.missing_commits(&asked).unwrap(), BTreeSet::from([unknown]));
    for depth in [Depth::Connected, Depth::Contents] {
        assert_eq!(copied.problems(depth).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_lost_object_and_a_changed_one_are_found() {
    let lab = Lab::new();
    let (repo, _) = lab.project(&[("a", "some content that is long enough to be changed\n")]);
    let objects: Vec<_> =
        repo.files_to_copy().unwrap().into_iter().filter(|path| path.starts_with("objects")).collect();
    let pack = objects.iter().find(|path| path.extension().is_some_and(|extension| extension == "pack")).unwrap();
    let pack = repo.path().join(pack);
    let whole = fs::read(&pack).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    let write = |bytes: &[u8]| {
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, bytes).unwrap();
    };
    write(&damaged);
    assert_ne!(repo.problems(Depth::Contents).unwrap(), Vec::<String>::new());
    write(&whole);
    assert_eq!(repo.problems(Depth::Contents).unwrap(), Vec::<String>::new());
    fs::remove_file(&pack).unwrap();
    assert_ne!(repo.problems(Depth::Connected).unwrap(), Vec::<String>::new());
}
