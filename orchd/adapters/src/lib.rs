//! Effects behind ports: git and stored blobs; each adapter in its own module.
//!
//! Knows neither the store (I5) nor the clients: what an adapter learns goes back to its caller as a value. Whatever a
//! repository or a run wrote is hostile here (I12).

pub mod blobs;
pub mod git;
