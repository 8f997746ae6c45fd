//! Imports of repositories as people have them, and as attackers make them.

use std::fs;
use std::path::Path;

use orch_adapters::git::{
    BareRepo, ImportError, ImportNote, ImportPlan, ImportPlanError, Imported, IngestError, IngestLimits, ObjectFormat,
    RepoPath,
};

use crate::lab::{Lab, listing, main, run, write};

/// Plans, runs the script as the sandbox would, and finishes.
pub(crate) fn import(lab: &Lab, source: &Path, dest: &str) -> Result<Imported, ImportError> {
    let plan = ImportPlan::new(source).unwrap();
    let out = lab.path(&format!("{dest}.out"));
    fs::create_dir(&out).unwrap();
    run(&plan.argv(plan.source(), &out));
    lab.forget_sandboxed();
    let imported = BareRepo::finish_import(&lab.git, &out, &lab.path(dest), &IngestLimits::IMPORT);
    lab.assert_nothing_ran();
    imported
}

const SMALL: &str = "git init -q -b main .; echo a>a; git add a; git commit -qm one; ";

#[test]
fn branches_and_tags_are_taken_and_nothing_else() {
    let lab = Lab::new();
    let source = lab.stranger(
        "source",
        &format!(
            "{SMALL} git branch feature/x; git tag light; git tag -a -m t annotated; git update-ref refs/pull/1/head HEAD; \
             git update-ref refs/remotes/origin/main HEAD; echo b>b; git stash -uq; echo dirty>>a"
        ),
    );
    let imported = import(&lab, &source, "x.git").unwrap();
    assert_eq!((imported.branches, imported.tags, imported.default_branch.short()), (2, 2, "main"));
    assert_eq!(imported.notes, [ImportNote::Uncommitted]);
    let refs = imported.repo.refs("refs/").unwrap();
    let names: Vec<&str> = refs.keys().map(orch_adapters::git::RefName::as_str).collect();
    assert_eq!(names, ["refs/heads/feature/x", "refs/heads/main", "refs/tags/annotated", "refs/tags/light"]);
    assert_eq!(listing(&imported.repo, &imported.head.unwrap()), ["a File"]);
}

#[test]
fn bare_packed_and_subdirectory_sources() {
    let lab = Lab::new();
    let source = lab.stranger("source", &format!("{SMALL} mkdir sub; git gc -q; git clone -q --bare . ../bare.git"));
    assert!(import(&lab, &lab.path("bare.git"), "b.git").unwrap().notes.is_empty());
    assert!(import(&lab, &source.join(".git"), "g.git").unwrap().head.is_some());
    let error = ImportPlan::new(&source.join("sub")).unwrap_err();
    assert!(matches!(&error, ImportPlanError::NotARepository { inside: Some(top), .. } if *top == source), "{error}");
    std::os::unix::fs::symlink(&source, lab.path("link")).unwrap();
    assert_eq!(ImportPlan::new(&lab.path("link")).unwrap().source(), source);
}

#[test]
fn sources_without_a_usual_default_branch() {
    let lab = Lab::new();
    let empty = lab.stranger("empty", "git init -q -b trunk .; echo x>x");
    let imported = import(&lab, &empty, "empty.git").unwrap();
    assert_eq!((imported.head, imported.default_branch.short()), (None, "trunk"));
    assert_eq!(imported.notes, [ImportNote::Uncommitted, ImportNote::Empty]);

    let detached = lab.stranger("detached", &format!("{SMALL} git checkout -q --detach; git branch -D -q main"));
    let imported = import(&lab, &detached, "detached.git").unwrap();
    assert_eq!((imported.branches, imported.default_branch.clone()), (1, main()));
    assert_eq!(imported.notes, [ImportNote::BranchForDetachedHead(main())]);

    let missing = lab.stranger(
        "missing",
        &format!(
            "{SMALL} git branch -m zeta; git branch alpha; git symbolic-ref HEAD refs/heads/gone; git rm -q --cached a"
        ),
    );
    let imported = import(&lab, &missing, "missing.git").unwrap();
    assert_eq!(imported.default_branch.short(), "alpha");
    assert!(imported.head.is_some());

    let moved =
        lab.stranger("moved", &format!("{SMALL} git checkout -q --detach; echo b>b; git add b; git commit -qm two"));
    let imported = import(&lab, &moved, "moved.git").unwrap();
    assert_eq!(imported.notes, [ImportNote::DefaultBranchChosen(main())]);
    assert_eq!(listing(&imported.repo, &imported.head.unwrap()), ["a File"]);
}

