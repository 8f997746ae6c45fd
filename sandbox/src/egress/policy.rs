//! What a run may reach over the network: the data of a spec, and the decision about one name and port.
//!
//! **Invariant:** a policy allows something: an empty list cannot be decoded or built, so that nobody can take it for
//! "everything". **Invariant:** a decision depends on name and port alone.

use std::collections::BTreeSet;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::record::DenyReason;
use super::{HostName, HostPattern, Network, PROXY_PORT};

/// Most entries of a policy.
pub const ENTRIES_MAX: usize = 1024;
/// Most ports of an entry.
pub const PORTS_MAX: usize = 32;
/// Most networks of an entry.
pub const NETWORKS_MAX: usize = 32;
/// Most different ports of a policy whose connections are caught; each needs a listener.
pub const CAUGHT_PORTS_MAX: usize = 16;

/// Port of DNS.
pub(crate) const DNS_PORT: u16 = 53;

/// What a run may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Egress {
    /// Only a loopback interface of its own.
    None,
    /// What the policy allows, through the proxy of the run.
    Allow(EgressPolicy),
}

/// Names and ports that a run may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// What is allowed. A run that may reach nothing has [`Egress::None`].
    pub entries: NonEmpty<AllowEntry, ENTRIES_MAX>,
    /// Also catches connections of programs that ignore proxy variables, to port 80, to port 443 and to every port of
    /// an entry. The run cannot listen on these ports itself.
    pub transparent: bool,
}

/// One name or family of names that a run may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// A name such as `crates.io`, or `*.example.com` for everything below `example.com`.
    pub host: HostPattern,
    /// TCP ports; 443 takes nothing but TLS.
    pub ports: NonEmpty<Port, PORTS_MAX>,
    /// Blocks beyond the public internet that the name may resolve to, for example that of a mirror in the house.
    /// Link-local addresses and metadata services are refused whatever stands here.
    #[serde(default)]
    pub networks: UpTo<Network, NETWORKS_MAX>,
}

impl EgressPolicy {
    /// The networks that `name` may resolve to when it is reached at `port`, or why it may not be reached.
    ///
    /// # Errors
    /// [`DenyReason::NameNotAllowed`] or [`DenyReason::PortNotAllowed`].
    pub fn decide(&self, name: &HostName, port: u16) -> Result<Vec<Network>, DenyReason> {
        let mut named = self.entries.iter().filter(|entry| entry.host.matches(name)).peekable();
        if named.peek().is_none() {
            return Err(DenyReason::NameNotAllowed);
        }
        let mut open = named.filter(|entry| entry.ports.iter().any(|allowed| allowed.get() == port)).peekable();
        if open.peek().is_none() {
            return Err(DenyReason::PortNotAllowed);
        }
        Ok(open.flat_map(|entry| entry.networks.iter().copied()).collect())
    }

    /// Whether `name` is allowed at some port.
    pub(crate) fn names(&self, name: &HostName) -> bool {
        self.entries.iter().any(|entry| entry.host.matches(name))
    }

    /// Whether a run with this policy cannot listen on `port` itself.
    pub(crate) fn takes(&self, port: u16) -> bool {
        port == PROXY_PORT || (self.transparent && (port == DNS_PORT || self.caught_ports().contains(&port)))
    }

    /// Every port of an entry, in order.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.entries.iter().flat_map(|entry| entry.ports.iter().map(|port| port.get())).collect()
    }

    /// The ports at which connections are caught when the policy is transparent: its own, and the two of the web, so
    /// that what is refused there is seen.
    pub(crate) fn caught_ports(&self) -> BTreeSet<u16> {
        let mut ports = self.ports();
        ports.extend([80, 443]);
        ports
    }
}

/// A TCP port, which is not 0.
pub type Port = std::num::NonZeroU16;

/// A list that is too short or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Nothing where something must be.
    #[error("list is empty, and an empty list allows nothing: say `none` instead")]
    Empty,
    /// More than its bound.
    #[error("list has {count} entries; {max} are the most")]
    TooLong {
        /// How many there are.
        count: usize,
        /// How many there can be.
        max: usize,
    },
}

/// A list of 1 to `MAX` entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<T>", into = "Vec<T>", bound(serialize = "T: Clone + Serialize"))]
pub struct NonEmpty<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> TryFrom<Vec<T>> for NonEmpty<T, MAX> {
    type Error = ListError;

