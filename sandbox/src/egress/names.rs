//! Addresses inside the run that stand for names: what its DNS answers, and what a caught connection leads to.
//!
//! Names without a wildcard have the same addresses in every proxy of a run. Names below a wildcard get theirs when they
//! are asked for; a proxy that takes the place of one that died gives out others, so that an old address is refused and
//! never leads to another name. **Invariant:** only names that the policy allows have addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::policy::{ENTRIES_MAX, EgressPolicy};
use super::wire::dns::Addresses;
use super::{HostName, HostPattern};

/// RFC 2544: for benchmarks, so nobody has one of these.
const BLOCK_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Unique local addresses (RFC 4193) with a random part.
const BLOCK_V6: Ipv6Addr = Ipv6Addr::new(0xfd5c, 0x7ae1, 0x93b4, 0, 0, 0, 0, 0);
/// Addresses of 198.18.0.0/15.
const BLOCK_ADDRESSES: u32 = 1 << 17;
/// Most names below wildcards that one proxy gives addresses.
const NAMES_MAX: u32 = 8192;

/// The addresses that have been given out.
#[derive(Debug)]
pub(crate) struct Names {
    by_name: HashMap<HostName, u32>,
    by_number: HashMap<u32, HostName>,
    first_free: u32,
    end: u32,
}

/// No address is left for another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Names {
    /// The names of `policy`, in the proxy that has taken the place of `generation` others.
    pub(crate) fn new(policy: &EgressPolicy, generation: u8) -> Self {
        // Number 0 is the address of the block itself.
        let first_free = 1 + ENTRIES_MAX as u32 + u32::from(generation) * NAMES_MAX;
        let end = (first_free + NAMES_MAX).min(BLOCK_ADDRESSES - 1);
        let mut names = Self { by_name: HashMap::new(), by_number: HashMap::new(), first_free, end };
        for (number, entry) in (1..).zip(policy.entries.iter()) {
            if let HostPattern::Exact(name) = &entry.host {
                // The first entry of a name gives it its address.
                if !names.by_name.contains_key(name) {
                    names.insert(name.clone(), number);
                }
            }
        }
        names
    }

    /// The addresses of `name`, which the policy allows.
    pub(crate) fn addresses(&mut self, name: &HostName) -> Result<Addresses, Full> {
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None if self.first_free >= self.end => return Err(Full),
            None => {
                let number = self.first_free;
                self.first_free += 1;
                self.insert(name.clone(), number);
                number
            }
        };
        Ok(Addresses {
            v4: Ipv4Addr::from_bits(BLOCK_V4.to_bits() + number),
            v6: Ipv6Addr::from_bits(BLOCK_V6.to_bits() + u128::from(number)),
        })
    }

    /// The name that `address` stands for.
    pub(crate) fn name(&self, address: IpAddr) -> Option<HostName> {
        let number = match address {
            IpAddr::V4(address) => address.to_bits().checked_sub(BLOCK_V4.to_bits())?,
            IpAddr::V6(address) => u32::try_from(address.to_bits().checked_sub(BLOCK_V6.to_bits())?).ok()?,
        };
        self.by_number.get(&number).cloned()
    }

    fn insert(&mut self, name: HostName, number: u32) {
        self.by_name.insert(name.clone(), number);
        self.by_number.insert(number, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> EgressPolicy {
        let entries = [("a.example", 80), ("*.b.example", 443), ("c.example", 443), ("a.example", 81)]
            .map(|(host, port)| serde_json::json!({"host": host, "ports": [port]}));
        serde_json::from_value(serde_json::json!({"transparent": true, "entries": entries})).unwrap()
    }

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_lead_back_to_their_names() {
        let mut names = Names::new(&policy(), 0);
        let mut seen = std::collections::BTreeSet::new();
        for text in ["a.example", "c.example", "x.b.example", "y.b.example", "x.b.example"] {
            let Addresses { v4, v6 } = names.addresses(&name(text)).unwrap();
            assert_eq!(names.name(v4.into()), Some(name(text)));
            assert_eq!(names.name(v6.into()), Some(name(text)));
            seen.insert(v4);
        }
        assert_eq!(seen.len(), 4);
        for other in ["198.18.0.0", "198.18.0.2", "198.19.255.255", "1.1.1.1", "127.0.0.1", "fd5c:7ae1:93b4::", "::1"] {
            assert_eq!(names.name(other.parse().unwrap()), None, "{other}");
        }
    }

    /// An old address may come to nothing, but not to another name.
    #[test]
    fn a_new_proxy_reuses_no_address() {
        let (mut old, mut new) = (Names::new(&policy(), 0), Names::new(&policy(), 1));
        assert_eq!(old.addresses(&name("c.example")), new.addresses(&name("c.example")));
        let before = old.addresses(&name("x.b.example")).unwrap();
        let after = new.addresses(&name("y.b.example")).unwrap();
        assert_ne!(before, after);
        assert_eq!(new.name(before.v4.into()), None);
    }

    #[test]
    fn there_is_an_end_to_names() {
        for generation in [0, 1, 14, 15, 255] {
            let mut names = Names::new(&policy(), generation);
            let given = (0..=NAMES_MAX).take_while(|n| names.addresses(&name(&format!("n{n}.b.example"))).is_ok());
            let given = given.count();
            assert!(given <= NAMES_MAX as usize, "{generation}: {given}");
            assert!(generation > 14 || given == NAMES_MAX as usize, "{generation}: {given}");
            assert!(names.addresses(&name("a.example")).is_ok());
        }
    }
}
