//! Who keeps a prepared checkout, what goes when there are too many, and what a crash leaves.

use std::fs;
use std::path::{Path, PathBuf};

use orch_adapters::git::CommitId;
use orch_adapters::workspace::CacheLimits;

use crate::yard::{ROOMY, Yard, seed, stream};

/// A commit with some files; the first says which.
fn commit(yard: &Yard, parent: Option<&CommitId>, first: &str, files: usize) -> CommitId {
    let names: Vec<String> = (0..files).map(|file| format!("f{file}")).collect();
    let all: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), first.as_bytes())).collect();
    let mut all = all;
    for file in all.iter_mut().skip(1) {
        file.2 = b"same\n";
    }
    yard.import(&stream(parent, &all))
}

fn entries(yard: &Yard) -> usize {
    let cache = yard.path("workspaces/cache");
    fs::read_dir(cache).unwrap().flatten().map(|project| fs::read_dir(project.path()).unwrap().count()).sum()
}

fn listed(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn few(entries_max: usize) -> CacheLimits {
    CacheLimits { entries_max, ..ROOMY }
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays() {
    let Some(yard) = Yard::new(few(2)) else { return };
    let commits: Vec<_> = (0..4).map(|number| commit(&yard, None, &format!("{number}"), 3)).collect();
    yard.prepare(&commits[0]);
    let held = yard.claim("held", &commits[0]).unwrap();
    yard.prepare(&commits[1]);
    yard.prepare(&commits[2]);
    assert!(yard.claim("gone", &commits[1]).is_none(), "nobody used the second");
    assert_eq!(entries(&yard), 2);
    assert!(held.layers.unwrap()[0].exists(), "the first is in use");
    // A run that is over needs it no more; whoever was used last is older than the others now.
    yard.cache.discard(&held.workspace).unwrap();
    yard.prepare(&commits[3]);
    assert!(yard.claim("again", &commits[0]).is_none() && yard.claim("third", &commits[2]).is_some());
}

#[test]
fn a_layer_keeps_what_it_is_on() {
    let Some(yard) = Yard::new(few(1)) else { return };
    let whole = commit(&yard, None, "whole", 1_100);
    let layer = commit(&yard, Some(&whole), "layer", 1_100);
    assert!(!yard.prepare(&whole));
    assert!(yard.prepare(&layer));
    assert_eq!(entries(&yard), 2, "one too many, but it cannot go");
    let place = yard.claim("on-layer", &layer).unwrap();
    assert_eq!(place.layers.as_ref().map(Vec::len), Some(2));
    yard.cache.discard(&place.workspace).unwrap();
    let other = commit(&yard, None, "other", 3);
    yard.prepare(&other);
    assert_eq!(entries(&yard), 1, "both go together");
    assert!(yard.claim("other", &other).is_some());
}

/// The number of bytes bounds as well, and the newest is never the one that goes.
#[test]
fn bytes_are_bounded() {
    let Some(yard) = Yard::new(CacheLimits { bytes_max: 1, entries_max: 100 }) else { return };
    let (one, two) = (commit(&yard, None, "one", 3), commit(&yard, None, "two", 3));
    yard.prepare(&one);
    yard.prepare(&two);
    assert_eq!(entries(&yard), 1);
    assert!(yard.claim("two", &two).is_some());
}

/// The next daemon knows from the disk alone who uses what, also of runs that were never settled.
#[test]
fn use_outlives_the_daemon() {
    let Some(mut yard) = Yard::new(ROOMY) else { return };
    let commits: Vec<_> = (0..3).map(|number| commit(&yard, None, &format!("{number}"), 3)).collect();
    yard.prepare(&commits[0]);
    let held = yard.claim("held", &commits[0]).unwrap();
    yard.reopen(few(1));
    yard.prepare(&commits[1]);
    yard.prepare(&commits[2]);
    assert!(held.layers.as_ref().unwrap()[0].exists());
    assert_eq!(entries(&yard), 2);
    // The run starts only now, and is what it was to be.
    let record = yard.run(&held, "grep -qx 0 f0 && git status --porcelain");
    assert_eq!(record.outcome, orch_sandbox::exit_record::Outcome::Succeeded);
    // While it is not known who uses what, nothing goes.
    fs::write(yard.path("workspaces/bases/held.json"), "{").unwrap();
    let one_more = commit(&yard, None, "3", 3);
    let tree = yard.cache.tree_of(&yard.repository, &one_more).unwrap();
    let draft = yard.cache.begin("shop", &yard.repository, (&one_more, &tree)).unwrap();
    yard.execute(&yard.path("one-more.run"), &draft.spec(orch_sandbox::Level::Full).unwrap());
    assert!(yard.cache.publish(draft).is_err());
    assert!(held.layers.unwrap()[0].exists() && yard.claim("one-more", &one_more).is_some());
}

/// A run in a workspace of its own may write anything there, also what looks like ours.
#[test]
fn what_a_run_writes_is_no_base() {
    let Some(mut yard) = Yard::new(ROOMY) else { return };
    let one = commit(&yard, None, "one", 3);
    let plain = yard.empty("plain", &one).workspace;
    let other = yard.empty("other", &one).workspace;
    fs::write(plain.join("base.json"), r#"{"version":1,"layers":[]}"#).unwrap();
    std::os::unix::fs::symlink(&other, plain.join("upper")).unwrap();
    assert_eq!(yard.cache.roots(&plain).unwrap(), std::slice::from_ref(&plain));
    // Whoever opened this would wait forever.
    let pipe = other.join("base.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(yard.cache.roots(&other).unwrap(), std::slice::from_ref(&other));
    yard.reopen(ROOMY);
    // What is known of a workspace goes with it, also when it went while nobody looked.
    yard.prepare(&one);
    let held = yard.claim("held", &one).unwrap();
    let file = yard.path("workspaces/bases/held.json");
    assert!(file.exists());
    fs::remove_dir_all(&held.workspace).unwrap();
    yard.reopen(ROOMY);
    assert!(!file.exists());
}

/// A daemon that is killed leaves something at each of these places. None of it is ever taken for whole.
#[test]
fn what_a_crash_leaves_is_not_used() {
    let Some(mut yard) = Yard::new(ROOMY) else { return };
    let (one, two) = (commit(&yard, None, "one", 3), commit(&yard, None, "two", 3));
    let tree = yard.cache.tree_of(&yard.repository, &one).unwrap();
    // In the middle of a preparation, and after one that was not published.
    let begun = yard.cache.begin("shop", &yard.repository, (&one, &tree)).unwrap();
    let done = yard.cache.begin("shop", &yard.repository, (&one, &tree)).unwrap();
    yard.execute(&yard.path("done.run"), &done.spec(orch_sandbox::Level::Full).unwrap());
    yard.reopen(ROOMY);
    assert!(yard.claim("none", &one).is_none());
    assert!(!begun.directory().exists() && !done.directory().exists());
    // In the middle of a claim: with a base and half a start.
    yard.prepare(&two);
    let place = yard.claim("half", &two).unwrap();
    fs::rename(place.workspace.join("upper"), place.workspace.join("upper.tmp")).unwrap();
    fs::remove_file(place.workspace.join("upper.tmp/.git/HEAD")).unwrap();
    yard.reopen(ROOMY);
    let place = yard.claim("half", &two).unwrap();
    let record = yard.run(&place, "git symbolic-ref HEAD");
    assert_eq!(record.outcome, orch_sandbox::exit_record::Outcome::Succeeded);
    // Once a run may be in it, a second claim changes nothing.
    fs::write(place.workspace.join("upper/.git/HEAD"), "the run's own").unwrap();
    yard.claim("half", &two).unwrap();
    assert_eq!(fs::read_to_string(place.workspace.join("upper/.git/HEAD")).unwrap(), "the run's own");
    // In the middle of throwing away.
    yard.cache.discard(&place.workspace).unwrap();
    assert!(!place.workspace.exists());
    yard.reopen(ROOMY);
    yard.cache.empty_trash().unwrap();
    assert_eq!(listed(&yard.path("workspaces/trash")), Vec::<PathBuf>::new());
    assert_eq!(listed(&yard.path("workspaces/drafts")), Vec::<PathBuf>::new());
}

/// An entry that is damaged, or of an earlier boot of the host, counts as absent and is made again.
#[test]
fn an_entry_that_is_not_known_to_be_whole_is_made_again() {
    let Some(mut yard) = Yard::new(ROOMY) else { return };
    let one = commit(&yard, None, "one", 3);
    yard.prepare(&one);
    let project = yard.path("workspaces/cache/shop");
    let entry = listed(&project).pop().unwrap();
    let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
    let (tree, boot) = name.split_once('_').unwrap();
    let earlier = project.join(format!("{tree}_{}", boot.replace(|digit: char| digit != '-', "0")));
    fs::rename(&entry, &earlier).unwrap();
    assert!(yard.claim("earlier", &one).is_none());
    yard.prepare(&one);
    fs::write(entry.join("entry.json"), "").unwrap();
    assert!(yard.claim("damaged", &one).is_none());
    yard.reopen(ROOMY);
    assert_eq!(entries(&yard), 0);
    yard.prepare(&one);
    assert!(yard.claim("whole", &one).is_some());
}

#[test]
fn a_second_preparation_of_the_same_is_dropped() {
    let Some(yard) = Yard::new(ROOMY) else { return };
    let one = commit(&yard, None, "one", 3);
    yard.prepare(&one);
    let place = yard.claim("first", &one).unwrap();
    yard.prepare(&one);
    assert_eq!(entries(&yard), 1);
    assert!(place.layers.unwrap()[0].join("f0").exists());
    let tree = yard.cache.tree_of(&yard.repository, &one).unwrap();
    assert!(yard.cache.claim("another-project", &tree, &yard.path("workspaces/x"), &seed(&one)).unwrap().is_none());
}