#[test]
fn sources_whose_objects_are_elsewhere_are_refused_with_the_fix() {
    let lab = Lab::new();
    let source = lab.stranger(
        "source",
        &format!("{SMALL} echo b>b; git add b; git commit -qm two; git worktree add -q ../tree -b w"),
    );
    let error = ImportPlan::new(&lab.path("tree")).unwrap_err();
    assert!(matches!(error, ImportPlanError::GitDirElsewhere { .. }) && error.hint().is_some(), "{error}");

    let shallow = lab.stranger("shallow", &format!("git clone -q --depth 1 'file://{}' .", source.display()));
    let error = import(&lab, &shallow, "shallow.git").unwrap_err();
    assert!(matches!(error, ImportError::Shallow) && error.hint().unwrap().contains("--unshallow"), "{error}");

    let borrowed =
        lab.stranger("borrowed", &format!("git clone -q --shared '{}' .; mv ../source ../away", source.display()));
    let error = import(&lab, &borrowed, "borrowed.git").unwrap_err();
    assert!(matches!(error, ImportError::Borrowed | ImportError::Unusable { .. }) && error.hint().is_some(), "{error}");

    let partial = lab.stranger(
        "partial",
        &format!("{SMALL} git config remote.o.promisor true; git config remote.o.url 'ext::sh -c true'"),
    );
    assert!(matches!(import(&lab, &partial, "partial.git"), Err(ImportError::Partial)));
    for dest in ["shallow.git", "borrowed.git", "partial.git", ".orch-drafts"] {
        assert!(!lab.path(dest).exists(), "{dest}");
    }
}

#[test]
fn what_is_no_repository_is_told_apart() {
    let lab = Lab::new();
    assert!(matches!(ImportPlan::new(&lab.path("none")), Err(ImportPlanError::NoSuchPath { .. })));
    write(&lab.path("file"), "x");
    assert!(matches!(ImportPlan::new(&lab.path("file")), Err(ImportPlanError::NotARepository { .. })));
    assert!(matches!(ImportPlan::new(&lab.path("file/x")), Err(ImportPlanError::NoSuchPath { .. })));
    fs::create_dir(lab.path("folder")).unwrap();
    assert!(matches!(ImportPlan::new(&lab.path("folder")), Err(ImportPlanError::NotARepository { inside: None, .. })));
    fs::create_dir_all(lab.path("fake/.git")).unwrap();
    assert!(matches!(import(&lab, &lab.path("fake"), "fake.git"), Err(ImportError::Unusable { .. })));
    let damaged = lab.stranger("damaged", &format!("{SMALL} find .git/objects -type f -exec rm -f {{}} +"));
    let error = import(&lab, &damaged, "damaged.git").unwrap_err();
    assert!(matches!(&error, ImportError::Unusable { why } if !why.is_empty()), "{error}");
    fs::create_dir(lab.path("silent")).unwrap();
    let silent = BareRepo::finish_import(&lab.git, &lab.path("silent"), &lab.path("s.git"), &IngestLimits::IMPORT);
    assert!(matches!(silent, Err(ImportError::Unfinished(_))));
}

#[test]
fn sha256_repositories_work_from_import_to_result() {
    let lab = Lab::new();
    let source = lab.stranger("source", &SMALL.replace("init -q", "init -q --object-format=sha256"));
    let imported = import(&lab, &source, "x.git").unwrap();
    assert_eq!(imported.repo.format(), ObjectFormat::Sha256);
    let repo = BareRepo::open(&lab.git, imported.repo.path()).unwrap();
    let base = imported.head.unwrap();
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.work.join("b"), "b");
    let commit = lab.changed(&repo, &space, "R-1");
    assert_eq!(listing(&repo, &commit), ["a File", "b File"]);
    assert!(!repo.diff_text(None, &commit, 1000).unwrap().bytes.is_empty());
}

#[test]
fn content_that_does_not_travel_is_noted() {
    let lab = Lab::new();
    let source = lab.stranger(
        "source",
        &format!("{SMALL} printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = https://example.org/s\\n' >.gitmodules; echo '*.bin filter=lfs' >.gitattributes; git add .; git commit -qm two"),
    );
    let imported = import(&lab, &source, "x.git").unwrap();
    assert_eq!(imported.notes, [ImportNote::Submodules, ImportNote::LargeFilePointers]);
}

