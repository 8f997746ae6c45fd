//! Results that a hostile run could hand in, and what a host-side git would have executed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use orch_adapters::git::{BareRepo, CommitId, IngestError, IngestLimits, TakeError, Taken};

use crate::lab::{Lab, Space, listing, write};

/// A project, a workspace on it, and a result folder that says `changed yes`.
fn setting(lab: &Lab) -> (BareRepo, CommitId, Space) {
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    write(&space.out.join("result.txt"), "changed yes\nnested 0\n");
    (repo, base, space)
}

fn take(lab: &Lab, repo: &BareRepo, space: &Space) -> Result<Taken, TakeError> {
    let objects = fs::read_dir(repo.objects_dir().join("pack")).unwrap().count();
    let refs = repo.refs("refs/").unwrap();
    let taken = lab.take(repo, space, "R-9");
    if taken.is_err() {
        assert_eq!(repo.refs("refs/").unwrap(), refs);
        assert_eq!(fs::read_dir(repo.objects_dir().join("pack")).unwrap().count(), objects);
        assert!(
            fs::read_dir(repo.path().join("orch-incoming")).is_ok_and(|mut left| left.next().is_none())
                || objects == 0
                || !repo.path().join("orch-incoming").exists()
        );
    }
    lab.assert_nothing_ran();
    taken
}

/// Makes a result with shell text in the workspace, whose git sees the project's objects.
fn made(script: &str) -> Result<Taken, TakeError> {
    let lab = Lab::new();
    let (repo, base, space) = setting(&lab);
    lab.stranger("r.work", &format!("B={base}; OUT=../r.out; {script}"));
    take(&lab, &repo, &space)
}

const BUNDLE: &str =
    "git update-ref refs/heads/result $C; git bundle create -q $OUT/result.bundle refs/heads/result ^$B";

fn refused_objects(script: &str, why: &str) {
    let error = made(&format!("{script}; {BUNDLE}")).unwrap_err();
    let TakeError::Ingest(IngestError::Objects(text)) = &error else { panic!("{error:?}") };
    assert!(text.contains(why), "{text}");
}

#[test]
fn an_honest_result_by_these_means_is_taken() {
    let taken = made(&format!("echo x>x; git add x; git commit -qm x; C=$(git rev-parse HEAD); {BUNDLE}"));
    assert!(matches!(taken, Ok(Taken::Changed { .. })), "{taken:?}");
}

#[test]
fn files_that_are_no_bundle() {
    let lab = Lab::new();
    let (repo, base, space) = setting(&lab);
    let bundle = space.out.join("result.bundle");
    let header = format!("# v2 git bundle\n-{base} x\n{base} refs/heads/result\n\n");
    let cases: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("text", b"hello\n".to_vec()),
        ("only a signature", b"# v2 git bundle\n".to_vec()),
        ("no pack", header.clone().into_bytes()),
        ("a broken pack", format!("{header}PACK\0\0\0\x02\0\0\0\x01garbage").into_bytes()),
        ("many objects", [header.as_bytes(), b"PACK\0\0\0\x02\xff\xff\xff\xff"].concat()),
        ("an endless line", [b"# v2 git bundle\n".to_vec(), vec![b'a'; 100_000]].concat()),
        ("a filter", format!("# v3 git bundle\n@filter=blob:none\n{base} refs/heads/result\n\nPACK").into_bytes()),
        ("no ids", b"# v2 git bundle\n--upload-pack=x\n\nPACK\0\0\0\x02\0\0\0\0".to_vec()),
    ];
    for (name, bytes) in cases {
        write(&bundle, bytes);
        let error = take(&lab, &repo, &space).unwrap_err();
        assert!(matches!(error, TakeError::Ingest(_)), "{name}: {error:?}");
    }
    fs::remove_file(&bundle).unwrap();
    assert!(matches!(take(&lab, &repo, &space), Err(TakeError::Ingest(IngestError::Read(_)))));
}

/// A3, A1: links, pipes and folders in the place of a result are neither followed nor waited for.
#[test]
fn things_that_are_no_files() {
    let lab = Lab::new();
    let (repo, _, space) = setting(&lab);
    let bundle = space.out.join("result.bundle");
    let check = || matches!(take(&lab, &repo, &space), Err(TakeError::Ingest(IngestError::NotAFile)));
    symlink("/etc/passwd", &bundle).unwrap();
    assert!(check());
    fs::remove_file(&bundle).unwrap();
    lab.stranger("r.out", "mkfifo result.bundle");
    assert!(check());
    fs::remove_file(&bundle).unwrap();
    fs::create_dir(&bundle).unwrap();
    assert!(check());
    fs::remove_file(space.out.join("result.txt")).unwrap();
    lab.stranger("r.out", "mkfifo result.txt");
    assert!(check());
}

