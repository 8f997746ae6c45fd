//! The write-ahead log: small while others read, and nobody waits for who reads for long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orch_core::command::Command;
use orch_core::entity::Project;
use orch_core::view::View as _;
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, envelope, wait};

/// What the log may have at most: 64 MiB, at which it is made to start anew, and what one batch adds.
const WAL_BYTES_MAX: u64 = 80 << 20;
/// Size to which its file is cut when it starts anew, and some batches.
const WAL_BYTES_KEPT: u64 = 32 << 20;
/// Commands that are sent together.
const TOGETHER: u128 = 10;

fn wal_bytes(bed: &Bed) -> u64 {
    std::fs::metadata(bed.dir.path().join("orch.db-wal")).map_or(0, |file| file.len())
}

/// Sends commands and waits until all are committed: every second one writes 200 KiB, an event and a row that say at length why a
/// project could not be made.
fn write(bed: &Bed, next: &mut u128, count: u128) {
    let ids = *next..*next + count;
    *next += count;
    let shop = bed.store().read(|view| view.project_by_slug("shop")).unwrap();
    let command = |id: u128| match &shop {
        Some(shop) if id.is_multiple_of(2) => {
            Command::FailProject { project: shop.id, reason: format!("{id} {}", "x".repeat(100 << 10)) }
        }
        _ => create("shop"),
    };
    let sent: Vec<_> = ids.map(|id| bed.store().execute(envelope(id, command(id)))).collect();
    sent.into_iter().for_each(|answer| drop(wait(answer).unwrap()));
}

/// Readers overlap, so that there is no moment at which nobody reads.
#[test]
fn it_stays_small_while_readers_come_and_go() {
    let bed = Bed::new();
    let (is_over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut next, mut largest, mut written) = (1, 0, 0);
    write(&bed, &mut next, 1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let read = bed.store().read(|view| {
                        let first = view.page::<Project>(None, 3)?;
                        std::thread::yield_now();
                        assert_eq!(view.page::<Project>(None, 3)?, first);
                        Ok(())
                    });
                    read.unwrap();
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // More than it may ever have.
        while written < WAL_BYTES_MAX + (16 << 20) {
            let before = bed.store().stats().wal_pages;
            write(&bed, &mut next, TOGETHER);
            let after = bed.store().stats().wal_pages;
            written += after.checked_sub(before).unwrap_or(after) * 4_096;
            largest = largest.max(wal_bytes(&bed));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(reads.load(Ordering::SeqCst) > 10, "there were readers");
    assert!(largest <= WAL_BYTES_MAX, "{largest} bytes");
    assert_sound(bed.store());
}

/// Somebody copies the whole file, or compares all of it: the log grows, everybody else is answered, and afterwards it is small
/// again.
#[test]
fn who_reads_for_long_holds_nobody_up() {
    let bed = Bed::new();
    let mut next = 1;
    write(&bed, &mut next, 1);
    let reader = Connection::open(bed.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    while wal_bytes(&bed) < WAL_BYTES_MAX + (20 << 20) {
        write(&bed, &mut next, TOGETHER);
    }
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let before = Instant::now();
        write(&bed, &mut next, 2);
        slowest = slowest.max(before.elapsed());
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "100 commands in pairs took {took:?}, the slowest {slowest:?}");
    reader.execute_batch("ROLLBACK").unwrap();
    let mut left = 500;
    while wal_bytes(&bed) > WAL_BYTES_KEPT && left > 0 {
        write(&bed, &mut next, TOGETHER);
        left -= 1;
    }
    assert!(wal_bytes(&bed) <= WAL_BYTES_KEPT, "{} bytes", wal_bytes(&bed));
    assert_sound(bed.store());
}
