//! Judges the addresses that a name resolved to: whether a run may be led there.
//!
//! Pure. **Invariant:** only an address of the public internet passes by itself; an entry's networks can open those of
//! [`AddressKind::can_be_allowed`] and no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Network;

/// What an address is that no run is led to unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AddressKind {
    /// This machine by its loopback.
    Loopback,
    /// An address of one of this machine's interfaces.
    Own,
    /// RFC 1918.
    Private,
    /// Shared by carriers: 100.64.0.0/10.
    Shared,
    /// `fc00::/7`, and the withdrawn `fec0::/10`.
    UniqueLocal,
    /// Documentation, benchmarks, future use, protocol assignments.
    Reserved,
    /// 169.254.0.0/16 and `fe80::/10`.
    LinkLocal,
    /// Where clouds tell their machines secrets.
    Metadata,
    /// To many.
    Multicast,
    /// To everybody.
    Broadcast,
    /// 0.0.0.0/8 and `::`.
    Unspecified,
    /// An IPv4 address in an IPv6 one: mapped, compatible, NAT64, 6to4, Teredo. What it leads to is not for us to guess.
    Embedded,
}

impl AddressKind {
    /// What it is, in words that follow "resolves to".
    pub fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Own => "an address of this machine",
            Self::Private => "a private address",
            Self::Shared => "a shared address",
            Self::UniqueLocal => "a unique local address",
            Self::Reserved => "a reserved address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a metadata service",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Unspecified => "the unspecified address",
            Self::Embedded => "an IPv4 address inside an IPv6 one",
        }
    }

    /// Whether a network of the policy can open an address of this kind.
    pub fn can_be_allowed(self) -> bool {
        match self {
            Self::Loopback | Self::Own | Self::Private | Self::Shared | Self::UniqueLocal | Self::Reserved => true,
            Self::LinkLocal
            | Self::Metadata
            | Self::Multicast
            | Self::Broadcast
            | Self::Unspecified
            | Self::Embedded => false,
        }
    }
}

/// Metadata services: AWS, GCP, Azure and others; AWS tasks; Azure's host; Alibaba; Oracle.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// Metadata services: AWS, GCP, Scaleway.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Judges `address` on a machine whose interfaces have the addresses `own`.
///
/// # Errors
/// What the address is, when neither it nor `networks` allow it.
pub(super) fn judge(address: IpAddr, own: &[IpAddr], networks: &[Network]) -> Result<(), AddressKind> {
    let kind = kind(address).or_else(|| own.contains(&address).then_some(AddressKind::Own));
    match kind {
        None => Ok(()),
        Some(kind) if kind.can_be_allowed() && networks.iter().any(|network| network.contains(address)) => Ok(()),
        Some(kind) => Err(kind),
    }
}

impl Network {
    /// What all addresses of the block are, when no policy can open them: it means nothing in one then.
    #[must_use]
    pub fn refused(&self) -> Option<AddressKind> {
        let (first, last) = self.ends();
        kind(first).filter(|first| !first.can_be_allowed() && kind(last) == Some(*first))
    }
}

