//! What a run may reach over the network, and the proxy through which it does.
//!
//! A run has no interface but loopback. `listen` makes listeners there, inside its network namespace, and passes them
//! out to a keeper, which the shim forked on the host's side and which has a proxy serve them: it takes names only, decides by the
//! policy, resolves once, judges every address and connects to those that passed. **Invariant:** a run is known by the
//! listener that it connected to, and by nothing that it says. **Invariant:** whatever fails refuses. **Invariant:** what
//! is decided depends on the policy, which never changes during a run, on the name and on the port.
//!
//! Reading order: `policy` and `name`: what is allowed. `wire`: what arrives. `proxy`: the process. `keeper`:
//! whose child it is. `handle`: the shim's end of both, with `ledger`, which bounds what it writes to the log.
//!
//! What this does not stop: data that is sent to an allowed host, inside TLS to any path or account of it; another name
//! that the allowed host serves behind the same certificate (domain fronting), because TLS is not opened; DNS queries of
//! the host's resolver for allowed names, which anybody below a wildcard can choose, and to which it may add the domains
//! of its search list.

mod address;
mod confine;
mod environment;
mod handle;
mod keeper;
mod ledger;
mod listen;
mod name;
mod names;
mod network;
mod policy;
mod proxy;
pub(crate) mod record;
pub(crate) mod wire;

pub use address::AddressKind;
pub use environment::{PROXY_PORT, proxy_environment};
pub(crate) use handle::Proxy;
pub(crate) use listen::listen;
pub use name::{HostName, HostPattern, NAME_BYTES_MAX, NameError, PatternError};
pub use network::{Network, NetworkError};
pub use policy::{
    AllowEntry, CAUGHT_PORTS_MAX, ENTRIES_MAX, Egress, EgressPolicy, ListError, NETWORKS_MAX, NonEmpty, PORTS_MAX,
    Port, UpTo,
};
pub use record::{Asked, AskedError, DenyReason, EgressRecord, Failure, Verdict, Way};
