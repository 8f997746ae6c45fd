//! Blocks of addresses in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Shortest prefix of a block: one that is shorter would reach over everything that is refused.
const PREFIX_MIN_V4: u8 = 8;
/// As [`PREFIX_MIN_V4`]; all unique local addresses are `fc00::/7`.
const PREFIX_MIN_V6: u8 = 7;

/// Why something is no block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not `address/prefix`.
    #[error("network is not an address, `/` and a prefix length: `{}`", .0.escape_default())]
    Form(String),
    /// A prefix longer than the address, or one that covers too much.
    #[error("prefix of the network is not between {PREFIX_MIN_V4} and 32, or {PREFIX_MIN_V6} and 128 for IPv6: `{0}`")]
    Prefix(String),
    /// An address with bits behind the prefix, as in `10.1.2.3/8`: most likely a slip.
    #[error("address of the network has bits behind its prefix: `{0}`")]
    HostBits(String),
}

/// A block of addresses, for example `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` is in the block. An IPv4 address is never in a block of IPv6 ones.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let bits = 32 - u32::from(self.prefix);
                (block.to_bits() ^ address.to_bits()) >> bits == 0
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let bits = 128 - u32::from(self.prefix);
                (block.to_bits() ^ address.to_bits()) >> bits == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The first and the last address.
    pub(super) fn ends(&self) -> (IpAddr, IpAddr) {
        let last = match self.address {
            IpAddr::V4(first) => {
                Ipv4Addr::from_bits(first.to_bits() | u32::MAX.unbounded_shr(self.prefix.into())).into()
            }
            IpAddr::V6(first) => {
                Ipv6Addr::from_bits(first.to_bits() | u128::MAX.unbounded_shr(self.prefix.into())).into()
            }
        };
        (self.address, last)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || NetworkError::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let (least, most) = match address {
            IpAddr::V4(_) => (PREFIX_MIN_V4, 32),
            IpAddr::V6(_) => (PREFIX_MIN_V6, 128),
        };
        let prefix = prefix.parse().ok().filter(|prefix| (least..=most).contains(prefix));
        let prefix = prefix.ok_or_else(|| NetworkError::Prefix(text.to_owned()))?;
        let clean = match address {
            IpAddr::V4(address) => u32::from(most - prefix) <= address.to_bits().trailing_zeros(),
            IpAddr::V6(address) => u32::from(most - prefix) <= address.to_bits().trailing_zeros(),
        };
        if clean { Ok(Self { address, prefix }) } else { Err(NetworkError::HostBits(text.to_owned())) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_one_form() {
        let said = |text: &str| text.parse::<Network>().map_or_else(|error| format!("{error:?}"), |ok| ok.to_string());
        for good in ["10.0.0.0/8", "10.1.2.3/32", "127.0.0.0/8", "fc00::/7", "fd00:1::/32", "::1/128"] {
            assert_eq!(said(good), good);
        }
        for (bad, start) in [
            ("10.0.0.0", "Form"),
            ("10.0.0.0/", "Form"),
            ("10.0.0.0/+8", "Form"),
            ("10.0/8", "Form"),
            ("a/8", "Form"),
            ("0.0.0.0/0", "Prefix"),
            ("10.0.0.0/33", "Prefix"),
            ("10.0.0.0/999", "Prefix"),
            ("::/0", "Prefix"),
            ("10.1.0.0/8", "HostBits"),
            ("fd00::1/64", "HostBits"),
        ] {
            assert!(said(bad).starts_with(start), "{bad}: {}", said(bad));
        }
    }

    #[test]
    fn blocks_contain_their_addresses() {
        let contains =
            |block: &str, address: &str| block.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.1.0.0/16", "10.1.255.255"));
        assert!(!contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("10.1.2.3/32", "10.1.2.3"));
        assert!(!contains("10.1.2.3/32", "10.1.2.2"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(!contains("fd00::/8", "fe80::1"));
        assert!(!contains("10.0.0.0/8", "::ffff:10.0.0.1"));
    }
}