fn kind(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// What an IPv4 address is, after the special-purpose registry of RFC 6890.
fn kind_v4(address: Ipv4Addr) -> Option<AddressKind> {
    if METADATA_V4.contains(&address) {
        return Some(AddressKind::Metadata);
    }
    match address.octets() {
        [0, ..] => Some(AddressKind::Unspecified),
        [127, ..] => Some(AddressKind::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(AddressKind::Private),
        [100, 64..=127, ..] => Some(AddressKind::Shared),
        [169, 254, ..] => Some(AddressKind::LinkLocal),
        // Protocol assignments, documentation, relays of 6to4, AS112, benchmarks.
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 175, 48, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(AddressKind::Reserved),
        [224..=239, ..] => Some(AddressKind::Multicast),
        [255, 255, 255, 255] => Some(AddressKind::Broadcast),
        [240..=255, ..] => Some(AddressKind::Reserved),
        _ => None,
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<AddressKind> {
    if METADATA_V6.contains(&address) {
        return Some(AddressKind::Metadata);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(AddressKind::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(AddressKind::Loopback),
        // Compatible, mapped and translated IPv4; NAT64 and its local use; Teredo; 6to4; ISATAP.
        [0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, _, 0 | 0xffff, ..] => Some(AddressKind::Embedded),
        [0x64, 0xff9b, 0 | 1, ..] | [0x2001, 0, ..] | [0x2002, ..] => Some(AddressKind::Embedded),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some(AddressKind::Embedded),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(AddressKind::UniqueLocal),
        [0xfe80..=0xfebf, ..] => Some(AddressKind::LinkLocal),
        [0xff00..=0xffff, ..] => Some(AddressKind::Multicast),
        // Protocol assignments and ORCHID in 2001::/23, and documentation. The rest of the global unicast block passes.
        [0x2001, 1..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(AddressKind::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(AddressKind::Reserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_no_policy_can_open_is_known() {
        let refused = |text: &str| text.parse::<Network>().unwrap().refused();
        assert_eq!(refused("169.254.0.0/16"), Some(AddressKind::LinkLocal));
        assert_eq!(refused("169.254.169.254/32"), Some(AddressKind::Metadata));
        assert_eq!(refused("ff00::/16"), Some(AddressKind::Multicast));
        assert_eq!(["10.0.0.0/8", "fd00::/16", "8.8.8.0/24", "168.63.129.0/24"].map(refused), [None; 4]);
    }

    /// N3, N4, N6: every kind by its first, its last and its famous addresses.
    #[test]
    fn every_block_is_what_it_is() {
        use AddressKind::*;
        let own: [IpAddr; 1] = ["8.8.4.4".parse().unwrap()];
        let table: &[(Option<AddressKind>, &[&str])] = &[
            (None, &["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"]),
            (None, &["100.63.255.255", "100.128.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"]),
            (None, &["2606:4700::1111", "2a00::1", "2001:4860:4860::8888", "2001:200::1", "3ffe::1"]),
            (Some(Own), &["8.8.4.4"]),
            (Some(Loopback), &["127.0.0.1", "127.255.255.255", "::1"]),
            (Some(Private), &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1"]),
            (Some(Shared), &["100.64.0.0", "100.127.255.255"]),
            (Some(LinkLocal), &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"]),
            (Some(Metadata), &["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]),
            (Some(Metadata), &["fd00:ec2::254", "fd20:ce::254"]),
            (Some(Unspecified), &["0.0.0.0", "0.1.2.3", "::"]),
            (Some(Multicast), &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            (Some(Broadcast), &["255.255.255.255"]),
            (Some(Reserved), &["192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"]),
            (Some(Reserved), &["2001:db8::1", "2001:10::1", "3fff::1", "100::1", "4000::1"]),
            (Some(UniqueLocal), &["fc00::1", "fdff::1", "fec0::1"]),
            (Some(Embedded), &["::ffff:8.8.8.8", "::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1"]),
            (Some(Embedded), &["2002:808:808::1", "2001:0:4136:e378::1", "2a00::5efe:808:808"]),
        ];
        for (kind, addresses) in table {
            for address in *addresses {
                assert_eq!(judge(address.parse().unwrap(), &own, &[]).err(), *kind, "{address}");
            }
        }
    }

    #[test]
    fn networks_open_only_what_can_be_allowed() {
        let networks: Vec<Network> =
            ["10.1.0.0/16", "127.0.0.0/8", "169.0.0.0/8", "100.0.0.0/8", "fd00::/8", "fe80::/10", "224.0.0.0/8"]
                .map(|text| text.parse().unwrap())
                .into();
        let judged = |text: &str| judge(text.parse().unwrap(), &[], &networks);
        for open in ["10.1.2.3", "127.0.0.1", "100.64.0.1", "fd12::1", "1.1.1.1"] {
            assert_eq!(judged(open), Ok(()), "{open}");
        }
        for shut in ["10.2.0.1", "169.254.169.254", "169.254.1.1", "100.100.100.200", "fd00:ec2::254", "fe80::1"] {
            assert!(judged(shut).is_err(), "{shut}");
        }
        assert!(judged("224.0.0.1").is_err());
    }
}
