//! Making every address one of this machine: local routes by netlink (`rtnetlink(7)`), written by hand.

use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
const HEADER_BYTES: usize = 16;

/// Which addresses a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// Leads every address of `version` to the listeners of this network namespace, as
/// `ip route add local default dev lo` does. Loopback must be up.
pub(crate) fn everything_is_local(version: Version) -> Result<(), Errno> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(socket.as_raw_fd(), &request(version), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let got = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(&answer[..got])
}

/// `RTM_NEWROUTE` with no destination, which means all, of type local.
fn request(version: Version) -> Vec<u8> {
    let family = match version {
        Version::V4 => libc::AF_INET,
        Version::V6 => libc::AF_INET6,
    };
    let family = u8::try_from(family).unwrap_or_default();
    // rtmsg: family, lengths of destination and source, type of service, table, protocol, scope, type, flags.
    let route =
        [family, 0, 0, 0, libc::RT_TABLE_LOCAL, libc::RTPROT_STATIC, libc::RT_SCOPE_HOST, libc::RTN_LOCAL, 0, 0, 0, 0];
    let interface = [&8_u16.to_ne_bytes()[..], &libc::RTA_OIF.to_ne_bytes(), &LOOPBACK.to_ne_bytes()].concat();
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let length = u32::try_from(HEADER_BYTES + route.len() + interface.len()).unwrap_or_default();
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend_from_slice(&u16::try_from(flags).unwrap_or_default().to_ne_bytes());
    // Number of the message and of the sender, which the kernel gives.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&route);
    message.extend_from_slice(&interface);
    message
}

/// Reads the answer: `NLMSG_ERROR` with an errno, 0 for success.
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let (header, rest) = answer.split_first_chunk::<HEADER_BYTES>().ok_or(Errno::EPROTO)?;
    let kind = c_int::from(u16::from_ne_bytes([header[4], header[5]]));
    let (code, _) = rest.split_first_chunk::<4>().ok_or(Errno::EPROTO)?;
    match (kind == libc::NLMSG_ERROR, i32::from_ne_bytes(*code)) {
        (true, 0) => Ok(()),
        (true, code) => Err(Errno::from_raw(code.saturating_neg())),
        (false, _) => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_what_the_kernel_reads() {
        let message = request(Version::V4);
        assert_eq!(message.len(), 36);
        assert_eq!(message[..4], 36_u32.to_ne_bytes());
        assert_eq!(message[16..28], [2, 0, 0, 0, 255, 4, 254, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_acknowledgements() {
        let answer = |kind: u16, code: i32| [&[0; 4][..], &kind.to_ne_bytes(), &[0; 10], &code.to_ne_bytes()].concat();
        assert_eq!(acknowledged(&answer(2, 0)), Ok(()));
        assert_eq!(acknowledged(&answer(2, -1)), Err(Errno::EPERM));
        assert_eq!(acknowledged(&answer(3, 0)), Err(Errno::EPROTO));
        assert_eq!(acknowledged(&[0; 10]), Err(Errno::EPROTO));
    }
}