/// Every setting of the source that names a program, hooks, and names of refs that are options or paths.
#[test]
fn nothing_of_a_hostile_source_reaches_the_host() {
    let lab = Lab::new();
    let evil = lab.evil().display().to_string();
    let keys = "core.fsmonitor core.pager core.sshCommand core.alternateRefsCommand core.gitProxy core.askPass core.editor diff.external \
         uploadpack.packObjectsHook gpg.program credential.helper interactive.diffFilter sequence.editor receive.procReceiveRefs";
    let source = lab.stranger(
        "source",
        &format!(
            "{SMALL} for key in {keys}; do git config $key {evil}; done; git config filter.x.clean {evil}; git config filter.x.smudge {evil}; \
             git config diff.x.textconv {evil}; git config merge.x.driver {evil}; printf '[core]\\n\\tfsmonitor = {evil}\\n' >../inc; \
             git config include.path ../../inc; git config core.hooksPath .git/hooks; printf '* filter=x diff=x merge=x\\n' >.gitattributes; \
             for h in pre-commit post-checkout reference-transaction post-index-change pre-push post-update; do cp {evil} .git/hooks/$h 2>/dev/null || {{ mkdir -p .git/hooks; cp {evil} .git/hooks/$h; }}; done; \
             git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c filter.x.clean=cat add . ; git -c core.fsmonitor=false -c core.hooksPath=/dev/null commit -qm two; \
             h=$(cat .git/refs/heads/main); printf \"$h refs/heads/-x\\n$h refs/heads/a'b\\n$h refs/heads/\\342\\200\\256bidi\\n$h refs/heads/good\\n\" >.git/packed-refs; rm -f \"$MARKER\""
        ),
    );
    let imported = import(&lab, &source, "x.git").unwrap();
    let head = imported.head.unwrap();
    assert_eq!(imported.branches, 2, "{:?}", imported.notes);
    let [ImportNote::RefsLeftOut { count: 3, .. }] = imported.notes.as_slice() else { panic!("{:?}", imported.notes) };
    let repo = imported.repo;
    repo.diff_text(None, &head, 10_000).unwrap();
    repo.list_tree(&head, 10).unwrap();
    repo.merge_tree(&head, &head).unwrap();
    lab.assert_nothing_ran();
    let config = fs::read_to_string(repo.path().join("config")).unwrap();
    assert!(!config.contains("evil") && !repo.path().join("hooks").exists(), "{config}");
}

/// Faults that old tools left in the history of well-known projects pass; those that endanger a checkout do not.
#[test]
fn old_faults_pass_and_dangerous_ones_do_not() {
    let lab = Lab::new();
    let tree = |mode_and_name: &str| {
        format!(
            "{SMALL} {{ printf '{mode_and_name}\\0'; for byte in $(git rev-parse HEAD:a | sed 's/../& /g'); do \
             printf \"\\\\$(printf %03o 0x$byte)\"; done; }} >../tree; T=$(git hash-object -w -t tree --literally ../tree); \
             git update-ref refs/heads/main $(git commit-tree -m x $T)"
        )
    };
    let old = lab.stranger("old", &tree("0100644 a"));
    assert!(import(&lab, &old, "old.git").is_ok());
    let dangerous = lab.stranger("dangerous", &tree("100644 .git"));
    let error = import(&lab, &dangerous, "dangerous.git").unwrap_err();
    assert!(matches!(error, ImportError::Ingest(IngestError::Objects(_))) && error.hint().is_some(), "{error:?}");
}

#[test]
fn limits_hold_and_leave_nothing() {
    let lab = Lab::new();
    let source = lab.stranger("source", &format!("{SMALL} git branch b; git branch c"));
    let plan = ImportPlan::new(&source).unwrap();
    let out = lab.path("out");
    fs::create_dir(&out).unwrap();
    run(&plan.argv(plan.source(), &out));
    let small = IngestLimits::IMPORT;
    for limits in [
        IngestLimits { bundle_bytes_max: 10, ..small },
        IngestLimits { refs_max: 2, ..small },
        IngestLimits { objects_max: 2, ..small },
        IngestLimits { unpacked_bytes_max: Some(10), ..small },
    ] {
        let error = BareRepo::finish_import(&lab.git, &out, &lab.path("x.git"), &limits).unwrap_err();
        assert!(matches!(error, ImportError::Ingest(IngestError::TooLarge { .. })), "{error:?}");
        assert!(!lab.path("x.git").exists() && !lab.path(".orch-drafts").exists());
    }
}

/// A branch that is called as git calls its own ref, parents that are not the real ones, and objects that stand for
/// others: none of them is taken for what it says.
#[test]
fn names_and_histories_that_lie() {
    let lab = Lab::new();
    let head = lab.stranger(
        "head",
        &format!("{SMALL} git update-ref refs/heads/HEAD main; git symbolic-ref HEAD refs/heads/HEAD"),
    );
    let imported = import(&lab, &head, "head.git").unwrap();
    assert_eq!((imported.default_branch, imported.branches), (main(), 1), "{:?}", imported.notes);

    let two = "echo b>b; git add b; git commit -qm two;";
    let replaced = lab.stranger(
        "replaced",
        &format!(
            "{SMALL} {two} echo evil>e; git add e; git replace HEAD:b $(git hash-object -w e); git reset -q --hard"
        ),
    );
    let imported = import(&lab, &replaced, "replaced.git").unwrap();
    assert_eq!(imported.repo.refs("refs/replace/").unwrap().len(), 0);
    let path = RepoPath::parse(b"b").unwrap();
    assert_eq!(imported.repo.read_blob(&imported.head.unwrap(), &path, 100).unwrap(), b"b\n");

    // A graft says that the second commit has no parent; what is taken is whole, or it is not taken.
    let grafted =
        lab.stranger("grafted", &format!("{SMALL} {two} mkdir -p .git/info; git rev-parse HEAD >.git/info/grafts"));
    let error = import(&lab, &grafted, "grafted.git").unwrap_err();
    assert!(matches!(error, ImportError::Ingest(IngestError::Objects(_))), "{error:?}");
}
