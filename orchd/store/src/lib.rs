//! SQLite behind one type: the event log, the tables that follow from it, and the only way to write either.
//!
//! No caller ever sees a type of the SQLite binding. Only [`Store::execute`] writes (invariant I2), on one thread with
//! the one read-write connection (I4); the tables equal a replay of the log (I3). Deliberately absent: caches of
//! entities for readers, retries, and any clock but the one that is given. In reading order.

mod store;

mod counts;
mod execute;
mod kept;
mod listeners;
mod log;
mod tables;
mod writer;

mod newest;
mod reader;
mod verify;

mod compare;
mod fold;
mod rebuild;
mod scratch;

mod copy;
mod file;

mod fault;
mod schema;
mod sqlite;

pub use compare::RebuildReport;
pub use copy::{CopyError, Watch};
pub use execute::{Committed, ExecuteError, NAMED_MAX};
pub use file::DatabaseFile;
pub use log::{Happened, Outcome, StoredEvent, Trace};
pub use reader::{
    EventQuery, READ_DEADLINE_MS, READ_DEADLINE_MS_MAX, READ_DEADLINE_MS_MIN, READERS_MAX, ReadFault, ReadView,
};
pub use schema::{OpenError, SCHEMA_VERSION};
pub use store::{Clock, OpenOptions, Stats, Store};
pub use verify::ChainReport;
pub use writer::{BATCH_COMMANDS_MAX, Outage, WRITE_QUEUE_MAX};

#[cfg(feature = "test-util")]
pub use fault::{FailPoint, Faults, Injected};
#[cfg(feature = "test-util")]
pub use store::HandWriter;