#[test]
fn shapes_other_than_one_commit_on_the_base() {
    let shape = |script: &str| match made(script) {
        Err(TakeError::Shape { what }) => what,
        other => panic!("{script}: {other:?}"),
    };
    let commit = "echo x>x; git add x; git commit -qm x; C=$(git rev-parse HEAD)";
    assert_eq!(
        shape(&format!("{commit}; echo y>y; git add y; git commit -qm y; C=$(git rev-parse HEAD); {BUNDLE}")),
        "other parents than the base"
    );
    assert_eq!(
        shape(&format!(
            "{commit}; git update-ref refs/heads/evil $C; git bundle create -q $OUT/result.bundle refs/heads/evil ^$B"
        )),
        "another ref"
    );
    assert_eq!(
        shape(&format!("echo x>x; git add x; C=$(git commit-tree -m x $(git write-tree)); {BUNDLE}")),
        "other parents than the base"
    );
    assert_eq!(
        shape(&format!(
            "{commit}; git tag -a -m t result; git bundle create -q $OUT/b refs/tags/result ^$B; sed -e s,refs/tags/result,refs/heads/result, $OUT/b >$OUT/result.bundle"
        )),
        "no commit"
    );
    let two = made(&format!(
        "{commit}; git branch two; git update-ref refs/heads/result $C; git bundle create -q $OUT/result.bundle refs/heads/result two ^$B"
    ));
    assert!(matches!(two, Err(TakeError::Ingest(IngestError::TooLarge { what: "refs", .. }))), "{two:?}");
    let other_base = made(
        "git checkout -q --detach; P=$(git commit-tree -m p -p $B $(git mktree </dev/null)); C=$(git commit-tree -m c -p $P $(git mktree </dev/null)); git update-ref refs/heads/result $C; git bundle create -q $OUT/result.bundle refs/heads/result ^$P",
    );
    assert!(matches!(other_base, Err(TakeError::Ingest(IngestError::Prerequisite(_)))), "{other_base:?}");
}

/// G5: objects that a later checkout or clone could be attacked with.
#[test]
fn dangerous_objects() {
    // `git mktree` refuses these names itself, so the trees are written byte by byte.
    let raw = |mode: &str, name: &str| {
        format!(
            "b=$(echo x | git hash-object -w --stdin); {{ printf '%s %s\\0' {mode} '{name}'; \
             for byte in $(echo $b | sed 's/../& /g'); do printf \"\\\\$(printf %03o 0x$byte)\"; done; }} >../tree; \
             T=$(git hash-object -w -t tree --literally ../tree); C=$(git commit-tree -m x -p $B $T)"
        )
    };
    for (mode, name, why) in [
        ("100644", ".git", "hasDotgit"),
        ("100644", "..", "hasDotdot"),
        ("100644", "a/b", "fullPathname"),
        ("100644", ".GIT", "hasDotgit"),
        ("100644", "git~1", "hasDotgit"),
        ("120000", ".gitmodules", "gitmodulesSymlink"),
    ] {
        refused_objects(&raw(mode, name), why);
    }
    refused_objects(
        "b=$(echo x | git hash-object -w --stdin); for name in x x; do printf '100644 x\\0'; \
         for byte in $(echo $b | sed 's/../& /g'); do printf \"\\\\$(printf %03o 0x$byte)\"; done; done >../tree; \
         T=$(git hash-object -w -t tree --literally ../tree); C=$(git commit-tree -m x -p $B $T)",
        "duplicateEntries",
    );
    // Git takes a mode that it does not know for a submodule.
    let taken = made(&format!("{}; {BUNDLE}", raw("777777", "x")));
    assert!(matches!(taken, Err(TakeError::Submodule(_))), "{taken:?}");
    refused_objects(
        "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = --upload-pack=evil\\n' >.gitmodules; git add .gitmodules; git commit -qm x; C=$(git rev-parse HEAD)",
        "gitmodulesUrl",
    );
    refused_objects(
        "printf '[submodule \"../../x\"]\\n\\tpath = x\\n\\turl = https://example.org\\n' >.gitmodules; git add .gitmodules; git commit -qm x; C=$(git rev-parse HEAD)",
        "gitmodulesName",
    );
}

#[test]
fn submodules_cannot_be_added() {
    let commit = "git update-index --add --cacheinfo 160000,$B,sub; git commit -qm x; C=$(git rev-parse HEAD)";
    let taken = made(&format!("{commit}; {BUNDLE}"));
    assert!(matches!(&taken, Err(TakeError::Submodule(path)) if path.to_string() == "sub"), "{taken:?}");
}

