//! `backup` and `daemon check`: paths, words, exit codes.

use orch_proto::view::UpkeepRequest;

use super::super::fake::{Fake, State};
use super::plain;

#[tokio::test]
async fn a_backup_is_asked_for_by_an_absolute_path_and_says_what_is_in_it() {
    let fake = Fake::start(State::default());
    let done = plain(&fake, "backup /srv/backup").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.starts_with("backup in /srv/backup\n2 files, 2 KiB, verified\nevent 1, head 00\n"), "{done:?}");
    assert!(done.err.contains("values of secrets are not in it: token"), "{done:?}");
    let json = plain(&fake, "daemon backup relative --with-secrets -o json").await;
    assert_eq!(json.code, 0, "{json:?}");
    let here = std::env::current_dir().unwrap().join("relative");
    assert!(json.out.contains(&format!("\"{}\"", here.display())), "{json:?}");
    let asked = fake.see(|state| state.upkeep.clone());
    assert!(matches!(&asked[0], UpkeepRequest::Backup { directory, with_secrets: false, without_logs: false }
        if directory == "/srv/backup"));
    assert!(matches!(&asked[1], UpkeepRequest::Backup { with_secrets: true, .. }));
}

#[tokio::test]
async fn a_backup_of_a_damaged_state_is_told_apart() {
    let fake = Fake::start(State { damage: vec!["missing blob 12 (a text)".into()], ..State::default() });
    let done = plain(&fake, "backup /srv/backup").await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("not in it: missing blob 12 (a text)"), "{done:?}");
    assert!(done.err.contains("the state that it is of is damaged"), "{done:?}");
}

#[tokio::test]
async fn what_is_not_asked_well_is_refused() {
    let fake = Fake::start(State::default());
    for line in ["backup", "backup /a --status", "backup /a --cancel", "backup --status --cancel"] {
        let refused = plain(&fake, line).await;
        assert_eq!(refused.code, 2, "{line}: {refused:?}");
    }
    let none = plain(&fake, "backup --status").await;
    assert_eq!(
        (none.code, none.out.as_str()),
        (0, "no backup, check or garbage collection since the daemon was started\n")
    );
    assert_eq!(plain(&fake, "backup --cancel").await.code, 3);
}

#[tokio::test]
async fn a_check_reads_everything_unless_it_is_to_be_quick() {
    let fake = Fake::start(State::default());
    let quick = plain(&fake, "daemon check --quick").await;
    let whole = plain(&fake, "daemon check").await;
    assert_eq!((quick.code, whole.code), (0, 0), "{whole:?}");
    assert_eq!(quick.out, whole.out);
    assert_eq!(fake.see(|state| state.upkeep.clone()), [UpkeepRequest::Check]);
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_said_or_removed() {
    let fake = Fake::start(State::default());
    let dry = plain(&fake, "daemon gc --dry-run").await;
    assert_eq!((dry.code, dry.out.as_str()), (0, "2 logs of runs, 4 KiB\nwould go; nothing was removed\n"));
    let done = plain(&fake, "daemon gc --yes").await;
    assert_eq!((done.code, done.out.as_str()), (0, "2 logs of runs, 4 KiB\nremoved; the record says what it was\n"));
    let asked = fake.see(|state| state.upkeep.clone());
    assert_eq!(asked, [UpkeepRequest::Gc { dry_run: true }, UpkeepRequest::Gc { dry_run: false }]);
    let fake = Fake::start(State { damage: vec!["log of R-1: busy".into()], ..State::default() });
    let failed = plain(&fake, "daemon gc --yes").await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.out.contains("not removed: log of R-1: busy"), "{failed:?}");
}
