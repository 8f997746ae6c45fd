//! Fail points of the write path, for tests of crashes, full disks and panics.
//!
//! Without the feature `test-util` there is nothing here that can fail: the calls compile to nothing.

#[cfg(feature = "test-util")]
use std::sync::Arc;

/// Where the write path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "test-util"), expect(unreachable_pub, reason = "only tests name it"))]
pub enum FailPoint {
    /// The transaction of a batch is open.
    Begun,
    /// A command is about to be decided.
    Deciding,
    /// An event was applied to its table.
    Applied,
    /// An event was appended to the log.
    Appended,
    /// A command was recorded.
    Finished,
    /// The batch is about to be committed.
    Committing,
    /// The batch is committed, nobody was told.
    Committed,
}

/// A failure that a test asked for.
#[cfg(feature = "test-util")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// As if the disk were full.
    Full,
    /// As if the disk were broken.
    Broken,
}

/// What goes wrong, and when.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "test-util"), expect(unreachable_pub, reason = "only tests name it"))]
pub struct Faults {
    /// Largest size of the database, in pages of 4096 bytes.
    #[cfg(feature = "test-util")]
    pub pages_max: Option<u32>,
    /// Called on the writer thread at every fail point. It may panic.
    #[cfg(feature = "test-util")]
    #[expect(clippy::type_complexity, reason = "named once, here")]
    pub at: Option<Arc<dyn Fn(FailPoint) -> Result<(), Injected> + Send + Sync>>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

#[cfg(feature = "test-util")]
mod live {
    use rusqlite::{Connection, ffi};

    use super::{FailPoint, Faults, Injected};
    use crate::sqlite::{DbError, During as _};

    impl Faults {
        pub(crate) fn point(&self, point: FailPoint) -> Result<(), DbError> {
            let Some(at) = &self.at else { return Ok(()) };
            at(point).map_err(|injected| DbError::Statement {
                what: "pass a fail point",
                source: rusqlite::Error::SqliteFailure(
                    ffi::Error::new(match injected {
                        Injected::Full => ffi::SQLITE_FULL,
                        Injected::Broken => ffi::SQLITE_IOERR,
                    }),
                    None,
                ),
            })
        }

        pub(crate) fn limit(&self, conn: &Connection) -> Result<(), DbError> {
            let Some(pages) = self.pages_max else { return Ok(()) };
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).during("limit the database")
        }
    }
}

#[cfg(not(feature = "test-util"))]
mod live {
    use rusqlite::Connection;

    use super::{FailPoint, Faults};
    use crate::sqlite::DbError;

    impl Faults {
        #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as with the feature")]
        pub(crate) const fn point(&self, _: FailPoint) -> Result<(), DbError> {
            Ok(())
        }

        #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as with the feature")]
        pub(crate) const fn limit(&self, _: &Connection) -> Result<(), DbError> {
            Ok(())
        }
    }
}