    fn try_from(list: Vec<T>) -> Result<Self, ListError> {
        if list.is_empty() {
            return Err(ListError::Empty);
        }
        UpTo::<T, MAX>::try_from(list).map(|list| Self(list.0))
    }
}

impl<T, const MAX: usize> From<NonEmpty<T, MAX>> for Vec<T> {
    fn from(list: NonEmpty<T, MAX>) -> Self {
        list.0
    }
}

impl<T, const MAX: usize> Deref for NonEmpty<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// A list of at most `MAX` entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<T>", into = "Vec<T>", bound(serialize = "T: Clone + Serialize"))]
pub struct UpTo<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for UpTo<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for UpTo<T, MAX> {
    type Error = ListError;

    fn try_from(list: Vec<T>) -> Result<Self, ListError> {
        let count = list.len();
        if count > MAX { Err(ListError::TooLong { count, max: MAX }) } else { Ok(Self(list)) }
    }
}

impl<T, const MAX: usize> From<UpTo<T, MAX>> for Vec<T> {
    fn from(list: UpTo<T, MAX>) -> Self {
        list.0
    }
}

impl<T, const MAX: usize> Deref for UpTo<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Result<Egress, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    const MIRROR: &str = r#"{"allow": {"transparent": false, "entries": [
        {"host": "example.com", "ports": [443]},
        {"host": "*.example.com", "ports": [443, 8443]},
        {"host": "a.example.com", "ports": [8443], "networks": ["10.1.0.0/16"]}]}}"#;

    /// N15: nothing that allows nothing, or everything, can be decoded.
    #[test]
    fn what_cannot_be_meant_is_refused() {
        let entry = |entry: &str| format!(r#"{{"allow": {{"transparent": false, "entries": [{entry}]}}}}"#);
        let many = vec![r#"{"host": "example.com", "ports": [1]}"#; ENTRIES_MAX + 1].join(",");
        for (json, wanted) in [
            (entry(""), "list is empty"),
            (entry(r#"{"host": "example.com", "ports": []}"#), "list is empty"),
            (entry(r#"{"host": "example.com", "ports": [0]}"#), "nonzero"),
            (entry(r#"{"host": "example.com"}"#), "missing field `ports`"),
            (entry(r#"{"host": "example.com", "ports": [65536]}"#), "65536"),
            (entry(r#"{"host": "*", "ports": [443]}"#), "`*` stands only"),
            (entry(r#"{"host": "com", "ports": [443]}"#), "at least two labels"),
            (entry(r#"{"host": "10.0.0.1", "ports": [443]}"#), "is an address"),
            (entry(r#"{"host": "a\u0000.example.com", "ports": [443]}"#), "cannot be allowed"),
            (entry(r#"{"host": "example.com", "ports": [443], "networks": ["0.0.0.0/0"]}"#), "prefix of the network"),
            (entry(r#"{"host": "example.com", "ports": [443], "path": "/"}"#), "unknown field `path`"),
            (entry(&many), "1025 entries"),
            (r#"{"allow": {"entries": [{"host": "example.com", "ports": [1]}]}}"#.to_owned(), "missing field `trans"),
            (r#""all""#.to_owned(), "unknown variant"),
            (r#"{"none": {}}"#.to_owned(), "invalid type"),
        ] {
            let said = policy(&json).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(policy(r#""none""#), Ok(Egress::None));
    }

    #[test]
    fn policies_survive_a_round_trip() {
        let decoded = policy(MIRROR).unwrap();
        assert_eq!(policy(&serde_json::to_string(&decoded).unwrap()), Ok(decoded));
    }

    /// N8 and N13: name and port decide, and networks come from the entries that allow both.
    #[test]
    fn names_and_ports_decide() {
        let Ok(Egress::Allow(policy)) = policy(MIRROR) else { panic!("a policy") };
        let decide = |name: &str, port| policy.decide(&HostName::parse(name.as_bytes()).unwrap(), port);
        assert_eq!(decide("example.com", 443), Ok(vec![]));
        assert_eq!(decide("b.example.com", 8443), Ok(vec![]));
        assert_eq!(decide("a.example.com", 443), Ok(vec![]));
        assert_eq!(decide("a.example.com", 8443), Ok(vec!["10.1.0.0/16".parse().unwrap()]));
        for port in [22, 25, 80, 8443] {
            assert_eq!(decide("example.com", port), Err(DenyReason::PortNotAllowed));
        }
        for name in ["notexample.com", "example.com.evil.test", "com", "localhost"] {
            assert_eq!(decide(name, 443), Err(DenyReason::NameNotAllowed));
        }
    }
}