/// A pack that leaves an object out, hoping that nobody looks.
#[test]
fn missing_objects() {
    let script = "echo secret>x; git add x; git commit -qm x; C=$(git rev-parse HEAD); \
        { printf '# v2 git bundle\\n-%s base\\n%s refs/heads/result\\n\\n' $B $C; { echo $C; git rev-parse $C^{tree}; } | git pack-objects -q --stdout; } >$OUT/result.bundle";
    let error = made(script).unwrap_err();
    assert!(matches!(error, TakeError::Ingest(IngestError::Objects(_))), "{error:?}");
}

/// G6: small in the bundle, large when unpacked.
#[test]
fn unpacked_size_and_time_are_bounded() {
    let lab = Lab::new();
    let (repo, base, space) = setting(&lab);
    let script = format!(
        "B={base}; OUT=../r.out; head -c 20000000 /dev/zero >zeros; git add zeros; git commit -qm x; C=$(git rev-parse HEAD); {BUNDLE}"
    );
    lab.stranger("r.work", &script);
    assert!(fs::metadata(space.out.join("result.bundle")).unwrap().len() < 100_000);
    let attempt = |limits: IngestLimits| repo.take_result(&space.out, Some(&base), "R-9", &limits).unwrap_err();
    let small = attempt(IngestLimits { unpacked_bytes_max: Some(10_000_000), ..IngestLimits::RUN });
    assert!(
        matches!(small, TakeError::Ingest(IngestError::TooLarge { what: "unpacked bytes", found: 20_000_000.., .. })),
        "{small:?}"
    );
    let quick = attempt(IngestLimits { time_max: Duration::from_millis(1), ..IngestLimits::RUN });
    assert!(matches!(quick, TakeError::Ingest(IngestError::Git(_))), "{quick:?}");
    assert!(repo.take_result(&space.out, Some(&base), "R-9", &IngestLimits::RUN).is_ok());
}

/// Ten folders in each of ten folders, ten times: a few objects that are ten thousand million files. A comparison would
/// take all memory that it may have.
#[test]
fn trees_of_endless_files_are_refused_before_they_are_compared() {
    let taken = made(&format!(
        "T=$(git rev-parse HEAD^{{tree}}); for level in 1 2 3 4 5 6 7 8 9 10; do \
         T=$(for name in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\t%s\\n' $T $name; done | git mktree); done; \
         C=$(git commit-tree -m bomb -p $B $T); {BUNDLE}"
    ));
    assert!(matches!(taken, Err(TakeError::TooManyFiles)), "{taken:?}");
}

/// G1-G4, G7: the workspace holds everything that makes a git on it execute programs; the host looks at the result only.
#[test]
fn host_side_git_executes_nothing_of_a_workspace() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let space = lab.checkout(&repo, Some(&base), "r");
    let evil = lab.evil().display().to_string();
    let script = format!(
        "for k in core.fsmonitor diff.external core.pager credential.helper core.askPass filter.e.clean diff.e.textconv merge.e.driver; do git config $k {evil}; done; \
         printf '* filter=e diff=e merge=e\\n' >.gitattributes; mkdir -p .git/hooks; for h in pre-commit post-checkout reference-transaction; do cp {evil} .git/hooks/$h; done; \
         mkdir like-bare; cd like-bare; git init -q --bare .; git config core.bare false; git config core.worktree .; git config core.fsmonitor {evil}; cd ..; \
         printf '[alias]\\n\\tx = !{evil}\\n[include]\\n\\tpath = /etc/hostname\\n' >.gitconfig; printf 'a <b>\\n' >.mailmap; rm -f \"$MARKER\""
    );
    lab.stranger("r.work", &script);
    // Without this the test would also pass with an attack that does not work.
    lab.stranger("r.work", "git status; git diff; git add -A");
    assert!(lab.marker().exists(), "a plain git executes nothing here");
    lab.collect(&repo, &space);
    lab.forget_sandboxed();
    let Taken::Changed { commit, .. } = lab.take(&repo, &space, "R-1").unwrap() else { panic!("no change") };
    repo.diff_text(Some(&base), &commit, 100_000).unwrap();
    repo.diff_stat(Some(&base), &commit).unwrap();
    repo.changed_paths(Some(&base), &commit).unwrap();
    repo.merge_tree(&base, &commit).unwrap();
    repo.list_tree(&commit, 1000).unwrap();
    lab.assert_nothing_ran();
}

