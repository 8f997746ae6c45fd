//! The contract between the daemon and its clients: ids, requests, views, errors, the tarpc service.
//!
//! Knows no storage, no scheduling and no terminal. What is stored is never sent and what is sent is never stored
//! (invariant I7): the types here are views and requests, `orch-core` has its own. Additive changes only within one
//! [`PROTOCOL_VERSION`].

pub mod abridge;
pub mod channel;
pub mod error;
pub mod id;
pub mod leave;
pub mod provider;
pub mod reference;
pub mod request;
pub mod time;
pub mod view;

#[cfg(feature = "service")]
#[expect(clippy::too_many_arguments, reason = "tarpc adds self and the context to each method's own arguments")]
pub mod service;
#[cfg(feature = "service")]
pub mod wire;

pub use error::{ErrorCode, RpcError};
pub use reference::{EntityKind, Ref};
pub use time::Timestamp;

/// Version of the wire contract. Client and daemon must carry the same one; see [`wire`] for how it is compared.
pub const PROTOCOL_VERSION: u32 = 1;

/// Largest Vision accepted, in bytes. A Vision is a few pages; a megabyte of text is a mistake.
pub const VISION_BYTES_MAX: usize = 1 << 20;

/// Largest recipe accepted, in bytes.
pub const RECIPE_BYTES_MAX: usize = 256 << 10;

/// Most tasks that one request ends of those of whole projects. Who wants all of them ended asks until fewer were.
pub const TASKS_CANCELLED_MAX: usize = 500;

/// Most items that one list call answers. Longer lists are paged.
pub const PAGE_ITEMS_MAX: u32 = 1_000;

/// Most bytes of log payload that one `run_log` call answers.
pub const LOG_PAGE_BYTES_MAX: u32 = 256 << 10;

/// Longest time that a long poll is held by the daemon, in milliseconds. Below tarpc's default deadline of 10 s.
pub const WAIT_MS_MAX: u32 = 8_000;
