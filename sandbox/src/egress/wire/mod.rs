//! Parsers of what runs send and of what hosts answer: pure functions from bytes to values or to a reason to refuse.
//!
//! **Invariant:** no function here makes a call, keeps a state of its own or reads past its bounds, whatever it is fed.

pub(crate) mod body;
pub(crate) mod dns;
pub(crate) mod head;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod socks;
pub(crate) mod tls;