/// G2: the workspace's `.git` is a file that leads to a directory with commands in its configuration, inside the workspace
/// or anywhere else that the run can name.
#[test]
fn a_git_file_that_leads_elsewhere_is_not_followed() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let evil = lab.evil().display().to_string();
    for (run, target) in [("R-1", "fake"), ("R-2", "../elsewhere")] {
        let space = lab.checkout(&repo, Some(&base), run);
        let folder = format!("{run}.work");
        let script = format!(
            "mv .git {target}; git --git-dir={target} config core.worktree \"$PWD\"; \
             for k in core.fsmonitor diff.external core.pager filter.e.clean core.sshCommand gpg.program; do git --git-dir={target} config $k {evil}; done; \
             printf 'gitdir: {target}\\n' >.git; echo changed >a; printf '* filter=e\\n' >.gitattributes; rm -f \"$MARKER\""
        );
        lab.stranger(&folder, &script);
        lab.stranger(&folder, "git status; git add -A");
        assert!(lab.marker().exists(), "a plain git executes nothing here");
        lab.collect(&repo, &space);
        lab.forget_sandboxed();
        let Taken::Changed { commit, .. } = lab.take(&repo, &space, run).unwrap() else { panic!("no change") };
        repo.diff_text(Some(&base), &commit, 100_000).unwrap();
        repo.changed_paths(Some(&base), &commit).unwrap();
        lab.assert_nothing_ran();
        let stored = listing(&repo, &commit);
        assert!(stored.iter().all(|entry| !entry.starts_with(".git ")), "{stored:?}");
        fs::remove_dir_all(lab.path("elsewhere")).ok();
    }
}

/// G8: locks, refs and logs of refs in the workspace's own repository are nothing to the project's.
#[test]
fn locks_and_refs_of_a_run_stay_its_own() {
    let lab = Lab::new();
    let (repo, base, space) = setting(&lab);
    let before = repo.refs("refs/").unwrap();
    lab.stranger(
        "r.work",
        "echo x>x; git add x; git commit -qm x; C=$(git rev-parse HEAD); \
         for r in refs/heads/main refs/tags/v1 refs/orch/runs/R-1 refs/heads/other; do git update-ref $r $C; done; \
         for l in index HEAD config packed-refs shallow refs/heads/main objects/info/alternates; do touch .git/$l.lock; done; touch ../r.out/index.lock",
    );
    lab.collect(&repo, &space);
    let Taken::Changed { commit, kept_by, .. } = lab.take(&repo, &space, "R-9").unwrap() else { panic!("no change") };
    let after = repo.refs("refs/").unwrap();
    let new: Vec<_> = after.iter().filter(|(name, commit)| before.get(*name) != Some(*commit)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(before.iter().all(|(name, commit)| after.get(name) == Some(commit)), "{after:?}");
    assert_ne!(commit, base);
    // The next run on the same project works, on the branch that the first one wanted to move.
    let next = lab.checkout(&repo, Some(&base), "next");
    write(&next.work.join("y"), "y");
    lab.collect(&repo, &next);
    assert!(
        matches!(lab.take(&repo, &next, "R-10").unwrap(), Taken::Changed { kept_by: other, .. } if other != kept_by)
    );
    lab.assert_nothing_ran();
}

/// The daemon's own environment and the folder that it stands in are no configuration either.
#[test]
fn another_repositorys_alternates_are_not_followed() {
    let lab = Lab::new();
    let (repo, base) = lab.project(&[("a", "1\n")]);
    let secret = lab.stranger("secret", "git init -q -b main .; echo canary>s; git add s; git commit -qm s");
    let space = lab.checkout(&repo, Some(&base), "r");
    // The run names a foreign object that only its alternates could resolve.
    let script = format!(
        "echo '{}/.git/objects' >>.git/objects/info/alternates; S=$(git --git-dir='{}/.git' rev-parse HEAD:s); git update-index --add --cacheinfo 100644,$S,s; \
         git commit -qm x; C=$(git rev-parse HEAD); git update-ref refs/heads/result $C; \
         {{ printf '# v2 git bundle\\n-{base} base\\n%s refs/heads/result\\n\\n' $C; {{ echo $C; git rev-parse $C^{{tree}}; }} | git pack-objects -q --stdout; }} >../r.out/result.bundle",
        secret.display(),
        secret.display()
    );
    lab.stranger("r.work", &script);
    write(&space.out.join("result.txt"), "changed yes\nnested 0\n");
    assert!(matches!(take(&lab, &repo, &space), Err(TakeError::Ingest(IngestError::Objects(_)))));
    assert!(Path::new(&secret).exists());
}
