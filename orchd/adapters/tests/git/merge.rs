//! Merges and differences on bare trees.

use orch_adapters::git::{BareRepo, CommitId, CommitSpec, MergeOutcome};

use crate::lab::{AT, Lab, agent, listing, write};

/// A result on `base` with these files.
fn change(lab: &Lab, repo: &BareRepo, base: &CommitId, name: &str, files: &[(&str, &str)]) -> CommitId {
    let space = lab.checkout(repo, Some(base), name);
    for (path, content) in files {
        write(&space.work.join(path), content);
    }
    lab.changed(repo, &space, name)
}

fn squash(repo: &BareRepo, onto: &CommitId, change: &CommitId) -> CommitId {
    let MergeOutcome::Clean { tree } = repo.merge_tree(onto, change).unwrap() else { panic!("conflict") };
    let spec = CommitSpec {
        tree,
        parents: vec![onto.clone()],
        message: "feat: squashed".to_owned(),
        author: agent(),
        committer: agent(),
        at_unix_s: AT,
    };
    repo.commit_tree(&spec).unwrap()
}

#[test]
fn parallel_changes_merge_and_contradictions_name_their_paths() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("odd\nname", "1\n")]);
    let one = change(&lab, &repo, &base, "one", &[("a", "one\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("new-one", "1")]);
    let two = change(&lab, &repo, &base, "two", &[("a", "1\n2\n3\n4\n5\n6\n7\n8\ntwo\n"), ("new-two", "2")]);
    let three = change(&lab, &repo, &base, "three", &[("a", "three\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("odd\nname", "3\n")]);
    let main = squash(&repo, &base, &one);
    let main = squash(&repo, &main, &two);
    assert_eq!(listing(&repo, &main), ["a File", "new-one File", "new-two File", "odd\\nname File"]);
    let merged = repo.read_blob(&main, &orch_adapters::git::RepoPath::parse(b"a").unwrap(), 100).unwrap();
    assert_eq!(merged, b"one\n2\n3\n4\n5\n6\n7\n8\ntwo\n");
    let MergeOutcome::Conflict { paths } = repo.merge_tree(&main, &three).unwrap() else { panic!("no conflict") };
    assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a"]);
    let four = change(&lab, &repo, &base, "four", &[("odd\nname", "4\n")]);
    let MergeOutcome::Conflict { paths } = repo.merge_tree(&three, &four).unwrap() else { panic!("no conflict") };
    assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["odd\\nname"]);

    assert!(repo.is_ancestor(&base, &main).unwrap());
    assert!(!repo.is_ancestor(&main, &base).unwrap());
    assert_eq!(repo.merge_base(&main, &three).unwrap(), Some(base.clone()));
    let nobody = CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(repo.is_ancestor(&nobody, &main).is_err());
    assert!(repo.merge_tree(&nobody, &main).is_err());
}

/// Merge drivers, text conversions and external diffs of a hostile tree must not take part.
#[test]
fn attributes_of_a_tree_are_not_obeyed() {
    let lab = Lab::new();
    let attributes = "* merge=union diff=x -text\na binary\n";
    let (repo, base) = lab.project(&[("a", "1\n"), (".gitattributes", attributes)]);
    let one = change(&lab, &repo, &base, "one", &[("a", "one\n")]);
    let two = change(&lab, &repo, &base, "two", &[("a", "two\n")]);
    assert!(matches!(repo.merge_tree(&one, &two).unwrap(), MergeOutcome::Conflict { .. }));
    let diff = repo.diff_text(Some(&base), &one, 10_000).unwrap();
    assert!(String::from_utf8_lossy(&diff.bytes).contains("-1\n+one\n"));
    assert_eq!(repo.diff_stat(Some(&base), &one).unwrap()[0].lines, Some((1, 1)));
}

#[test]
fn a_minimal_difference_has_little_around_it() {
    let lab = Lab::new();
    let lines = |fifth: &str| format!("1\n2\n3\n4\n{fifth}\n6\n7\n8\n9\n");
    let (repo, base) = lab.project(&[("a", &lines("5"))]);
    let head = change(&lab, &repo, &base, "fifth", &[("a", &lines("five"))]);
    let diff = repo.minimal_diff(Some(&base), &head, 10_000).unwrap();
    let text = String::from_utf8(diff.bytes).unwrap();
    assert!(text.starts_with("diff --git a/a b/a\n") && text.ends_with("@@\n 4\n-5\n+five\n 6\n"), "{text}");
    assert!(repo.minimal_diff(Some(&base), &head, 20).unwrap().truncated);
}

#[test]
fn differences_are_cut_at_the_bound_and_quote_names() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let long = "line\n".repeat(10_000);
    let files = [("a", long.as_str()), ("new\n+++ b/fake", "x\n"), ("bin", "\0\u{1}")];
    let head = change(&lab, &repo, &base, "long", &files);
    let diff = repo.diff_text(Some(&base), &head, 1000).unwrap();
    assert_eq!((diff.bytes.len(), diff.truncated), (1000, true));
    let diff = repo.diff_text(Some(&base), &head, 1 << 20).unwrap();
    let text = String::from_utf8_lossy(&diff.bytes);
    assert!(!diff.truncated && text.contains("\"b/new\\n+++ b/fake\""), "{text:.2000}");
    let stats = repo.diff_stat(Some(&base), &head).unwrap();
    let stats: Vec<_> = stats.iter().map(|stat| (stat.path.to_string(), stat.lines)).collect();
    let expected = [("a", Some((10_000, 1))), ("bin", None), ("new\\n+++ b/fake", Some((1, 0)))];
    assert_eq!(stats, expected.map(|(path, lines)| (path.to_owned(), lines)));
}

#[test]
fn commits_are_reproducible_and_refuse_broken_headers() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let spec = |message: &str| CommitSpec {
        tree: repo.tree_of(&base).unwrap(),
        parents: vec![base.clone()],
        message: message.to_owned(),
        author: agent(),
        committer: agent(),
        at_unix_s: AT,
    };
    assert_eq!(repo.commit_tree(&spec("x")).unwrap(), repo.commit_tree(&spec("x\n")).unwrap());
    for bad in ["", " \n", "a\0b"] {
        assert!(repo.commit_tree(&spec(bad)).is_err(), "{bad:?}");
    }
    for bad in ["", "a\nb", "a <b>", "...", " a"] {
        assert!(orch_adapters::git::Identity::new(bad, "a@b").is_err(), "{bad:?}");
    }
}
