//! Names to addresses, by the host's resolver, and the addresses of the host itself.
//!
//! **Invariant:** a name is looked up after the policy has allowed it, never before. **Invariant:** what was looked up is
//! what is judged and dialled; nothing is looked up twice for one connection.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;

use crate::egress::HostName;

/// How long an answer is used again.
const FRESH: Duration = Duration::from_secs(5);
/// Most names whose addresses are kept.
const NAMES_MAX: usize = 256;

/// Looks names up and remembers the answers for a moment.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    known: Mutex<HashMap<HostName, Known>>,
    own: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    addresses: Arc<[IpAddr]>,
}

impl Known {
    fn now(addresses: Vec<IpAddr>) -> Self {
        Self { at: Instant::now(), addresses: addresses.into() }
    }

    fn fresh(&self) -> Option<Arc<[IpAddr]>> {
        (self.at.elapsed() < FRESH).then(|| Arc::clone(&self.addresses))
    }
}

impl Resolver {
    /// The addresses of `name`, in the order in which they are to be tried.
    pub(super) fn addresses(&self, name: &HostName) -> io::Result<Arc<[IpAddr]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).and_then(Known::fresh);
        if let Some(addresses) = known {
            return Ok(addresses);
        }
        let mut found: Vec<IpAddr> = Vec::new();
        for address in (name.as_str(), 0).to_socket_addrs()? {
            // Each comes once for every protocol.
            if !found.contains(&address.ip()) {
                found.push(address.ip());
            }
        }
        let fresh = Known::now(found);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(name.clone(), fresh.clone());
        Ok(fresh.addresses)
    }

    /// The addresses of this machine's interfaces.
    pub(super) fn own_addresses(&self) -> io::Result<Arc<[IpAddr]>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = own.as_ref().and_then(Known::fresh) {
            return Ok(addresses);
        }
        let mut found = Vec::new();
        for interface in getifaddrs()? {
            let Some(address) = interface.address else { continue };
            found.extend(address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip())));
            found.extend(address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())));
        }
        let fresh = Known::now(found);
        let addresses = Arc::clone(&fresh.addresses);
        *own = Some(fresh);
        Ok(addresses)
    }
}
